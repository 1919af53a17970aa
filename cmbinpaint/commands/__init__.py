"""commands: to be filled."""
