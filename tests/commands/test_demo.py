"""`cmbinpaint demo`: what it says is what is in its files."""

import csv

import healpy
import numpy as np
import pytest

from cmbinpaint import cli
from cmbinpaint.commands import demo
from cmbinpaint.files import fits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo")
    assert cli.main(["demo", "-o", str(path), "--nside", "32"]) == 0
    return path


def test_it_leaves_the_files_it_promises(folder) -> None:
    assert sorted(p.name for p in folder.iterdir()) == sorted(demo.FILES)


def test_the_sky_is_as_planck_writes_it(folder) -> None:
    columns = fits.describe(folder / "sky.fits")
    assert [(c.name, c.unit) for c in columns] == [("I_STOKES", "K_CMB"), ("TMASK", "")]
    _, info = fits.read_map(folder / "sky.fits", "I_STOKES")
    assert info.ordering == "NESTED" and info.unit == "K_CMB"
    mask = fits.read_mask(folder / "sky.fits", "TMASK")
    assert 0.7 < mask.mean() < 0.82


def test_the_filled_sky_is_compared_with_the_truth_it_never_saw(folder) -> None:
    truth, sky, filled = (
        fits.read_map(folder / f"{name}.fits", "I_STOKES")[0] for name in ("truth", "sky", "filled")
    )
    valid = fits.read_mask(folder / "sky.fits", "TMASK") > 0
    np.testing.assert_array_equal(filled[valid], truth[valid])
    assert (sky[~valid] == np.float32(healpy.UNSEEN)).all() and (filled[~valid] != truth[~valid]).all()
    lines = csv.DictReader((folder / "spectra.csv").read_text().splitlines())
    cl = {
        name: healpy.anafast(1e6 * m.astype(float), lmax=64)
        for name, m in (("truth", truth), ("filled", filled))
    }
    for row in lines:
        ell = np.arange(int(row["ell_min"]), int(row["ell_max"]) + 1)
        for name, values in cl.items():
            dl = np.average(values[ell] * ell * (ell + 1) / (2 * np.pi), weights=2 * ell + 1)
            assert float(row[f"dl_{name}_uK2"]) == pytest.approx(dl, rel=1e-4)


def test_the_pictures_are_pictures(folder) -> None:
    for name in demo.FILES:
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
