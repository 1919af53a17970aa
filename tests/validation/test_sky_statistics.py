"""What is measured on a map, against healpy, scipy and plain loops."""

import healpy as hp
import numpy as np
import pytest
from scipy import stats

from cmbinpaint.errors import SpectrumError
from cmbinpaint.validation.depths import HOLE_WIDTHS, WIDTH_EDGES
from cmbinpaint.validation.simulation_setup import SimulationSetup
from cmbinpaint.validation.sky_statistics import (
    LOW_ELL,
    PIXELS_KEPT,
    SkyStatistics,
    ks_distance,
    low_degrees,
)
from tests.validation.worlds import setup_at

NSIDE = 16
SETUP = setup_at(NSIDE)
STATISTICS = SkyStatistics(SETUP)
SKY, SIGNAL = SETUP.sky(0)


def test_power_is_anafasts_and_crosses_are_too() -> None:
    lmax = SETUP.bands.lmax
    a, b = STATISTICS.alm(SKY), STATISTICS.alm(SIGNAL)
    for other, expected in ((None, hp.anafast(SKY, lmax=lmax)), (b, hp.anafast(SKY, SIGNAL, lmax=lmax))):
        np.testing.assert_allclose(STATISTICS.power(a, other), SETUP.bands.bin(expected), rtol=1e-9)


def test_low_coefficients_are_healpys() -> None:
    alm = STATISTICS.alm(SKY)
    expected = hp.map2alm(SKY, lmax=SETUP.bands.lmax, iter=3)
    real, degrees = STATISTICS.low_alm(alm), low_degrees()
    power = [np.mean(real[degrees == ell] ** 2) for ell in range(LOW_ELL + 1)]
    np.testing.assert_allclose(power, hp.alm2cl(expected)[: LOW_ELL + 1], rtol=1e-9)


def test_jumps_are_those_of_all_rim_pairs() -> None:
    valid = SETUP.plan.valid
    neighbors = hp.get_all_neighbours(NSIDE, np.arange(valid.size)).T
    holes = np.flatnonzero(~valid)
    # flood fill, to know each hole's size
    label = {}
    for start in holes:
        stack = [start] if start not in label else []
        while stack:
            p = stack.pop()
            if p not in label:
                label[p] = start
                stack += [q for q in neighbors[p] if q >= 0 and not valid[q]]
    size = {s: list(label.values()).count(s) for s in set(label.values())}
    sums = np.zeros((len(HOLE_WIDTHS), 2))
    for p in holes:
        width = np.sqrt(4 / np.pi * size[label[p]])
        for q in neighbors[p]:
            if q >= 0 and valid[q]:
                sums[sum(width > edge for edge in WIDTH_EDGES)] += (SKY[p] - SKY[q]) ** 2, 1
    assert (sums[1:3, 1] > 0).all() and not sums[[0, 3]].any()
    found = STATISTICS.jumps(SKY)
    np.testing.assert_allclose(found[1:3], sums[1:3, 0] / sums[1:3, 1], rtol=1e-12)
    assert np.isnan(found[[0, 3]]).all()


def test_ks_distance_is_scipys() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.standard_normal(50), rng.standard_normal(1) + 2, rng.uniform(size=200)):
        assert ks_distance(values) == pytest.approx(
            stats.ks_1samp(values, stats.norm.cdf).statistic, abs=1e-12
        )
    assert np.isnan(ks_distance(np.zeros(0)))


def test_one_point_distances_hold_the_width_against_the_model() -> None:
    narrow, right = STATISTICS.one_point(0.5 * SKY), STATISTICS.one_point(SKY)
    assert narrow.shape == (1 + STATISTICS.depths.n,) and narrow[0] > right[0] + 0.05


def test_kept_pixels_are_few_of_every_depth(monkeypatch) -> None:
    assert STATISTICS.kept.size == min(PIXELS_KEPT * 2, STATISTICS.depths.pixels.size)
    monkeypatch.setattr("cmbinpaint.validation.sky_statistics.PIXELS_KEPT", 20)
    few = SkyStatistics(SETUP)
    assert np.bincount(few.kept_bins).tolist() == [20, 20]
    np.testing.assert_array_equal(few.at_kept(SKY), SKY[few.depths.pixels[few.kept]].astype(np.float32))


def test_skies_too_coarse_for_ten_multipoles_are_refused() -> None:
    with pytest.raises(
        SpectrumError, match="the bands end at ell = 6, multipoles to 10 are evaluated singly: take nside"
    ):
        SkyStatistics(SimulationSetup.standard(np.arange(12 * 4**2) > 9))


def test_mean_squares_by_width_add_up_to_those_by_depth() -> None:
    found = STATISTICS.by_width(SKY)
    counts = np.stack([bins.counts for bins in SETUP.depths_by_width])
    assert found.shape == counts.shape == (len(HOLE_WIDTHS), SETUP.depths.n)
    np.testing.assert_array_equal(counts.sum(axis=0), SETUP.depths.counts)
    np.testing.assert_array_equal(np.isnan(found), counts == 0)
    np.testing.assert_allclose(
        np.nansum(found * counts, axis=0) / SETUP.depths.counts, SETUP.depths.mean_square(SKY), rtol=1e-12
    )
    assert (STATISTICS.kept_widths >= 0).all()
