"""Validation of T, Q, U: each Stokes parameter's figures are those of its own map, each spectrum's of its own modes."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmbinpaint import plots
from cmbinpaint.errors import CmbInpaintError, SpectrumError
from cmbinpaint.sims import fiducial_spectra
from cmbinpaint.spectra import anafast
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.validation.calibration import ALM_GROUPS
from cmbinpaint.validation.ensemble import Candidate, Ensemble, with_baselines
from cmbinpaint.validation.leakage import RANGES, WITH_B, WITHOUT_B, ZEROS, LeakageEnsemble
from cmbinpaint.validation.simulation_setup import SimulationSetup
from cmbinpaint.validation.sky_statistics import SkyStatistics, ks_distance
from cmbinpaint.validation.validation import Validation
from cmbinpaint.validation.validation_text import markdown
from tests.validation.worlds import valid_at

NSIDE = 8
SKIES = 3


@cache
def setup_of(fields: Fields = Fields.TQU) -> SimulationSetup:
    noise = 2.0 if fields is Fields.T else np.array([2.0, 0.05, 0.05])[-fields.n :]
    return SimulationSetup.standard(valid_at(NSIDE), 3, fields=fields, noise_std=noise)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Validation:
    ensemble = Ensemble(setup_of(), [Candidate.named("gaussian")], tmp_path_factory.mktemp("records"))
    for unit in ensemble.missing(SKIES):
        ensemble.make(unit)
    return Validation.of(ensemble, SKIES)


@pytest.fixture(scope="module")
def leakage(tmp_path_factory: pytest.TempPathFactory) -> LeakageEnsemble:
    series = LeakageEnsemble(
        setup_of(Fields.QU), Candidate.named("gaussian"), tmp_path_factory.mktemp("leaks")
    )
    for unit in series.missing(2):
        series.make(unit)
    return series


def test_statistics_are_those_of_each_map_and_spectrum() -> None:
    setup, alone = setup_of(), setup_of(Fields.T)
    statistics, of_t = SkyStatistics(setup), SkyStatistics(alone)
    sky = setup.sky(0)[0]
    bands = setup.bands
    assert sky.shape == (3, 12 * NSIDE**2) and np.array_equal(bands.edges, alone.bands.edges)
    alm = statistics.alm(sky)
    expected = [bands.bin(cl) for cl in anafast(sky, bands.lmax)]
    np.testing.assert_allclose(statistics.power(alm).reshape(6, -1), expected, rtol=1e-10)
    # The cross spectrum with another map is symmetric in the two modes.
    other = statistics.alm(setup.sky(1)[0])
    sum_power = statistics.power(alm + other)
    both = statistics.power(alm) + statistics.power(other) + 2 * statistics.power(alm, other)
    np.testing.assert_allclose(sum_power, both, rtol=1e-9, atol=1e-12 * sum_power.max())
    for row in range(3):
        np.testing.assert_array_equal(statistics.jumps(sky).reshape(3, -1)[row], of_t.jumps(sky[row]))
        errors = setup.depths.mean_square(sky).reshape(3, -1)[row]
        np.testing.assert_array_equal(errors, alone.depths.mean_square(sky[row]))
        by_width = statistics.by_width(sky).reshape(4, 3, -1)[:, row]
        np.testing.assert_array_equal(by_width, of_t.by_width(sky[row]))
        low = statistics.low_alm(alm).reshape(3, -1)[row]
        np.testing.assert_array_equal(low, of_t.low_alm(alm[row]))
    # Q's distribution is beside that of Q's own rms.
    sigma = np.hypot(setup.sky_model.stokes_rms[1], 0.05)
    values = sky[1, ~valid_at(NSIDE)] / sigma
    n = len(setup.depths.labels) + 1
    assert statistics.one_point(sky)[n] == pytest.approx(ks_distance(values))


def test_the_exact_answer_has_the_least_error_in_each(result: Validation) -> None:
    model, k, depths = result.models["gaussian"], 3, len(result.depths) // 3
    assert result.fields is Fields.TQU and result.kinds == {"gaussian": "exact"}
    counted = np.array(result.counts) > 0
    np.testing.assert_allclose(model.excess.value[counted], 1.0, atol=1e-3)
    assert np.all(model.distance.value[counted] < 0.02)
    # Q and U are of one rms, a twentieth of T's.
    field = result.field.reshape(k, depths)
    assert field[1, 0] == pytest.approx(field[2, 0], rel=0.3) and field[1, 0] < field[0, 0] / 10
    n = result.bands.n
    assert model.bias.reduced.value.shape == (6 * n,)
    # What the solver's tolerance leaves of E, of lensing B, of TE over the root of TT and EE.
    names = dict(zip(Fields.TQU.spectra, np.abs(model.bias.reduced.value).reshape(6, n), strict=True))
    assert names["EE"].max() < 2e-3 and names["TE"].max() < 2e-3 and names["BB"].max() < 0.05
    # Zeros in the holes lack power, and have E in B.
    zero = dict(zip(Fields.TQU.spectra, result.zero.value.reshape(6, n), strict=True))
    assert zero["BB"].min() > 5 and zero["TT"][:2].max() < 0
    assert model.alm_error.value.shape == (3 * 9,) and len(result.multipoles) == 27
    assert model.pixels.marginal.value.shape == (2, k * depths)
    assert model.multipoles.marginal.value.shape == (2, 3 * len(ALM_GROUPS))
    assert isinstance(model.chi_square, dict) and list(model.chi_square) == list(Fields.TQU.spectra)


def test_biases_are_relative_to_the_signal_s_power() -> None:
    setup = setup_of()
    true = np.zeros((2, 6 * setup.bands.n))
    scale = setup.scale_of(true).reshape(2, 6, -1)
    power = setup.sky_model.signal.values
    np.testing.assert_allclose(scale[0, 2], setup.bands.bin(power[2, 2]))
    np.testing.assert_allclose(scale[1, 3], setup.bands.bin(np.sqrt(power[0, 0] * power[1, 1])))
    alone = np.random.default_rng(0).random((2, 5))
    assert setup_of(Fields.T).scale_of(alone) is alone


def test_text_and_figures_have_a_part_for_each(result: Validation) -> None:
    figures = result.to_dict()
    assert figures["fields"] == "TQU" and figures["noise_std_uK"] == [2.0, 0.05, 0.05]
    assert figures["depths"][0] == "T (0, 1.3]" and "EB 2" in figures["bands"]
    text = markdown(figures)
    for title in (
        "exact mean's, by depth in pixels; 1 is perfect: Q", "2 C(F, F - M) / C: BB", "over the true rms, by ell: E",
        "Jumps across the edges of holes: mean square over the true one: U", "that of true skies: T",
    ):  # fmt: skip
        assert f"{title}\n" in text
    table = text.split("1 is perfect: Q\n\n")[1].split("\n\n")[0].splitlines()
    assert table[0] == "|  | (0, 1.3] | (1.3, 2.3] | (2.3, 4.3] | (4.3, 8.3] | (8.3, ∞) |"
    assert table[3].startswith(f"| signal, µK rms | {result.field[5]:.1f} |")
    drawn = plots.draw_validation(result, "bias")
    assert [ax.get_title(loc="left").split(": ")[-1] for ax in drawn.axes] == list(Fields.TQU.spectra)
    alone = plots.draw_validation(result, "excess", of="Q")
    assert next(label.get_text() for label in alone.get_xticklabels()) == "(0, 1.3]"
    assert len(plots.draw_coverage(result).axes) % 3 == 0
    with pytest.raises(CmbInpaintError, match="of is 'E'; known: T, Q, U"):
        plots.draw_validation(result, "excess", of="E")
    with pytest.raises(CmbInpaintError, match="has no leakage"):
        plots.draw_leakage(result)


def test_little_e_leaks_and_less_where_the_model_has_no_b(leakage: LeakageEnsemble) -> None:
    found = leakage.result(2)
    with_b, without_b, zeros = (found[kind] for kind in (WITH_B, WITHOUT_B, ZEROS))
    assert np.all(zeros.over_b.value > 30 * with_b.over_b.value)
    assert np.all(without_b.over_b.value < with_b.over_b.value)
    # The two are one power, over E and over B.
    setup = leakage.setup
    own = setup.bands.bin(setup.sky_model.signal.values[1, 1])
    e_power = setup.bands.bin(leakage.records[WITH_B].stack(2)["e_power"]).mean(axis=0)
    np.testing.assert_allclose(with_b.over_e.value * e_power, with_b.over_b.value * own)
    assert with_b.r.value[0] < zeros.r.value[0] / 30 and np.isnan(with_b.r.value[1])


def test_r_is_that_of_primordial_b(leakage: LeakageEnsemble) -> None:
    """The power of r = 0.03 behind the beam is taken for 0.03; lensing B for what it is in the weights."""
    setup, lmax = leakage.setup, leakage.setup.bands.lmax
    primordial = fiducial_spectra(lmax, r=0.03)[2] - fiducial_spectra(lmax)[2]
    seen = setup.sky_model.signal.values[1, 1][: lmax + 1] / np.maximum(setup.cl[1][: lmax + 1], 1e-30)
    low, high = RANGES[0]
    np.testing.assert_allclose(leakage._r((primordial * seen)[None], low, high), 0.03, rtol=1e-6)


def test_leakage_needs_q_and_u_and_b(tmp_path: Path) -> None:
    candidate: Any = Candidate.named("gaussian")
    with pytest.raises(SpectrumError, match="the setup is of T"):
        LeakageEnsemble(setup_of(Fields.T), candidate, tmp_path)
    without = setup_of(Fields.QU).varied(cl=setup_of(Fields.QU).cl * np.array([[1.0], [0.0]]), lmax=20)
    with pytest.raises(SpectrumError, match="have no B"):
        LeakageEnsemble(without, candidate, tmp_path)
    assert [c.label for c in with_baselines([candidate], Fields.TQU)] == ["gaussian"]
