"""patches: to be filled."""
