"""The numbers of a report, against the maps they are of."""

import healpy
import numpy as np
import pytest

from cmbinpaint.errors import MapError, MaskError
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.report.contents import HIGHEST_MULTIPOLE, LEAST_REALIZATIONS, MapReport, report_on
from tests.report.world_of_a_fill import world


def report(n: int = 1, **options: object) -> MapReport:
    w = world()
    return report_on(w.before, iter(w.fills[:n]), w.plan, unit="uK_CMB", **options)


def test_the_facts_are_the_plans_and_the_maps() -> None:
    w, found = world(), report(target=world().target)
    assert (found.nside, found.unit, found.fsky) == (16, "uK_CMB", pytest.approx(w.plan.valid.mean()))
    assert (found.n_observed, found.n_changed, found.n_maps) == (w.plan.valid.sum(), 0, 1)
    assert found.mean == pytest.approx(w.target[w.plan.valid].mean())
    assert (found.holes.n_holes, found.holes.n_pixels) == (w.plan.n_holes, w.plan.targets.sum())
    assert [c.name for c in found.close_ups] == ["the largest hole", "a typical hole"]
    np.testing.assert_allclose(found.panorama.filled, w.fills[0] - found.mean)


def test_spectra_are_anafasts_of_the_first_map() -> None:
    w, found = world(), report(3, target=world().target)
    cl = healpy.anafast(w.fills[0], lmax=2 * 16)
    np.testing.assert_allclose(found.spectra.filled_cl, cl, rtol=1e-6)
    assert found.spectra.lmax == 32 < HIGHEST_MULTIPOLE and found.spectra.target is not None


def test_several_maps_have_mean_and_spread() -> None:
    w, found = world(), report(LEAST_REALIZATIONS)
    bands = found.spectra.bands
    factor = bands.centers * (bands.centers + 1) / (2 * np.pi)
    dls = [bands.bin(healpy.anafast(sky, lmax=32)) * factor for sky in w.fills]
    np.testing.assert_allclose(found.mean_dl, np.mean(dls, axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.std_dl, np.std(dls, axis=0, ddof=1), rtol=1e-4)
    assert found.n_maps == LEAST_REALIZATIONS
    spread = np.where(w.plan.targets, w.fills.std(axis=0, ddof=1), np.nan)
    np.testing.assert_allclose(found.panorama.error, spread, rtol=1e-9)


def test_few_maps_are_no_error_map_and_a_given_one_counts() -> None:
    assert report(LEAST_REALIZATIONS - 1).panorama.error is None
    given = np.where(world().plan.targets, 5.0, 0.0)
    found = report(LEAST_REALIZATIONS, error=given)
    assert np.nanmax(np.abs(found.panorama.error - 5.0)) < 1e-12


def test_changed_pixels_are_counted_beyond_the_tolerance() -> None:
    w = world()
    pixels = np.flatnonzero(w.plan.valid)[[3, 50, 700]]
    altered = w.fills[0].copy()
    altered[pixels] *= 1 + 1e-7
    assert report_on(w.before, [altered], w.plan).n_changed == 3
    assert report_on(w.before, [altered], w.plan, tolerance=1e-6).n_changed == 0
    altered[pixels[0]] *= 1.01
    assert report_on(w.before, [altered], w.plan, tolerance=1e-6).n_changed == 1


def test_the_sky_model_is_drawn_with_its_noise() -> None:
    model = world().info.sky_model
    found = report(sky_model=model)
    assert found.model_ell[0] == 2 and found.model_ell[-1] == 32
    at = int(found.model_ell[10])
    expected = (model.signal_cl[at] + model.noise_cl) * at * (at + 1) / (2 * np.pi)
    assert found.model_dl[10] == pytest.approx(expected, rel=1e-12)
    short = type(model)(16, model.signal_cl[:12], 2.0)
    tail = report(sky_model=short).model_dl[-1]
    assert tail == pytest.approx(short.noise_cl * 32 * 33 / (2 * np.pi), rel=1e-12)


def test_nothing_under_a_hole_matters() -> None:
    w = world()
    wild = np.where(w.plan.valid, w.before, 1e30)
    found, plain = report_on(wild, w.fills[:1], w.plan), report_on(w.before, w.fills[:1], w.plan)
    np.testing.assert_array_equal(found.panorama.before, plain.panorama.before)
    np.testing.assert_array_equal(found.spectra.observed, plain.spectra.observed)
    assert found.mean == plain.mean and found.one_point.moments == plain.one_point.moments


def test_guarded_pixels_are_shown_and_are_no_data() -> None:
    w = world()
    guarded = InpaintingPlan.from_valid(w.plan.valid, guard=1)
    found = report_on(w.before, w.fills[:1], guarded)
    assert found.n_observed == w.plan.valid.sum() and found.fsky == pytest.approx(guarded.valid.mean())
    np.testing.assert_array_equal(np.isnan(found.panorama.before), w.plan.targets)
    assert found.mean == pytest.approx(w.target[guarded.valid].mean())


def test_bad_input_is_refused() -> None:
    w = world()
    with pytest.raises(MapError, match="no filled map given; give at least one"):
        report_on(w.before, [], w.plan)
    with pytest.raises(MapError, match=r"target has shape \(12,\); the plan is for \(3072,\)"):
        report_on(w.before, w.fills[:1], w.plan, target=np.zeros(12))
    with pytest.raises(MapError, match=r"a filled map has shape \(12,\), the first \(3072,\)"):
        report_on(w.before, [w.fills[0], np.zeros(12)], w.plan)
    with pytest.raises(MapError, match="that are NaN, UNSEEN or masked"):
        report_on(w.before, [w.before], w.plan)
    full = InpaintingPlan.from_valid(np.ones(w.target.size, bool))
    with pytest.raises(MaskError, match="no holes"):
        report_on(w.target, [w.target], full)
