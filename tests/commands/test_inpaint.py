"""`cmbinpaint inpaint`, run as a user runs it, on small files."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.io import fits as afits

from cmbinpaint import cli, inpaint_map
from cmbinpaint.commands._series import realization_paths
from cmbinpaint.files import fits
from cmbinpaint.sims import fiducial_cl, simulate_sky

NSIDE = 16
NPIX = 12 * NSIDE**2


@pytest.fixture(scope="module")
def valid() -> np.ndarray:
    """A band, a disc and single pixels; RING."""
    theta, _ = healpy.pix2ang(NSIDE, np.arange(NPIX))
    observed = np.abs(theta - np.pi / 2) > 0.12
    observed[healpy.query_disc(NSIDE, healpy.ang2vec(0.7, 2.0), 0.15)] = False
    observed[[5, 100, 3000]] = False
    return observed


@pytest.fixture(scope="module")
def sky() -> np.ndarray:
    """A sky in K, RING, single precision."""
    cl = fiducial_cl(3 * NSIDE - 1)
    return (simulate_sky(cl, NSIDE, fwhm=0.2, noise_std=1.0, seed=5) * 1e-6).astype(np.float32)


@pytest.fixture
def planck_file(tmp_path: Path, sky: np.ndarray, valid: np.ndarray) -> Path:
    """A file as Planck's: NESTED, K_CMB, I_STOKES and TMASK."""
    columns = {"I_STOKES": sky, "TMASK": valid.astype(np.float32)}
    return fits.write_map(
        tmp_path / "sky.fits", columns, unit={"I_STOKES": "K_CMB"}, ordering="NESTED", coord="G"
    )


def run(*words: object) -> int:
    return cli.main(["inpaint", *map(str, words)])


def test_a_planck_file_comes_back_filled(planck_file, tmp_path, sky, valid, capsys) -> None:
    out = tmp_path / "out.fits"
    words = [planck_file, "--field", "I_STOKES", "--mask-field", "TMASK", "-o", out, "--seed", 7]
    assert run(*words) == 0
    said = capsys.readouterr()
    assert said.err == "" and said.out.count("\n") == 2
    assert said.out.splitlines()[1].startswith("sky model, in uK_CMB: estimated from the observed 0.")
    assert said.out.startswith(f"{out}: ") and "holes filled" in said.out and "seed 7" in said.out
    filled, info = fits.read_map(out)
    assert (info.ordering, info.unit, info.column, info.coord, info.dtype) == (
        "NESTED", "K_CMB", "I_STOKES", "G", "float32",
    )  # fmt: skip
    np.testing.assert_array_equal(filled[valid], sky[valid])
    assert np.isfinite(filled).all() and (filled[~valid] != sky[~valid]).all()
    # Two-sided: the realization in the holes has the sky's width, far from the 30 % that a mean would lose.
    assert 0.7 < filled[~valid].std() / sky.std() < 1.4


def test_the_command_is_the_function(planck_file, tmp_path, sky, valid) -> None:
    out = tmp_path / "out.fits"
    assert run(planck_file, "--mask-field", "TMASK", "-o", out, "--seed", 3) == 0
    expected = inpaint_map(sky, valid, unit="K_CMB", seed=3)
    np.testing.assert_array_equal(fits.read_map(out)[0], expected)


def test_nothing_under_a_hole_matters(planck_file, tmp_path, sky, valid) -> None:
    assert run(planck_file, "--mask-field", "TMASK", "-o", tmp_path / "a.fits", "--seed", 3) == 0
    for name, wild in (("u", healpy.UNSEEN), ("n", np.nan), ("w", 1e12)):
        other = np.where(valid, sky, np.float32(wild))
        columns = {"I_STOKES": other, "TMASK": valid.astype(np.float32)}
        path = fits.write_map(
            tmp_path / f"{name}.fits", columns, unit={"I_STOKES": "K_CMB"}, ordering="NESTED"
        )
        out = tmp_path / f"out_{name}.fits"
        assert run(path, "--mask-field", "TMASK", "-o", out, "--seed", 3) == 0
        np.testing.assert_array_equal(fits.read_map(out)[0], fits.read_map(tmp_path / "a.fits")[0])


