"""Neighbors by the pattern of a block against those of a search, at small nside with few blocks."""

import healpy as hp
import numpy as np
import pytest

from cmbinpaint.gaussian import neighbor_patterns
from cmbinpaint.gaussian.conditioning_sets import NEAREST, Conditioning
from cmbinpaint.gaussian.neighbor_patterns import Lattice
from cmbinpaint.gaussian.ordering import coarse_to_fine, earlier_children
from cmbinpaint.gaussian.vecchia import factor_holes
from cmbinpaint.gaussian.vecchia_polarization import factor_polarization
from cmbinpaint.pipeline.filler import draw_observation
from cmbinpaint.sims import SkyModel, fiducial_spectra
from cmbinpaint.sphere.pixels import pixel_size, pixel_vectors

NSIDE = 128


@pytest.fixture
def few_blocks(monkeypatch):
    """Blocks of 16 pixels at nside 128."""
    monkeypatch.setattr(neighbor_patterns, "_BLOCKS", 8)


def wide_cut():
    """True outside a belt in which many pixels are far from data, over two faces of every kind; and a small hole."""
    vectors = pixel_vectors(NSIDE)
    valid = np.abs(vectors @ [0.6, 0.0, 0.8]) > 0.5
    valid[hp.query_disc(NSIDE, [0.6, 0.0, 0.8], 4 * pixel_size(NSIDE))] = False
    return valid


def test_which_pixels_come_before_follows_from_places_in_the_grid():
    """Against the order itself, of all pixels of a map."""
    nside = 16
    nest = np.arange(12 * nside**2)
    order, groups = coarse_to_fine(nside, nest)
    place = np.empty(nest.size, dtype=int)
    place[order] = nest
    x, y, face = hp.pix2xyf(nside, nest, nest=True)
    for start, _, spacing in groups[12:]:
        pixel = order[start]
        child_x, child_y = int(x[pixel]) // spacing % 2, int(y[pixel]) // spacing % 2
        here = face == face[pixel]
        dx, dy = neighbor_patterns._places_before(child_x, child_y, spacing)
        said = {(int(x[pixel]) + i, int(y[pixel]) + j) for i, j in zip(dx, dy, strict=True)}
        reach = 6 * spacing
        before = here & (place < start) & (abs(x - x[pixel]) <= reach) & (abs(y - y[pixel]) <= reach)
        assert {(i, j) for i, j in said if 0 <= i < nside and 0 <= j < nside} == set(
            zip(x[before].tolist(), y[before].tolist(), strict=True)
        )
    assert (earlier_children(3), earlier_children(1), earlier_children(2)) == ((0,), (0, 3), (0, 3, 1))


def test_only_maps_whose_blocks_are_wide_enough_have_patterns():
    assert Lattice.has_patterns(512, 1) and not Lattice.has_patterns(256, 1)
    assert Lattice.has_patterns(2048, 4) and not Lattice.has_patterns(2048, 8)


def test_neighbors_by_patterns_are_hole_pixels_before_and_nearly_the_nearest(few_blocks):
    subject = Conditioning(wide_cut())
    vectors, n_data = subject.vectors, subject.data.size
    shared, total, ratios = 0, 0, []
    for group in subject.groups():
        if group.pattern is None:
            continue
        first = n_data + group.start
        follows = group.pattern >= 0
        shared, total = shared + np.count_nonzero(follows), total + follows.size
        numbers = group.numbers
        assert np.all(numbers < first)
        assert all(np.unique(row).size == NEAREST for row in numbers)
        assert np.all(numbers[follows] >= n_data)
        points = vectors[first : first + numbers.shape[0]]
        got = np.linalg.norm(vectors[numbers] - points[:, None], axis=-1)
        assert got[~follows].max() <= group.reach
        for row in range(0, numbers.shape[0], 97):
            nearest = np.sort(np.linalg.norm(vectors[:first] - points[row], axis=1))[:NEAREST]
            if follows[row]:
                ratios.append(got[row].sum() / nearest.sum())
            else:
                np.testing.assert_allclose(np.sort(got[row]), nearest, atol=1e-9)
    assert 0.7 < shared / total < 0.9  # 0.79
    # Here 1.001 and 1.10, in blocks of an eighth of a base pixel's side.
    assert np.mean(ratios) < 1.003 and 1 - 1e-9 < min(ratios) <= max(ratios) < 1.15


def test_a_datum_deep_in_a_hole_is_a_neighbor_of_those_around_it(few_blocks):
    """At a place of the last group, which is in no pattern."""
    nest = hp.xyf2pix(NSIDE, 40, 43, 0, nest=True)
    valid = np.ones(12 * NSIDE**2, dtype=bool)
    valid[hp.query_disc(NSIDE, hp.pix2vec(NSIDE, nest, nest=True), 30 * pixel_size(NSIDE))] = False
    valid[hp.nest2ring(NSIDE, nest)] = True
    subject = Conditioning(valid)
    datum = np.flatnonzero(subject.data == hp.nest2ring(NSIDE, nest))[0]
    seen, followed = 0, 0
    for group in subject.groups():
        if group.pattern is not None:
            near = subject.depth[group.start : group.stop] < 1.5 * pixel_size(NSIDE)
            at = subject.vectors[subject.data.size + group.start :][: near.size]
            near &= np.linalg.norm(at - subject.vectors[datum], axis=1) < 1.5 * pixel_size(NSIDE)
            assert np.all(np.any(group.numbers[near] == datum, axis=1))
            seen, followed = seen + np.count_nonzero(near), followed + np.count_nonzero(group.pattern >= 0)
    assert seen == 6 and followed > 500


def model_of(fields):
    """The fiducial sky behind a beam of three pixels; of Q and U with little noise."""
    spectra, fwhm = fiducial_spectra(3 * NSIDE - 1), 3 * pixel_size(NSIDE)
    if fields == "T":
        return SkyModel.from_theory(spectra[0], NSIDE, fwhm=fwhm, noise_std=3.0)
    return SkyModel.from_theory(spectra[1:3], NSIDE, fwhm=fwhm, noise_std=0.1)


@pytest.mark.parametrize("fields", ["T", "QU"])
def test_a_factor_by_patterns_is_nearly_the_one_of_each_pixel_s_own_weights(fields, few_blocks, monkeypatch):
    model, valid = model_of(fields), wide_cut()
    noise = float(np.ravel(model.noise_std)[0])
    make = factor_holes if fields == "T" else factor_polarization
    levels = noise if fields == "T" else np.full((2, valid.size), noise)
    shared = make(valid, model.signal_cl, levels, noise)
    monkeypatch.setattr(Lattice, "has_patterns", staticmethod(lambda nside, spacing: False))
    own = make(valid, model.signal_cl, levels, noise)
    np.testing.assert_array_equal(shared.holes, own.holes)
    assert np.mean(np.isclose(shared.std, own.std, rtol=1e-6)) > 0.44  # those without a pattern
    sky = np.add(*draw_observation(model, np.random.default_rng(0)))
    std = np.std([own.draw(np.random.default_rng(seed)) for seed in range(8)])
    away = shared.mean(sky) - own.mean(sky)
    # 0.0007 of T, 0.003 of Q and U; the patterns of the blocks beside give 0.004 and 0.01.
    assert np.sqrt(np.mean(away**2)) < {"T": 0.002, "QU": 0.006}[fields] * std
    values = np.random.default_rng(1).standard_normal(own.holes.size)
    one, other = shared.covariance(values), own.covariance(values)
    assert np.linalg.norm(one - other) < {"T": 0.003, "QU": 0.03}[fields] * np.linalg.norm(other)
