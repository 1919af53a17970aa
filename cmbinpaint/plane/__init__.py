"""plane: to be filled."""
