"""Maps of Q, U and of T, Q, U: in goes what users have, out comes the same, filled, and exact."""

import warnings
from typing import Any

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint import Draws, error_map, inpaint_map, plan_inpainting
from cmbinpaint.errors import (
    CmbInpaintError,
    CmbInpaintWarning,
    MapError,
    MaskError,
    SpectrumError,
    UnitsError,
)
from cmbinpaint.gaussian.exact import GaussianInpainter
from cmbinpaint.pipeline.filler import draw_observation
from cmbinpaint.sims import SkyModel, fiducial_spectra
from cmbinpaint.sphere.fields import Fields
from tests.gaussian.dense import DenseSolver

NSIDE = 8
NPIX = 12 * NSIDE**2
CL = fiducial_spectra(3 * NSIDE - 1)
FWHM = 3.0 / NSIDE
NOISE = np.array([3.0, 0.1, 0.1])
KNOWN: dict[str, Any] = {"cl": CL, "fwhm": FWHM, "noise_std": NOISE, "seed": 1}
TIGHT = GaussianInpainter(tolerance=1e-7, max_steps=5000)
EXACT = 1e-5  # of each Stokes parameter's rms
few = settings(max_examples=8, deadline=None)


def model_of(k: int = 3, nside: int = NSIDE) -> SkyModel:
    """The model that `KNOWN` makes, or part of it."""
    made = SkyModel.from_theory(CL, nside, fwhm=min(3.0 / nside, 1.0), noise_std=NOISE)
    return made.only({1: Fields.T, 2: Fields.QU, 3: Fields.TQU}[k])


def observe(k: int = 3, seed: int = 0, nside: int = NSIDE) -> np.ndarray:
    """(k, npix) signal and noise."""
    return np.add(*draw_observation(model_of(3, nside), np.random.default_rng(seed)))[3 - k :]


