"""Quadratic estimates of T, Q, U and their response against matrices written out in pixels, by code of its own."""

from itertools import pairwise

import numpy as np
import pytest

from cmbinpaint.errors import MapError
from cmbinpaint.gaussian.optimal_bandpowers import InverseCovariance, Response, quadratic
from cmbinpaint.sims import SkyModel, fiducial_spectra
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.pixels import pixel_vectors
from tests.gaussian.dense_covariance import (
    covariance,
    polarization_covariance,
    temperature_polarization_covariance,
)

NSIDE, LMAX = 4, 8
EDGES = (2, 4, 6, 9)
NOISE = np.array([8.0, 0.1, 0.1])
PAIRS = Fields.TQU.pairs


def of_pixels(signal: np.ndarray) -> np.ndarray:
    """(3 npix, 3 npix) the covariance of T, Q, U at all pixels, from (3, 3, lmax+1)."""
    x = pixel_vectors(NSIDE)
    npix = len(x)
    out = np.zeros((3, npix, 3, npix))
    out[0, :, 0] = covariance(signal[0, 0], x, x)
    out[1:, :, 1:] = polarization_covariance(signal[1:, 1:], x, x).transpose(0, 2, 1, 3)
    for i, cross in enumerate(temperature_polarization_covariance(signal[0, 1:], x, x), start=1):
        out[0, :, i], out[i, :, 0] = cross, cross.T
    return out.reshape(3 * npix, 3 * npix)


class Dense:
    """C⁻¹ of the data with the templates projected out, and what a unit of each C_ell adds to C."""

    def __init__(self, valid: np.ndarray, signal: np.ndarray, templates: list[np.ndarray], rows: slice):
        npix = 12 * NSIDE**2
        part = np.zeros((3, npix), dtype=bool)
        part[rows] = True
        self.data = np.flatnonzero(part & valid)
        here = np.ix_(self.data, self.data)
        self.noise = np.repeat(NOISE**2, npix)[self.data]
        inverse = np.linalg.inv(of_pixels(signal)[here] + np.diag(self.noise))
        modes = np.array([t.ravel()[self.data] for t in templates]).reshape(-1, self.data.size).T
        seen = inverse @ modes
        self.inverse = inverse - seen @ np.linalg.solve(modes.T @ seen, seen.T)
        self.unit = {
            (i, j, ell): of_pixels(unit_spectra(i, j, ell))[here]
            for i, j in PAIRS
            for ell in range(2, LMAX + 1)
        }

    def band(self, pair: tuple[int, int], shape: np.ndarray) -> np.ndarray:
        return sum(shape[ell] * self.unit[(*pair, ell)] for ell in range(2, LMAX + 1))

    def estimate(self, sky: np.ndarray, pair: tuple[int, int], shape: np.ndarray) -> float:
        weighted = self.inverse @ sky.ravel()[self.data]
        return 0.5 * weighted @ self.band(pair, shape) @ weighted

    def response(self, pair: tuple[int, int], shape: np.ndarray) -> dict[tuple[int, int, int], float]:
        """To a unit of each C_ell, by pair of modes and ell."""
        left = self.inverse @ self.band(pair, shape) @ self.inverse
        return {key: 0.5 * float(np.sum(left * unit)) for key, unit in self.unit.items()}

    def noise_bias(self, pair: tuple[int, int], shape: np.ndarray) -> float:
        return 0.5 * float(
            np.sum((self.inverse @ self.band(pair, shape) @ self.inverse).diagonal() * self.noise)
        )


def unit_spectra(i: int, j: int, ell: int) -> np.ndarray:
    signal = np.zeros((3, 3, LMAX + 1))
    signal[i, j, ell] = signal[j, i, ell] = 1.0
    return signal


