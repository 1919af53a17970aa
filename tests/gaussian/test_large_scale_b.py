"""The distribution of Q and U in holes, given what B may be on large scales, against dense algebra."""

import healpy as hp
import numpy as np
import pytest
from scipy import linalg

from cmbinpaint.gaussian import hole_posterior, large_scale_b
from cmbinpaint.gaussian.hole_posterior import hole_factor, polarization_posterior
from cmbinpaint.gaussian.large_scale_b import GivenB
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.gaussian.vecchia import HoleFactor
from cmbinpaint.pipeline.filler import draw_observation
from cmbinpaint.pipeline.planning import load_plan, plan_inpainting
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.theory import fiducial_spectra
from cmbinpaint.sphere.planck_mask import planck_like_mask
from tests.gaussian.dense import DenseSolver

NSIDE = 16
NPIX = 12 * NSIDE**2


def sky_model(nside=NSIDE, noise_std=0.01, of_b=1.0):
    """Planck's E, lensing B, a beam of three pixels."""
    spectra = fiducial_spectra(3 * nside - 1)[1:3] * np.array([[1.0], [of_b]])
    return SkyModel.from_theory(spectra, nside, fwhm=min(1.0, 3 * hp.nside2resol(nside)), noise_std=noise_std)


@pytest.fixture(scope="module")
def valid():
    return planck_like_mask(NSIDE)


@pytest.fixture(scope="module")
def both(valid):
    """The factor, and the distribution that knows B, of the finest pixels' innovations too."""
    kept = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_scale_b, "_COARSE", 1)
        given = polarization_posterior(valid, sky_model(), kept=kept)
    return hole_factor(valid, sky_model(), kept=kept), given


def b_of_maps(lmax):
    """(n, 2 npix) healpy's B of a map by quadrature: a_l0, √2 Re and √2 Im of a_lm, by ell and m."""
    rows = []
    for ell in range(2, lmax + 1):
        for m in range(ell + 1):
            for unit in [1.0] if m == 0 else [np.sqrt(0.5), 1j * np.sqrt(0.5)]:
                alm = np.zeros((3, hp.Alm.getsize(lmax)), dtype=complex)
                alm[2, hp.Alm.getidx(lmax, ell, m)] = unit
                rows.append(hp.alm2map(alm, NSIDE, lmax=lmax)[1:].reshape(-1) * 4 * np.pi / NPIX)
    return np.array(rows)


def dense(factor, lmax=16):
    """Covariance and the B of hole pixels, the variance of B, as numbers that share no code with the package."""
    covariance = np.column_stack([factor.covariance(unit) for unit in np.eye(factor.holes.size)])
    model, ell = sky_model(), np.repeat(np.arange(2, lmax + 1), 2 * np.arange(2, lmax + 1) + 1)
    variance = model.signal_cl[1, 1][ell] + 0.01**2 * 4 * np.pi / NPIX
    return 0.5 * (covariance + covariance.T), b_of_maps(lmax), variance


def test_it_is_the_distribution_given_b(valid, both):
    """Σ - Σ Bᵀ (B Σ Bᵀ + D)⁻¹ B Σ in the directions taken, all others within a factor of three of D; and the mean."""
    factor, given = both
    covariance, modes, variance = dense(factor)
    of_holes = modes[:, factor.holes]
    spread = of_holes @ covariance @ of_holes.T
    excess, vectors = linalg.eigh(spread, np.diag(variance))
    taken = vectors[:, excess > 2]
    assert 30 < taken.shape[1] < 150 and excess[-1] > 10, excess[-3:]
    gain = covariance @ of_holes.T @ taken / (1 + excess[excess > 2]) @ taken.T
    expected = covariance - gain @ of_holes @ covariance
    got = np.column_stack([given.covariance(unit) for unit in np.eye(factor.holes.size)])
    np.testing.assert_allclose(got, expected, atol=2e-5 * covariance.max())
    assert np.abs(got - got.T).max() < 1e-5 * covariance.max()
    assert linalg.eigvalsh(0.5 * (got + got.T))[0] > 0
    left = linalg.eigvalsh(of_holes @ got @ of_holes.T, np.diag(variance))
    assert left[-1] < 2.01  # nowhere more than what was left alone

    observed = np.add(*draw_observation(sky_model(), np.random.default_rng(1)))
    filled = observed.copy()
    observed[:, ~valid] = np.nan
    filled.reshape(-1)[factor.holes] = factor.mean(observed)
    mean = filled.reshape(-1)[factor.holes] - gain @ (modes @ filled.reshape(-1))
    np.testing.assert_allclose(given.mean(observed), mean, atol=1e-4 * sky_model().rms)
    assert np.isnan(observed[0, ~valid]).all()  # what was given is left alone
    # The filled sky's B in the directions taken, in units of what it may be.
    before = taken.T @ (modes @ filled.reshape(-1))
    filled.reshape(-1)[factor.holes] = mean
    after = taken.T @ (modes @ filled.reshape(-1))
    np.testing.assert_allclose(after, before / (1 + excess[excess > 2]), atol=1e-6)
    assert np.mean(np.square(before)) > 1.5 and np.mean(np.square(after)) < 0.3