def test_a_mask_file_and_unseen_pixels_are_alike(tmp_path, sky, valid) -> None:
    full = fits.write_map(tmp_path / "full.fits", sky, unit="K")
    mask = fits.write_map(tmp_path / "mask.fits", valid.astype(np.float32), ordering="NESTED")
    holes = fits.write_map(tmp_path / "holes.fits", np.where(valid, sky, np.float32(healpy.UNSEEN)), unit="K")
    assert run(full, "--mask", mask, "-o", tmp_path / "a.fits", "--seed", 1) == 0
    assert run(holes, "-o", tmp_path / "b.fits", "--seed", 1) == 0
    np.testing.assert_array_equal(
        fits.read_map(tmp_path / "a.fits")[0], fits.read_map(tmp_path / "b.fits")[0]
    )


def test_a_spectrum_in_microkelvin_serves_a_map_in_kelvin(tmp_path, sky, valid) -> None:
    """The same job in K, mK and µK gives the same temperatures, and observed pixels bit for bit."""
    np.savetxt(tmp_path / "cl.txt", fiducial_cl(3 * NSIDE - 1), header="C_ell")
    results = {}
    for unit, factor in (("K_CMB", 1.0), ("uK_CMB", 1e6)):
        values = sky.astype(np.float64) * factor
        path = fits.write_map(tmp_path / f"{unit}.fits", np.where(valid, values, np.nan), unit=unit)
        out = tmp_path / f"out_{unit}.fits"
        words = ["--cl", tmp_path / "cl.txt", "--fwhm-arcmin", 0.2 * 60 * 180 / np.pi, "--noise-std", 1.0]
        assert run(path, *words, "-o", out, "--seed", 2) == 0
        filled = fits.read_map(out)[0]
        np.testing.assert_array_equal(filled[valid], values[valid])
        results[unit] = filled / factor
    # Rounding of the unit's factor, amplified by the solver's stopping rule.
    np.testing.assert_allclose(results["K_CMB"], results["uK_CMB"], atol=1e-4 * sky.std())


def test_the_header_says_what_was_done(planck_file, tmp_path, valid) -> None:
    out = tmp_path / "out.fits"
    words = [
        "inpaint",
        str(planck_file),
        "--mask-field",
        "TMASK",
        "-o",
        str(out),
        "--seed",
        "11",
        "--guard",
        "1",
    ]
    assert cli.main(words) == 0
    header = afits.getheader(out, 1)
    assert header["CREATOR"].startswith("cmbinpaint ") and header["MODEL"] == "gaussian"
    assert header["SEED"] == 11 and header["FILL"] == "realization" and header["GUARD"] == 1
    assert header["MAPSHA"] == fits.sha256_of(planck_file) == header["MASKSHA"]
    assert header["MASKFILE"] == "sky.fits" and header["NFILLED"] == (~valid).sum()
    assert header["FSKY"] < valid.mean()  # guarded pixels are no data
    assert " ".join(words[:3]) in "".join(header["HISTORY"]).replace("\n", "")
    with afits.open(out, checksum=True) as hdus:  # a wrong sum warns, and warnings are errors here
        assert "CHECKSUM" in hdus[1].header


def test_a_fresh_seed_is_recorded_and_repeats(planck_file, tmp_path) -> None:
    assert run(planck_file, "--mask-field", "TMASK", "-o", tmp_path / "a.fits") == 0
    seed = afits.getheader(tmp_path / "a.fits", 1)["SEED"]
    assert run(planck_file, "--mask-field", "TMASK", "-o", tmp_path / "b.fits", "--seed", seed) == 0
    np.testing.assert_array_equal(
        fits.read_map(tmp_path / "a.fits")[0], fits.read_map(tmp_path / "b.fits")[0]
    )


def test_0_is_a_seed(planck_file, tmp_path) -> None:
    assert run(planck_file, "--mask-field", "TMASK", "-o", tmp_path / "a.fits", "--seed", 0) == 0
    assert afits.getheader(tmp_path / "a.fits", 1)["SEED"] == 0


