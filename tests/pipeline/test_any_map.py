"""Maps of any size and scale, arguments of any type: the right fill, or the package's error."""

import sys
from typing import Any

import healpy as hp
import numpy as np
import pytest

from cmbinpaint import Draws, inpaint_map, plan_inpainting
from cmbinpaint.errors import CmbInpaintError, CmbInpaintWarning, MapError
from cmbinpaint.sims.sky_model import SkyModel

NSIDE = 16
NPIX = 12 * NSIDE**2
MASK = np.abs(hp.pix2ang(NSIDE, np.arange(NPIX), lonlat=True)[1]) > 12


def smooth_sky() -> np.ndarray:
    rng = np.random.default_rng(3)
    return hp.smoothing(rng.standard_normal(NPIX), 0.3) * 500 + 5 * rng.standard_normal(NPIX)


SKY = smooth_sky()


@pytest.mark.parametrize("model", ["gaussian", "kriging", "diffusive"])
@pytest.mark.parametrize("power", [-100, -66, -40, 30, 56])
def test_a_factor_on_the_map_is_one_on_the_fill(model: str, power: int) -> None:
    """2^-100 is 1e-30; powers of two round nothing."""
    once = inpaint_map(SKY, MASK, seed=1, model=model)
    scaled = inpaint_map(SKY * 2.0**power, MASK, seed=1, model=model)
    # The exact answer's single-precision 1/noise² is replaced by double precision far from 1.
    np.testing.assert_allclose(scaled / 2.0**power, once, rtol=0, atol=1e-6 * SKY.std())


def test_a_factor_of_ten_to_the_minus_twenty() -> None:
    once, scaled = (inpaint_map(SKY * f, MASK, seed=1) for f in (1.0, 1e-20))
    # The sky model's fit amplifies the rounding of the factor.
    np.testing.assert_allclose(scaled / 1e-20, once, rtol=0, atol=1e-5 * SKY.std())


@pytest.mark.parametrize("value", [0.0, 1e-6, -2.725, 3.5, 1e-300, 1e19, 1e20])
@pytest.mark.parametrize(
    "known", [{}, {"unit": "K"}, {"noise_std": 2.0}, {"cl": np.ones(48), "noise_std": 1.0}]
)
@pytest.mark.parametrize("model", ["gaussian", "kriging", "diffusive"])
def test_a_constant_map_is_itself(value: float, known: dict[str, Any], model: str) -> None:
    for dtype in (np.float64, np.float32):
        sky = np.full(NPIX, value, dtype=dtype)
        for more in ({}, {"fill": "prediction"}, {"n_realizations": 2}):
            filled = inpaint_map(sky, MASK, model=model, **known, **more)
            assert np.all(filled == sky[0]), more


@pytest.mark.parametrize("nside", [1, 2, 4, 8])
def test_a_constant_map_of_any_size_is_itself(nside: int) -> None:
    mask = np.arange(12 * nside**2) > 2
    filled, info = inpaint_map(np.full(mask.size, 2.5), mask, return_info=True)
    assert np.all(filled == 2.5) and info.n_filled == 3
    assert "the observed sky is constant" in info.sky_model.source
    assert np.all(info.prediction == 2.5)


SMALL_SKIES = {
    "one hole": lambda nside: np.arange(12 * nside**2) != 3,
    "a cap observed": lambda nside: hp.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)[1] > 1,
    "one ring observed": lambda nside: np.arange(12 * nside**2) < 4,
    "two pixels observed": lambda nside: np.arange(12 * nside**2) < 2,
}


@pytest.mark.filterwarnings("ignore:what is observed leaves the map's monopole and dipole uncertain")
@pytest.mark.parametrize("nside", [1, 2, 4])
@pytest.mark.parametrize("what", SMALL_SKIES)
@pytest.mark.parametrize("model", ["gaussian", "kriging", "diffusive"])
def test_the_smallest_maps_are_filled_with_a_model_of_the_sky(nside: int, what: str, model: str) -> None:
    mask = SMALL_SKIES[what](nside)
    cl = np.concatenate([[0.0, 0.0], 1.0 / np.arange(2, 3 * nside + 3.0) ** 2])
    sky = np.random.default_rng(nside).standard_normal(mask.size) * 0.6
    for known in ({"cl": cl, "noise_std": 0.3}, {"sky_model": SkyModel(nside, cl[: 4 * nside], 0.3)}):
        filled = inpaint_map(sky, mask, seed=1, model=model, **known)
        np.testing.assert_array_equal(filled[mask], sky[mask])
        assert np.isfinite(filled).all() and np.abs(filled).max() < 20


