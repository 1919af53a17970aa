"""`cmbinpaint demo`: what it says is what is in its files."""

import csv
import re

import healpy
import numpy as np
import pytest

from cmbinpaint import cli, spectra
from cmbinpaint.commands import _demo_polarization, demo
from cmbinpaint.files import fits

FILLED = [f"filled_{i:03d}" for i in range(8)]


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    return {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, printed):
    import contextlib
    import io

    path, text = tmp_path_factory.mktemp("demo"), io.StringIO()
    with contextlib.redirect_stdout(text):
        assert cli.main(["demo", "-o", str(path), "--nside", "32"]) == 0
    printed["text"] = text.getvalue()
    return path


def read(folder, name):
    return fits.read_map(folder / f"{name}.fits", "I_STOKES")[0]


def test_it_leaves_the_files_it_promises(folder, printed) -> None:
    assert sorted(p.name for p in folder.iterdir()) == sorted(demo.files(network=False))
    assert "network fills maps of nside 128 to 2048: this demo shows the default alone" in printed["text"]
    assert "observed pixels changed by the filling: 0" in printed["text"]


def test_the_sky_is_as_planck_writes_it(folder) -> None:
    columns = fits.describe(folder / "sky.fits")
    assert [(c.name, c.unit) for c in columns] == [("I_STOKES", "K_CMB"), ("TMASK", "")]
    _, info = fits.read_map(folder / "sky.fits", "I_STOKES")
    assert info.ordering == "NESTED" and info.unit == "K_CMB"
    mask = fits.read_mask(folder / "sky.fits", "TMASK")
    assert 0.7 < mask.mean() < 0.82


def test_the_filled_sky_is_compared_with_the_truth_it_never_saw(folder) -> None:
    truth, sky = (read(folder, name) for name in ("truth", "sky"))
    fills = [read(folder, name) for name in FILLED]
    valid = fits.read_mask(folder / "sky.fits", "TMASK") > 0
    for filled in fills:
        np.testing.assert_array_equal(filled[valid], truth[valid])
        assert (sky[~valid] == np.float32(healpy.UNSEEN)).all() and (filled[~valid] != truth[~valid]).all()
    rows = list(csv.DictReader((folder / "spectra.csv").read_text().splitlines()))
    assert int(rows[0]["ell_min"]) == 2 and int(rows[-1]["ell_max"]) == 48
    cl = [healpy.anafast(1e6 * m.astype(float), lmax=48) for m in (truth, *fills)]
    for row in rows:
        low, high = int(row["ell_min"]), int(row["ell_max"])
        ell = np.arange(low, high + 1)
        center = np.average(ell, weights=2 * ell + 1)
        power = np.array([np.average(values[ell], weights=2 * ell + 1) for values in cl])
        dl = power * center * (center + 1) / (2 * np.pi)
        assert float(row["dl_truth_uK2"]) == pytest.approx(dl[0], rel=1e-4)
        assert float(row["dl_filled_uK2"]) == pytest.approx(dl[1], rel=1e-4)
        scatter = 100 * np.std(power[1:], ddof=1) / power[0]
        assert float(row["scatter_percent"]) == pytest.approx(scatter, rel=1e-3)


def test_every_band_has_its_line_with_the_scatter_beside_it(folder, printed) -> None:
    rows = list(csv.DictReader((folder / "spectra.csv").read_text().splitlines()))
    for row in rows:
        line = next(
            text
            for text in printed["text"].splitlines()
            if text.split()[:1] == [f"{row['ell_min']}-{row['ell_max']}"]
        )
        _, truth, _, _, filled, scatter, _ = line.split()
        assert float(truth) == pytest.approx(float(row["dl_truth_uK2"]), abs=0.051)
        off = 100 * (float(row["dl_filled_uK2"]) / float(row["dl_truth_uK2"]) - 1)
        assert float(filled) == pytest.approx(off, abs=0.051)
        assert float(scatter) == pytest.approx(float(row["scatter_percent"]), abs=0.051)


