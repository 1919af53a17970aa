"""Wrong sky models: the right one changes nothing, wrong ones do what theory says, each sky from its number alone."""

import numpy as np
import pytest

from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.gaussian.coarse_to_fine import CoarseToFineInpainter
from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.spectra.full_sky import anafast
from cmbinpaint.validation.ensemble import Candidate
from cmbinpaint.validation.misspecified import (
    SCENARIOS,
    STANDARD,
    Misspecified,
    MisspecifiedEnsemble,
    Scenario,
)
from tests.validation.worlds import setup_at

NSIDE, SKIES = 16, 5
SETUP = setup_at(NSIDE)
KRIGING = Candidate("kriging", CoarseToFineInpainter(16))
SOME = (
    Scenario(STANDARD),
    Scenario("given the truth"),
    Scenario("loud", amplitude=1.5),
    Scenario("quiet quadrupole", quadrupole=0.2),
    Scenario("bump", bump=0.3),
    Scenario("striped", knee=100.0),
    Scenario("wings", wings_uK=30.0),
)


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Misspecified:
    ensemble = MisspecifiedEnsemble(SETUP, KRIGING, tmp_path_factory.mktemp("wrong"), SOME)
    for unit in ensemble.missing(SKIES):
        ensemble.make(unit)
    assert ensemble.missing(SKIES) == []
    return ensemble.result(SKIES)


def test_given_the_truth_nothing_changes(result) -> None:
    effect = result.fixed["given the truth"]
    np.testing.assert_allclose(effect.excess.value, 1.0, rtol=1e-12)
    np.testing.assert_allclose(effect.shift.value, 0.0, atol=1e-12)


def test_a_spectrum_given_too_loud_fills_holes_too_loud(result) -> None:
    effect = result.fixed["loud"]
    # half the power more in what the prediction does not know: some percent of the whole, never more than
    # 0.5 times the share of sky in holes (and what leaks from there into other multipoles)
    assert effect.shift.value[-1] > max(0.02, 3 * effect.shift.error[-1])
    assert (effect.shift.value > -3 * effect.shift.error).all() and (effect.shift.value < 0.5).all()
    # with hardly any noise the prediction does not depend on the amplitude
    np.testing.assert_allclose(effect.excess.value, 1.0, atol=0.02)


def test_wings_spoil_the_rim_most(result) -> None:
    for part in (result.fixed, result.estimated):
        excess = part["wings"].excess.value
        assert excess[0] > 2 and excess[0] > excess[1] > 1


def test_what_is_estimated_and_what_stands_once(result) -> None:
    assert set(result.fixed) == {"given the truth", "loud", "quiet quadrupole", "bump", "striped", "wings"}
    assert set(result.estimated) == {STANDARD, "quiet quadrupole", "bump", "striped", "wings"}
    # an estimate from some hundred modes serves the prediction well
    np.testing.assert_allclose(result.estimated[STANDARD].excess.value, 1.0, atol=0.05)


def test_correlated_noise_has_the_power_that_is_said(tmp_path) -> None:
    ensemble = MisspecifiedEnsemble(SETUP, KRIGING, tmp_path, (SOME[0], SOME[5]))
    lmax = 20
    power = np.mean([anafast(ensemble.contamination(SOME[5], sky), lmax) for sky in range(40)], axis=0)
    ell = np.arange(2, lmax + 1)
    ratio = power[2:] / (SETUP.sky_model.noise_cl * 100 / ell)
    assert np.average(ratio, weights=2 * ell + 1) == pytest.approx(
        1.0, abs=0.05
    )  # 40 skies of 437 modes: 1 %


def test_true_spectra() -> None:
    for scenario in SOME[3:5]:
        ratio = scenario.true_cl(SETUP)[2:] / SETUP.cl[2:]
        if scenario.bump:
            assert ratio.max() == pytest.approx(1.3, rel=1e-3) and np.argmax(ratio) + 2 == 0.75 * NSIDE
        else:
            assert ratio[0] == 0.2 and (ratio[1:] == 1).all()


def test_tilt_is_about_the_pivot() -> None:
    standard = setup_at(8).cl
    ratio = Scenario("t", tilt=1.2).true_cl(setup_at(8))[2:] / standard[2:]
    # large scales lie below the pivot of 0.05/Mpc: (k / k_pivot)^0.235 with k of some 1e-4 to 2e-3/Mpc
    assert (ratio > 0.15).all() and (ratio < 0.6).all() and ratio[-1] > ratio[0]


def test_one_seed_is_one_sky_under_every_scenario(tmp_path) -> None:
    ensemble = MisspecifiedEnsemble(SETUP, KRIGING, tmp_path, SOME[:4])
    lmax = ensemble.setup.sky_model.lmax
    assert {sky.sky_model.lmax for sky in ensemble.skies.values()} == {lmax}
    first, second = (ensemble.skies[name].sky(0)[1] for name in (STANDARD, "quiet quadrupole"))
    power = anafast(first - second, lmax)
    assert power[2] > 0 and np.abs(power[3:]).max() < 1e-6 * power[2]
    rng = np.random.default_rng(np.random.SeedSequence(SETUP.seed, spawn_key=(0, 1)))
    expected = simulate_sky(SETUP.cl, NSIDE, fwhm=SETUP.fwhm, noise_std=3.0, pixwin=True, lmax=lmax, seed=rng)
    np.testing.assert_allclose(ensemble.skies[STANDARD].sky(0)[0], expected, rtol=1e-12)


def test_records_of_another_model_are_refused(tmp_path) -> None:
    ensemble = MisspecifiedEnsemble(SETUP, KRIGING, tmp_path, SOME[:1])
    ensemble.make(ensemble.units(1)[0])
    other = MisspecifiedEnsemble(SETUP, Candidate.named("diffusive"), tmp_path, SOME[:1])
    with pytest.raises(CmbInpaintError, match="is a record of another setup, model or version"):
        other.missing(1)


def test_the_list_holds_every_mistake_and_starts_with_none(tmp_path) -> None:
    assert SCENARIOS[0] == Scenario(STANDARD) and len({s.name for s in SCENARIOS}) == len(SCENARIOS) == 15
    assert {s.tilt for s in SCENARIOS} > {0.5, 1.5} and {s.beam for s in SCENARIOS} == {0.98, 1.0, 1.02}
    with pytest.raises(CmbInpaintError, match="the first scenario must be the standard one"):
        MisspecifiedEnsemble(SETUP, KRIGING, tmp_path, SOME[1:])