def mask_of(seed: int, nside: int = NSIDE) -> np.ndarray:
    """A band and single pixels."""
    rng, npix = np.random.default_rng(seed), 12 * nside**2
    mask = np.abs(hp.pix2vec(nside, np.arange(npix))[2] - 0.3) > 0.2
    mask[rng.integers(0, npix, npix // 60)] = False
    return mask


def two_masks(seed: int = 0, nside: int = NSIDE) -> np.ndarray:
    """(2, npix): of T and of polarization."""
    return np.stack([mask_of(seed, nside), mask_of(seed + 1, nside)[::-1]])


def fill(sky: Any, mask: Any = None, **options: Any) -> Any:
    return inpaint_map(sky, mask, **{**KNOWN, **options})


def of_qu(**options: Any) -> dict[str, Any]:
    return {"cl": CL[1:3], "noise_std": NOISE[1:], **options}


@pytest.mark.parametrize("k", [2, 3])
def test_the_mean_equals_dense_algebra_with_two_masks(k: int) -> None:
    masks, sky, model = two_masks()[[0, 1, 1]][3 - k :], observe(k, 1), model_of(k)
    filled = inpaint_map(sky, masks, sky_model=model, model=TIGHT, fill="prediction", unit="uK")
    # monopole and dipole of T are taken out before, which leaves what their broad prior would change
    expected = np.where(masks, sky, 0.0)
    expected[~masks] = DenseSolver(masks, model).mean(sky)
    away = np.sqrt(np.mean(np.square(filled - expected), axis=1)) / model.stokes_rms
    assert np.all(away < EXACT), away
    assert np.all(np.abs(filled[~masks]).max() > 0.1 * model.stokes_rms)


def test_draws_have_the_posterior_s_covariance() -> None:
    """Of signal and noise, all Stokes parameters together, TE and the masks' differences included."""
    n, nside = 250, 2
    masks, model = two_masks(5, nside)[[0, 1, 1]], model_of(3, nside)
    sky = np.add(*draw_observation(model, np.random.default_rng(3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CmbInpaintWarning)
        filled = inpaint_map(sky, masks, sky_model=model, n_realizations=n, seed=2, unit="uK")
    dense = DenseSolver(masks, model)
    noise = np.repeat(NOISE**2, masks.shape[1])[~masks.ravel()]
    root = np.linalg.cholesky(dense.covariance() + np.diag(noise))
    white = np.linalg.solve(root, (filled[:, ~masks] - dense.mean(sky)).T)
    size = len(white)
    assert np.abs(white.mean(axis=1)).max() < 4.5 / np.sqrt(n)
    scatter = white @ white.T / n - np.eye(size)
    assert np.abs(scatter).max() < 5.5 * np.sqrt(2 / n)
    assert abs(np.trace(scatter)) < 4 * np.sqrt(2 * size / n)


def test_the_error_map_is_the_posterior_s() -> None:
    masks, model = two_masks(5, 4), model_of(3, 4)
    found = error_map(plan_inpainting(masks), model, n=80, seed=1)
    valid = masks[[0, 1, 1]]
    assert found.shape == valid.shape and not found[valid].any()
    ratio = found[~valid] / DenseSolver(valid, model).std()
    one = 1 / np.sqrt(160)  # the scatter of a pixel's, which its neighbors share
    assert ratio.mean() == pytest.approx(1.0, abs=one) and ratio.std() < 1.3 * one


@few
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([2, 3]),
    dtype=st.sampled_from(["<f4", ">f4", "<f8"]),
    nest=st.booleans(),
    kind=st.sampled_from(["array", "masked", "quantity", "list", "list of quantities"]),
    n=st.sampled_from([None, 2]),
)
def test_out_comes_what_came_in(seed: int, k: int, dtype: str, nest: bool, kind: str, n: int | None) -> None:
    sky, mask = observe(k, seed).astype(dtype), two_masks(seed)[[0, 1, 1]][3 - k :]
    expected = fill(sky, mask, n_realizations=n, **(of_qu() if k == 2 else {}))
    order = hp.nest2ring(NSIDE, np.arange(NPIX)) if nest else np.arange(NPIX)
    values, observed = sky[:, order], mask[:, order]
    made: Any = {
        "array": lambda: values,
        "masked": lambda: np.ma.array(np.where(observed, values, 7), mask=~observed),
        "quantity": lambda: u.Quantity(values * 1e-6, u.K, dtype=values.dtype),
        "list": lambda: list(values),
        "list of quantities": lambda: [u.Quantity(row, u.uK, dtype=row.dtype) for row in values],
    }[kind]()
    filled = fill(
        made,
        None if kind == "masked" else observed,
        nest=nest,
        n_realizations=n,
        **(of_qu() if k == 2 else {}),
    )
    plain = np.asarray(getattr(filled, "value", filled))
    assert plain.shape == expected.shape == ((k, NPIX) if n is None else (n, k, NPIX))
    given_values = np.asarray(getattr(made, "value", values))
    assert plain.dtype == np.dtype(dtype.replace(">", "<")) and np.isfinite(plain).all()
    assert np.array_equal(
        plain[..., observed], np.broadcast_to(given_values[observed], plain[..., observed].shape)
    )
    scale = 1e-6 if kind == "quantity" else 1.0
    np.testing.assert_allclose(plain / scale, expected[..., order], rtol=2e-6, atol=2e-6)
    assert not np.ma.getmaskarray(filled).any() and isinstance(filled, u.Quantity) == ("quant" in kind)


@few
@given(seed=st.integers(0, 1000), k=st.sampled_from([2, 3]), cov=st.booleans(), own=st.booleans())
def test_iau_flips_u_and_nothing_else(seed: int, k: int, cov: bool, own: bool) -> None:
    """On the way in and back, bit for bit; of the noise's covariance and of one's own simulations too."""
    sky, mask, flip = observe(k, seed), mask_of(seed), np.array([1.0, 1.0, -1.0])[3 - k :, None]
    rows = np.full((3 if k == 2 else 6, NPIX), 0.005)
    rows[[0, 2] if k == 2 else [0, 3, 5]] = 0.02
    rows[0] += 0.18 * (k == 3)
    signs = np.array([1, -1, 1] if k == 2 else [1, 1, -1, 1, -1, 1])[:, None]
    options: dict[str, Any] = {
        "cl": CL if k == 3 else CL[1:3],
        "noise_std": None if cov else [0.4, 0.14, 0.14][3 - k :],
    }
    other = dict(options)
    if cov:
        options["noise_cov"], other["noise_cov"] = rows, signs * rows
    if own:
        simulated = observe(k, seed + 1)
        options |= {"seed": None, "draws": Draws(fluctuations=simulated)}
        other |= {"seed": None, "draws": Draws(fluctuations=flip * simulated)}
    expected = fill(sky, mask, polconv="COSMO", **options)
    np.testing.assert_array_equal(fill(flip * sky, mask, polconv="IAU", **other), flip * expected)
    assert np.array_equal(fill(sky, mask, **options), expected)


def test_masks_of_every_form() -> None:
    sky, masks = observe(), two_masks()
    base = fill(sky, masks)
    assert np.array_equal(fill(sky, masks[[0, 1, 1]]), base)
    assert np.array_equal(fill(sky, plan=plan_inpainting(masks)), base)
    assert np.array_equal(fill(np.where(masks[[0, 1, 1]], sky, hp.UNSEEN)), base)
    assert np.array_equal(fill(sky, masks[0]), fill(sky, np.stack([masks[0]] * 3)))
    assert np.array_equal(fill(sky, masks[1])[1:, masks[1]], sky[1:, masks[1]])
    soft = plan_inpainting(np.where(masks, 0.95, 0.1), threshold=0.9)
    assert np.array_equal(fill(sky, plan=soft), base)


def test_one_plan_serves_t_and_polarization_and_is_not_prepared_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, sky = plan_inpainting(mask_of(0)), observe()
    first = fill(sky, plan=plan)
    t = fill(sky[0], plan=plan, noise_std=NOISE[0])
    prepared: list[Any] = []
    whole = GaussianInpainter.prepare
    monkeypatch.setattr(GaussianInpainter, "prepare", lambda *a, **k: (prepared.append(1), whole(*a, **k))[1])
    np.testing.assert_array_equal(fill(sky, plan=plan), first)
    np.testing.assert_array_equal(fill(sky[0], plan=plan, noise_std=NOISE[0]), t)  # of six rows TT is taken
    assert len(prepared) == 0


def test_where_only_u_is_observed_q_is_filled_and_u_stays_but_is_no_datum() -> None:
    sky, mask = observe(2), np.stack([mask_of(0)] * 2)
    lonely = np.flatnonzero(mask[0])[[5, 60, 200]]
    mask[0, lonely] = False
    filled, info = fill(sky, mask, return_info=True, **of_qu())
    np.testing.assert_array_equal(filled[1, lonely], sky[1, lonely])
    assert not np.any(filled[0, lonely] == sky[0, lonely]) and info.n_filled == (~mask[0]).sum()
    sky[1, lonely] += 50.0
    np.testing.assert_array_equal(fill(sky, mask, **of_qu())[0], filled[0])


def test_more_b_than_e_is_warned_of() -> None:
    with pytest.warns(
        CmbInpaintWarning, match="10 times more power in BB than in EE at most multipoles: are they in"
    ):
        swapped = fill(SKY[1:], MASK, **of_qu(cl=CL[[2, 1]]))
    assert np.all(np.isfinite(swapped))


def test_holes_of_q_and_u_in_a_sky_of_t() -> None:
    """Q, U UNSEEN where T is not, and a mask of T that is wider than that of polarization: each keeps what it has."""
    wider = np.stack([MASK, MASK | (np.arange(NPIX) < 40)])
    sky = SKY.copy()
    lost = np.flatnonzero(wider.all(axis=0))[5:9]
    sky[1:, lost] = hp.UNSEEN
    with pytest.warns(
        CmbInpaintWarning, match="4 pixels that the mask calls observed are NaN, UNSEEN or masked"
    ):
        filled = fill(sky, wider)
    kept = wider[[0, 1, 1]].copy()
    kept[1:, lost] = False
    np.testing.assert_array_equal(filled[kept], sky[kept])
    assert np.all(np.isfinite(filled)) and np.all(np.abs(filled[~kept]) < 1e4)
    assert np.all(filled[0, lost] == SKY[0, lost]) and np.all(filled[~kept] != np.where(kept, 0, sky)[~kept])


def test_guarded_and_excluded_pixels() -> None:
    masks, sky = two_masks(), observe()
    excluded = np.arange(NPIX) < NPIX // 16
    plan = plan_inpainting(masks, exclude=excluded, guard=1)
    filled = fill(sky, plan=plan)
    left = masks[[0, 1, 1]] | excluded
    np.testing.assert_array_equal(filled[left], sky[left])
    assert not np.any(filled[~left] == sky[~left])
    sky[:, excluded] = 1e3
    np.testing.assert_array_equal(fill(sky, plan=plan)[~left], filled[~left])
    plan = plan.of(Fields.TQU)
    assert plan.valid[0].sum() < masks[0].sum() and not np.array_equal(plan.valid[0], plan.valid[1])
    apart = plan_inpainting(masks, exclude=np.stack([excluded, ~excluded]))
    np.testing.assert_array_equal(apart.of(Fields.TQU).excluded[2], ~excluded)


def test_without_te_t_q_u_is_t_and_q_u_apart() -> None:
    sky, masks, cl = observe(), two_masks(), CL.copy()
    cl[3] = 0.0
    model = SkyModel.from_theory(cl, NSIDE, fwhm=FWHM, noise_std=NOISE)
    options: dict[str, Any] = {"model": TIGHT, "fill": "prediction", "sky_model": model}
    together = inpaint_map(sky, masks, **options)
    alone, polarization = inpaint_map(sky[0], masks[0], **options), inpaint_map(sky[1:], masks[1], **options)
    for one, other, rms in zip(together, [alone, *polarization], model_of().stokes_rms, strict=True):
        np.testing.assert_allclose(one, other, atol=EXACT * rms)


def test_a_quarter_turn_turns_the_prediction() -> None:
    """About the axis: pixels go to pixels, and their frames along."""
    theta, phi = hp.pix2ang(NSIDE, np.arange(NPIX))
    turned = hp.ang2pix(NSIDE, theta, phi + np.pi / 2)
    sky, masks = observe(), two_masks()
    options: dict[str, Any] = {"model": TIGHT, "fill": "prediction", "seed": None}
    base, again = fill(sky, masks, **options), fill(sky[:, turned], masks[:, turned], **options)
    for one, other, rms in zip(again, base[:, turned], model_of().stokes_rms, strict=True):
        np.testing.assert_allclose(one, other, atol=EXACT * rms)


def test_spectra_of_every_form() -> None:
    sky, mask = observe(), mask_of(0)
    base = fill(sky, mask)
    assert np.array_equal(fill(sky, mask, cl=CL.T), base)
    assert np.array_equal(fill(sky, mask, cl=np.concatenate([CL, 0 * CL[:2]])), base)
    np.testing.assert_allclose(fill(sky, mask, cl=CL * 1e-12 * u.K**2), base, atol=1e-9)
    of_two = fill(sky[1:], mask, **of_qu())
    assert np.array_equal(fill(sky[1:], mask, **of_qu(cl=CL)), of_two)
    assert np.array_equal(fill(sky[1:], mask, **of_qu(cl=np.stack([*CL[1:3], 0 * CL[1]]))), of_two)
    twisted = fill(sky[1:], mask, **of_qu(cl=np.stack([*CL[1:3], 0.5 * np.sqrt(CL[1] * CL[2])])))
    assert not np.array_equal(twisted, of_two)


def test_noise_of_every_form() -> None:
    sky, mask = observe(), mask_of(0)
    base = fill(sky, mask)
    level = np.repeat(NOISE[:, None], NPIX, axis=1)
    np.testing.assert_allclose(fill(sky, mask, noise_std=level), base, atol=1e-5)
    rows = np.zeros((6, NPIX))
    rows[[0, 3, 5]] = level**2
    same = fill(sky, mask, noise_std=None, noise_cov=rows)
    np.testing.assert_allclose(same, base, atol=1e-3 * NOISE[1])
    assert np.array_equal(fill(sky, mask, noise_std=None, noise_cov=rows * 1e-12 * u.K**2), same)
    for name, rows_of in (("noise_std", level), ("noise_cov", rows)):
        given_rows = np.where(mask, rows_of, np.nan)
        options = {"noise_std": None, name: given_rows}
        with pytest.warns(CmbInpaintWarning, match=f"{name} has no value in {(~mask).sum()} pixels"):
            np.testing.assert_allclose(fill(sky, mask, **options), base, atol=1e-3)
        given_rows[-1, np.flatnonzero(mask)[7]] = np.inf
        with pytest.raises(SpectrumError, match=f"{name} has no value .* in 1 pixels that are data"):
            fill(sky, mask, **options)
    nest = hp.nest2ring(NSIDE, np.arange(NPIX))
    uneven = level * np.linspace(1, 2, NPIX)
    np.testing.assert_array_equal(
        fill(sky[:, nest], mask[nest], nest=True, noise_std=uneven[:, nest]),
        fill(sky, mask, noise_std=uneven)[:, nest],
    )


def test_correlated_noise_is_drawn_correlated() -> None:
    sky, mask = observe(2), np.arange(NPIX) >= 100
    rows = np.repeat([[0.04], [0.03], [0.09]], NPIX, axis=1)
    options: dict[str, Any] = of_qu(noise_std=None, noise_cov=rows, n_realizations=60)
    signal = fill(sky, mask, **options | {"draws": Draws(with_noise=False)})
    noise = (fill(sky, mask, **options) - signal)[..., ~mask]
    found = np.einsum("nip,njp->ij", noise, noise) / (60 * 100)
    np.testing.assert_allclose(found, [[0.04, 0.03], [0.03, 0.09]], rtol=0.1)


def test_beams_of_t_and_polarization_apart() -> None:
    sky, mask = observe(), mask_of(0)
    beam = hp.gauss_beam(FWHM, CL.shape[1] - 1)
    options: dict[str, Any] = {"fwhm": None}
    base = fill(sky, mask, beam=beam, **options)
    assert np.array_equal(fill(sky, mask, beam=np.stack([beam] * 2), **options), base)
    assert np.array_equal(fill(sky, mask, beam=np.stack([beam] * 3), **options), base)
    wide = hp.gauss_beam(1.5 * FWHM, CL.shape[1] - 1)
    assert not np.array_equal(fill(sky, mask, beam=np.stack([beam, wide]), **options), base)
    with pytest.raises(SpectrumError, match=r"beam has shape \(4, 24\); expected b_ell"):
        fill(sky, mask, beam=np.stack([beam] * 4), **options)


def test_own_fluctuations() -> None:
    sky, mask, own = observe(), two_masks(), np.stack([observe(3, i) for i in (5, 6)])
    options: dict[str, Any] = {"seed": None, "n_realizations": 2}
    base = fill(sky, mask, draws=Draws(fluctuations=own), **options)
    for given_form in (iter(own), lambda i: own[i], list(own)):
        assert np.array_equal(fill(sky, mask, draws=Draws(fluctuations=given_form), **options), base)
    one = fill(sky, mask, seed=None, draws=Draws(fluctuations=own[0]))
    assert np.array_equal(one, base[0])
    for wrong, words in (
        (own[:, :2], r"fluctuations have shape \(2, 2, 768\); expected \(n, 3, 768\)"),
        (lambda i: own[i][0], "fluctuation 0 is of T, the map of TQU"),
    ):
        with pytest.raises(MapError, match=words):
            fill(sky, mask, draws=Draws(fluctuations=wrong), **options)


def test_realizations_do_not_depend_on_how_many() -> None:
    sky, mask = observe(), two_masks()
    three = fill(sky, mask, n_realizations=3)
    assert np.array_equal(three[0], fill(sky, mask))
    assert np.array_equal(three[2], fill(sky, mask, draws=Draws(first=2)))
    assert not np.array_equal(three[0, :, ~mask[1]], three[1, :, ~mask[1]])


def test_a_constant_is_itself() -> None:
    sky, mask = np.array([[7.0], [2.0], [-1.0]]) * np.ones(NPIX), mask_of(0)
    np.testing.assert_array_equal(fill(sky, mask, polconv="IAU"), sky)


def test_a_monopole_and_dipole_of_t_go_through() -> None:
    sky, mask = observe(), two_masks()
    smooth = 1e3 + 300 * hp.pix2vec(NSIDE, np.arange(NPIX))[0]
    shifted = fill(sky + np.array([[1.0], [0.0], [0.0]]) * smooth, mask)
    np.testing.assert_allclose(shifted[0] - smooth, fill(sky, mask)[0], atol=1e-6)
    np.testing.assert_allclose(shifted[1:], fill(sky, mask)[1:], atol=1e-6)


SKY, MASK = observe(), mask_of(0)
UNKNOWN: dict[str, Any] = {"cl": None, "fwhm": None}
BAD_TE = CL.copy()
BAD_TE[3, 9] = 2 * np.sqrt(CL[0, 9] * CL[1, 9])
NO_BB = CL.copy()
NO_BB[2] = -1e-9


@pytest.mark.parametrize(
    ("kind", "text", "sky", "mask", "options"),
    [
        (MaskError, "the mask has nside 4, the map nside 8", SKY, np.ones((2, 192)), {}),
        (MaskError, r"the mask has shape \(4, 768\)", SKY, np.ones((4, NPIX)), {}),
        (MaskError, "the mask has 3 rows, the map is of Q, U", SKY[1:], np.ones((3, NPIX)), of_qu()),
        (MaskError, "all pixels of one Stokes parameter are masked", SKY, np.stack([MASK, 0 * MASK]), {}),
        (MapError, r"pass map\.T: one row for each Stokes parameter", SKY.T, MASK, {}),
        (MapError, r"shape \(4, 768\); one map of shape \(npix,\), or \(3, npix\) of T, Q, U", np.ones((4, NPIX)),
         MASK, {}),
        (MapError, "U: 1 observed pixels are infinite", np.where(np.arange(3 * NPIX).reshape(3, -1) == 3 * NPIX - 1,
         np.inf, SKY), np.ones(NPIX), {}),
        (UnitsError, "the maps of a list are in units that differ", [SKY[0] * u.K, SKY[1] * u.Jy], MASK, of_qu()),
        (SpectrumError, "are not those of any sky at ell = 9: TT = .*TE² <= TT·EE", SKY, MASK, {"cl": BAD_TE}),
        (SpectrumError, r"healpy's old order, TT, TE, EE, BB.*cl\[\[0, 2, 3, 1\]\]", SKY, MASK,
         {"cl": fiducial_spectra(200)[[0, 3, 1, 2]]}),
        (SpectrumError, "not those of any sky", SKY, MASK, {"cl": NO_BB}),
        (SpectrumError, "EE and BB stand in each other's place: the spectra are not those of any sky at ell = 2", SKY,
         MASK, {"cl": fiducial_spectra(200)[[0, 2, 1, 3]]}),
        (SpectrumError, "cl has shape .*: EE, BB, EB; the map is of T, Q, U, which needs TT, EE, BB, TE", SKY, MASK,
         {"cl": CL[[0, 1, 3]]}),
        (SpectrumError, r"cl \(BB\) holds 22 non-finite values", SKY, MASK,
         {"cl": CL * np.array([[1], [1], [np.nan], [1]])}),
        (SpectrumError, "or it looks to be D_ell", SKY, MASK,
         {"cl": CL * np.arange(24) * np.arange(1, 25) / (2 * np.pi)}),
        (SpectrumError, "the beams have 24, 12 multipoles; give rows of one length, from ell = 0", SKY, MASK,
         {"fwhm": None, "beam": [np.ones(24), np.ones(12)]}),
        (SpectrumError, r"beam has shape \(3, 24\); expected b_ell .*, or a row for each of E, B", SKY[1:], MASK,
         of_qu(fwhm=None, beam=np.ones((3, 24)))),
        (MaskError, "all pixels of one Stokes parameter are masked", np.array([*SKY[:2], np.full(NPIX, np.nan)]), None,
         {}),
        (MapError, "polconv='IAU' was given for a temperature map", SKY[0], MASK,
         {"cl": CL[0], "noise_std": 3.0, "polconv": "IAU"}),
        (SpectrumError, "cl has shape .*: TT; the map is of T, Q, U, which needs TT, EE, BB, TE", SKY, MASK,
         {"cl": CL[0]}),
        (SpectrumError, "EE, BB; the map is of T, Q, U, which needs TT", SKY, MASK, {"cl": CL[1:3]}),
        (SpectrumError, r"cl has shape \(24,\): TT; the map is of Q, U, which needs EE, BB", SKY[1:], MASK,
         of_qu(cl=CL[0])),
        (SpectrumError, "the sky model does not fit the map", SKY, MASK, {"cl": CL * 1e-12}),
        (SpectrumError, "noise_std and noise_cov were given", SKY, MASK, {"noise_cov": np.ones((6, NPIX))}),
        (SpectrumError, r"noise_cov has shape \(3, 768\); expected", SKY, MASK,
         {"noise_cov": np.ones((3, NPIX)), "noise_std": None}),
        (SpectrumError, "noise_cov is no covariance in 768 pixels", SKY[1:], MASK,
         of_qu(noise_cov=np.outer([1, 2, 1], np.ones(NPIX)), noise_std=None)),
        (SpectrumError, r"noise_std has shape \(2,\); expected a number, one for each Stokes parameter: \(3,\)", SKY,
         MASK, {"noise_std": [1.0, 2.0]}),
        (SpectrumError, "a sky model of QU says nothing of TQU", SKY, MASK,
         {**UNKNOWN, "noise_std": None, "sky_model": model_of(2)}),
        (MapError, "polconv is 'iau'; known: COSMO, IAU", SKY, MASK, {"polconv": "iau"}),
        (CmbInpaintError, "model 'kriging' fills temperature only, the map is of T, Q, U: use model='default', the",
         SKY, MASK, {"model": "kriging"}),
        (CmbInpaintError, "model 'diffusive' fills temperature only", SKY[1:], MASK, of_qu(model="diffusive")),
    ],
)  # fmt: skip
def test_what_cannot_be_filled_is_refused(kind: Any, text: str, sky: Any, mask: Any, options: Any) -> None:
    with pytest.raises(kind, match=text):
        fill(sky, mask, **options)
