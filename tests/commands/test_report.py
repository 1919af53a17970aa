"""`cmbinpaint report` and `inpaint --report`: one page, from what is in the files."""

import re
import shutil
from pathlib import Path

import healpy
import numpy as np
import pytest

from cmbinpaint import cli
from cmbinpaint.files import fits
from cmbinpaint.sims import fiducial_cl, simulate_sky
from tests.report.test_html import read
from tests.validation.worlds import valid_at

NSIDE = 16
HOSTILE = "<img src=x onerror=alert(1)>"


def run(*given: object) -> int:
    return cli.main([str(word) for word in given])


def said(path: Path) -> str:
    return " ".join(" ".join(read(path.read_text(encoding="utf-8")).texts).split())


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Pictures as always, of fewer points: encoding them is what takes the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cmbinpaint.report.page._DPI", 40.0)
        patch.setattr("cmbinpaint.report.page._GRAY_DPI", 40.0)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A sky in K, NESTED, with its mask and truth; filled, with a report, and twice more without."""
    path = tmp_path_factory.mktemp("report")
    truth = simulate_sky(fiducial_cl(3 * NSIDE - 1), NSIDE, fwhm=0.15, noise_std=2.0, seed=5)
    truth = (truth * 1e-6).astype(np.float32)
    valid = valid_at(NSIDE)
    columns = {
        "I_STOKES": np.where(valid, truth, np.float32(healpy.UNSEEN)),
        "TMASK": valid.astype(np.float32),
    }
    fits.write_map(path / "sky.fits", columns, unit={"I_STOKES": "K_CMB"}, ordering="NESTED", coord="G",
                   provenance={"OBSERVER": HOSTILE})  # fmt: skip
    fits.write_map(path / "truth.fits", truth, unit="K_CMB", column="T", coord="G")
    words = ["inpaint", path / "sky.fits", "--mask-field", "TMASK", "--seed", 1]
    assert run(*words, "-o", path / "filled.fits", "--self-check", "--report", path / "at-once") == 0
    assert run(*words, "-o", path / "r.fits", "--realizations", 2) == 0
    return path


@pytest.fixture
def words(folder) -> list[object]:
    return ["report", folder / "sky.fits", folder / "filled.fits", "--mask-field", "TMASK"]


def test_the_page_made_afterwards_is_the_one_made_at_once(folder, words, tmp_path, capsys) -> None:
    assert run(*words, "-o", tmp_path / "deep" / "later") == 0
    told = capsys.readouterr()
    target = tmp_path / "deep" / "later" / "report.html"
    assert told.out == f"{target}\n" and told.err == ""
    assert [p.name for p in target.parent.iterdir()] == ["report.html"]
    pages = [p.read_text(encoding="utf-8") for p in (folder / "at-once" / "report.html", target)]
    # The self-check's numbers are not in the file, its verdict is, in ASCII; the last line names the command.
    for part in ("spectrum", "holes", "input", "provenance", "maps"):
        sections = [page[page.index(f'<section id="{part}"') :].partition("</section>")[0] for page in pages]
        # Of the sky model each says where it is from; that it is the same one, the figure shows.
        sections = [re.sub(r"The sky model, noise in, [^<]*", "", section) for section in sections]
        assert sections[0] == sections[1], part
    for page, sign in zip(pages, ("±", "+-"), strict=True):
        assert "It passes." in page and f" {sign} " in page[page.index('id="self-check"') :]
    assert "rotated holes" in pages[0] and "rotated holes" not in pages[1]


def test_it_says_what_is_in_the_files(folder) -> None:
    page = said(folder / "at-once" / "report.html")
    sky, info = fits.read_map(folder / "sky.fits")
    n_holes = int((sky < -1e30).sum())
    for text in (
        f"{n_holes:,} pixels filled", f"0 of {sky.size - n_holes:,} observed", "No warnings were given.", info.sha256,
        fits.sha256_of(folder / "filled.fits"), "column TMASK of the map's file", "K_CMB", "realization, gaussian",
        f"cmbinpaint inpaint {folder / 'sky.fits'}", "sky model, in uK_CMB: estimated", HOSTILE,
        "The sky model, noise in, the fill's own: estimated from the observed",
    ):  # fmt: skip
        assert text in page, text
    assert HOSTILE not in (folder / "at-once" / "report.html").read_text(encoding="utf-8")


def test_truth_error_map_and_several_maps_of_any_name_are_taken_in(folder, words, tmp_path, capsys) -> None:
    error = np.full(12 * NSIDE**2, 5e-6)
    fits.write_map(tmp_path / "error.fits", error, unit="K_CMB")
    odd = tmp_path / "<b>r\udcff\u202e.fits"
    shutil.copy(folder / "filled.fits", odd)
    more = [folder / "r_000.fits", folder / "r_001.fits"]
    options = ["--target", folder / "truth.fits", "--error-map", tmp_path / "error.fits", "-o", tmp_path]
    (tmp_path / "report.html").write_text("an older one")
    options += ["--overwrite"]
    assert run(*words[:2], odd, *more, *words[3:], *options) == 0
    assert capsys.readouterr().err == ""
    assert "<h1>&lt;b&gt;r??.fits</h1>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    page = said(tmp_path / "report.html")
    assert "3 filled maps" in page and "mean of 3" in page and "rms filled − target [µK]" in page
    assert "Standard deviation from error.fits." in page
    table = page[page.index("Filled values by depth") :]
    assert " 5 (1.3" in table  # µK: the first row ends with the error map's value


def test_it_says_whose_the_sky_model_is(folder, words, tmp_path, capsys) -> None:
    """Estimated again from the same pixels it is the fill's; given by options only as far as HISTORY says so."""
    assert run(*words, "-o", tmp_path / "same") == 0
    assert capsys.readouterr().err == ""
    page = said(tmp_path / "same" / "report.html")
    assert "The sky model, noise in, estimated again from sky.fits (from the observed" in page
    assert "; filled.fits says the same of the one it was filled with." in page

    theory = simulate_sky(fiducial_cl(3 * NSIDE - 1), NSIDE, noise_std=2.0, pixwin=True, seed=5)
    fits.write_map(tmp_path / "sky.fits", np.where(valid_at(NSIDE), theory, np.nan), unit="uK_CMB")
    np.savetxt(tmp_path / "cl.txt", fiducial_cl(3 * NSIDE - 1), header="C_ell in uK^2")
    known = ["--cl", tmp_path / "cl.txt", "--noise-std", 2]
    assert run("inpaint", tmp_path / "sky.fits", *known, "--seed", 1, "-o", tmp_path / "filled.fits") == 0
    words = ["report", tmp_path / "sky.fits", tmp_path / "filled.fits"]
    assert run(*words, *known, "-o", tmp_path / "given") == 0
    assert capsys.readouterr().err == ""
    given = "The sky model, noise in, given (given cl, noise given); filled.fits says the same of the one"
    assert given in said(tmp_path / "given" / "report.html")

    assert run(*words, "-o", tmp_path / "other") == 0
    warned = "the report's sky model is not the one that filled.fits was filled with (given"
    assert warned in capsys.readouterr().err
    page = said(tmp_path / "other" / "report.html")
    assert warned in page and "; filled.fits was filled with another: given cl, noise given." in page

    sky, _ = fits.read_map(tmp_path / "filled.fits")
    fits.write_map(tmp_path / "mute.fits", sky, unit="uK_CMB")
    assert run("report", tmp_path / "sky.fits", tmp_path / "mute.fits", "-o", tmp_path / "mute") == 0
    page = said(tmp_path / "mute" / "report.html")
    assert "; mute.fits does not say which one it was filled with." in page


