"""The main job: what comes out is what came in, with its holes filled."""

import warnings
from typing import Any

import healpy as hp
import numpy as np
import pytest
from astropy import units as u
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint import inpaint_map, load_model, plan_inpainting
from cmbinpaint.errors import (
    CmbInpaintError,
    CmbInpaintWarning,
    MapError,
    MaskError,
    SpectrumError,
    UnitsError,
    WeightsError,
)

NSIDE, LMAX = 16, 47
NPIX = 12 * NSIDE**2
NOISE = 5.0


def spectrum() -> np.ndarray:
    ell = np.arange(LMAX + 1)
    cl = 2e5 / (1.0 + ell) ** 3
    cl[:2] = 0
    return cl


def smooth_sky(seed: int) -> np.ndarray:
    np.random.seed(seed)  # noqa: NPY002  healpy's own draw is the oracle here
    signal = hp.synfast(spectrum(), NSIDE, lmax=LMAX)
    return signal + NOISE * np.random.default_rng(seed).standard_normal(NPIX)


def hole_mask(seed: int = 0) -> np.ndarray:
    mask = np.ones(NPIX, bool)
    mask[hp.query_disc(NSIDE, hp.ang2vec(1.0, 0.3), 0.2)] = False
    mask[np.random.default_rng(seed).integers(0, NPIX, 20)] = False
    return mask


KNOWN: dict[str, Any] = {"cl": spectrum(), "noise_std": NOISE, "seed": 1}


def fill(sky: Any, mask: Any = None, **options: Any) -> Any:
    return inpaint_map(sky, mask, **{"model": "kriging16", **KNOWN, **options})


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    dtype=st.sampled_from(["<f4", ">f4", "<f8", ">f8", "f2", "i2", "i4"]),
    nest=st.booleans(),
    kind=st.sampled_from(["array", "masked", "quantity"]),
)
def test_out_comes_what_came_in(seed: int, dtype: str, nest: bool, kind: str) -> None:
    mask, values = hole_mask(seed), smooth_sky(seed).astype(dtype)
    if nest:
        mask, values = (
            mask[hp.nest2ring(NSIDE, np.arange(NPIX))],
            values[hp.nest2ring(NSIDE, np.arange(NPIX))],
        )
    given_sky: Any = {
        "array": lambda: values,
        "masked": lambda: np.ma.array(values, mask=~mask),
        "quantity": lambda: u.Quantity(values, u.uK, dtype=values.dtype),
    }[kind]()
    before = values.copy()
    filled = fill(given_sky, None if kind == "masked" else mask, nest=nest)
    assert type(filled) is type(given_sky)
    plain = np.asarray(getattr(filled, "value", filled))
    expected = {"f2": "f4", "i2": "f8", "i4": "f8"}.get(dtype, dtype.replace(">", "<"))
    assert plain.dtype == np.dtype(expected)
    assert plain[mask].tobytes() == values[mask].astype(expected).tobytes()
    assert np.all(np.isfinite(plain)) and not np.any(plain[~mask] == values[~mask].astype(expected))
    assert np.array_equal(before, values)
    if kind == "masked":
        assert not np.ma.getmaskarray(filled).any()
    if kind == "quantity":
        assert filled.unit == u.uK


@pytest.mark.parametrize("model", ["gaussian", "kriging", "kriging16", "diffusive"])
def test_nothing_under_a_hole_matters(model: str) -> None:
    mask, sky = hole_mask(), smooth_sky(0)
    fills = []
    for junk in (0.0, 1e30, np.nan, hp.UNSEEN):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CmbInpaintWarning)
            fills.append(fill(np.where(mask, sky, junk), mask, model=model))
    if model == "gaussian":  # its sums may be split otherwise: rounding
        assert all(np.allclose(fills[0], other, atol=1e-8, rtol=0) for other in fills[1:])
    else:
        assert all(np.array_equal(fills[0], other) for other in fills[1:])


@pytest.mark.parametrize("model", ["gaussian", "kriging", "diffusive"])
def test_a_constant_and_a_factor_go_through(model: str) -> None:
    mask, sky = hole_mask(), smooth_sky(1)
    options = {"model": model, "fill": "prediction", "cl": None, "noise_std": None}
    base = fill(sky, mask, **options)
    changed = fill(1e-6 * (sky + 300.0), mask, **options)
    # What the solver calls converged: 1e-3 of the rms (gaussian); rounding else.
    np.testing.assert_allclose(changed * 1e6 - 300.0, base, atol=5e-3 * sky.std())


def test_units_scale_the_sky_model() -> None:
    mask, sky = hole_mask(), smooth_sky(2)
    micro = fill(sky, mask, unit="uK")
    kelvin = fill(sky * 1e-6, mask, unit="K_CMB")
    np.testing.assert_allclose(kelvin * 1e6, micro, atol=1e-6 * sky.std())
    with pytest.raises(UnitsError, match="MJy/sr"):
        fill(sky, mask, unit="MJy/sr")


def test_rotating_sky_and_mask_rotates_the_prediction() -> None:
    """A quarter turn about z maps pixels onto pixels."""
    quarter = hp.Rotator(rot=(90, 0, 0), inv=True)
    theta, phi = hp.pix2ang(NSIDE, np.arange(NPIX))
    turned = hp.ang2pix(NSIDE, *quarter(theta, phi))
    assert np.array_equal(np.sort(turned), np.arange(NPIX))
    mask, sky = hole_mask(), smooth_sky(3)
    base = fill(sky, mask, fill="prediction")
    again = fill(sky[turned], mask[turned], fill="prediction")
    # Equally near neighbors may come in another order and the sixteenth may be another one of them.
    assert np.std(again - base[turned]) < 0.02 * sky.std()


