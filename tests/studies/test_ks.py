"""KS tests: a null that holds its level, a loss that is found where it is said to be detectable."""

import numpy as np
import pytest
from scipy import stats

from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.studies.ks import ks_test


def skies(n: int, rng: np.random.Generator, *, scale: float = 1.0) -> np.ndarray:
    """400 pixels that hang together in groups of 20, of unit variance."""
    groups = np.repeat(rng.standard_normal((n, 20)), 20, axis=1)
    return scale * (np.sqrt(0.8) * groups + np.sqrt(0.2) * rng.standard_normal((n, 400)))


def test_correlated_pixels_fail_the_table_and_not_the_null() -> None:
    rng = np.random.default_rng(0)
    test = ks_test(skies(200, rng), skies(400, rng))
    assert test.true_rejected_by_table > 0.4, "the table is for independent pixels"
    # 200 skies at 5 %: 10 ± 3.1 of them
    assert 0.01 < test.rejected < 0.11 and abs(np.median(test.p) - 0.5) < 0.12
    np.testing.assert_allclose(test.distance[:2], [stats.kstest(s, "norm").statistic for s in
                                                    skies(200, np.random.default_rng(0))[:2]])  # fmt: skip


def test_what_is_detectable_is_detected() -> None:
    rng = np.random.default_rng(1)
    true = skies(400, rng)
    test = ks_test(skies(50, rng), true)
    assert 0.1 < test.detectable < 0.6
    beyond = ks_test(skies(400, rng, scale=1 - test.detectable), true).rejected
    assert beyond == pytest.approx(
        0.5, abs=0.12
    )  # fresh skies: 400 at one half are known to 2.5 %, the limit to more
    assert ks_test(skies(400, rng, scale=1 - test.detectable / 3), true).rejected < 0.3
    assert ks_test(skies(50, rng), true).to_dict()["pixels"] == 400


def test_too_few_true_skies_are_refused() -> None:
    with pytest.raises(
        CmbInpaintError, match="19 true skies given; the 95 % point of a null needs 20 or more"
    ):
        ks_test(np.zeros((1, 5)), np.zeros((19, 5)))