@pytest.mark.parametrize("noise", [1.0, 5.0])
def test_self_check_says_whether_noise_fits(noise, planck_file, tmp_path, sky, valid, capsys) -> None:
    np.savetxt(tmp_path / "cl.txt", fiducial_cl(3 * NSIDE - 1), header="C_ell")
    words = [planck_file, "--mask-field", "TMASK", "--cl", tmp_path / "cl.txt", "--noise-std", noise]
    words += ["--fwhm-arcmin", 0.2 * 60 * 180 / np.pi, "--seed", 1]
    assert run(*words, "--self-check", "-o", tmp_path / "a.fits") == 0
    first, second, third = capsys.readouterr().out.splitlines()
    expected = "fit" if noise == 1.0 else "do NOT fit"
    assert first.startswith(f"self-check: beam, noise and sky model {expected} this map (")
    assert second.startswith(f"{tmp_path / 'a.fits'}: ")
    assert third == "sky model, in uK_CMB: given cl, noise given"
    history = "".join(afits.getheader(tmp_path / "a.fits", 1)["HISTORY"]).replace("\n", "")
    assert f"self-check: beam, noise and sky model {expected} this map" in history
    # The check changes nothing in the fill.
    assert run(*words, "-o", tmp_path / "b.fits") == 0
    np.testing.assert_array_equal(
        fits.read_map(tmp_path / "a.fits")[0], fits.read_map(tmp_path / "b.fits")[0]
    )


def test_noise_is_estimated_beside_a_given_spectrum_and_said(planck_file, tmp_path, capsys) -> None:
    np.savetxt(tmp_path / "cl.txt", fiducial_cl(3 * NSIDE - 1), header="C_ell")
    words = [planck_file, "--mask-field", "TMASK", "--cl", tmp_path / "cl.txt", "--seed", 1]
    words += ["--fwhm-arcmin", 0.2 * 60 * 180 / np.pi, "-o", tmp_path / "a.fits"]
    assert run(*words) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    found = re.fullmatch(r"sky model, in uK_CMB: given cl, noise (\S+) per pixel from blocks of pixels", said)
    assert found is not None and 0.97 < float(found[1]) < 1.03  # the sky's is 1 µK
    assert said in "".join(afits.getheader(tmp_path / "a.fits", 1)["HISTORY"]).replace("\n", "")


def test_noise_beyond_all_the_power_of_the_map_is_refused_before_a_self_check(
    planck_file, tmp_path, capsys
) -> None:
    np.savetxt(tmp_path / "cl.txt", fiducial_cl(3 * NSIDE - 1), header="C_ell")
    words = [planck_file, "--mask-field", "TMASK", "--cl", tmp_path / "cl.txt", "--noise-std", 30]
    words += ["--fwhm-arcmin", 0.2 * 60 * 180 / np.pi, "--self-check", "-o", tmp_path / "a.fits"]
    assert run(*words) == 1
    err = capsys.readouterr().err
    assert (
        "the sky model does not fit the map: at ell = " in err and "another cosmology, beam or noise" in err
    )
    assert not (tmp_path / "a.fits").exists()


def test_self_check_without_room_does_not_stop_the_fill(sky, tmp_path, capsys) -> None:
    crowded = healpy.ring2nest(NSIDE, np.arange(NPIX)) % 4 > 0
    path = fits.write_map(tmp_path / "s.fits", np.where(crowded, sky, np.float32(np.nan)), unit="K_CMB")
    assert run(path, "--self-check", "-o", tmp_path / "o.fits", "--model", "kriging") == 0
    assert capsys.readouterr().out.startswith(
        "self-check: not possible: no hole of this mask fits into the observed sky"
    )
    assert np.isfinite(fits.read_map(tmp_path / "o.fits")[0]).all()