def test_realizations_do_not_depend_on_how_many() -> None:
    mask, sky = hole_mask(), smooth_sky(4)
    three = fill(sky, mask, n_realizations=3)
    assert three.shape == (3, NPIX)
    assert np.array_equal(three[0], fill(sky, mask))
    assert np.array_equal(three[2], fill(sky, mask, n_realizations=1, first_realization=2)[0])
    assert not np.array_equal(three[0], three[1])
    assert not np.array_equal(three[0], fill(sky, mask, seed=0))


def test_a_plan_serves_many_maps_and_is_not_prepared_twice() -> None:
    mask = hole_mask()
    plan = plan_inpainting(mask, model="kriging")
    first = fill(smooth_sky(5), plan=plan)
    kept = dict(plan._kept)
    second = fill(smooth_sky(6), plan=plan)
    assert kept and all(plan._kept[key] is value for key, value in kept.items())
    assert np.array_equal(first, fill(smooth_sky(5), mask))
    assert np.array_equal(second, fill(smooth_sky(6), mask))


def test_guard_and_exclude() -> None:
    mask, sky = hole_mask(), smooth_sky(7)
    excluded = np.zeros(NPIX, bool)
    excluded[2000:2200] = True
    junk = sky.copy()
    junk[excluded] = np.nan
    filled, info = fill(junk, mask, exclude=excluded, return_info=True)
    same = np.isnan(filled) & excluded
    assert same.sum() == excluded.sum() and np.all(np.isfinite(filled[~excluded]))
    assert info.n_filled == (~mask & ~excluded).sum()
    # With a guard, what stands beside a hole has no effect on its fill.
    beside = ~mask
    beside[hp.get_all_neighbours(NSIDE, np.flatnonzero(~mask)).ravel()] = True
    spoiled = np.where(beside & mask, sky + 1e4, sky)
    a, b = (fill(s, mask, guard=1, fill="prediction", cl=spectrum(), noise_std=NOISE) for s in (sky, spoiled))
    np.testing.assert_allclose(a[~mask], b[~mask], atol=1e-6)


def test_info_says_what_was_done() -> None:
    mask, sky = hole_mask(), smooth_sky(8)
    filled, info = fill(sky, mask, seed=None, return_info=True)
    assert info.model == "kriging16" and info.fill == "realization" and info.refine == 0
    assert np.array_equal(filled, fill(sky, mask, seed=info.seed))
    assert np.array_equal(info.prediction, fill(sky, mask, fill="prediction"))
    assert info.fsky == pytest.approx(mask.mean()) and set(info.seconds) == {
        "input",
        "sky model",
        "plan",
        "fill",
    }
    none = inpaint_map(sky, np.ones(NPIX), model="kriging")
    assert np.array_equal(none, sky) and none is not sky


def test_up_to_nside_64_default_is_the_exact_answer() -> None:
    mask, sky = hole_mask(), smooth_sky(9)
    _, info = fill(sky, mask, model="default", return_info=True, fill="prediction")
    assert info.model == "gaussian"
    exact = fill(sky, mask, model="gaussian", fill="prediction")
    np.testing.assert_allclose(info.prediction, exact, atol=1e-8, rtol=0)  # rounding


def test_warnings_and_errors_say_what_to_do() -> None:
    mask, sky = hole_mask(), smooth_sky(10)
    broken = sky.copy()
    broken[np.flatnonzero(mask)[:4]] = np.nan
    with pytest.warns(CmbInpaintWarning, match="4 pixels that the mask calls observed are NaN"):
        filled = fill(broken, mask)
    assert np.all(np.isfinite(filled))
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (CmbInpaintError, "fill is 'noise'; known: realization, prediction", {"fill": "noise"}),
        (CmbInpaintError, "n_realizations is 0", {"n_realizations": 0}),
        (CmbInpaintError, "which is one map", {"n_realizations": 2, "fill": "prediction"}),
        (SpectrumError, "with_noise=False", {"with_noise": False, "noise_std": None}),
        (SpectrumError, "fwhm and beam say how a given cl", {"cl": None, "fwhm": 0.01}),
        (SpectrumError, "radians", {"fwhm": 5.0}),
        (CmbInpaintError, "refine is -1", {"refine": -1}),
        (MaskError, "guard is 1.5", {"guard": 1.5}),
        (MaskError, "a plan came with mask", {"plan": plan_inpainting(mask, model="kriging")}),
        (WeightsError, "unknown model 'krigging'", {"model": "krigging"}),
    ]
    for kind, text, options in cases:
        with pytest.raises(kind, match=text):
            fill(sky, mask, **options)
    with pytest.raises(MaskError, match="the plan is for nside 16, the map has 8"):
        fill(np.zeros(768), plan=plan_inpainting(mask, model="kriging"))
    with pytest.raises(MaskError, match="all pixels are masked"):
        fill(sky, np.zeros(NPIX))
    with pytest.raises(MapError, match="temperature only"):
        fill(np.stack([sky] * 3), mask)


def test_load_model_gives_what_inpaint_map_takes() -> None:
    mask, sky = hole_mask(), smooth_sky(11)
    assert np.array_equal(fill(sky, mask, model=load_model("kriging16")), fill(sky, mask))
