"""Gross differences against loops over pixels."""

from pathlib import Path

import numpy as np
import pytest

from cmbinpaint.errors import MapError, MaskError
from cmbinpaint.studies.differences import ALL, HOLES, KEPT, study_differences
from cmbinpaint.studies.patch_study import patch_depth, random_mask
from cmbinpaint.training.data.planck_colors import to_rgb
from cmbinpaint.training.data.shapes import circle
from cmbinpaint.training.data.targets import take_targets
from cmbinpaint.training.run.checkpoint_models import Trained

MASKS = {"circle": circle(32, 10.5), "shapes": random_mask(32, 0)}


@pytest.fixture(scope="module")
def trained(small_training: Path) -> Trained:
    return Trained.open(small_training)


def test_every_number_is_what_its_definition_says(trained: Trained) -> None:
    targets = take_targets(trained.data, 3, 0)
    calls: list[str] = []
    study = study_differences(
        trained,
        targets,
        MASKS,
        trained.states[1:],
        colors_uK=(-200.0, 200.0),
        watch=lambda progress: calls.append(str(progress)),
    )
    assert calls == ["fill 1/4", "fill 2/4", "fill 3/4", "fill 4/4"] and study.patches == 3
    assert study.temperature.mean.shape == study.rgb.percent.shape == (2, 2, 3, len(study.regions))
    rms = np.sqrt(np.mean(targets.truth.astype(float) ** 2))
    for m, valid in enumerate(MASKS.values()):
        fill = trained.filler(trained.states[2], targets).fill(targets.data, valid).field_uK
        truth, drawn = targets.truth[1].astype(float), fill[1]
        depth = patch_depth(valid)
        pixels = [tuple(p) for p in np.argwhere(np.ones_like(valid))]
        away = {p: abs(drawn[p] - truth[p]) for p in pixels}
        expected = {
            ALL: [away[p] for p in pixels],
            KEPT: [0.0 if valid[p] else away[p] for p in pixels],
            HOLES: [away[p] for p in pixels if not valid[p]],
            "depth 1.3-2.3 px": [away[p] for p in pixels if 1.3 < depth[p] <= 2.3],
        }
        for region, values in expected.items():
            at = (1, m, 1, study.regions.index(region))
            assert study.temperature.mean[at] == pytest.approx(np.mean(values), rel=1e-6)
            assert study.temperature.std[at] == pytest.approx(np.std(values), rel=1e-6)
            assert study.temperature.percent[at] == pytest.approx(100 * np.mean(values) / rms, rel=1e-6)
            assert study.pixels[m, at[-1]] == len(values)
        one, two = to_rgb(drawn, 200.0).astype(float), to_rgb(truth, 200.0).astype(float)
        at = (1, m, 1, study.regions.index(ALL))
        assert study.rgb.mean[at] == pytest.approx(np.abs(one - two).mean(), rel=1e-6)
        assert study.rgb.std[at] == pytest.approx(np.abs(one - two).std(), rel=1e-6)
        assert study.rgb.percent[at] == pytest.approx(100 * np.abs(one - two).mean() / two.mean(), rel=1e-6)
        assert study.hole_fraction[m] == np.mean(~valid)


def test_rows_hold_means_and_scatter_over_patches(trained: Trained) -> None:
    study = study_differences(trained, take_targets(trained.data, 4, 1), MASKS, trained.states)
    rows = study.rows()
    assert len(rows) == 3 * 2 * len(study.regions) * 2
    (row,) = [
        r for r in rows if (r["step"], r["mask"], r["region"], r["kind"]) == (8, "shapes", HOLES, "rgb")
    ]
    values = study.rgb.percent[1, 1, :, study.regions.index(HOLES)]
    assert (
        row["percent"] == values.mean() and row["percent_scatter"] == values.std() > 0 and row["stage"] == 1
    )
    assert study.facts()["network"] == "small"


def test_an_untold_constant_hits_pictures_and_temperatures_alike(trained: Trained) -> None:
    """Shared limits: the same T_min and T_max render target and prediction, so wider ones make less of a difference."""
    targets = take_targets(trained.data, 2, 0)
    narrow, wide = (
        study_differences(trained, targets, MASKS, trained.states[-1:], colors_uK=(-t, t))
        for t in (200.0, 2000.0)
    )
    assert np.all(wide.rgb.mean[..., 0] < 0.5 * narrow.rgb.mean[..., 0])
    np.testing.assert_array_equal(wide.temperature.mean, narrow.temperature.mean)


def test_bad_input_is_refused(trained: Trained, small_set: Path) -> None:
    targets = take_targets(trained.data, 1, 0)
    with pytest.raises(MaskError, match="mask 'x' hides all pixels"):
        study_differences(trained, targets, {"x": np.zeros((32, 32), bool)}, trained.states)
    with pytest.raises(MapError, match="T_min = 300 µK to T_max = -300 µK; expected T_min below T_max"):
        study_differences(trained, targets, MASKS, trained.states, colors_uK=(300.0, -300.0))
