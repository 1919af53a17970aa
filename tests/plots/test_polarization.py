"""Pictures of polarization: rows share scales, and ticks point along the polarization."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from cmbinpaint import plots
from cmbinpaint.errors import CmbInpaintError

NPIX = 12 * 16**2


def test_rows_share_the_scale_of_their_last_map() -> None:
    rng = np.random.default_rng(0)
    maps = {name: rng.normal(size=(2, NPIX)) for name in ("Q", "P", "B")}
    maps["P"] = np.abs(maps["P"])
    rows = {name: {"before": 10 * pair[0], "filled": pair[1]} for name, pair in maps.items()}
    figure = plots.draw_polarization(rows, unit="uK_CMB", title="all")
    panels = [ax for ax in figure.axes if ax.get_title(loc="left") or ax.get_title()]
    titles = [ax.get_title(loc="left") or ax.get_title() for ax in panels]
    assert titles == ["Q, before", "Q, filled", "P, before", "P, filled", "B, before", "B, filled"]
    for ax, title in zip(panels, titles, strict=True):
        limit = plots.symmetric_limit(maps[title[0]][1])
        assert ax.images[0].get_clim() == (0.0 if title[0] == "P" else -limit, limit)


@pytest.mark.parametrize("rows", [{}, {"Q": {"a": np.ones(12)}, "U": {}}], ids=["none", "other"])
def test_rows_of_other_lengths_are_refused(rows: dict) -> None:
    with pytest.raises(CmbInpaintError, match="rows need the same number of maps, at least one"):
        plots.draw_polarization(rows)


@pytest.mark.parametrize(
    ("q", "u", "direction"),
    [(1.0, 0.0, (0.0, 1.0)), (-1.0, 0.0, (1.0, 0.0)), (0.0, 1.0, (1.0, -1.0)), (0.0, -1.0, (1.0, 1.0))],
    ids=["north-south", "east-west", "south-east", "north-east"],
)
def test_ticks_point_along_the_polarization(q: float, u: float, direction: tuple[float, float]) -> None:
    """Q > 0 is along the meridian and U > 0 from the north-west to the south-east (COSMO); x is offset to the east."""
    sky = np.stack([np.full(NPIX, q), np.full(NPIX, u)])
    sky[:, ::7] = np.nan
    ax = plots.draw_polarized_patch(sky, 30.0, 0.0, side_deg=10, background=np.arange(NPIX) * 1.0, ticks=5)
    (ticks,) = (c for c in ax.collections if isinstance(c, LineCollection))
    segments = np.array(ticks.get_segments())
    assert 10 < len(segments) <= 25
    steps = segments[:, 1] - segments[:, 0]
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 2.0, rtol=0.03)  # the distance of two ticks
    across = steps @ np.array([-direction[1], direction[0]]) / np.hypot(*direction)
    # Away from the center the plane's axes turn from the sky's: by less than half a degree at 5 degrees.
    assert np.abs(across).max() < 0.02 * 2
    assert np.abs(segments.mean(axis=1)).max() <= 4.1 and ax.get_xlim() == (5.0, -5.0)


def test_the_background_is_t_or_the_polarized_intensity() -> None:
    sky = np.stack([np.full(NPIX, 5.0), np.full(NPIX, 3.0), np.full(NPIX, 4.0)])
    for given, value in ((sky, 5.0), (sky[1:], 5.0), (2 * sky[1:], 10.0)):
        ax = plots.draw_polarized_patch(given, 0, 40, side_deg=10)
        np.testing.assert_allclose(ax.images[0].get_array(), value)