def test_an_existing_report_is_not_replaced_unasked(folder, words, tmp_path, capsys) -> None:
    (tmp_path / "report.html").write_text("mine")
    assert run(*words, "-o", tmp_path) == 1
    assert f"{tmp_path / 'report.html'} exists already; give another output" in capsys.readouterr().err
    fill = ["inpaint", folder / "sky.fits", "--mask-field", "TMASK", "-o", tmp_path / "x.fits"]
    assert run(*fill, "--report", tmp_path) == 1
    assert not (tmp_path / "x.fits").exists()  # refused before the work
    assert (tmp_path / "report.html").read_text() == "mine"


def test_the_order_of_the_files_matters_and_is_told(folder, tmp_path, capsys) -> None:
    swapped = ["report", folder / "filled.fits", folder / "sky.fits", "-o", tmp_path]
    assert run(*swapped) == 1
    assert "has no holes, and no mask that has any was given: give --mask FILE" in capsys.readouterr().err
    fits.write_map(tmp_path / "mask.fits", valid_at(NSIDE).astype(np.float32), ordering="NESTED")
    assert run(*swapped, "--mask", tmp_path / "mask.fits") == 1
    assert "the order is the map with holes first, then what was made of it" in capsys.readouterr().err


def test_files_of_another_job_are_told(folder, words, tmp_path, capsys) -> None:
    """Another mask, another map, pixels that differ: the page says all three."""
    sky, _ = fits.read_map(folder / "truth.fits")
    other = sky.copy()
    other[np.flatnonzero(valid_at(NSIDE))[1:10]] += np.float32(1e-4)
    fits.write_map(tmp_path / "other.fits", other, unit="K_CMB", column="I_STOKES", coord="G")
    fewer = valid_at(NSIDE).copy()
    fewer[0] = False
    fits.write_map(tmp_path / "mask.fits", fewer.astype(np.float32))
    words = ["report", tmp_path / "other.fits", folder / "filled.fits", "--mask", tmp_path / "mask.fits"]
    assert run(*words, "-o", tmp_path, "--error-sims", 3) == 0
    told, page = capsys.readouterr().err, said(tmp_path / "report.html")
    for what in ("(MAPSHA) that it was made with another map", "(MASKSHA) that it was made with another mask",
                 "(NFILLED) that it was made with another number of filled pixels"):  # fmt: skip
        assert what in told and what in page
    observed = fewer.sum()
    assert f"9 of {observed:,} observed pixels changed" in page and "Not the same sky." in page
    assert "Posterior standard deviation of the signal, from 3 simulations." in page