class TestRealizations:
    def words(self, planck_file: Path, *more: object) -> list[object]:
        return [planck_file, "--mask-field", "TMASK", "--model", "kriging", *more]

    def test_each_depends_on_seed_and_index_only(self, planck_file, tmp_path, sky, valid) -> None:
        assert run(*self.words(planck_file, "-o", tmp_path / "r.fits", "--realizations", 3, "--seed", 4)) == 0
        made = [fits.read_map(tmp_path / f"r_{i:03d}.fits")[0] for i in range(3)]
        expected = inpaint_map(sky, valid, unit="K_CMB", seed=4, n_realizations=3, model="kriging")
        np.testing.assert_array_equal(made, expected)
        assert len({m[~valid].tobytes() for m in made}) == 3

    def test_a_rerun_makes_what_is_missing(self, planck_file, tmp_path, capsys) -> None:
        words = self.words(planck_file, "-o", tmp_path / "r.fits", "--realizations", 3)
        assert run(*words) == 0
        paths = realization_paths(tmp_path / "r.fits", range(3))
        before = [p.read_bytes() for p in paths.values()]
        paths[1].unlink()
        stamps = [paths[0].stat().st_mtime_ns, paths[2].stat().st_mtime_ns]
        capsys.readouterr()
        assert run(*words) == 0  # no seed given: the one of the files
        assert capsys.readouterr().out.startswith("2 of 3 realizations are there already (seed ")
        assert [p.read_bytes() for p in paths.values()] == before
        assert stamps == [paths[0].stat().st_mtime_ns, paths[2].stat().st_mtime_ns]

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            (["--seed", 5], "another seed"),
            (["--seed", 4, "--guard", 1], "another map, mask, model, sky model or options"),
            (["--seed", 4, "--noise-std", 2], "another map, mask, model, sky model or options"),
        ],
    )
    def test_another_job_is_not_mixed_in(self, change, what, planck_file, tmp_path, capsys) -> None:
        words = self.words(planck_file, "-o", tmp_path / "r.fits", "--realizations")
        assert run(*words, 1, "--seed", 4) == 0
        capsys.readouterr()
        assert run(*words, 2, *change) == 1
        expected = f"{tmp_path / 'r_000.fits'} exists already and was made with {what}; give another -o"
        assert expected in capsys.readouterr().err
        assert not (tmp_path / "r_001.fits").exists()

    def test_another_beam_or_what_files_hold_is_another_job(self, planck_file, tmp_path, capsys) -> None:
        cl, noise, fwhm = tmp_path / "cl.txt", tmp_path / "noise.fits", 0.2 * 60 * 180 / np.pi

        def write(factor_of_cl: float, level: float) -> None:
            np.savetxt(cl, factor_of_cl * fiducial_cl(3 * NSIDE - 1), header="C_ell")
            fits.write_map(noise, np.full(NPIX, level), unit="uK_CMB", overwrite=True)

        write(1.0, 1.0)
        words = self.words(
            planck_file, "-o", tmp_path / "r.fits", "--cl", cl, "--noise-std", noise, "--seed", 4
        )
        assert run(*words, "--fwhm-arcmin", fwhm, "--realizations", 1) == 0
        for beam, factor, level in ((fwhm + 1, 1.0, 1.0), (fwhm, 1.01, 1.0), (fwhm, 1.0, 1.01)):
            write(factor, level)
            capsys.readouterr()
            assert run(*words, "--fwhm-arcmin", beam, "--realizations", 2) == 1
            assert "was made with another map, mask, model, sky model or options" in capsys.readouterr().err
        write(1.0, 1.0)
        assert run(*words, "--fwhm-arcmin", fwhm, "--realizations", 1) == 0

    @pytest.mark.parametrize(
        ("how", "what"),
        [
            ({"ordering": "RING"}, "in RING ordering"),
            ({"unit": "mK_CMB"}, "in mK_CMB"),
            ({"other": 1}, "as another realization"),
        ],
    )
    def test_a_file_changed_since_is_not_taken_for_one_of_the_series(
        self, how, what, planck_file, tmp_path, capsys
    ) -> None:
        words = self.words(planck_file, "-o", tmp_path / "r.fits", "--seed", 4, "--realizations")
        assert run(*words, 2) == 0
        path = tmp_path / f"r_00{how.get('other', 0)}.fits"
        sky, info = fits.read_map(path)
        cards = {key: info.header[key] for key in ("JOB", "SEED", "REALIZ")}
        path = tmp_path / "r_000.fits"
        path.unlink()
        fits.write_map(
            path,
            sky,
            unit=how.get("unit", info.unit),
            ordering=how.get("ordering", info.ordering),
            provenance=cards,
        )
        capsys.readouterr()
        assert run(*words, 3) == 1
        assert f"{path} exists already and was made {what}; give another -o" in capsys.readouterr().err
        assert not (tmp_path / "r_002.fits").exists()

    def test_overwrite_makes_all_again(self, planck_file, tmp_path) -> None:
        words = self.words(planck_file, "-o", tmp_path / "r.fits", "--realizations", 2)
        assert run(*words, "--seed", 1) == 0
        before = (tmp_path / "r_000.fits").read_bytes()
        assert run(*words, "--seed", 2, "--overwrite") == 0
        assert (tmp_path / "r_000.fits").read_bytes() != before

    def test_names(self) -> None:
        names = [p.name for p in realization_paths(Path("a/b.c.fits.gz"), range(1001)).values()]
        assert names[0] == "b.c_000.fits.gz" and names[-1] == "b.c_1000.fits.gz"

    def test_predictions_are_not_realizations(self, planck_file, tmp_path, capsys) -> None:
        words = self.words(
            planck_file, "-o", tmp_path / "r.fits", "--realizations", 2, "--fill", "prediction"
        )
        assert run(*words) == 1
        assert "--realizations was given with --fill prediction, which is one map" in capsys.readouterr().err


