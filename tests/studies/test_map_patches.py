"""CoMBInE's terms on patches of maps: absolute values on fills that are known, and against plain sums."""

import numpy as np
import pytest
from scipy import stats

from cmbinpaint.errors import MapError
from cmbinpaint.networks.cutting import patch_angles
from cmbinpaint.networks.tiling import Tiling
from cmbinpaint.sims import fiducial_cl, simulate_sky
from cmbinpaint.sphere.pixels import pixel_size, pixel_vectors, pixels_at_angles
from cmbinpaint.sphere.round_mask import round_holes_mask
from cmbinpaint.studies.clipping import GREY
from cmbinpaint.studies.map_patches import MapPatches
from cmbinpaint.training.data.planck_colors import luma, render

NSIDE = 64


@pytest.fixture(scope="module")
def sky() -> np.ndarray:
    return simulate_sky(fiducial_cl(150), NSIDE, fwhm=4 * pixel_size(NSIDE), noise_std=1.0, seed=4)


@pytest.fixture(scope="module")
def valid() -> np.ndarray:
    return round_holes_mask(NSIDE)


def cut(sky: np.ndarray, valid: np.ndarray, fill: np.ndarray, n: int = 6) -> MapPatches:
    return MapPatches.cut("toy", np.where(valid, sky, fill), sky, n, seed=1)


@pytest.fixture(scope="module")
def halved(sky, valid) -> MapPatches:
    """Holes that are filled by half of the true fluctuation."""
    return cut(sky, valid, 0.5 * sky)


def test_patches_are_those_of_the_map(sky, valid, halved) -> None:
    """A wave of one multipole comes back at the patch pixels' own directions, and holes are where they are."""
    assert halved.target.shape == halved.filled.shape == halved.valid.shape == (6, 128, 128)
    assert halved.step_rad == pytest.approx(pixel_size(NSIDE) / 2)
    vectors = pixel_vectors(NSIDE)
    dipole = vectors @ np.array([100.0, -50.0, 20.0])
    tiling = Tiling.cover(NSIDE, vectors[~valid])
    found = MapPatches.cut("dipole", np.where(valid, dipole, 0.0), dipole, len(tiling), seed=1)
    theta, phi = patch_angles(tiling.planes)
    expected = 100 * np.sin(theta) * np.cos(phi) - 50 * np.sin(theta) * np.sin(phi) + 20 * np.cos(theta)
    under = valid[pixels_at_angles(NSIDE, theta, phi)]
    matched = 0
    for field, holes in zip(found.target, ~found.valid, strict=True):
        near = np.sqrt(np.square(expected - field).mean(axis=(1, 2)))
        place = int(np.argmin(near))
        assert near[place] < 0.1 and np.sort(near)[1] > 2  # of 114: the analysis is iterated once
        # A hole pixel lies in a hole of the map, but where the tip of an observed pixel ends in its middle.
        assert np.mean(under[place][holes]) < 0.01
        matched += np.count_nonzero(holes)
    assert matched > 1000


def test_differences_are_plain_sums(halved) -> None:
    rows = {(row["kind"], row["region"]): row for row in halved.differences()}
    holes = rows["temperature", "holes"]
    per_patch = [
        np.abs(f - t)[~v] for f, t, v in zip(halved.filled, halved.target, halved.valid, strict=True)
    ]
    assert holes["mean"] == pytest.approx(np.mean([d.mean() for d in per_patch]))
    assert holes["std"] == pytest.approx(np.mean([d.std() for d in per_patch]))
    assert holes["mean_scatter"] == pytest.approx(np.std([d.mean() for d in per_patch]))
    rms = np.sqrt(np.mean(halved.target**2))
    assert holes["percent"] == pytest.approx(100 * holes["mean"] / rms)
    halves = [0.5 * np.abs(t)[~v].mean() for t, v in zip(halved.target, halved.valid, strict=True)]
    assert holes["mean"] == pytest.approx(
        np.mean(halves), rel=0.05
    )  # but for ripples beside the holes' edges
    pictures = [render(field, -300, 300).astype(float) for field in (halved.target, halved.filled)]
    everywhere = np.where(halved.valid[..., None], 0.0, np.abs(pictures[1] - pictures[0]))
    kept = rows["rgb", "all, observed kept"]
    assert kept["mean"] == pytest.approx(everywhere.mean())
    expected = 100 * np.mean(everywhere.mean((1, 2, 3)) / pictures[0].mean((1, 2, 3)))
    assert kept["percent"] == pytest.approx(expected) and kept["patches"] == 6
    assert "all, as drawn" not in {region for _, region in rows}


def test_colors_and_spectra_of_a_fill_that_lacks_variance(halved) -> None:
    colors = {row["channel"]: row for row in halved.colors().rows()}
    grey = luma(render(halved.filled, -300, 300)).reshape(6, -1)
    true = luma(render(halved.target, -300, 300)).reshape(6, -1)
    assert colors["grey"]["mean_percent"] == pytest.approx(100 * np.mean(grey.mean(1) / true.mean(1) - 1))
    assert colors["grey"]["std_percent"] == pytest.approx(100 * np.mean(grey.std(1) / true.std(1) - 1))
    rows = [r for r in halved.spectra().rows() if r["rendering"] == GREY and r["t_max_uK"] == 300.0]
    assert len(rows) == 6 and 0.6 < rows[0]["transfer_temperature"] < 1
    assert rows[0]["transfer_picture"] == pytest.approx(rows[0]["transfer_temperature"], abs=0.05)


def test_the_papers_test_takes_any_fill_beside_two_skies(halved) -> None:
    rows = {row["what"]: row for row in halved.ks_tests()}
    assert list(rows) == ["pixels of the patch", "pixels in holes", "power spectrum"]
    holes = [
        stats.ks_2samp(f[~v], t[~v], method="asymp")
        for f, t, v in zip(halved.filled, halved.target, halved.valid, strict=True)
    ]
    assert rows["pixels in holes"]["distance"] == pytest.approx(np.mean([h.statistic for h in holes]))
    assert rows["pixels in holes"]["median_p"] == pytest.approx(np.median([h.pvalue for h in holes]))
    share = np.mean([h.pvalue > 0.001 for h in holes])
    assert rows["pixels in holes"]["indistinguishable"] == pytest.approx(share)
    whole = rows["pixels of the patch"]
    assert (
        whole["other_sky_distance"] > 2 * whole["distance"]
    )  # though half the variance is missing in the holes
    assert rows["power spectrum"]["indistinguishable"] == 1.0


def test_one_seed_is_one_choice(sky, valid, halved) -> None:
    again = cut(sky, valid, 0.5 * sky)
    assert np.array_equal(again.target, halved.target)
    other = MapPatches.cut("toy", np.where(valid, sky, 0.0), sky, 6, seed=2)
    assert not np.array_equal(other.target, halved.target)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda sky, valid: (sky, sky.copy()), "agree in every pixel: nothing was filled"),
        (lambda sky, valid: (sky + 1, sky), "agree in no pixel. The target is the map that was filled, before"),
        (lambda sky, valid: (sky[:12], sky), "a filled map of 12 pixels and a target of 49152"),
        (lambda sky, valid: (np.where(np.arange(sky.size) < 1, 0, sky), sky), "0 patches of 128 px have 1 to 70 %"),
    ],
    ids=["same", "other", "size", "few"],
)  # fmt: skip
def test_what_cannot_be_compared(sky, valid, change, words: str) -> None:
    with pytest.raises(MapError, match=words):
        MapPatches.cut("toy", *change(sky, valid), 6, seed=0)
