"""Who answers: students, baselines and students' models before training."""
