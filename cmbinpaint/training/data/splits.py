"""The parts of the data: for training, for validation, for the test.

Inputs: a part's name. Outputs: its number.
"""

from cmbinpaint.errors import RecipeError

SPLITS = ("train", "validation", "test")


def split_number(split: str) -> int:
    """The number that a split has in seeds."""
    if split not in SPLITS:
        raise RecipeError(f"split is {split!r}; known: {', '.join(SPLITS)}")
    return SPLITS.index(split)
