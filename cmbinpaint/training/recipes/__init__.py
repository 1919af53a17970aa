"""Recipes: what is trained, on what, in which stages; those that ship lie here as TOML."""
