"""The main job: what comes out is what came in, with its holes filled."""

import gc
import pickle
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import healpy as hp
import numpy as np
import pytest
from astropy import units as u
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint import Draws, Progress, inpaint_map, load_model, plan_inpainting
from cmbinpaint.errors import (
    CmbInpaintError,
    CmbInpaintWarning,
    MapError,
    MaskError,
    SpectrumError,
    UnitsError,
    WeightsError,
)
from cmbinpaint.gaussian.exact import GaussianInpainter
from cmbinpaint.pipeline import prepared
from cmbinpaint.pipeline.filler import Filler
from cmbinpaint.sims.sky_model import SkyModel

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


def spoiled(value: float) -> np.ndarray:
    cl = spectrum()
    cl[7] = value
    return cl


def fill(sky: Any, mask: Any = None, **options: Any) -> Any:
    return inpaint_map(sky, mask, **{"model": "kriging", **KNOWN, **options})


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


@pytest.mark.parametrize("model", ["gaussian", "kriging", "diffusive"])
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
    assert np.array_equal(three[2], fill(sky, mask, n_realizations=1, draws=Draws(first=2))[0])
    assert not np.array_equal(three[0], three[1])
    assert not np.array_equal(three[0], fill(sky, mask, seed=0))


def test_a_plan_serves_many_maps_and_is_not_prepared_twice() -> None:
    mask = hole_mask()
    plan = plan_inpainting(mask)
    first = fill(smooth_sky(5), plan=plan)
    prepared: list[Any] = []
    whole = Filler.prepare
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Filler, "prepare", lambda *a: (prepared.append(a), whole(*a))[1])
        second = fill(smooth_sky(6), plan=plan)
    assert not prepared
    assert np.array_equal(first, fill(smooth_sky(5), mask))
    assert np.array_equal(second, fill(smooth_sky(6), mask))


