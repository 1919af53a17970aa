"""Whole numbers that users give."""

import numpy as np
import pytest

from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.problem.numbers import validate_seed


def test_seeds_are_taken_as_they_are_and_0_is_one() -> None:
    assert [validate_seed(seed) for seed in (0, 7, np.int64(7), 2**128)] == [0, 7, 7, 2**128]
    assert validate_seed(None) != validate_seed(None)
    assert validate_seed(np.random.default_rng(1)) == validate_seed(np.random.default_rng(1))
    for wrong in (-1, 1.5, "1", True):
        with pytest.raises(CmbInpaintError, match=r"seed is .*; give a whole number, 0 or more"):
            validate_seed(wrong)