def sky_signal() -> np.ndarray:
    """Spectra with much TE, some EB and TB, and a B that E outshines."""
    tt, ee, _, te = fiducial_spectra(LMAX)
    signal = np.zeros((3, 3, LMAX + 1))
    signal[0, 0], signal[1, 1], signal[2, 2] = tt, ee, 0.1 * ee
    signal[0, 1] = signal[1, 0] = te
    signal[1, 2] = signal[2, 1] = 0.2 * np.sqrt(ee * signal[2, 2])
    signal[0, 2] = signal[2, 0] = -0.1 * np.sqrt(tt * signal[2, 2])
    signal[..., :2] = 0.0
    return signal


class Setting:
    """Masks of T and of polarization apart; shapes that differ between T, E and B."""

    def __init__(self, rows: slice, templates: list[np.ndarray]) -> None:
        z = pixel_vectors(NSIDE)[:, 2]
        x = pixel_vectors(NSIDE)[:, 0]
        self.valid = np.stack([np.abs(z) > 0.15, *2 * [(np.abs(z) > 0.3) & (x < 0.9)]])
        self.rows, self.signal = rows, sky_signal()
        model = SkyModel(NSIDE, self.signal[rows, rows], NOISE[rows])
        self.pairs = [p for p in PAIRS if rows.start <= p[0] and rows.start <= p[1]]
        own = np.zeros((3, len(EDGES) - 1, LMAX + 1))
        for b, (low, high) in enumerate(pairwise(EDGES)):
            for mode in range(3):
                own[mode, b, low:high] = np.linspace(1 - 0.1 * mode, 1.2 + 0.2 * mode, high - low)
        self.shapes = np.stack([(1 + (i != j)) * np.sqrt(own[i] * own[j]) for i, j in self.pairs])
        self.windows = np.stack([np.linspace(1, 0.8 + 0.05 * (i + j), LMAX + 1) for i, j in self.pairs])
        self.inverse = InverseCovariance(
            self.valid[rows], model, [t[rows] for t in templates], tolerance=1e-5, power_tolerance=1e-10
        )
        vectors = [np.ones(len(z)), *pixel_vectors(NSIDE).T]
        smooth = [np.stack([v, 0 * v, 0 * v]) for v in vectors] if rows.start == 0 else []
        self.dense = Dense(self.valid, self.signal, [*smooth, *templates], rows)

    def probed(self, band: int, seed: int, rounds: int) -> tuple[np.ndarray, np.ndarray]:
        signal = np.array([self.signal[pair] for pair in self.pairs])
        made = Response(self.shapes, self.windows, signal, rounds)
        return made.of(band, self.inverse, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def tqu() -> Setting:
    return Setting(slice(0, 3), [])


@pytest.fixture(scope="module")
def qu() -> Setting:
    return Setting(slice(1, 3), [np.random.default_rng(5).standard_normal((3, 12 * NSIDE**2))])


@pytest.mark.parametrize("name", ["tqu", "qu"])
def test_estimates_are_those_of_dense_algebra(name: str, request) -> None:
    setting = request.getfixturevalue(name)
    rng = np.random.default_rng(0)
    skies = rng.standard_normal((2, 3, 12 * NSIDE**2)) * np.array([50, 0.5, 0.5])[:, None]
    first, second = (setting.inverse.apply(sky[setting.rows]) for sky in skies)
    found, cross = quadratic(first, setting.shapes), quadratic(first, setting.shapes, second)
    for row, across, pair, shapes in zip(found, cross, setting.pairs, setting.shapes, strict=True):
        one, other, both = (
            np.array([setting.dense.estimate(sky, pair, shape) for shape in shapes])
            for sky in (skies[0], skies[1], skies.sum(axis=0))
        )
        np.testing.assert_allclose(row, one, rtol=1e-3, atol=1e-3 * np.abs(one).max(), err_msg=str(pair))
        wanted = (both - one - other) / 2
        np.testing.assert_allclose(
            across, wanted, rtol=2e-3, atol=2e-3 * np.abs(one).max(), err_msg=str(pair)
        )


@pytest.mark.parametrize("name", ["tqu", "qu"])
def test_the_response_couples_all_spectra_as_dense_algebra_says(name: str, request) -> None:
    setting = request.getfixturevalue(name)
    # More vectors than any band has modes: each is summed over its modes, without the noise of random signs.
    found = np.stack([setting.probed(band, 1, 100)[0] for band in range(len(EDGES) - 1)], axis=1)
    wanted = np.zeros_like(found)
    for s, (pair, shapes) in enumerate(zip(setting.pairs, setting.shapes, strict=True)):
        for b, shape in enumerate(shapes):
            to = setting.dense.response(pair, shape)
            for t, (i, j) in enumerate(setting.pairs):
                for ell in range(2, LMAX + 1):
                    wanted[s, b, t, ell] = setting.windows[t, ell] * to[i, j, ell]
    for s in range(len(found)):
        for t in range(len(found)):
            scale = np.sqrt(np.abs(wanted[s, :, s]).max() * np.abs(wanted[t, :, t]).max())
            error = np.abs(found[s, :, t] - wanted[s, :, t]).max() / scale
            assert error < 1e-3, (setting.pairs[s], setting.pairs[t], error)
    e, b = (setting.pairs.index(p) for p in ((1, 1), (2, 2)))
    # What is tested is not zero: behind the mask B answers to E by several percent of what E does itself.
    assert wanted[b, :, e].max() > 0.03 * np.sqrt(wanted[b, :, b].max() * wanted[e, :, e].max())


@pytest.mark.parametrize("name", ["tqu", "qu"])
def test_noise_is_what_dense_algebra_says(name: str, request) -> None:
    setting = request.getfixturevalue(name)
    found = np.stack([setting.probed(band, 1, 100)[1] for band in range(len(EDGES) - 1)], axis=1)
    dense = setting.dense
    wanted = np.array([[dense.noise_bias(pair, shape) for shape in shapes]
                       for pair, shapes in zip(setting.pairs, setting.shapes, strict=True)])  # fmt: skip
    own = {pair[0]: row for pair, row in zip(setting.pairs, wanted, strict=True) if pair[0] == pair[1]}
    for row, expected, (i, j) in zip(found, wanted, setting.pairs, strict=True):
        scale = np.sqrt(own[i] * own[j])
        np.testing.assert_allclose(row / scale, expected / scale, atol=2e-3, err_msg=str((i, j)))
    cross = setting.pairs.index((1, 2))  # E and B have EB in the sky, and share a mask
    assert np.abs(wanted[cross]).max() > 0.02 * np.sqrt(own[1] * own[2]).max()


def test_random_signs_give_the_same_response_within_their_noise(qu: Setting) -> None:
    exact = qu.probed(2, 1, 100)[0]
    found = qu.probed(2, 2, 40)[0]  # of 45 modes
    total = [np.array([[row[t].sum() for t in range(3)] for row in one]) for one in (found, exact)]
    scale = np.sqrt(np.outer(np.diag(total[1]), np.diag(total[1])))
    assert np.abs((total[0] - total[1]) / scale).max() < 0.05
    assert np.any(total[0] != total[1])


def test_a_template_of_polarization_leaves_no_trace(qu: Setting) -> None:
    rng = np.random.default_rng(5)
    template = rng.standard_normal((3, 12 * NSIDE**2))[qu.rows]
    sky = np.random.default_rng(1).standard_normal(template.shape) * 0.5
    clean = qu.inverse.apply(sky)
    np.testing.assert_allclose(
        qu.inverse.apply(sky + 5 * template), clean, rtol=0, atol=2e-3 * np.abs(clean).max()
    )


@pytest.mark.parametrize("kind", ["zero", "twice"])
def test_templates_of_polarization_that_say_nothing_are_refused(qu: Setting, kind: str) -> None:
    one = np.random.default_rng(6).standard_normal((2, 12 * NSIDE**2))
    given = {"zero": [0 * one], "twice": [one, 3 * one]}[kind]
    with pytest.raises(MapError, match="one is zero"):
        InverseCovariance(qu.valid[1:], SkyModel(NSIDE, qu.signal[1:, 1:], NOISE[1:]), given)
