"""Monopole and dipole: fitted, put back, and how well they are known, beside brute force."""

import healpy as hp
import numpy as np
import pytest

from cmbinpaint.errors import CmbInpaintWarning
from cmbinpaint.problem.monopole_dipole import (
    fit_monopole_dipole,
    monopole_dipole_map,
    monopole_dipole_std,
    warn_if_uncertain,
)
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.theory import fiducial_cl

NSIDE = 16
NPIX = 12 * NSIDE**2
NOISE = 3.0


def cut(least_z: float) -> InpaintingPlan:
    z = hp.pix2vec(NSIDE, np.arange(NPIX))[2]
    return InpaintingPlan.from_valid(z > least_z)


def test_a_trend_is_found_and_made_again() -> None:
    plan, trend = cut(-0.2), np.array([3.0, -1.0, 0.5, 2.0])
    sky = trend[0] + np.array(hp.pix2vec(NSIDE, np.arange(NPIX))).T @ trend[1:]
    np.testing.assert_allclose(
        fit_monopole_dipole(np.where(plan.valid, sky, np.nan), plan), trend, atol=1e-10
    )
    np.testing.assert_allclose(monopole_dipole_map(trend, NSIDE), sky, atol=1e-12)
    # On a tenth of the sky the monopole alone.
    small = cut(0.8)
    assert not fit_monopole_dipole(np.where(small.valid, sky, np.nan), small)[1:].any()


@pytest.mark.parametrize("least_z", [0.2, -0.6])
def test_its_uncertainty_is_that_of_simulations(least_z: float) -> None:
    plan = cut(least_z)
    cl = np.where(np.arange(48) < 2, 0.0, fiducial_cl(47))
    model = SkyModel.from_theory(cl, NSIDE, fwhm=0.2, noise_std=NOISE)
    vectors = np.column_stack([np.ones(NPIX), *hp.pix2vec(NSIDE, np.arange(NPIX))])
    squares = []
    for seed in range(150):
        sky = simulate_sky(cl, NSIDE, fwhm=0.2, pixwin=True, noise_std=NOISE, seed=seed)
        fitted = np.linalg.lstsq(vectors[plan.valid], sky[plan.valid], rcond=None)[0]
        squares.append(np.mean(np.square(vectors[plan.targets] @ fitted)))
    # Four numbers a sky, one of which rules: their mean square over 150 skies is known to some 10 %.
    assert monopole_dipole_std(plan, model) == pytest.approx(np.sqrt(np.mean(squares)), rel=0.12)


def test_noise_alone_leaves_the_uncertainty_of_least_squares() -> None:
    plan = cut(0.2)
    model = SkyModel.from_theory(1e-12 * fiducial_cl(47), NSIDE, noise_std=NOISE)
    vectors = np.column_stack([np.ones(NPIX), *hp.pix2vec(NSIDE, np.arange(NPIX))])
    cov = NOISE**2 * np.linalg.inv(vectors[plan.valid].T @ vectors[plan.valid])
    variance = np.einsum("pi,ij,pj->p", vectors[plan.targets], cov, vectors[plan.targets])
    assert monopole_dipole_std(plan, model) == pytest.approx(np.sqrt(variance.mean()), rel=1e-3)


def test_an_uncertain_monopole_and_dipole_are_warned_of() -> None:
    model = SkyModel.from_theory(fiducial_cl(47), NSIDE, fwhm=0.2, noise_std=NOISE)
    warn_if_uncertain(monopole_dipole_std(cut(-0.6), model), model)
    with pytest.warns(
        CmbInpaintWarning, match=r"monopole and dipole uncertain by .* ignore its ell = 0 and 1"
    ):
        warn_if_uncertain(monopole_dipole_std(cut(0.2), model), model)
