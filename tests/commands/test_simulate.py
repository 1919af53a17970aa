"""`cmbinpaint simulate`: the file holds the sky that was asked for."""

import healpy
import numpy as np
import pytest
from astropy.io import fits as afits

from cmbinpaint import cli
from cmbinpaint.commands._common import drawn_mask
from cmbinpaint.files import fits
from cmbinpaint.sims import fiducial_cl, simulate_sky


@pytest.fixture
def cl_file(tmp_path):
    np.savetxt(tmp_path / "cl.txt", fiducial_cl(47), header="C_ell")
    return tmp_path / "cl.txt"


def test_it_is_the_function(cl_file, tmp_path, capsys) -> None:
    out = tmp_path / "sky.fits"
    words = [
        "--nside",
        "16",
        "--fwhm-arcmin",
        "600",
        "--noise-std",
        "2",
        "--seed",
        "0",
        "--ordering",
        "NESTED",
    ]
    assert cli.main(["simulate", "-o", str(out), "--cl", str(cl_file), *words]) == 0
    assert "seed 0" in capsys.readouterr().out
    sky, info = fits.read_map(out)
    assert (info.ordering, info.unit, info.column) == ("NESTED", "K_CMB", "I_STOKES")
    expected = simulate_sky(fiducial_cl(47), 16, fwhm=np.radians(10), noise_std=2.0, seed=0)
    np.testing.assert_allclose(sky * 1e6, expected, rtol=1e-6, atol=1e-5 * expected.std())  # single precision
    header = afits.getheader(out, 1)
    assert header["SEED"] == 0 and header["FWHM"] == 600 and header["NOISESTD"] == "2"


def test_planck_2018_is_the_default_spectrum(tmp_path) -> None:
    words = ["--nside", "32", "--seed", "1", "--unit", "uK"]
    assert cli.main(["simulate", "-o", str(tmp_path / "a.fits"), *words]) == 0
    cl = healpy.anafast(fits.read_map(tmp_path / "a.fits")[0].astype(float), lmax=60)
    ell = np.arange(20, 61)
    ratio = np.average(cl[20:] / fiducial_cl(60)[20:], weights=2 * ell + 1)
    assert ratio == pytest.approx(1, abs=5 * np.sqrt(2 / (2 * ell + 1).sum()))


def test_fresh_seeds_are_recorded(cl_file, tmp_path) -> None:
    for name in ("a.fits", "b.fits"):
        assert cli.main(["simulate", "-o", str(tmp_path / name), "--nside", "8", "--cl", str(cl_file)]) == 0
    seeds = [afits.getheader(tmp_path / name, 1)["SEED"] for name in ("a.fits", "b.fits")]
    assert seeds[0] != seeds[1]
    words = ["--nside", "8", "--cl", str(cl_file), "--seed", str(seeds[0])]
    assert cli.main(["simulate", "-o", str(tmp_path / "c.fits"), *words]) == 0
    np.testing.assert_array_equal(
        fits.read_map(tmp_path / "a.fits")[0], fits.read_map(tmp_path / "c.fits")[0]
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--nside", "17"], "nside 17 is not a power of two"),
        (["--unit", "MJy/sr"], "unit 'MJy/sr' is a brightness"),
        (["--noise-std", "none.fits"], "--noise-std: got 'none.fits'; expected a number"),
        (["--cl", "none.txt"], "none.txt"),
    ],
)
def test_what_cannot_be_simulated(words, text, cl_file, tmp_path, capsys) -> None:
    base = ["simulate", "-o", str(tmp_path / "o.fits"), "--nside", "8", "--cl", str(cl_file)]
    assert cli.main([*base, *words]) == 1
    assert text in capsys.readouterr().err and not (tmp_path / "o.fits").exists()


def test_the_packaged_spectrum_ends(tmp_path, capsys) -> None:
    assert cli.main(["simulate", "-o", str(tmp_path / "o.fits"), "--nside", "8", "--lmax", "6201"]) == 1
    said = capsys.readouterr().err
    assert "lmax is 6201; expected a whole number from 2 to 6200; give a lower --lmax, or --cl" in said


@pytest.mark.parametrize(("kind", "share"), [("planck", 0.22), ("round", 0.02)])
def test_holes_are_hidden_and_the_rest_is_the_whole_sky(kind: str, share: float, tmp_path, capsys) -> None:
    words = ["--nside", "16", "--lmax", "30", "--seed", "1"]
    assert cli.main(["simulate", "-o", str(tmp_path / "whole.fits"), *words]) == 0
    assert "of the pixels" not in capsys.readouterr().out
    assert cli.main(["simulate", "-o", str(tmp_path / "holes.fits"), "--holes", kind, *words]) == 0
    whole, holes = (healpy.read_map(tmp_path / f"{name}.fits") for name in ("whole", "holes"))
    hidden = holes == healpy.UNSEEN
    assert hidden.mean() == pytest.approx(share, abs=0.02)
    assert f", {hidden.mean():.1%} of the pixels hidden" in capsys.readouterr().out
    np.testing.assert_array_equal(holes[~hidden], whole[~hidden])
    np.testing.assert_array_equal(hidden, ~drawn_mask(kind, 16))