@pytest.mark.parametrize(("nside", "observed"), [(1, 11), (2, 47), (4, 31)])
def test_the_smallest_maps_say_what_is_needed_without_one(nside: int, observed: int) -> None:
    sky = np.random.default_rng(0).standard_normal(12 * nside**2)
    text = f"{observed} pixels of nside {nside} are observed; a sky model is estimated from at least 32, of nside 4"
    with pytest.raises(MapError, match=text):
        inpaint_map(sky, np.arange(sky.size) < observed)


ODD: list[Any] = [
    "x", "", b"x", 3, -1, 2.5, np.nan, np.inf, 1j, True, [], {}, (), object(), [1, 2], ["a"], np.zeros((2, 2)),
    np.array(3), np.array(["a"] * NPIX), 10**400, "²", [[1], [2, 3]], np.datetime64("2020"), repr,
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        "sky", "mask", "plan", "model", "refine", "sky_model", "cl", "fwhm", "beam", "noise_std", "fill",
        "n_realizations", "seed", "draws", "nest", "unit", "polconv", "progress", "return_info",
    ],
)  # fmt: skip
def test_wrong_types_get_an_error_of_the_package(name: str) -> None:
    """Or a fill, where a value is right: `seed=3`."""
    filled = 0
    for odd in ODD:
        given: dict[str, Any] = {"sky": SKY, "mask": MASK, "model": "diffusive", "seed": 1}
        given |= {"cl": np.full(48, 1e2)} if name in ("fwhm", "beam") else {}
        given |= {"mask": None} if name == "plan" else {}
        try:
            inpaint_map(**{**given, name: odd})
            filled += 1
        except CmbInpaintError as error:
            assert len(str(error)) < 1000
    assert filled < len(ODD)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"plan": MASK}, "plan is a ndarray; expected an InpaintingPlan, from plan_inpainting"),
        ({"draws": 3}, r"draws is a int, 3; expected a Draws, such as Draws\(first=10\)"),
        ({"progress": "bar"}, "progress is a str, 'bar'; expected a function of one Progress"),
        ({"nest": "yes"}, "nest is a str, 'yes'; expected True or False"),
        ({"return_info": 1}, "return_info is a int, 1; expected True or False"),
        ({"model": 3}, r"model is a int; give a name \(default, gaussian, kriging, diffusive\), the path"),
        ({"n_realizations": 10**12}, "n_realizations is 1000000000000: so many maps of nside 16 take .* GiB, more"),
        ({"cl": 3}, r"cl has shape \(\)"),
        ({"fwhm": "5 arcmin"}, "fwhm is one number of radians; got str '5 arcmin'"),
        ({"beam": "wide"}, "beam is not an array of numbers"),
    ],
)  # fmt: skip
def test_errors_say_what_was_given(given: dict[str, Any], text: str) -> None:
    known = {"cl": np.ones(48)} if {"fwhm", "beam"} & given.keys() else {}
    with pytest.raises(CmbInpaintError, match=text):
        inpaint_map(SKY, **known, **given)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["mask", "exclude", "guard", "threshold", "nest"])
def test_wrong_types_of_a_plan_get_an_error_of_the_package(name: str) -> None:
    for odd in ODD:
        try:
            plan_inpainting(**{"mask": MASK, name: odd})
        except CmbInpaintError:
            continue


@pytest.mark.parametrize("odd", [odd for odd in ODD if odd is not True], ids=lambda odd: type(odd).__name__)
def test_with_noise_is_true_or_false(odd: Any) -> None:
    with pytest.raises(CmbInpaintError, match=r"with_noise is a .*; expected True or False"):
        Draws(with_noise=odd)


def test_lists_are_arrays() -> None:
    known = {"cl": hp.anafast(SKY), "noise_std": np.full(NPIX, 5.0), "beam": np.ones(48)}
    expected = inpaint_map(SKY, MASK, seed=1, model="kriging", **known)
    lists = {name: value.tolist() for name, value in known.items()}
    filled = inpaint_map(SKY.tolist(), MASK.tolist(), seed=1, model="kriging", **lists)
    np.testing.assert_array_equal(filled, expected)


def test_warnings_show_the_line_of_the_user() -> None:
    sky = np.exp(2 * np.random.default_rng(1).standard_normal(3072))
    with pytest.warns(CmbInpaintWarning, match="take the logarithm") as warned:
        line = sys._getframe().f_lineno + 1
        inpaint_map(sky, np.arange(3072) > 40, seed=1)
    assert {(w.filename, w.lineno) for w in warned} == {(__file__, line)}