def test_the_finest_pixels_matter_little(valid, both):
    """Without their innovations nothing has much more B than the model allows."""
    factor, _ = both
    given = polarization_posterior(valid, sky_model())
    _, modes, variance = dense(factor)
    of_holes = modes[:, factor.holes]
    got = of_holes @ np.column_stack([given.covariance(row) for row in of_holes])
    left = linalg.eigvalsh(0.5 * (got + got.T), np.diag(variance))
    assert 2.0 < left[-1] < 3.0, left[-3:]


def test_draws_have_its_covariance(both):
    factor, given = both
    rng, n = np.random.default_rng(3), 2000
    draws = np.array([given.draw(rng) for _ in range(n)])
    directions = np.random.default_rng(0).standard_normal((3, factor.holes.size))
    directions = np.vstack([directions, b_of_maps(3)[:4, factor.holes]])
    for direction in directions:
        expected = direction @ given.covariance(direction)
        assert np.var(draws @ direction) == pytest.approx(expected, rel=5 * np.sqrt(2 / n))
        assert abs(np.mean(draws @ direction)) < 5 * np.sqrt(expected / n)


def test_where_the_factor_is_exact_nothing_is_taken():
    """All pixels as neighbors: no direction has more than what the model allows."""
    nside = 4
    valid = np.ones(192, dtype=bool)
    valid[hp.nest2ring(nside, 4 * 17 + np.arange(4))] = False  # siblings come one after the other
    model = sky_model(nside)
    factor = hole_factor(valid, model, nearest=192, threads=1)
    exact = DenseSolver(np.stack([valid] * 2), model, targets=factor.holes).covariance()
    exact += factor.noise_std**2 * np.eye(8)
    innovations = factor.to_innovations(np.eye(8, dtype=np.float32))
    exact /= factor.noise_std**2
    np.testing.assert_allclose(innovations.T @ innovations, exact, atol=1e-4 * exact.max())
    assert large_scale_b.large_scale_b(factor, model, 1.0, lmax=8).root.size == 0


@pytest.mark.parametrize(
    ("change", "taken"),
    [({}, True), ({"noise_std": 3.0}, False), ({"of_b": 300.0}, False)],
    ids=["little B, little noise", "noise as large as E", "as much B as E"],
)
def test_only_where_b_tells_something(valid, change, taken):
    posterior = polarization_posterior(valid, sky_model(**change))
    assert isinstance(posterior, GivenB if taken else HoleFactor)


def test_noise_of_the_data_is_noise_of_b(both):
    """Some pixels with so much noise that the whole sky's B means nothing."""
    factor, _ = both
    assert large_scale_b.large_scale_b(factor, sky_model(), 1e8).root.size == 0


