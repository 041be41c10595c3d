"""What protection costs and finds, on real models."""
