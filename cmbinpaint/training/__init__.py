"""training: to be filled."""
