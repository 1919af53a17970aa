"""`cmbinpaint info`: the facts it prints are those of the file."""

import itertools
import json
from pathlib import Path

import healpy
import numpy as np
import pytest

from cmbinpaint import cli
from cmbinpaint.commands import _cost
from cmbinpaint.files import fits
from cmbinpaint.sims import fiducial_cl, simulate_sky
from cmbinpaint.sphere.masks import planck_like_mask

NSIDE = 16
NPIX = 12 * NSIDE**2


@pytest.fixture
def valid() -> np.ndarray:
    """Two single pixels, one disc; RING."""
    observed = np.ones(NPIX, bool)
    observed[[0, 2000]] = False
    observed[healpy.query_disc(NSIDE, healpy.ang2vec(1.2, 4.0), 0.4)] = False
    return observed


@pytest.fixture
def path(tmp_path: Path, valid: np.ndarray) -> Path:
    sky = np.random.default_rng(0).standard_normal(NPIX).astype(np.float32)
    columns = {"I_STOKES": sky, "TMASK": valid.astype(np.float32)}
    return fits.write_map(
        tmp_path / "sky.fits", columns, unit={"I_STOKES": "mK_CMB"}, ordering="NESTED", coord="G"
    )


def facts(capsys, *words: object) -> dict:
    assert cli.main(["info", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_facts_of_a_file(path, valid, capsys) -> None:
    found = facts(capsys, path, "--mask-field", "TMASK")
    expected = {
        "nside": NSIDE,
        "ordering": "NESTED",
        "unit": "mK_CMB",
        "coordinates": "G",
        "column": "I_STOKES",
    }
    assert {key: found[key] for key in expected} == expected
    assert [c["name"] for c in found["columns"]] == ["I_STOKES", "TMASK"]
    disc = (~valid).sum() - 2
    holes = found["holes"]
    assert holes["count"] == 3 and holes["largest"] == disc and holes["pixels"] == disc + 2
    assert holes["fsky"] == pytest.approx(valid.mean())
    assert holes["sizes"] == {"1": 2, "2 to 10": 0, "11 to 100": 0, "101 to 1000": 1, "over 1000": 0}
    # The disc's center is 0.4 rad from its rim, give or take a pixel.
    assert holes["deepest_pixels"] == pytest.approx(0.4 / healpy.nside2resol(NSIDE), abs=1)


def test_every_column_with_unit_and_range(tmp_path, valid, capsys) -> None:
    rng = np.random.default_rng(1)
    sky, hits = rng.standard_normal(NPIX).astype("f4"), np.arange(NPIX, dtype="i4")
    sky[5:8] = np.nan, healpy.UNSEEN, np.inf
    columns = {"I": sky, "HITS": hits, "M": valid, "NONE": np.full(NPIX, np.nan)}
    path = fits.write_map(tmp_path / "a.fits", columns, unit={"I": "uK_CMB"})
    found = {c["name"]: c for c in facts(capsys, path, "--field", "HITS")["columns"]}
    known = np.delete(sky, [5, 6, 7]).astype(float)
    assert (found["I"]["least"], found["I"]["largest"]) == (known.min(), known.max())
    assert found["I"]["mean"] == pytest.approx(known.mean(), abs=1e-7) and found["I"]["unknown"] == 3
    assert (found["HITS"]["least"], found["HITS"]["largest"], found["HITS"]["unit"]) == (0, NPIX - 1, "")
    assert [name for name, c in found.items() if c["is_mask"]] == ["M"]
    assert found["M"]["mean"] == pytest.approx(valid.mean())
    assert found["NONE"]["unknown"] == NPIX and found["NONE"]["least"] is None
    assert cli.main(["info", str(path), "--field", "HITS"]) == 0
    out = capsys.readouterr().out
    for words in ("3 unknown", f"0 to {NPIX - 1}", f"mask, {valid.mean():.4g} of it 1", "no values"):
        assert words in out
    assert "nothing would be filled without one: --mask-field M" in out


def test_a_mask_of_its_own_file(path, valid, tmp_path, capsys) -> None:
    mask = fits.write_map(tmp_path / "mask.fits", valid.astype(np.float32))
    assert facts(capsys, path, mask)["holes"] == facts(capsys, path, "--mask-field", "TMASK")["holes"]


def test_a_mask_that_a_fill_would_doubt_is_doubted_here(tmp_path, capsys) -> None:
    """Inverted: a warning, or what a fill would refuse; the facts are told all the same."""
    nside = 32
    valid = planck_like_mask(nside)
    sky = simulate_sky(fiducial_cl(3 * nside - 1), nside, fwhm=0.1, seed=1)
    inverted = fits.write_map(tmp_path / "inverted.fits", (~valid).astype(np.float32))
    right = fits.write_map(tmp_path / "right.fits", valid.astype(np.float32))
    path = fits.write_map(tmp_path / "sky.fits", sky, unit="uK_CMB")
    assert cli.main(["info", str(path), str(inverted)]) == 0
    said = capsys.readouterr()
    assert "is the mask inverted? " in said.err and "give a file of 1 - mask" in said.err
    assert f"fsky         {1 - valid.mean():.4f}" in said.out
    times = fits.write_map(tmp_path / "times.fits", sky * valid, unit="uK_CMB")
    assert cli.main(["info", str(times), str(inverted)]) == 0
    assert "a fill would be refused: all observed pixels, 2" in capsys.readouterr().err
    assert cli.main(["info", str(path), str(right)]) == 0
    assert capsys.readouterr().err == ""


def test_a_mask_alone_is_called_one(valid, tmp_path, capsys) -> None:
    mask = fits.write_map(tmp_path / "mask.fits", valid.astype(np.float32), unit=None)
    assert cli.main(["info", str(mask)]) == 0
    out = capsys.readouterr().out
    assert f"this column is a mask: `cmbinpaint info MAP {mask}` counts its holes" in out
    assert "unit         not given" in out and "nothing would be filled" not in out


def test_text_for_people(path, capsys) -> None:
    assert cli.main(["info", str(path), "--mask-field", "TMASK"]) == 0
    out = capsys.readouterr().out
    for words in (
        "NESTED",
        "mK_CMB",
        "nside        16",
        "I_STOKES",
        "TMASK",
        "one realization by gaussian takes about ",
        "of memory",
        "estimates",
    ):
        assert words in out


@pytest.mark.parametrize(("value", "text"), [(1.0, "holes        none"), (np.nan, "nothing is observed")])
def test_no_hole_and_nothing_but_holes(value: float, text: str, tmp_path, capsys) -> None:
    path = fits.write_map(tmp_path / "a.fits", np.full(NPIX, value), unit="K_CMB")
    assert cli.main(["info", str(path)]) == 0
    assert text in capsys.readouterr().out


def half_observed(nside: int) -> np.ndarray:
    valid = np.ones(12 * nside**2, bool)
    valid[: valid.size // 4] = False
    return valid


def test_cost_grows_with_resolution_and_holes() -> None:
    # As measured by benchmarks/speed.py at nside 256 (a quarter of it in holes: 9.6, 47 s), within a factor of 2.
    default, kriging, network = (
        _cost.estimate(half_observed(256), name) for name in ("default", "kriging", "combine128")
    )
    assert 5 < default.seconds < 20 and 3e8 < default.bytes < 8e8 and 24 < kriging.seconds < 94
    assert default.seconds < network.seconds < 2 * kriging.seconds and network.bytes > default.bytes
    assert (default.model, network.model) == ("gaussian", "combine128")
    costs = [_cost.estimate(half_observed(nside)) for nside in (64, 128, 512)]
    assert all(b.seconds > a.seconds and b.bytes > a.bytes for a, b in itertools.pairwise(costs))
    assert 20 < costs[2].seconds < 80, "39 s at nside 512"
    few = np.ones(12 * 256**2, bool)
    few[:9] = False
    assert _cost.estimate(few).seconds < default.seconds - 3


def test_cost_of_the_model_that_is_asked_for(path, capsys) -> None:
    hidden = (path, "--mask-field", "TMASK")
    assert facts(capsys, *hidden)["cost"]["model"] == "gaussian"
    default, network = (facts(capsys, *hidden, "--model", m)["cost"] for m in ("default", "combine128"))
    assert network["model"] == "combine128" and network["bytes"] == default["bytes"] + 4e8
    assert cli.main(["info", str(path), "--model", "combin128"]) == 1
    assert "did you mean" in capsys.readouterr().err
