"""What answers are worth, what they take, and how sure that is."""
