"""sphere: to be filled."""
