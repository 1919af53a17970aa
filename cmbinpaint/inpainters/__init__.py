"""inpainters: to be filled."""
