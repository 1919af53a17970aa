"""plots: to be filled."""
