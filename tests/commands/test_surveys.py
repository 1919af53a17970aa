"""`cmbinpaint inpaint` on surveys: what is excluded, hits, noise maps, series, and columns that pass through."""

import warnings
from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.io import fits as afits

from cmbinpaint import Draws, cli, inpaint_map, plan_inpainting
from cmbinpaint.errors import CmbInpaintWarning
from cmbinpaint.files import fits
from cmbinpaint.sims import fiducial_cl, simulate_sky

NSIDE = 8
NPIX = 12 * NSIDE**2
VALID = np.abs(healpy.pix2ang(NSIDE, np.arange(NPIX), lonlat=True)[1]) > 12
EXCLUDED = np.arange(NPIX) < 350  # the north, and the upper rings of the holes
HITS = np.where(VALID, np.arange(NPIX) % 7 + 1, 0)
LEVEL = 15.0


@pytest.fixture(scope="module")
def sky() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (healpy.smoothing(rng.standard_normal(NPIX), 0.4) * 500 + 7 * rng.standard_normal(NPIX)).astype(
        "f4"
    )


@pytest.fixture
def files(sky, tmp_path: Path, monkeypatch) -> Path:
    """The filled column is the second of a NESTED table, in K."""
    monkeypatch.chdir(tmp_path)
    columns = {"Q": 2e-6 * sky, "I": 1e-6 * sky, "M": VALID, "HITS": HITS.astype("i4")}
    units = {"Q": "K_CMB", "I": "K_CMB"}
    fits.write_map("map.fits", columns, unit=units, ordering="NESTED", coord="G", provenance={"FREQ": 143.5})
    fits.write_map("exclude.fits", EXCLUDED.astype("f4"))
    return tmp_path


def run(words: str) -> int:
    return cli.main(["inpaint", "map.fits", "--field", "I", "--mask-field", "M", *words.split()])


