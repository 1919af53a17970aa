"""A plan in a file: the same fills to the bit, no weights computed again; refused where it does not fit."""

import os
from pathlib import Path

import healpy as hp
import numpy as np
import pytest

from cmbinpaint import inpaint_map, load_plan, plan_inpainting
from cmbinpaint.errors import PlanError
from cmbinpaint.gaussian import hole_posterior
from cmbinpaint.problem import array_file
from cmbinpaint.sims import SkyModel, fiducial_cl, simulate_sky

NSIDE, FWHM, NOISE = 16, 0.2, 2.0
NPIX = 12 * NSIDE**2
CL = fiducial_cl(3 * NSIDE - 1)
MASK = np.abs(hp.pix2ang(NSIDE, np.arange(NPIX), lonlat=True)[1]) > 12
MODEL = SkyModel.from_theory(CL, NSIDE, fwhm=FWHM, noise_std=NOISE)
SKY = simulate_sky(CL, NSIDE, fwhm=FWHM, pixwin=True, noise_std=NOISE, seed=1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plan_inpainting(MASK, sky_model=MODEL).save(tmp_path_factory.mktemp("plans") / "a.plan")


def polarized() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spectra, a sky and noise maps of T, Q, U."""
    ell = np.arange(CL.size)
    ee = CL * 0.02 * (ell > 1)
    cl = np.stack([CL, ee, ee * 0.1, 0.3 * np.sqrt(CL * ee)])
    noise = np.random.default_rng(0).uniform(0.5, 1.0, (3, NPIX))
    return cl, simulate_sky(cl, NSIDE, fwhm=FWHM, pixwin=True, noise_std=1.0, seed=2), noise


def test_fills_of_a_file_are_those_of_the_plan(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = inpaint_map(SKY, MASK, sky_model=MODEL, seed=3, unit="uK")
    plan = load_plan(saved)
    assert plan.sky_model is not None and plan.sky_model.digest == MODEL.digest
    monkeypatch.setattr(hole_posterior, "factor_holes", None)  # it would fail if it were called
    np.testing.assert_array_equal(inpaint_map(SKY, plan=plan, seed=3, unit="uK"), expected)
    again = inpaint_map(SKY, plan=load_plan(saved), sky_model=MODEL, seed=3, unit="uK")
    np.testing.assert_array_equal(again, expected)
    # An absolute value: as large as the sky is in the holes.
    assert 0.6 < expected[~MASK].std() / SKY[~MASK].std() < 1.5


def test_of_polarization_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cl, sky, noise = polarized()
    model = SkyModel.from_theory(cl, NSIDE, fwhm=FWHM, noise_std=noise)
    masks = np.stack([MASK, np.roll(MASK, 5)])
    expected = inpaint_map(sky, masks, sky_model=model, seed=3, unit="uK")
    path = plan_inpainting(masks, sky_model=model).save(tmp_path / "a.plan")
    for name in ("factor_holes", "factor_polarization"):
        monkeypatch.setattr(hole_posterior, name, None)
    np.testing.assert_array_equal(inpaint_map(sky, plan=load_plan(path), seed=3, unit="uK"), expected)


def test_kriging_keeps_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_inpainting(MASK)
    expected = inpaint_map(SKY, plan=plan, sky_model=MODEL, model="kriging", seed=3, unit="uK")
    path = plan.save(tmp_path / "a.plan", sky_model=MODEL)
    monkeypatch.setattr(hole_posterior, "factor_holes", None)
    filled = inpaint_map(SKY, plan=load_plan(path), model="kriging", seed=3, unit="uK")
    np.testing.assert_array_equal(filled, expected)


def test_another_sky_model_is_refused(saved: Path) -> None:
    other = SkyModel.from_theory(CL, NSIDE, fwhm=FWHM, noise_std=2 * NOISE)
    with pytest.raises(PlanError, match=r"for another sky model .*; omit what is said of the sky"):
        inpaint_map(SKY, plan=load_plan(saved), sky_model=other)
    with pytest.raises(PlanError, match="for another sky model"):
        inpaint_map(SKY, plan=load_plan(saved), noise_std=NOISE, unit="uK")


def test_a_plan_with_a_hole_more_computes_its_own_weights(saved: Path) -> None:
    """Weights of another mask are never taken."""
    sky = SKY.copy()
    sky[np.flatnonzero(MASK)[7]] = np.nan
    with pytest.warns(UserWarning, match="1 pixels that the mask calls observed"):
        filled = inpaint_map(sky, plan=load_plan(saved), seed=3, unit="uK")
    with pytest.warns(UserWarning, match="1 pixels that the mask calls observed"):
        expected = inpaint_map(sky, MASK, sky_model=MODEL, seed=3, unit="uK")
    np.testing.assert_array_equal(filled, expected)


def test_damage_is_refused(saved: Path, tmp_path: Path) -> None:
    whole, bad = saved.read_bytes(), tmp_path / "bad.plan"
    flipped = bytearray(whole)
    flipped[-4000] ^= 1
    for content in (whole[:-1], whole[: len(whole) // 2], whole[:60], bytes(flipped), whole + b"0"):
        bad.write_bytes(content)
        with pytest.raises(PlanError, match=f"{bad} is damaged or not complete; make the plan again"):
            load_plan(bad)
    for content in (b"", b"SIMPLE  =", os.urandom(3000)):
        bad.write_bytes(content)
        with pytest.raises(PlanError, match="is not a plan that cmbinpaint saved"):
            load_plan(bad)
    with pytest.raises(FileNotFoundError):
        load_plan(tmp_path / "none.plan")


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(array_file, "__version__", "0.0.1")
        path = plan_inpainting(MASK).save(tmp_path / "a.plan")
    with pytest.raises(PlanError, match=r"was made by cmbinpaint 0\.0\.1, this is .*; make the plan again"):
        load_plan(path)


def test_a_file_is_replaced_only_if_asked(saved: Path, tmp_path: Path) -> None:
    plan, path = plan_inpainting(MASK), tmp_path / "a.plan"
    path.write_bytes(b"mine")
    with pytest.raises(PlanError, match="exists already; give another name, or overwrite=True"):
        plan.save(path)
    assert path.read_bytes() == b"mine" and plan.save(path, overwrite=True) == path
    assert load_plan(path).sky_model is None and load_plan(path).digest == plan.digest
    assert os.listdir(tmp_path) == ["a.plan"]


def test_a_sky_model_of_another_nside_is_refused() -> None:
    with pytest.raises(ValueError, match="the sky model is for nside 16, the mask has 8"):
        plan_inpainting(np.arange(768) > 20, sky_model=MODEL)


def test_colored_noise_is_left_out_of_predictions_from_a_file_too(tmp_path: Path) -> None:
    colored = np.where(np.arange(CL.size) < 2, 0.0, 0.2 * CL)
    model = SkyModel.from_theory(CL, NSIDE, fwhm=FWHM, noise_std=NOISE, colored_noise_cl=colored)
    options = {"fill": "prediction", "unit": "uK"}
    sky = SKY + simulate_sky(colored, NSIDE, seed=2)
    expected = inpaint_map(sky, MASK, sky_model=model, **options)
    path = plan_inpainting(MASK, sky_model=model).save(tmp_path / "a.plan")
    np.testing.assert_array_equal(inpaint_map(sky, plan=load_plan(path), **options), expected)