class TestRefusals:
    def fails(self, capsys, *words: object) -> str:
        assert run(*words) == 1
        err = capsys.readouterr().err.splitlines()
        return next(line for line in err if line.startswith("cmbinpaint: error: "))

    def test_output_is_the_input(self, planck_file, capsys) -> None:
        before = planck_file.read_bytes()
        line = self.fails(capsys, planck_file, "--mask-field", "TMASK", "-o", planck_file, "--overwrite")
        assert "is an input; it is never overwritten: give another output" in line
        assert planck_file.read_bytes() == before

    def test_output_exists(self, planck_file, tmp_path, capsys) -> None:
        (tmp_path / "out.fits").write_text("precious")
        line = self.fails(capsys, planck_file, "--mask-field", "TMASK", "-o", tmp_path / "out.fits")
        assert "exists already; give another output, or --overwrite" in line
        assert (tmp_path / "out.fits").read_text() == "precious"

    def test_no_holes_named(self, planck_file, tmp_path, capsys) -> None:
        line = self.fails(capsys, planck_file, "-o", tmp_path / "out.fits")
        assert (
            "has no UNSEEN or NaN pixels in column I_STOKES, and no mask was given: give --mask FILE" in line
        )

        assert "exactly 0" not in line

    def test_a_map_times_its_mask(self, sky, valid, tmp_path, capsys) -> None:
        path = fits.write_map(tmp_path / "times.fits", sky * valid, unit="K_CMB")
        line = self.fails(capsys, path, "-o", tmp_path / "out.fits")
        assert f"({(~valid).sum()} values are exactly 0: is it a map times its mask?)" in line

    def test_a_beam_without_a_spectrum(self, planck_file, tmp_path, capsys) -> None:
        words = [planck_file, "--mask-field", "TMASK", "-o", tmp_path / "o.fits", "--fwhm-arcmin", 5]
        assert "--fwhm-arcmin says what the spectrum of --cl is, and --cl is not given" in self.fails(
            capsys, *words
        )

    def test_an_apodized_mask(self, sky, valid, tmp_path, capsys) -> None:
        columns = {"I_STOKES": sky, "TMASK": np.where(valid, 1.0, 0.5).astype(np.float32)}
        path = fits.write_map(tmp_path / "s.fits", columns, unit={"I_STOKES": "K_CMB"})
        out = tmp_path / "o.fits"
        line = self.fails(capsys, path, "--mask-field", 1, "-o", out)
        assert "if it is apodized, --mask-threshold 0.9 sets from which value on" in line
        assert run(path, "--mask-field", 1, "-o", out, "--mask-threshold", 0.9) == 0
        assert afits.getheader(out, 1)["NFILLED"] == np.count_nonzero(~valid)

    def test_all_masked(self, sky, tmp_path, capsys) -> None:
        path = fits.write_map(tmp_path / "s.fits", np.full_like(sky, np.nan), unit="K_CMB")
        assert "nothing is observed" in self.fails(capsys, path, "-o", tmp_path / "o.fits")

    def test_an_absent_column(self, planck_file, tmp_path, capsys) -> None:
        line = self.fails(
            capsys, planck_file, "--field", "I_STOKE", "--mask-field", "TMASK", "-o", tmp_path / "o"
        )
        assert "I_STOKES" in line

    def test_an_unknown_model(self, planck_file, tmp_path, capsys) -> None:
        line = self.fails(
            capsys, planck_file, "--mask-field", "TMASK", "-o", tmp_path / "o", "--model", "nosuch"
        )
        assert "unknown model 'nosuch'" in line

    def test_more_memory_than_allowed(self, planck_file, tmp_path, capsys) -> None:
        words = [planck_file, "--mask-field", "TMASK", "-o", tmp_path / "o.fits", "--max-memory", "1k"]
        assert "--max-memory" in self.fails(capsys, *words)

    def test_a_file_that_is_not_there(self, tmp_path, capsys) -> None:
        assert "none.fits" in self.fails(capsys, tmp_path / "none.fits", "-o", tmp_path / "o.fits")