def test_two_spectra_are_told_apart_by_their_files(folder, tmp_path, capsys) -> None:
    """Both are "given cl": the file's name and hash say which."""
    cl = fiducial_cl(3 * NSIDE - 1)
    for name, factor in (("one.txt", 1.0), ("other.txt", 1.05)):
        np.savetxt(tmp_path / name, factor * cl, header="C_ell [uK^2]")
    known = ["--mask-field", "TMASK", "--fwhm-arcmin", np.degrees(0.15) * 60, "--noise-std", 2.0]
    out, one = tmp_path / "out.fits", ["--cl", tmp_path / "one.txt"]
    assert run("inpaint", folder / "sky.fits", *known, *one, "-o", out, "--seed", 1) == 0
    header, sha = fits.read_map(out)[1].header, fits.sha256_of(tmp_path / "one.txt")
    assert (header["CLFILE"], header["CLSHA"]) == ("one.txt", sha)
    assert any(
        e.startswith(f"theory spectrum: one.txt (sha256 {sha}), beam of ")
        for e in fits.read_map(out)[1].history
    )
    words = ["report", folder / "sky.fits", out, *known]
    assert run(*words, *one, "-o", tmp_path / "a") == 0
    assert capsys.readouterr().err == "" and "says the same of the one it was filled with" in said(
        tmp_path / "a/report.html"
    )
    assert run(*words, "--cl", tmp_path / "other.txt", "-o", tmp_path / "b") == 0
    assert f"(CLSHA) that it was made with another theory spectrum: {sha}" in capsys.readouterr().err
    page = said(tmp_path / "b/report.html")
    assert f"was filled with another theory spectrum (sha256 {sha})" in page and "says the same" not in page


