"""`cmbinpaint spectra`: its numbers are anafast's, its figure and tables are whole."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import healpy
import numpy as np
import pytest
from astropy.io import fits as astropy_fits

from cmbinpaint import cli, optimal_spectrum
from cmbinpaint.files import fits
from cmbinpaint.sims import fiducial_cl, fiducial_spectra, simulate_sky

NSIDE, LMAX = 32, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Truth in K (NESTED), a filled map in µK, a map with holes and its mask."""
    path = tmp_path_factory.mktemp("spectra")
    truth = simulate_sky(fiducial_cl(3 * NSIDE - 1), NSIDE, fwhm=0.1, noise_std=1.0, seed=1)
    theta, _ = healpy.pix2ang(NSIDE, np.arange(truth.size))
    valid = np.abs(theta - np.pi / 2) > 0.2
    filled = np.where(valid, truth, 0.9 * truth)
    fits.write_map(path / "truth.fits", truth * 1e-6, unit="K_CMB", ordering="NESTED")
    fits.write_map(path / "filled.fits", filled, unit="uK_CMB")
    columns = {"T": np.where(valid, truth, healpy.UNSEEN), "M": valid.astype(np.float32)}
    fits.write_map(path / "sky.fits", columns, unit={"T": "uK_CMB"}, ordering="NESTED")
    fits.write_map(path / "bare.fits", filled, column="T")
    return path


def run(*words: object) -> int:
    return cli.main(["spectra", *map(str, words)])


def rows(path) -> list[dict[str, float]]:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# C_ell in uK_CMB^2")
    return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(lines[1:])]


def test_the_table_is_anafast_in_bands(folder, tmp_path, capsys) -> None:
    words = ["--target", folder / "truth.fits", "--lmax", LMAX, "--bins", 8, "-o", tmp_path / "out"]
    assert run(folder / "filled.fits", *words) == 0
    said = capsys.readouterr()
    assert said.err == "" and f"{tmp_path / 'out.csv'}\n{tmp_path / 'out.png'}\n" in said.out
    cls = {
        "filled": healpy.anafast(fits.read_map(folder / "filled.fits")[0], lmax=LMAX),
        "target": healpy.anafast(1e6 * fits.read_map(folder / "truth.fits")[0], lmax=LMAX),
    }
    table = rows(tmp_path / "out.csv")
    assert table[0]["ell_min"] == 2 and table[-1]["ell_max"] == LMAX and len(table) == 8
    for row in table:
        ell = np.arange(int(row["ell_min"]), int(row["ell_max"]) + 1)
        band = {name: np.average(cl[ell], weights=2 * ell + 1) for name, cl in cls.items()}
        center = np.average(ell, weights=2 * ell + 1)
        for name, power in band.items():
            # anafast's own iterations and the sums agree to single digits of 1e-6.
            assert row[name] == pytest.approx(power * center * (center + 1) / (2 * np.pi), rel=1e-4)
        assert row["transfer"] == pytest.approx(band["filled"] / band["target"], rel=1e-4)
    assert (tmp_path / "out.png").stat().st_size > 5000


def test_the_observed_part_is_decoupled(folder, tmp_path) -> None:
    words = [
        "--observed",
        folder / "sky.fits",
        "--field",
        "0",
        "--mask-field",
        "M",
        "--lmax",
        LMAX,
        "--bins",
        6,
    ]
    assert run(folder / "filled.fits", *words, "-o", tmp_path / "o.json") == 0
    facts = json.loads((tmp_path / "o.json").read_text())
    assert facts["nside"] == NSIDE and facts["lmax"] == LMAX and 0.75 < facts["fsky"] < 0.85
    for band in facts["bands"][2:]:
        # The same sky: cut and full differ by part of the cosmic variance only.
        assert abs(band["observed"] - band["filled"]) < 3 * band["cosmic_std"]