def test_a_full_mask_gives_a_copy(sky, tmp_path) -> None:
    path = fits.write_map(tmp_path / "s.fits", sky, unit="K_CMB")
    mask = fits.write_map(tmp_path / "m.fits", np.ones(NPIX, np.float32))
    assert run(path, "--mask", mask, "-o", tmp_path / "o.fits") == 0
    np.testing.assert_array_equal(fits.read_map(tmp_path / "o.fits")[0], sky)


def test_pixels_that_the_mask_calls_observed_but_the_map_lacks_are_counted(
    sky, valid, tmp_path, capsys
) -> None:
    holed = sky.copy()
    lost = np.flatnonzero(valid)[:7]
    holed[lost] = np.nan
    path = fits.write_map(tmp_path / "s.fits", {"I": holed, "M": valid}, unit={"I": "K_CMB"})
    assert run(path, "--mask-field", "M", "-o", tmp_path / "o.fits") == 0
    err = capsys.readouterr().err
    assert (
        "warning: 7 pixels that the mask calls observed are NaN, UNSEEN or masked in the map; they are filled\n"
        in err
    )
    assert np.isfinite(fits.read_map(tmp_path / "o.fits")[0]).all()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_no_half_file_and_a_rerun_completes(number, code, planck_file, tmp_path) -> None:
    words = ["inpaint", str(planck_file), "--mask-field", "TMASK", "--model", "kriging", "--seed", "4"]
    words += ["-o", str(tmp_path / "r.fits"), "--realizations"]
    first = tmp_path / "r_000.fits"
    with subprocess.Popen(
        [sys.executable, "-m", "cmbinpaint", *words, "900"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A test run in the background is started with Ctrl-C ignored, and a child would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        for _ in range(1200):
            if first.exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code, err.decode()
    assert b"no half-written file was left" in err and b"Traceback" not in err
    assert not list(tmp_path.glob(".*")) and not list(tmp_path.glob("*.tmp"))
    made = sorted(tmp_path.glob("r_*.fits"))
    assert 0 < len(made) < 900
    wanted = len(made) + 1
    assert cli.main([*words, str(wanted)]) == 0
    assert cli.main([*words[:-2], str(tmp_path / "s.fits"), "--realizations", str(wanted)]) == 0
    last = f"_{wanted - 1:03d}.fits"
    np.testing.assert_array_equal(
        fits.read_map(tmp_path / f"r{last}")[0], fits.read_map(tmp_path / f"s{last}")[0]
    )


WMAP = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(
    not WMAP.is_dir(), reason="the WMAP files of healpy's test data are not beside this checkout"
)
@pytest.mark.parametrize("holes", ["mask", "unseen"])
def test_wmap_w_band(holes: str, tmp_path, capsys) -> None:
    name = "wmap_band_iqumap_r9_7yr_W_v4_udgraded32"
    path = WMAP / (f"{name}.fits" if holes == "mask" else f"{name}_masked.fits")
    mask = WMAP / "wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits"
    more = ["--mask", mask, "--mask-threshold", 0.5] if holes == "mask" else []
    assert run(path, *more, "--unit", "mK", "-o", tmp_path / "w.fits", "--seed", 1) == 0
    original, info = fits.read_map(path, unit="mK")
    filled, after = fits.read_map(tmp_path / "w.fits")
    assert (after.unit, after.ordering, after.dtype) == ("mK_CMB", info.ordering, info.dtype)
    assert np.isfinite(filled).all() and np.abs(filled).max() < 10  # mK
    untouched = filled == original
    assert 0.5 < untouched.mean() < 0.99