def test_what_was_prepared_is_found_only_for_the_same_model_sky_model_and_steps() -> None:
    """Each of the three alone changes the fill as a plan of its own would have it."""
    mask, sky = hole_mask(), smooth_sky(5)
    plan = plan_inpainting(mask)
    calls: list[dict[str, Any]] = [
        {}, {"noise_std": 3 * NOISE}, {"cl": 2 * spectrum()}, {"refine": 1}, {"refine": 2}, {"model": "diffusive"},
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CmbInpaintWarning)
        shared = [fill(sky, plan=plan, fill="prediction", **call) for call in calls]
        apart = [fill(sky, mask, fill="prediction", **call) for call in calls]
    for one, other in zip(shared, apart, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({one.tobytes() for one in shared}) == len(calls)


def test_one_plan_serves_several_threads() -> None:
    mask = hole_mask()
    plan, skies = plan_inpainting(mask), [smooth_sky(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda sky: fill(sky, plan=plan), skies))
    for sky, filled in zip(skies, together, strict=True):
        np.testing.assert_array_equal(filled, fill(sky, mask))


def test_one_plan_that_was_used_serves_several_threads() -> None:
    """A solver works on one map at a time: each thread has its own."""
    plan, skies = plan_inpainting(hole_mask()), [smooth_sky(seed) for seed in range(8)]
    known: dict[str, Any] = {"cl": spectrum(), "noise_std": NOISE, "plan": plan, "model": "gaussian"}
    expected = [fill(sky, **known) for sky in skies]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda sky: fill(sky, **known), skies))
    for one, other in zip(together, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_was_prepared_goes_with_the_plan() -> None:
    plan = plan_inpainting(hole_mask())
    fill(smooth_sky(5), plan=plan)
    assert plan in prepared._kept.of
    gone = weakref.ref(prepared._kept.of[plan][1])
    del plan
    gc.collect()
    assert gone() is None


def test_a_nested_noise_map_is_reordered_and_each_hole_gets_its_own_noise() -> None:
    """A noise that differs by pixel: the realization's in the holes is that of each pixel, in either ordering."""
    mask, sky = hole_mask(), smooth_sky(7)
    noise = np.where(np.arange(NPIX) % 2, 2.0, 40.0)
    options: dict[str, Any] = {"noise_std": noise, "n_realizations": 60}
    filled = fill(sky, mask, **options)
    alone = fill(sky, mask, draws=Draws(with_noise=False), **options)
    holes = ~mask
    added = (filled - alone)[:, holes]
    # 60 draws tell a standard deviation to 9 %, and there are some twenty pixels of either kind.
    for level in (2.0, 40.0):
        assert np.std(added[:, noise[holes] == level]) == pytest.approx(level, rel=0.1)
    nest = hp.nest2ring(NSIDE, np.arange(NPIX))
    options["noise_std"] = noise[nest]
    np.testing.assert_array_equal(fill(sky[nest], mask[nest], nest=True, **options), filled[:, nest])


def test_a_generator_may_be_the_seed() -> None:
    mask, sky = hole_mask(), smooth_sky(8)
    first, info = fill(sky, mask, seed=np.random.default_rng(3), return_info=True)
    assert np.array_equal(first, fill(sky, mask, seed=np.random.default_rng(3)))
    assert np.array_equal(first, fill(sky, mask, seed=info.seed))
    rng = np.random.default_rng(3)
    assert not np.array_equal(fill(sky, mask, seed=rng), fill(sky, mask, seed=rng))


@pytest.mark.parametrize(
    ("old", "now"),
    [
        ("first_realization", r"draws=Draws\(first=...\)"), ("with_noise", r"draws=Draws\(with_noise=...\)"),
        ("fluctuations", r"draws=Draws\(fluctuations=...\)"),
        ("exclude", r"plan=plan_inpainting\(mask, exclude=...\)"),
        ("guard", r"plan=plan_inpainting\(mask, guard=...\)"),
        ("mask_threshold", r"plan=plan_inpainting\(mask, threshold=...\)"),
        ("device", r"model=load_model\(name, device=...\)"),
    ],
)  # fmt: skip
def test_old_names_are_refused_by_name(old: str, now: str) -> None:
    with pytest.raises(CmbInpaintError, match=f"inpaint_map no longer has the argument {old}; use {now}"):
        inpaint_map(smooth_sky(1), hole_mask(), **{old: None})
    with pytest.raises(TypeError, match="unexpected keyword argument 'modle'"):
        inpaint_map(smooth_sky(1), hole_mask(), modle="kriging")  # type: ignore[call-arg]


def test_steps_and_what_they_left_are_said() -> None:
    mask, sky = hole_mask(), smooth_sky(8)
    exact = fill(sky, mask, model="gaussian", n_realizations=2, return_info=True)[1]
    assert len(exact.steps) == 2 and min(exact.steps) > 0 and 0 <= exact.remaining <= 1e-2
    two = fill(sky, mask, refine=2, return_info=True)[1]
    assert two.steps == (2,) and np.isnan(two.remaining)
    five = fill(sky, mask, refine=5, return_info=True)[1]
    assert five.steps == (5,) and five.remaining < 1


def test_guard_and_exclude() -> None:
    mask, sky = hole_mask(), smooth_sky(7)
    excluded = np.zeros(NPIX, bool)
    excluded[2000:2200] = True
    junk = sky.copy()
    junk[excluded] = np.nan
    filled, info = fill(junk, plan=plan_inpainting(mask, exclude=excluded), return_info=True)
    same = np.isnan(filled) & excluded
    assert same.sum() == excluded.sum() and np.all(np.isfinite(filled[~excluded]))
    assert info.n_filled == (~mask & ~excluded).sum()
    # With a guard, what stands beside a hole has no effect on its fill.
    beside = ~mask
    beside[hp.get_all_neighbours(NSIDE, np.flatnonzero(~mask)).ravel()] = True
    spoiled = np.where(beside & mask, sky + 1e4, sky)
    plan = plan_inpainting(mask, guard=1)
    a, b = (fill(s, plan=plan, fill="prediction", cl=spectrum(), noise_std=NOISE) for s in (sky, spoiled))
    np.testing.assert_allclose(a[~mask], b[~mask], atol=1e-6)


def test_info_says_what_was_done() -> None:
    mask, sky = hole_mask(), smooth_sky(8)
    filled, info = fill(sky, mask, seed=None, return_info=True)
    assert (
        info.model == "kriging"
        and info.fill == "realization"
        and info.steps == (0,)
        and info.remaining is None
    )
    assert info.fluctuations == "drawn" and info.work_unit == "uK_CMB" and info.unit is None
    assert np.array_equal(filled, fill(sky, mask, seed=info.seed))
    assert np.array_equal(info.prediction, fill(sky, mask, fill="prediction"))
    assert info.fsky == pytest.approx(mask.mean()) and set(info.seconds) == {
        "input",
        "sky model",
        "plan",
        "fill",
    }
    first, second = str(info).splitlines()
    filled_of = f"{(~mask).sum()} pixels filled (holes: {info.n_holes})"
    assert first == f"{filled_of}, realization by kriging, seed {info.seed}"
    assert second == f"sky model, in uK_CMB: {info.sky_model.source}"
    none = inpaint_map(sky, np.ones(NPIX), model="kriging")
    assert np.array_equal(none, sky) and none is not sky


def test_default_is_the_exact_answer() -> None:
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
        (SpectrumError, "with_noise=False", {"draws": Draws(with_noise=False), "noise_std": None}),
        (SpectrumError, "fwhm and beam describe how a given cl", {"cl": None, "fwhm": 0.01}),
        (SpectrumError, "radians", {"fwhm": 5.0}),
        (CmbInpaintError, "refine is -1; give a number of steps", {"refine": -1}),
        (CmbInpaintError, "did you mean 'prediction'", {"fill": "predictions"}),
        (CmbInpaintError, "n_realizations is 1.5; give 1 or more", {"n_realizations": 1.5}),
        (CmbInpaintError, "seed is -3; give a whole number, 0 or more", {"seed": -3}),
        (
            SpectrumError,
            r"cl holds 1 negative or non-finite values, the first at ell = 7 \(-1.0\)",
            {"cl": spoiled(-1.0)},
        ),
        (
            SpectrumError,
            r"cl holds 1 negative or non-finite values, the first at ell = 7 \(nan\)",
            {"cl": spoiled(np.nan)},
        ),
        (
            SpectrumError,
            r"noise_std has shape \(5,\); expected a number, or one value per pixel: \(3072,\) at nside 16",
            {"noise_std": np.ones(5)},
        ),
        (SpectrumError, r"noise_std has shape \(5,\)", {"noise_std": np.ones(5), "cl": None}),
        (SpectrumError, r"noise_std holds 1 negative or non-finite values \(-1.0\)", {"noise_std": -1.0}),
        (MapError, "polconv='IAU' was given for a temperature map", {"polconv": "IAU"}),
        (MaskError, "plan and mask were given", {"plan": plan_inpainting(mask)}),
        (WeightsError, "unknown model 'krigging'", {"model": "krigging"}),
    ]
    for kind, text, options in cases:
        with pytest.raises(kind, match=text):
            fill(sky, mask, **options)
    with pytest.raises(MaskError, match="the plan is for nside 16, the map has 8"):
        fill(np.zeros(768), plan=plan_inpainting(mask))
    with pytest.raises(MaskError, match=r"guard is 1\.5"):
        plan_inpainting(mask, guard=1.5)  # type: ignore[arg-type]
    with pytest.raises(CmbInpaintError, match="first is -1; realizations are counted from 0"):
        Draws(first=-1)
    with pytest.raises(MaskError, match="all pixels are masked"):
        fill(sky, np.zeros(NPIX))
    with pytest.raises(CmbInpaintError, match="fills temperature only"):
        fill(np.stack([sky] * 3), mask)