def test_without_an_output_it_only_prints(folder, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(folder / "filled.fits", "--lmax", LMAX) == 0
    assert "filled" in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_a_beam_is_divided_out(folder, tmp_path) -> None:
    words = [folder / "filled.fits", "--lmax", 30, "--bins", 4, "-o"]
    assert run(*words, tmp_path / "a.csv") == 0
    assert run(*words, tmp_path / "b.csv", "--fwhm-arcmin", 0.1 * 60 * 180 / np.pi) == 0
    with_beam, without = rows(tmp_path / "a.csv"), rows(tmp_path / "b.csv")
    cl = healpy.anafast(fits.read_map(folder / "filled.fits")[0], lmax=30)
    ell = np.arange(31)
    # The pixel window in power as that of a disc of a pixel's area, good to a percent this far below nside.
    pixel = (1 - ell**2 * healpy.nside2resol(NSIDE) ** 2 / (8 * np.pi)) ** 2
    band = slice(int(with_beam[-1]["ell_min"]), None)
    weights = (2 * ell + 1)[band]
    divided = (cl / healpy.gauss_beam(0.1, lmax=30) ** 2 / pixel)[band]
    gain = np.average(divided, weights=weights) / np.average(cl[band], weights=weights)
    assert without[-1]["filled"] / with_beam[-1]["filled"] == pytest.approx(gain, rel=0.01)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["sky.fits"], "the filled map has"),
        (["bare.fits", "--target", "truth.fits"], "gives no unit and"),
        (
            ["filled.fits", "--mask-field", "M"],
            "--mask-field names a column of --mask or of --observed, and nei",
        ),
        (["none.fits"], "none.fits"),
        (["filled.fits", "--lmax", "5000"], "lmax must be 2 to 128 at nside 32; got 5000"),
    ],
)
def test_what_cannot_be_compared(words, text, folder, capsys) -> None:
    assert run(*[folder / w if w.endswith(".fits") else w for w in words]) == 1
    assert text in capsys.readouterr().err


def test_existing_output_is_refused(folder, tmp_path, capsys) -> None:
    (tmp_path / "a.png").write_text("precious")
    assert run(folder / "filled.fits", "-o", tmp_path / "a") == 1
    assert "a.png exists already; give another output, or --overwrite" in capsys.readouterr().err
    assert (tmp_path / "a.png").read_text() == "precious"


def test_optimal_bandpowers_are_those_of_the_function(folder, tmp_path, capsys) -> None:
    np.savetxt(tmp_path / "cl.txt", fiducial_cl(3 * NSIDE - 1), header="C_ell [uK^2]")
    words = ["--observed", folder / "sky.fits", "--mask-field", "M", "--lmax", 40, "--bins", 4]
    known = ["--cl", tmp_path / "cl.txt", "--noise-std", 1, "--fwhm-arcmin", 345]
    options = ["--optimal", "--seed", 5, *known, "-o", tmp_path / "out"]
    assert run(folder / "filled.fits", *words, *options) == 0
    said = capsys.readouterr().out
    sky, valid = (fits.read_map(folder / "sky.fits", name, unit="uK")[0] for name in "TM")
    edges = [int(row["ell_min"]) for row in rows(tmp_path / "out.csv")] + [41]
    best = optimal_spectrum(
        np.where(valid > 0, sky, np.nan), valid, cl=fiducial_cl(3 * NSIDE - 1), fwhm=np.radians(345 / 60),
        noise_std=1.0, bins=edges, seed=5, unit="uK",
    )  # fmt: skip
    with (tmp_path / "out_optimal.csv").open() as stream:
        table = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]
    np.testing.assert_allclose([row["cl"] for row in table], best.bandpowers, rtol=1e-4)
    np.testing.assert_allclose([row["cl_error"] for row in table], best.errors, rtol=1e-6)
    # And they are the sky's: of theory within its errors.
    bands = [np.average(fiducial_cl(40)[a:b], weights=2 * np.arange(a, b) + 1) for a, b in pairwise(edges)]
    assert np.all(np.abs(best.bandpowers - bands) < 4 * best.errors)
    assert f"{best.to_dl()[1][0]:.4g}" in said and "noise bias subtracted (seed 5)" in said
    assert f"{tmp_path / 'out_optimal.csv'}" in said and (tmp_path / "out.png").stat().st_size > 5000


