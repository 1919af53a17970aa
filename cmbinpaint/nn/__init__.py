"""nn: to be filled."""