def test_load_model_gives_what_inpaint_map_takes() -> None:
    mask, sky = hole_mask(), smooth_sky(11)
    assert np.array_equal(fill(sky, mask, model=load_model("kriging")), fill(sky, mask))


def test_the_prediction_is_made_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    mask, sky = hole_mask(), smooth_sky(12)
    count = []
    whole = Filler._predict
    monkeypatch.setattr(Filler, "_predict", lambda *a, **k: (count.append(1), whole(*a, **k))[1])
    _, info = fill(sky, mask, return_info=True)
    assert len(count) == 1  # the realization's own
    expected = info.prediction
    assert len(count) == 2 and info.prediction is expected
    again = pickle.loads(pickle.dumps(info))
    assert np.array_equal(again.prediction, expected) and again.sky_model.digest == info.sky_model.digest
    filled, info = fill(sky, mask, return_info=True, fill="prediction")
    assert len(count) == 3 and np.array_equal(info.prediction, filled) and len(count) == 3
    unread = pickle.loads(pickle.dumps(fill(sky, mask, return_info=True)[1]))
    with pytest.raises(CmbInpaintError, match=r"read info\.prediction first"):
        _ = unread.prediction


@pytest.mark.parametrize("unit", ["K", "uK", None])
@pytest.mark.parametrize("known", [{}, {"noise_std": NOISE}, {"cl": spectrum(), "noise_std": NOISE}])
def test_the_sky_model_of_one_call_serves_the_next(unit: str | None, known: dict[str, Any]) -> None:
    """Bit for bit, whatever the map's unit and wherever the model came from."""
    mask, sky = hole_mask(), smooth_sky(13) * (1e-6 if unit == "K" else 1.0)
    options: dict[str, Any] = {"model": "kriging", "unit": unit, "seed": 3}
    first, info = inpaint_map(sky, mask, return_info=True, **known, **options)
    again, other = inpaint_map(sky, mask, sky_model=info.sky_model, return_info=True, **options)
    assert np.array_equal(first, again) and other.sky_model is info.sky_model
    # Signal and noise of the work are those of the sky in µK.
    total = np.hypot(info.sky_model.rms, info.sky_model.noise_std)
    assert total == pytest.approx(np.std(smooth_sky(13)), rel=0.2)  # one sky at nside 16: 10 %