def test_a_killed_run_goes_on_and_gives_the_same_bits(folder, tmp_path) -> None:
    words = ["--observed", folder / "sky.fits", "--mask-field", "M", "--lmax", 80, "--bins", 10, "--optimal"]
    command = [
        sys.executable,
        "-m",
        "cmbinpaint",
        "spectra",
        folder / "filled.fits",
        *words,
        "-o",
        tmp_path / "out",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pieces = tmp_path / "out_optimal.csv.pieces"
    with subprocess.Popen([*map(str, command)], env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 120
            while len(list(pieces.glob("*/response/*.npz"))) < 3:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.005)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL and not list(tmp_path.glob("out*.*v"))
    kept = {path: path.read_bytes() for path in sorted(pieces.glob("*/response/*.npz"))}
    assert 3 <= len(kept) < 10
    # The command goes on with the seed that it had chosen.
    seed = int((pieces / "seed").read_text())
    resumed = subprocess.run(
        [*map(str, command)], env=environment, capture_output=True, text=True, check=True
    )
    assert f"seed {seed})" in resumed.stdout and not pieces.exists()
    assert run(folder / "filled.fits", *words, "--seed", seed, "-o", tmp_path / "undisturbed") == 0
    assert (tmp_path / "out_optimal.csv").read_bytes() == (tmp_path / "undisturbed_optimal.csv").read_bytes()


def test_optimal_bandpowers_of_polarization_go_into_a_fits_file(tmp_path, capsys) -> None:
    cl, lmax = fiducial_spectra(3 * 8 - 1), 3 * 8 - 1
    cl[2] = 0.1 * cl[1]
    noise = np.array([1.0, 0.05, 0.05])
    sky = simulate_sky(cl, 8, fwhm=0.3, pixwin=True, seed=1)
    sky += noise[:, None] * np.random.default_rng(2).standard_normal(sky.shape)
    names = ["T", "Q", "U"]
    z = healpy.pix2vec(8, np.arange(768))[2]
    fits.write_map(
        tmp_path / "sky.fits", dict(zip(names, sky, strict=True)), unit=dict.fromkeys(names, "uK_CMB")
    )
    fits.write_map(tmp_path / "mask.fits", (np.abs(z) > 0.2).astype(np.float32), column="M")
    table = np.column_stack([np.arange(lmax + 1), *cl])
    np.savetxt(tmp_path / "cl.txt", table, header="ell TT EE BB TE C_ell [uK^2]")
    words = ["--mask", tmp_path / "mask.fits", "--fields", "TQU", "--lmax", 13, "--bins", 3, "--optimal"]
    known = ["--cl", tmp_path / "cl.txt", "--cl-kind", "cl", "--fwhm-arcmin", np.degrees(0.3) * 60]
    options = ["--noise-std", "1,0.05", "--seed", 5, "--workers", 2]
    best_file, out = tmp_path / "best.fits", tmp_path / "out"
    assert run(tmp_path / "sky.fits", *words, *known, *options, "--optimal-output", best_file, "-o", out) == 0
    said = capsys.readouterr().out
    assert str(best_file) in said and not (tmp_path / "out_optimal.csv").exists()
    assert said.count("C_ell in uK_CMB^2, divided by the beam given") == 1  # not under each of six tables
    assert (tmp_path / "out.png").stat().st_size > 5000
    with astropy_fits.open(best_file) as hdus:
        edges = [*hdus["BANDPOWERS"].data["ELL_MIN"][:3], 14]
        found, header = hdus["BANDPOWERS"].data["CL"].reshape(6, 3), hdus["BANDPOWERS"].header
    best = optimal_spectrum(
        sky, np.abs(z) > 0.2, cl=cl, fwhm=0.3, noise_std=noise, bins=edges, seed=5, unit="uK"
    )
    np.testing.assert_allclose(found, best.bandpowers, rtol=1e-5, atol=1e-6 * best.errors.min())
    assert header["SPECTRA"] == "TT,EE,BB,TE,EB,TB"
    assert "BB\nell_min" in said.replace(" ", "") and f"{best.to_dl()[1][2, 0]:.4g}" in said


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--optimal", "--optimal-output", "a.txt"], "a name that ends in .fits, .fits.gz or .csv"),
        (["--optimal-output", "a.fits"], "--optimal-output is for --optimal"),
        (["--seed", "1"], "--seed is for --optimal; give it too, or omit this"),
        (["--optimal", "--fwhm-arcmin", "300"], "where --cl says what it smoothed; give --cl"),
    ],
)
def test_what_optimal_needs_is_said(words, text, folder, capsys) -> None:
    given = ["--observed", folder / "sky.fits", "--mask-field", "M", "--lmax", "40", "--bins", "4"]
    assert run(folder / "filled.fits", *given, *words) == 1
    assert text in capsys.readouterr().err
