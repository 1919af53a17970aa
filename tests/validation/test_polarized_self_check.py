"""The check of T, Q, U: T's figures are T's alone, what is right passes, what is wrong in Q, U, E or B is named."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from cmbinpaint import inpaint_map, self_check
from cmbinpaint.errors import CmbInpaintError, MaskError
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims import SkyModel, fiducial_spectra, simulate_sky
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask
from cmbinpaint.validation.self_check_result import LEVEL, SelfCheck
from cmbinpaint.validation.self_check_trials import Trials, error_spectra

NSIDE = 32
NPIX = 12 * NSIDE**2
NOISE = [3.0, 0.3, 0.3]


def known(noise: Any = NOISE) -> dict[str, Any]:
    return {"cl": fiducial_spectra(3 * NSIDE - 1), "fwhm": 3 * pixel_size(NSIDE), "noise_std": noise}


@cache
def sky_of(seed: int = 7) -> np.ndarray:
    sky = simulate_sky(**known(), nside=NSIDE, pixwin=True, seed=seed)
    sky.flags.writeable = False
    return sky


@cache
def mask_of() -> np.ndarray:
    return planck_like_mask(NSIDE)


def check(sky: Any = None, mask: Any = None, **changes: Any) -> SelfCheck:
    options = {**known(), "n_rotations": 4, "n_simulations": 20, **changes}
    return self_check(sky_of() if sky is None else sky, mask_of() if mask is None else mask, **options)


@cache
def right() -> SelfCheck:
    return check()


def test_what_is_right_passes_and_has_a_row_for_each_stokes_parameter() -> None:
    found = right()
    assert found.fits and found.stokes == "TQU"
    k, bins = 3, len(found.depths)
    assert found.ratio.shape == found.counts.shape == found.model_ratio.shape == (k, bins)
    assert found.coverage.shape == (k, 5) and np.shape(found.depth_p) == (k,)
    # Masks are one, and so is what is held out of T, Q and U.
    assert np.all(found.counts == found.counts[0])
    np.testing.assert_allclose(found.ratio[:, 0], 1.0, atol=4 * found.ratio_error[:, 0].max())
    tested = found.counts > 400  # fewer scatter
    # The exact mean of all three errs no more than kriging of each; at the edge both err by the noise.
    assert np.all(found.model_ratio[tested] < 1.1) and np.all(found.model_ratio[tested] > 0.6)
    spectra = found.spectra
    assert spectra is not None and spectra.names == ("TT", "EE", "BB", "TE", "EB", "TB")
    assert np.all(np.abs(spectra.value - spectra.expected) < 5 * spectra.error)
    assert found.sky_model.fields is Fields.TQU


def test_temperature_is_checked_as_it_is_alone() -> None:
    together, alone = right(), check(sky_of()[0], cl=known()["cl"][0], noise_std=NOISE[0])
    np.testing.assert_array_equal(together.counts[0], alone.counts)
    # The same kriging of the same held-out pixels; the simulations of T, Q, U are others.
    np.testing.assert_allclose(together.ratio[0], alone.ratio, rtol=0.2)
    np.testing.assert_array_equal(together.coverage[0], alone.coverage)


@pytest.mark.filterwarnings("ignore:the sky model may not fit Q and U")  # the power says so too
def test_noise_wrong_in_polarization_alone_is_found_there_alone() -> None:
    found = check(noise_std=[3.0, 0.2, 0.2])
    assert not found.fits and found.p < LEVEL
    depths, _ = found.significant
    assert not depths[0].any() and depths[1, 0] and depths[2, 0]
    # Errors at the edge are mostly noise, 1.5 times what is said.
    np.testing.assert_allclose(found.ratio[1:, 0], 1.5, atol=3 * found.ratio_error[1:, 0].max())
    text = str(found)
    assert "errors of Q in the edge ring (0, 1.3] are" in text and "errors of T" not in text


def test_spectra_of_errors_are_those_of_the_map() -> None:
    """Every pixel held out, errors a pure E sky: no B; T and E the same a_lm: fully correlated."""
    cl = np.zeros((4, NSIDE + 1))
    cl[:2, 2:] = cl[3, 2:] = 1.0
    sky = simulate_sky(cl * np.array([1, 1, 0, 1 - 1e-9])[:, None], NSIDE, seed=0)

    class One(Trials):
        def as_maps(self, pulls: Any) -> Any:
            return pulls[0]

    plan = InpaintingPlan.from_valid(mask_of())
    model = SkyModel.from_theory(**{**known(), "nside": NSIDE})
    rng = np.random.default_rng(0)
    parts = [
        One.prepare(plan, model.only(fields), rows, rng, 1)
        for fields, rows in ((Fields.T, slice(0, 1)), (Fields.QU, slice(1, 3)))
    ]
    found = dict(zip(Fields.TQU.spectra, error_spectra(parts, [[sky[:1]], [sky[1:]]]), strict=True))
    assert found["TE"] == pytest.approx(1.0, abs=1e-3) and found["EE"] == pytest.approx(found["TT"], abs=1e-3)
    assert found["BB"] < found["EE"] - np.log(200)  # HEALPix's quadrature leaves B of 1e-3 of E
    # Rotated by 22.5 degrees half of the power is B, all of it of E.
    t, q, u = sky
    turned = np.array([q - u, q + u]) / np.sqrt(2)
    after = dict(zip(Fields.TQU.spectra, error_spectra(parts, [[t[None]], [turned]]), strict=True))
    assert abs(after["EB"]) == pytest.approx(1.0, abs=1e-3) and abs(found["EB"]) < 0.1
    assert after["BB"] == pytest.approx(after["EE"], abs=0.01)
    assert after["TB"] * after["EB"] == pytest.approx(after["TE"], abs=0.01)


def test_q_and_u_alone_and_the_other_convention() -> None:
    options: dict[str, Any] = {"cl": known()["cl"][1:3], "noise_std": 0.3, "n_simulations": 10}
    base = check(sky_of()[1:], **options)
    assert base.stokes == "QU" and base.ratio.shape == (2, 5) and "Q: depth, px" in base.table()
    assert base.spectra is not None and base.spectra.names == ("EE", "BB", "EB")
    flipped = sky_of()[1:] * np.array([[1.0], [-1.0]])
    again = check(flipped, polconv="IAU", **options)
    np.testing.assert_allclose(again.ratio, base.ratio, rtol=1e-6)
    # Noise as covariances is noise.
    cov = np.array([[0.09], [0.0], [0.09]]) * np.ones(NPIX)
    told = check(sky_of()[1:], **{**options, "noise_std": None, "noise_cov": cov})
    np.testing.assert_allclose(told.ratio[:, 0], base.ratio[:, 0], rtol=0.05)


def test_what_has_no_holes_is_not_checked() -> None:
    everywhere = np.ones(NPIX, bool)
    found = check(mask=np.array([everywhere, mask_of()]), n_simulations=10)
    assert found.stokes == "QU" and found.ratio.shape == (2, 5)
    with pytest.raises(MaskError, match="no pixel is filled with this mask"):
        check(mask=everywhere)
    with pytest.raises(CmbInpaintError, match="kriging"):
        check(model="kriging")


def test_the_words_name_the_worst() -> None:
    base = right()
    assert base.spectra is not None
    p = np.array([0.5, 0.5, 1e-9, 0.5, 0.5, 0.5])
    odd = replace(base.spectra, value=np.array([1.0, 1.0, 1.4, 0.0, 0.0, 0.0]), p=p, all_p=1e-9)
    found = replace(base, spectra=odd)
    assert not found.fits and "errors in B are 1.400 ±" in str(found)
    assert "power of B understated?" in str(found)
    # Seven tests: depths and coverage of three Stokes parameters, and the spectra.
    assert found.p == pytest.approx(7e-9, rel=0.01)
    text = base.table()
    for line in ("T: depth, px", "Q: quintile of the prediction", "errors by mode", "EB  "):
        assert line in text
    filled = inpaint_map(sky_of(), mask_of(), sky_model=base.sky_model, seed=1)
    assert np.array_equal(filled[:, mask_of()], sky_of()[:, mask_of()])