def filled(sky: np.ndarray, *arguments, **options) -> np.ndarray:
    """What `inpaint_map` makes of it; of what it warns, the command warns too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CmbInpaintWarning)
        return inpaint_map(sky, *arguments, unit="K_CMB", **options)


def read(path: str, column: str = "I") -> np.ndarray:
    return fits.read_map(path, column, unit=None if column in "IQ" else "uK")[0]


def test_what_is_excluded_is_neither_used_nor_filled(files, sky) -> None:
    assert run("-o o.fits --seed 1 --exclude exclude.fits") == 0
    plan = plan_inpainting(VALID, exclude=EXCLUDED)
    given = read("map.fits")
    np.testing.assert_array_equal(read("o.fits"), filled(given, plan=plan, seed=1))
    np.testing.assert_array_equal(read("o.fits")[EXCLUDED], given[EXCLUDED])
    header = afits.getheader("o.fits", 1)
    assert header["EXCLFILE"] == "exclude.fits" and header["NFILLED"] == plan.targets.sum() < (~VALID).sum()


def test_an_apodized_exclude_mask_needs_a_threshold(files, capsys) -> None:
    fits.write_map("soft.fits", np.where(EXCLUDED, 0.7, 0.2))
    assert run("-o o.fits --seed 1 --exclude soft.fits") == 1
    assert "the exclude mask are neither 0 nor 1" in (err := capsys.readouterr().err)
    assert "it is apodized, --exclude-threshold 0.9 sets" in err
    assert run("-o a.fits --seed 1 --exclude soft.fits --exclude-threshold 0.5") == 0
    assert run("-o b.fits --seed 1 --exclude exclude.fits") == 0
    np.testing.assert_array_equal(read("a.fits"), read("b.fits"))


def test_hits_are_noise(files) -> None:
    with np.errstate(divide="ignore"):
        fits.write_map("noise.fits", LEVEL * 1e-6 / np.sqrt(HITS), unit="K_CMB")
        std = np.where(VALID, LEVEL / np.sqrt(HITS), np.median(LEVEL / np.sqrt(HITS[VALID])))
    assert run(f"-o a.fits --seed 1 --hits-field HITS --noise-level {LEVEL}") == 0
    assert run("-o b.fits --seed 1 --noise-std noise.fits") == 0
    np.testing.assert_allclose(read("a.fits"), read("b.fits"), rtol=0, atol=1e-10)
    expected = filled(read("map.fits"), VALID, seed=1, noise_std=std)
    np.testing.assert_array_equal(read("a.fits"), expected)


@pytest.mark.parametrize("unknown", [np.nan, np.inf, healpy.UNSEEN])
def test_a_noise_map_may_be_silent_in_holes_but_not_in_data(unknown: float, files, capsys) -> None:
    fits.write_map("noise.fits", np.where(VALID, 7.0, unknown), unit="uK_CMB")
    assert run("-o a.fits --seed 1 --noise-std noise.fits") == 0
    assert (
        f"no value in {(~VALID).sum()} pixels that are no data; 7 is assumed there" in capsys.readouterr().err
    )
    assert run("-o b.fits --seed 1 --noise-std 7") == 0
    np.testing.assert_allclose(read("a.fits"), read("b.fits"), rtol=0, atol=1e-10)
    fits.write_map("bad.fits", np.where(np.arange(NPIX) < NPIX - 5, 7.0, unknown), unit="uK_CMB")
    assert run("-o c.fits --noise-std bad.fits") == 1
    assert "in 5 pixels that are data" in capsys.readouterr().err


def test_every_column_passes_through(files) -> None:
    assert run("-o o.fits --seed 1") == 0
    with afits.open("map.fits") as before, afits.open("o.fits", checksum=True) as after:
        assert after[1].columns.names == before[1].columns.names == ["Q", "I", "M", "HITS"]
        assert after[1].columns.units == before[1].columns.units
        assert after[1].columns.formats == before[1].columns.formats
        for name in ("Q", "M", "HITS"):
            np.testing.assert_array_equal(after[1].data[name], before[1].data[name])
        assert (after[1].header["FREQ"], after[1].header["COORDSYS"]) == (143.5, "G")
    np.testing.assert_array_equal(read("o.fits")[VALID], read("map.fits")[VALID])


def test_columns_of_a_partial_sky_pass_through_and_others_are_named(files, sky, capsys) -> None:
    pixels = np.arange(100, NPIX)
    columns = [
        afits.Column("PIXEL", "J", array=pixels), afits.Column("I", "E", "uK_CMB", array=sky[pixels]),
        afits.Column("N", "I", array=pixels % 7), afits.Column("NOTE", "3A", array=["abc"] * pixels.size),
    ]  # fmt: skip
    table = afits.BinTableHDU.from_columns(columns)
    table.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": NSIDE, "INDXSCHM": "EXPLICIT"})
    afits.HDUList([afits.PrimaryHDU(), table]).writeto("part.fits")
    assert cli.main(["inpaint", "part.fits", "--field", "I", "-o", "o.fits", "--seed", "1"]) == 0
    assert "columns NOTE of HDU 1 of part.fits hold no number for each pixel" in capsys.readouterr().err
    with afits.open("o.fits") as hdus:
        assert hdus[1].columns.names == ["I", "N"]
        np.testing.assert_array_equal(
            hdus[1].data["N"], np.where(np.arange(NPIX) < 100, 0, np.arange(NPIX) % 7)
        )


SERIES = "-o r.fits --realizations 3 --first-realization 5 --seed 4 --mean-map mean.fits --std-map std.fits"


def test_mean_and_standard_deviation_of_a_series(files) -> None:
    assert run(SERIES) == 0
    assert sorted(p.name for p in files.glob("r_*")) == ["r_005.fits", "r_006.fits", "r_007.fits"]
    made = np.array([read(f"r_00{i}.fits") for i in (5, 6, 7)], dtype=np.float64)
    given = read("map.fits")
    expected = filled(given, VALID, seed=4, n_realizations=3, draws=Draws(first=5))
    np.testing.assert_array_equal(made, expected)
    mean, info = fits.read_map("mean.fits")
    np.testing.assert_allclose(mean, made.mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(mean[VALID], given[VALID])
    std, said = fits.read_map("std.fits")
    np.testing.assert_allclose(std, made.std(axis=0, ddof=1), rtol=1e-5, atol=1e-14)
    assert np.all(std[VALID] == 0) and np.all(std[~VALID] > 0)
    assert (info.column, said.column, info.unit, said.unit) == ("I", "I_STD", "K_CMB", "K_CMB")
    assert (info.ordering, info.header["CONTENT"], said.header["CONTENT"]) == (
        "NESTED",
        "mean",
        "standard deviation",
    )
    assert [info.header[key] for key in ("NREALIZ", "REALIZ", "SEED")] == [3, 5, 4]
    assert info.header["JOB"] == afits.getheader("r_005.fits", 1)["JOB"]


def test_a_rerun_of_a_series_makes_what_is_missing_of_it(files, capsys) -> None:
    assert run(SERIES) == 0
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    (files / "std.fits").unlink()
    (files / "r_006.fits").unlink()
    assert run(SERIES) == 0
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before
    assert "2 of 3 realizations are there already (seed 4)" in capsys.readouterr().out
    assert run(SERIES.replace("--realizations 3", "--realizations 4")) == 1
    assert "mean.fits exists already and is not the mean of this series" in capsys.readouterr().err
    assert not (files / "r_008.fits").exists()


def test_realizations_of_the_signal_alone(files) -> None:
    assert run("-o a.fits --seed 1 --noise-std 7") == 0
    assert run("-o b.fits --seed 1 --noise-std 7 --no-noise") == 0
    noise = 1e6 * (read("a.fits") - read("b.fits")).astype(float)
    assert np.all(noise[VALID] == 0) and noise[~VALID].std() == pytest.approx(7, rel=0.15)  # 160 pixels
    headers = [afits.getheader(name, 1) for name in ("a.fits", "b.fits")]
    assert [h["NOISE"] for h in headers] == [True, False] and headers[0]["JOB"] != headers[1]["JOB"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--no-noise", "asks for the signal alone, which cannot be told from noise in one map; give --noise-std"),
        ("--no-noise --fill prediction --noise-std 7", "--no-noise was given with --fill prediction"),
        ("--hits-field HITS", "--hits needs --noise-level X, the noise of one observation in µK"),
        ("--noise-level 3", "--noise-level is that of one observation; give --hits FILE, or --noise-std"),
        ("--hits-field HITS --noise-level 3 --noise-std 2", "--hits and --noise-std both say what the noise is"),
        ("--noise-field N", "--noise-field names a column of --noise-std FILE, which is not given"),
        ("--cl-kind dl", "--cl-kind says what the spectrum of --cl is, and --cl is not given"),
        ("--mean-map m.fits", "--mean-map and --std-map are of several realizations; give --realizations N"),
        ("--mean-map m.fits --realizations 1", "are of several realizations; give --realizations N, 2 or more"),
        ("--mean-map m.fits --std-map m.fits --realizations 2", "m.fits would be written twice"),
        ("--mean-map exclude.fits --exclude exclude.fits --realizations 2", "exclude.fits is an input; it is never"),
        ("--exclude-threshold 0.5", "--exclude-threshold is for --exclude FILE or --exclude-field NAME; give one too"),
    ],
)  # fmt: skip
def test_contradictions_are_refused_before_work(words: str, text: str, files, capsys) -> None:
    before = sorted(files.iterdir())
    assert run(f"-o o.fits {words}") == 1
    assert text in capsys.readouterr().err
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize(
    "option", ["--seed", "--realizations", "--guard", "--refine", "--noise-level", "--max-memory"]
)
def test_absurd_numbers_are_wrong_usage(option: str, files, capsys) -> None:
    assert run(f"-o o.fits {option} 1{'0' * 400}") == 2
    err = capsys.readouterr().err
    assert f"argument {option}: got '1000000000000000000" in err and len(err) < 300


@pytest.mark.parametrize("option", ["--mask", "--exclude", "--noise-std", "--hits"])
def test_files_of_another_sky_or_size_are_refused(option: str, files, capsys) -> None:
    more = " --noise-level 3" if option == "--hits" else ""
    words = "inpaint map.fits --field I -o o.fits" + ("" if option == "--mask" else " --mask-field M") + more
    for name, nside, coord, text in (
        ("turned.fits", NSIDE, "C", "coordinates"), ("small.fits", 4, "G", "nside 4"),
        ("big.fits", 64, "G", "--max-memory"),
    ):  # fmt: skip
        fits.write_map(name, np.ones(12 * nside**2), coord=coord)
        limit = " --max-memory 60K" if name == "big.fits" else ""
        assert cli.main([*(words + limit).split(), option, name]) == 1
        assert text in capsys.readouterr().err, (name, option)


def test_a_report_needs_a_full_sky(files, sky, capsys) -> None:
    seen = np.where(EXCLUDED, np.float32(healpy.UNSEEN), sky)
    fits.write_map("part.fits", {"I": seen, "M": VALID}, unit={"I": "uK_CMB"}, coord="G")
    words = "inpaint part.fits --mask-field M --exclude exclude.fits -o o.fits --seed 1"
    assert cli.main([*words.split(), "--report", "page"]) == 1
    assert (
        f"{EXCLUDED.sum()} excluded pixels of part.fits have no value; omit the report"
        in capsys.readouterr().err
    )
    assert not Path("o.fits").exists() and cli.main(words.split()) == 0
    assert np.all(read("o.fits")[EXCLUDED] < -1e30) and np.all(np.abs(read("o.fits")[~EXCLUDED]) < 1e6)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--mask-threshold 0.5", "--mask-threshold is for a mask; give --mask FILE or --mask-field NAME too"),
        ("--noise-std nothere.fits", "a FITS file; there is no such file"),
        ("--hits minus.fits --noise-level 3", "--hits holds 2 negative numbers of observations"),
        (
            "--hits none.fits --noise-level 3",
            "--hits is 0, or has no value, in 7 pixels that are data, the first at "
            "RING index 20: add them to the mask, or leave them alone with --exclude FILE",
        ),
    ],
)
def test_options_that_say_nothing_are_refused(words: str, text: str, files, capsys) -> None:
    sky = np.random.default_rng(1).standard_normal(NPIX)
    hits = np.ones(NPIX)
    hits[:2] = -1
    fits.write_map("minus.fits", hits, coord="G")
    hits[:2], hits[20:27] = 0, 0  # the first are holes
    fits.write_map("none.fits", hits, coord="G")
    fits.write_map("holed.fits", np.where(np.arange(NPIX) < 9, healpy.UNSEEN, sky), unit="uK", coord="G")
    assert cli.main(["inpaint", "holed.fits", "-o", "o.fits", *words.split()]) == 1
    assert text in capsys.readouterr().err


def test_colored_noise_from_a_file(tmp_path, monkeypatch, capsys) -> None:
    """What the file says is what `inpaint_map` is given; without --cl it is refused."""
    monkeypatch.chdir(tmp_path)
    nside, ell = 8, np.arange(24)
    cl, colored = fiducial_cl(23), np.where(ell < 2, 0.0, 50.0 / (ell + 1.0))
    np.savetxt("cl.txt", np.column_stack([ell, cl]))
    np.savetxt("colored.txt", np.column_stack([ell, colored]))
    sky = simulate_sky(cl + colored, nside, noise_std=5.0, pixwin=True, seed=1)
    mask = np.arange(sky.size) > 90
    fits.write_map("map.fits", np.where(mask, sky, healpy.UNSEEN), unit="uK")
    options = (
        "map.fits --noise-std 5 --colored-noise colored.txt --cl-kind cl --cl-unit uK^2 --fill prediction"
    )
    options += " -o f.fits"
    assert cli.main(["inpaint", *options.split()]) != 0
    assert "--colored-noise needs --cl" in capsys.readouterr().err
    assert cli.main(["inpaint", "--cl", "cl.txt", *options.split()]) == 0
    stored = fits.read_map("map.fits")[0]
    wanted = inpaint_map(stored, cl=cl, noise_std=5.0, colored_noise_cl=colored, unit="uK", fill="prediction")
    np.testing.assert_allclose(fits.read_map("f.fits")[0], wanted, rtol=1e-5)
    without = inpaint_map(stored, cl=cl, noise_std=5.0, unit="uK", fill="prediction")
    assert np.abs(without - wanted)[~mask].max() > 1