def test_a_map_without_a_unit_is_reported_in_its_own_and_warnings_are_kept(folder, tmp_path, capsys) -> None:
    sky, _ = fits.read_map(folder / "sky.fits")
    sky = np.where(sky < -1e30, sky, 1e6 * sky)
    sky[np.flatnonzero(valid_at(NSIDE))[0]] = 1e10
    path = fits.write_map(tmp_path / "bare.fits", sky)
    out = tmp_path / "out.fits"
    assert run("inpaint", path, "-o", out, "--seed", 1, "--report", tmp_path) == 0
    assert capsys.readouterr().err.count("has no TUNIT") == 1
    warned = [e for e in fits.read_map(out, unit="uK")[1].history if e.startswith("warning: ")]
    assert len(warned) == 2 and "standard deviations from the rest" in warned[1]
    page = said(tmp_path / "report.html")
    assert "std [map units]" in page
    assert page.count("a glitch? Consider adding it to the mask") == 2  # once above, once in HISTORY


def test_files_of_different_units_are_compared_if_both_are_known(folder, tmp_path, capsys) -> None:
    sky, _ = fits.read_map(folder / "sky.fits")
    path = fits.write_map(tmp_path / "bare.fits", np.where(sky < -1e30, sky, 1e6 * sky))
    words = ["report", path, folder / "filled.fits", "-o", tmp_path]
    assert run(*words) == 1
    assert "they cannot be compared; --unit declares it" in capsys.readouterr().err
    assert run(*words, "--unit", "uK") == 0
    assert f"0 of {valid_at(NSIDE).sum():,} observed" in said(tmp_path / "report.html")  # but for rounding


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--error-sims", 1], "--error-sims 1 has no scatter; give at least 2"),
        (["--error-sims", 3, "--error-map", "sky.fits"], "both say what the error is; give one of them"),
        (["--target", "no.fits"], "no.fits does not exist, or is not a file"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options, text, folder, words, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(folder)
    assert run(*words, *options, "-o", tmp_path) == 1
    assert text in capsys.readouterr().err and not (tmp_path / "report.html").exists()


def test_other_maps_must_be_of_the_same_sky(folder, words, tmp_path, capsys) -> None:
    fits.write_map(tmp_path / "small.fits", np.zeros(12), unit="K_CMB")
    assert run(*words, "--target", tmp_path / "small.fits", "-o", tmp_path) == 1
    assert "has nside 1, " in capsys.readouterr().err
    fits.write_map(tmp_path / "turned.fits", np.zeros(12 * NSIDE**2), unit="K_CMB", coord="C")
    assert run(*words, "--target", tmp_path / "turned.fits", "-o", tmp_path) == 1
    assert "is in coordinates 'C', " in capsys.readouterr().err
    assert run(*words, "--target", folder / "sky.fits", "-o", tmp_path) == 1
    assert "a full sky was expected" in capsys.readouterr().err


def test_report_options_need_a_report_and_a_folder(folder, tmp_path, capsys) -> None:
    fill = ["inpaint", folder / "sky.fits", "--mask-field", "TMASK", "-o", tmp_path / "x.fits"]
    assert run(*fill, "--target", folder / "truth.fits") == 1
    assert "--target is for a report; give --report DIR too" in capsys.readouterr().err
    assert run(*fill, "--report", folder / "sky.fits") == 1
    assert "is not a folder, and files are to be written into" in capsys.readouterr().err
    assert not (tmp_path / "x.fits").exists()


def test_nothing_is_left_of_a_report_that_failed(words, tmp_path, monkeypatch, capsys) -> None:
    def fail(*given: object) -> str:
        raise MemoryError

    monkeypatch.setattr("cmbinpaint.report.page.report_page", fail)
    assert run(*words, "-o", tmp_path / "out") == 1
    assert "out of memory" in capsys.readouterr().err and not (tmp_path / "out").exists()