def test_a_sky_model_and_what_contradicts_it() -> None:
    mask, sky = hole_mask(), smooth_sky(14)
    model = SkyModel.from_theory(spectrum(), NSIDE, noise_std=NOISE)
    for name, value in {"cl": spectrum(), "fwhm": 0.1, "beam": np.ones(48), "noise_std": 1.0}.items():
        with pytest.raises(
            SpectrumError, match=f"sky_model was given with {name}; the sky model holds all of it"
        ):
            inpaint_map(sky, mask, sky_model=model, model="kriging", **{name: value})
    with pytest.raises(SpectrumError, match="the sky model is for nside 8, the map has 16; make one"):
        inpaint_map(
            sky, mask, sky_model=SkyModel.from_theory(spectrum(), 8, noise_std=NOISE), model="kriging"
        )
    with pytest.raises(SpectrumError, match="sky_model is a ndarray; expected a SkyModel"):
        inpaint_map(sky, mask, sky_model=spectrum(), model="kriging")
    signal = inpaint_map(sky, mask, sky_model=model, draws=Draws(with_noise=False), model="kriging", seed=1)
    both = inpaint_map(sky, mask, sky_model=model, model="kriging", seed=1)
    assert np.std((both - signal)[~mask]) == pytest.approx(NOISE, rel=0.2)  # 60 pixels


def test_a_spectrum_in_another_unit_is_noticed() -> None:
    mask, sky = hole_mask(), smooth_sky(15)
    with pytest.raises(
        SpectrumError, match=r"does not fit the map: .* looks to be in K².*in µK² from ell = 0"
    ):
        fill(sky, mask, cl=spectrum() * 1e-12, noise_std=NOISE * 1e-6)
    with pytest.raises(SpectrumError, match=r"the map looks to be in K, not µK.*unit="):
        fill(sky * 1e-6, mask)
    wrong = SkyModel.from_theory(spectrum() * 9, NSIDE, noise_std=NOISE)
    with pytest.raises(SpectrumError, match=r"it is about (8|9)(\.\d)? times too large"):
        inpaint_map(sky, mask, sky_model=wrong, model="kriging")


def test_a_short_spectrum_says_what_is_assumed_beyond() -> None:
    mask, sky = hole_mask(), smooth_sky(16)
    with pytest.warns(CmbInpaintWarning, match="the cl ends at ell = 15, .*no signal was assumed above it"):
        fill(sky, mask, cl=spectrum()[:16])


def test_no_noise_is_singular_and_said() -> None:
    mask, sky = hole_mask(), smooth_sky(17) - 0.0
    with pytest.warns(CmbInpaintWarning, match="without noise the problem is singular"):
        filled = fill(sky, mask, model="gaussian", noise_std=0.0, fill="prediction")
    assert np.all(np.isfinite(filled))


