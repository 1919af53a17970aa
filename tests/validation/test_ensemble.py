"""Units of work: what a record holds is what a user's call gives; order, process and interruption do not matter."""

import numpy as np
import pytest

from cmbinpaint import inpaint_map
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.gaussian.coarse_to_fine import CoarseToFineInpainter
from cmbinpaint.gaussian.diffusive import DiffusiveInpainter
from cmbinpaint.problem.draws import Draws
from cmbinpaint.validation.ensemble import EXACT, Candidate, Ensemble, Unit, with_baselines
from tests.gaussian.dense import DenseSolver
from tests.validation.worlds import setup_at

NSIDE = 8
SETUP = setup_at(NSIDE)


def candidates(*names: str) -> list[Candidate]:
    return [Candidate.named(name) for name in names]


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory) -> Ensemble:
    made = Ensemble(SETUP, candidates("kriging", "gaussian"), tmp_path_factory.mktemp("records"))
    for unit in made.missing(2):
        made.make(unit)
    return made


def test_the_exact_mean_is_that_of_dense_algebra(ensemble) -> None:
    observed, signal = SETUP.sky(1)
    dense = DenseSolver(SETUP.plan.valid, SETUP.sky_model)
    expected = dense.mean(observed)
    record = ensemble.records[EXACT].read(1)
    # tolerance 1e-4 of the signal's rms, and float32
    np.testing.assert_allclose(record["mean"], expected, atol=2e-4 * SETUP.sky_model.rms)
    squares = (expected - signal[dense.targets]) ** 2
    residual = (expected - observed[dense.targets]) ** 2
    for i in range(SETUP.depths.n):
        here = SETUP.depths.bin_of == i
        assert record["error"][i] == pytest.approx(squares[here].mean(), rel=1e-3)
        assert record["residual"][i] == pytest.approx(residual[here].mean(), rel=1e-3)


def test_a_record_holds_what_inpaint_map_gives(ensemble) -> None:
    observed, signal = SETUP.sky(1)
    hidden = np.where(SETUP.plan.valid, observed, 1e6)  # what lies under holes is never read
    realized, info = inpaint_map(
        hidden, SETUP.plan.valid, model="kriging", cl=SETUP.cl, fwhm=SETUP.fwhm, noise_std=3.0, unit="uK",
        seed=SETUP.seed, draws=Draws(first=1), return_info=True,
    )  # fmt: skip
    record, statistics = ensemble.records["kriging"].read(1), ensemble.statistics
    filled, left = info.prediction, observed - info.prediction
    np.testing.assert_allclose(record["error"], SETUP.depths.mean_square(filled - signal), rtol=1e-9)
    np.testing.assert_allclose(record["scatter"], SETUP.depths.mean_square(realized - filled), rtol=1e-9)
    np.testing.assert_allclose(
        record["realization_power"], statistics.power(statistics.alm(realized)), rtol=1e-9
    )
    alm, exact_alm = statistics.alm(filled), statistics.alm(ensemble.exact_mean(1, observed))
    distance = statistics.power(alm, alm - exact_alm)
    np.testing.assert_allclose(
        record["distance_cross"], distance, rtol=1e-6, atol=1e-9 * np.abs(distance).max()
    )
    cross = statistics.power(statistics.alm(filled), statistics.alm(left))
    np.testing.assert_allclose(record["residual_cross"], cross, rtol=1e-6, atol=1e-9 * cross.max())
    exact = ensemble.exact_mean(1, observed)
    assert np.array_equal(exact[SETUP.plan.valid], observed[SETUP.plan.valid])
    np.testing.assert_allclose(record["distance"], SETUP.depths.mean_square(filled - exact), rtol=1e-9)
    np.testing.assert_allclose(
        record["error_kept"], (filled - signal)[~SETUP.plan.valid], rtol=1e-4, atol=1e-3
    )
    low = statistics.low_alm(statistics.alm(filled))
    np.testing.assert_allclose(
        record["filled_alm"] + record["residual_alm"], statistics.low_alm(statistics.alm(observed))
    )
    np.testing.assert_allclose(record["filled_alm"], low)
    assert record["steps"] == 0 and (record["seconds"] > 0).all()