def test_combine_s_network_fills_the_same_sky(tmp_path, capsys) -> None:
    pytest.importorskip("safetensors", reason="needs the network extra")
    assert cli.main(["demo", "-o", str(tmp_path), "--nside", "128"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(demo.files(network=True))
    truth, default, network = (read(tmp_path, name) for name in ("truth", "filled_000", "combine128"))
    valid = fits.read_mask(tmp_path / "sky.fits", "TMASK") > 0
    np.testing.assert_array_equal(network[valid], truth[valid])
    off = [np.std((filled - truth)[~valid]) * 1e6 for filled in (default, network)]
    assert off[0] < off[1] < 1.1 * off[0]  # measured 1.02 of the default's error, in holes of all depths
    cl = [healpy.anafast(1e6 * m.astype(float), lmax=192) for m in (truth, network)]
    for row in csv.DictReader((tmp_path / "spectra.csv").read_text().splitlines()):
        low, high = int(row["ell_min"]), int(row["ell_max"])
        ell = np.arange(low, high + 1)
        center = np.average(ell, weights=2 * ell + 1)
        for name, values in zip(("truth", "combine128"), cl, strict=True):
            power = np.average(values[ell], weights=2 * ell + 1)
            dl = power * center * (center + 1) / (2 * np.pi)
            assert float(row[f"dl_{name}_uK2"]) == pytest.approx(dl, rel=1e-4)
    assert "--model combine128 --refine 0" in capsys.readouterr().out


def test_the_pictures_are_pictures(folder) -> None:
    for name in demo.files(network=False):
        if name.endswith(".png"):
            data = (folder / name).read_bytes()
            assert data.startswith(b"\x89PNG") and len(data) > 20_000


def test_a_second_demo_does_not_overwrite_unasked(folder, capsys) -> None:
    assert cli.main(["demo", "-o", str(folder), "--nside", "32"]) == 1
    assert "truth.fits exists already; give another output, or --overwrite" in capsys.readouterr().err


def test_a_failing_inpaint_fails_the_demo(tmp_path, capsys) -> None:
    assert cli.main(["demo", "-o", str(tmp_path), "--nside", "16", "--model", "nosuch"]) == 1
    assert "unknown model 'nosuch'" in capsys.readouterr().err
    assert not (tmp_path / "filled.fits").exists()


def test_polarization(tmp_path, capsys) -> None:
    folder = tmp_path / "tqu"
    assert cli.main(["demo", "--fields", "TQU", "-o", str(folder), "--nside", "16"]) == 0
    assert sorted(p.name for p in folder.iterdir()) == sorted(_demo_polarization.files())
    said = capsys.readouterr().out
    for words in ("$ cmbinpaint simulate --fields TQU", "$ cmbinpaint inpaint", "$ cmbinpaint spectra"):
        assert words in said
    truth, sky, filled = (
        fits.read_map(folder / f"{n}.fits", "TQU")[0] for n in ("truth", "sky", "filled_000")
    )
    seen = sky > -1e30
    np.testing.assert_array_equal(filled[seen], truth[seen])
    assert 0.5 < seen.mean() < 0.9 and np.isfinite(filled).all()
    numbers = re.search(
        r"nside / 2: (\S+) µK with zeros in the holes, (\S+) filled, (\S+) in the truth", said
    )
    maps = (np.where(seen, sky, 0.0), filled, truth)
    for number, one in zip(numbers.groups(), maps, strict=True):
        assert float(number) == pytest.approx(1e6 * spectra.eb_maps(one, 8)[1].std(), rel=1e-2)
    rows = list(csv.DictReader((folder / "spectra.csv").read_text().splitlines()[1:]))
    assert {row["spectrum"] for row in rows} == {"TT", "EE", "BB", "TE", "EB", "TB"}
    assert cli.main(["demo", "--fields", "TQU", "-o", str(folder), "--model", "kriging"]) == 1
    assert "--model kriging is for temperature" in capsys.readouterr().err