def test_a_plan_for_another_mask_is_noticed() -> None:
    mask, sky = hole_mask(), smooth_sky(18)
    other = plan_inpainting(np.roll(mask, 300))
    holed = np.where(mask, sky, np.nan)
    lost = int(np.sum(~mask & other.valid))
    expected = f"{lost} pixels that the mask calls observed .*is the plan for another mask"
    with pytest.warns(CmbInpaintWarning, match=expected):
        filled = fill(holed, plan=other)
    assert np.all(np.isfinite(filled)) and np.array_equal(filled[mask & other.valid], sky[mask & other.valid])


def test_a_guarded_pixel_without_a_value_is_filled_with_a_plan_too() -> None:
    mask, sky = hole_mask(), smooth_sky(18)
    plan = plan_inpainting(mask, guard=2)
    guarded = np.flatnonzero(mask & ~plan.valid)
    sky[guarded[:3]] = [np.nan, np.nan, hp.UNSEEN]
    with pytest.warns(CmbInpaintWarning, match="^3 pixels that the mask calls observed"):
        filled = fill(sky, plan=plan)
    assert np.all(np.isfinite(filled)) and not np.any(filled == hp.UNSEEN)
    assert np.array_equal(filled[guarded[3:]], sky[guarded[3:]]), "those that have a value keep it"


def test_progress_tells_the_stages() -> None:
    mask, sky = hole_mask(), smooth_sky(19)
    told: list[Progress] = []
    fill(sky, mask, n_realizations=2, progress=told.append, refine=2)
    moved = [p for p in told if p.stage == "plan" and p.total != 1]
    assert [(p.stage, p.done, p.total) for p in told if p not in moved] == [
        ("sky model", 0, 1), ("sky model", 1, 1), ("plan", 0, 1), ("plan", 1, 1), ("fill", 0, 2),
        ("solve", 1, 2), ("solve", 2, 2), ("fill", 1, 2), ("solve", 1, 2), ("solve", 2, 2), ("fill", 2, 2),
    ]  # fmt: skip
    assert all((p.change is not None) == (p.stage == "solve") for p in told)
    told.clear()
    fill(sky, mask, model="gaussian", progress=told.append)
    solves = [p for p in told if p.stage == "solve"]
    assert solves and all(p.total == 0 for p in solves)


@pytest.mark.parametrize("fields", ["T", "TQU"])
def test_progress_moves_within_the_sky_model_and_the_plan(fields: str) -> None:
    nside = 32
    npix, told = 12 * nside**2, []
    mask = np.ones(npix, bool)
    mask[:3000] = False
    sky = np.random.default_rng(1).standard_normal((3, npix)) * [[100.0], [3.0], [3.0]]
    inpaint_map(sky[0] if fields == "T" else sky, mask, seed=1, progress=told.append)
    for stage, least in (("sky model", 5), ("plan", 2)):
        seen = [(p.done, p.total) for p in told if p.stage == stage]
        assert seen[0] == (0, 1) and seen[-1] == (1, 1) and len(seen) >= 2 + least, seen
        assert all(0 < done < total for done, total in seen[1:-1])
        if fields == "T":
            assert sorted(seen[1:-1]) == seen[1:-1]
    holes = {p.total for p in told if p.stage == "plan"} - {1}
    assert holes == ({3000} if fields == "T" else {3000, 6000}), "hole pixels are counted"


def test_models_of_the_users_own_are_not_confused() -> None:
    """Two inpainters of one name on one plan: the second is not answered with what was kept of the first."""
    mask, sky = hole_mask(), smooth_sky(20)
    plan = plan_inpainting(mask)
    rough, exact = GaussianInpainter(tolerance=0.3), GaussianInpainter(tolerance=1e-8)
    a, b = (fill(sky, plan=plan, model=m, fill="prediction") for m in (rough, exact))
    assert np.max(np.abs(a - b)) > 1e-4 * sky.std()


@pytest.mark.parametrize("model", ["gaussian", "kriging", "diffusive"])
@pytest.mark.parametrize("refine", [None, 3])
def test_realization_i_is_the_same_whatever_the_batch(model: str, refine: int | None) -> None:
    mask, sky = hole_mask(), smooth_sky(21)
    options = {"model": model, "refine": refine}
    three = fill(sky, mask, n_realizations=3, **options)
    later = fill(sky, mask, n_realizations=2, draws=Draws(first=1), **options)
    # Transforms may split their sums otherwise: rounding.
    np.testing.assert_allclose(later, three[1:], atol=1e-8, rtol=0)
    assert np.std((three[1] - three[0])[~mask]) > 1.0