def test_shared_work_gives_the_same_records(ensemble, tmp_path) -> None:
    for rank in (1, 0):  # as two processes would, the later half first
        share = Ensemble(SETUP, candidates("kriging", "gaussian"), tmp_path)
        for unit in share.units(2)[rank::2]:
            share.make(unit)
    assert share.missing(2) == [] and share.missing(3) == [Unit(k, 2) for k in (EXACT, "kriging", "gaussian")]
    for kind, records in ensemble.records.items():
        for sky in range(2):
            one, two = records.read(sky), share.records[kind].read(sky)
            for name in one.keys() - {"seconds"}:
                np.testing.assert_allclose(one[name], two[name], rtol=1e-9, err_msg=f"{kind} {name}")


def test_records_of_another_setting_or_use_are_refused(ensemble) -> None:
    folder = ensemble.records[EXACT].folder.parent
    other = Ensemble(setup_at(NSIDE, seed=4), candidates("kriging"), folder)
    with pytest.raises(CmbInpaintError, match="is a record of another setup, model or version"):
        other.missing(1)
    refined = candidates("kriging@3")[0]
    relabeled = Candidate("kriging", refined.inpainter, refined.refine)
    with pytest.raises(CmbInpaintError, match="is a record of another setup, model or version"):
        Ensemble(SETUP, [relabeled], folder).missing(1)


def test_names_of_models(tmp_path) -> None:
    three = [Candidate.named(text, refine=5) for text in ("kriging", "kriging@0", "gaussian@12")]
    assert [(c.label, c.refine) for c in three] == [("kriging@5", 5), ("kriging@0", 0), ("gaussian@12", 12)]
    assert Candidate.named("kriging").label == "kriging"
    assert len({c.digest for c in three}) == 3
    for twice in (("kriging", "kriging"), ("kriging", "gaussian", "kriging")):
        with pytest.raises(CmbInpaintError, match="expected different ones"):
            Ensemble(SETUP, candidates(*twice), tmp_path)


class Network(DiffusiveInpainter):
    """As a network says of itself: not linear, and refined unless told otherwise."""

    name, is_linear, refined_by_default = "network", False, True


def test_what_is_refined_is_evaluated_alone_too_and_kriging_is_the_baseline() -> None:
    def labels(*names: str) -> list[str]:
        return [candidate.label for candidate in with_baselines(candidates(*names))]

    assert labels("gaussian") == ["gaussian", "kriging"]
    assert labels("diffusive@5") == ["diffusive@0", "diffusive@5", "kriging"]
    assert labels("kriging", "diffusive@5", "diffusive") == ["kriging", "diffusive@5", "diffusive"]
    assert labels("kriging@5") == ["kriging@0", "kriging@5"]
    kinds = [
        candidate.kind
        for candidate in candidates("gaussian", "gaussian@9", "kriging", "kriging@0", "kriging@5")
    ]
    assert kinds == ["exact", "exact", "linear", "linear", "refined"]
    network = Candidate("network", Network())
    assert [(c.label, c.kind) for c in with_baselines([network])] == [
        ("network@0", "nonlinear"), ("network", "refined"), ("kriging", "linear"),
    ]  # fmt: skip


def test_refining_brings_a_model_near_the_exact_mean(tmp_path) -> None:
    both = Ensemble(SETUP, candidates("kriging", "kriging@8"), tmp_path)
    for unit in both.missing(1):
        both.make(unit)
    away = {label: both.records[label].read(0)["distance"] for label in both.candidates}
    assert (away["kriging@8"] < 0.1 * away["kriging"]).all()
    assert both.records["kriging@8"].read(0)["steps"] == 8


class Refined(CoarseToFineInpainter):
    """As a network is: its predictions are refined unless the user says otherwise."""

    refined_by_default = True


def test_a_model_refined_to_an_accuracy_is_recorded_so(tmp_path) -> None:
    made = Ensemble(SETUP, [Candidate("refined", Refined(16))], tmp_path)
    for unit in made.missing(1):
        made.make(unit)
    assert made.records["refined"].read(0)["steps"] == 3  # what 0.1 posterior standard deviations took
