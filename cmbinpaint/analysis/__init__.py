"""analysis: to be filled."""