@pytest.mark.parametrize(("room", "taken"), [(0, True), (-1, False)])
def test_what_memory_does_not_hold(monkeypatch, both, room, taken):
    monkeypatch.setattr(large_scale_b, "_VALUES", both[0].holes.size // 4 * (17**2 - 4) + room)
    known = large_scale_b.large_scale_b(both[0], sky_model(), 1.0)
    assert (known.root.size > 0) == taken


@pytest.mark.parametrize("unit", [1e-20, 1e-6, 1e25])
def test_in_any_unit(valid, unit):
    """As many steps, and the answer in that unit; as for data far above the model."""
    model = sky_model()
    sky = np.where(valid, np.add(*draw_observation(model, np.random.default_rng(5))), 0.0)
    expected = GaussianSolver(valid, model, threads=1).solve(sky)
    solver = GaussianSolver(valid, model.scaled(unit), threads=0)
    got = solver.solve(unit * sky)
    assert abs(got.steps - expected.steps) <= 1
    np.testing.assert_allclose(got.mean / unit, expected.mean, atol=1e-2 * model.rms)
    # The mean is linear in the data, however large they are beside the model.
    posterior = polarization_posterior(valid, model.scaled(unit))
    assert isinstance(posterior, GivenB)
    large, once = posterior.mean(1e39 * unit * sky), posterior.mean(unit * sky)
    np.testing.assert_allclose(large / (1e39 * unit), once / unit, atol=1e-5 * model.rms)


def test_data_that_tell_nothing(valid):
    """A pixel with so much noise that the whole sky's B means nothing."""
    noise = np.full((2, NPIX), 0.01)
    noise[:, np.flatnonzero(valid)[5]] = 1e100
    spectra = fiducial_spectra(3 * NSIDE - 1)[1:3]
    model = SkyModel.from_theory(spectra, NSIDE, fwhm=3 * hp.nside2resol(NSIDE), noise_std=noise)
    assert isinstance(polarization_posterior(valid, model), HoleFactor)
    factor = hole_factor(valid, sky_model())
    assert large_scale_b.large_scale_b(factor, sky_model(), np.inf).root.size == 0


def test_b_on_the_largest_scales_alone(valid):
    """More B than E up to ell = 4 hides nothing of what the others tell."""
    spectra = fiducial_spectra(3 * NSIDE - 1)[1:3]
    spectra[1, 2:5] = 3 * spectra[0, 2:5]
    model = SkyModel.from_theory(spectra, NSIDE, fwhm=3 * hp.nside2resol(NSIDE), noise_std=0.01)
    assert isinstance(polarization_posterior(valid, model), GivenB)


def test_it_stays_positive_where_b_is_all_but_forbidden():
    """Steep E, no B, hardly any noise, little of the sky observed: λ is 1e6 and more."""
    ell = np.arange(2.0, 2 * NSIDE + 1)
    e = np.concatenate([[0.0, 0.0], ell**-4.0])
    model = SkyModel.from_theory(np.stack([e, 0 * e]), NSIDE, fwhm=0.2, noise_std=1e-9)
    valid = hp.pix2vec(NSIDE, np.arange(NPIX))[2] > 0.9
    factor = hole_factor(valid, model)
    known = large_scale_b.large_scale_b(factor, model, 1.0)
    values = np.linalg.svd(known.directions.astype(float), compute_uv=False)
    assert known.known.max() == 1 - 1e-4 and values.size > 100
    assert 1 - 2e-4 < values[0] ** 2 < 1 - 5e-5
    np.testing.assert_allclose(np.square(values), np.sort(known.known)[::-1], atol=1e-5)


@pytest.mark.parametrize("nside", [1, 2, 4])
def test_on_few_pixels(nside):
    """Fewer multipoles than are wanted; the solver still finds the exact mean."""
    valid = np.arange(12 * nside**2) % 4 > 0
    model = sky_model(nside)
    posterior = polarization_posterior(valid, model)
    covariance = np.column_stack([posterior.covariance(unit) for unit in np.eye(posterior.holes.size)])
    assert linalg.eigvalsh(0.5 * (covariance + covariance.T))[0] > 0
    observed = np.add(*draw_observation(model, np.random.default_rng(2)))
    mean = GaussianSolver(valid, model, threads=1).solve(observed).mean
    dense_solver = DenseSolver(np.stack([valid] * 2), model)
    away = mean.reshape(-1)[np.flatnonzero(np.tile(~valid, 2))] - dense_solver.mean(observed)
    assert np.sqrt(np.mean(np.square(away / dense_solver.std()))) < 0.03


def test_it_halves_the_steps(monkeypatch, valid):
    """And the answer is the same, to the solver's tolerance."""
    model, rng = sky_model(), np.random.default_rng(5)
    skies = [np.where(valid, np.add(*draw_observation(model, rng)), 0.0) for _ in range(3)]
    solver = GaussianSolver(valid, model, threads=1)
    with_b = [solver.solve(sky) for sky in skies]
    monkeypatch.setattr(hole_posterior, "large_scale_b", lambda *_, **__: large_scale_b._NOTHING)
    solver = GaussianSolver(valid, model, threads=1)
    without = [solver.solve(sky) for sky in skies]
    for one, other in zip(with_b, without, strict=True):
        assert one.steps <= 0.6 * other.steps, (one.steps, other.steps)
        assert np.abs(one.mean - other.mean).max() < 0.05 * model.rms


def test_a_plan_keeps_it(tmp_path, monkeypatch, valid):
    """A plan from a file fills to the same bits, and finds nothing anew."""
    from cmbinpaint import inpaint_map

    model = sky_model()
    sky = np.add(*draw_observation(model, np.random.default_rng(7)))
    plan = plan_inpainting(valid, sky_model=model)
    first = inpaint_map(sky, plan=plan, seed=1)
    path = plan.save(tmp_path / "mask.plan", overwrite=True)
    monkeypatch.setattr(hole_posterior, "large_scale_b", None)
    assert np.array_equal(inpaint_map(sky, plan=load_plan(path), seed=1), first)


def test_it_does_not_depend_on_threads(valid):
    values = np.random.default_rng(0).standard_normal(2 * int(np.sum(~valid)))
    one, two = (polarization_posterior(valid, sky_model(), threads=n).covariance(values) for n in (1, 2))
    assert np.array_equal(one, two)


def test_another_sky_model_has_its_own(valid):
    """One plan, two models: what was found for the first is not used for the second."""
    values, kept = np.random.default_rng(0).standard_normal(2 * int(np.sum(~valid))), {}
    polarization_posterior(valid, sky_model(), kept=kept)
    second = polarization_posterior(valid, sky_model(of_b=0.5), kept=kept)
    fresh = polarization_posterior(valid, sky_model(of_b=0.5))
    assert np.array_equal(second.covariance(values), fresh.covariance(values))
