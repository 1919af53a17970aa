"""weights: to be filled."""
