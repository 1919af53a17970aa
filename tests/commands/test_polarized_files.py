"""`cmbinpaint inpaint`, `info` and `simulate` on T, Q, U, run as a user runs them."""

import json
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits as afits

from cmbinpaint import (
    Draws,
    cli,
    compare_spectra,
    error_map,
    inpaint_map,
    plan_inpainting,
    read_map,
    write_map,
)
from cmbinpaint.files.other_columns import read_other_columns
from cmbinpaint.sims import fiducial_spectra, simulate_sky
from tests.planck_files import COVARIANCE, STOKES, component_map, frequency_map

NSIDE = 8
NPIX = 12 * NSIDE**2
FWHM_ARCMIN = 1200.0
FWHM = np.radians(FWHM_ARCMIN / 60)
CL = fiducial_spectra(3 * NSIDE - 1)
NOISE = [3.0, 0.1, 0.1]
KNOWN = {"cl": CL, "fwhm": FWHM, "noise_std": NOISE}
SKY = simulate_sky(CL, NSIDE, fwhm=FWHM, noise_std=NOISE, pixwin=True, seed=1)
_HEIGHT = np.abs(hp.pix2vec(NSIDE, np.arange(NPIX))[2])
MASKS = np.array([_HEIGHT > 0.2, _HEIGHT > 0.3])
OPTIONS = f"--cl cl.txt --fwhm-arcmin {FWHM_ARCMIN} --noise-std 3,0.1 --seed 1"


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands run: a component map and the spectra."""
    monkeypatch.chdir(tmp_path)
    ell = np.arange(CL.shape[1])
    np.savetxt("cl.txt", np.column_stack([ell, *CL]), header="C_ell in uK^2\n L TT EE BB TE")
    component_map(tmp_path / "smica.fits", SKY, MASKS)
    return tmp_path


def run(words: str, command: str = "inpaint") -> None:
    assert cli.main([command, *words.split()]) == 0


def fails(words: str, capsys: pytest.CaptureFixture[str], command: str = "inpaint") -> str:
    assert cli.main([command, *words.split()]) == 1
    assert not Path("o.fits").exists()
    return capsys.readouterr().err


def test_a_component_map_is_filled_in_all_three(capsys) -> None:
    run(f"smica.fits --mask-field TMASK,PMASK {OPTIONS} -o o.fits")
    sky, _ = read_map("smica.fits", "TQU")
    filled, other = read_map("o.fits", "TQU")
    np.testing.assert_array_equal(filled, inpaint_map(sky, MASKS, unit="K", seed=1, **KNOWN))
    both = np.array([MASKS[0], MASKS[1], MASKS[1]])
    np.testing.assert_array_equal(filled[both], sky[both])
    assert np.all(filled[~both] != sky[~both])
    assert (other.columns, other.unit, other.ordering, other.polcconv) == (STOKES, "K_CMB", "NESTED", "COSMO")
    assert {key: other.header[key] for key in ("AST-COMP", "METHOD", "EXTNAME", "MASKFILE", "SEED")} == {
        "AST-COMP": "CMB", "METHOD": "SMICA", "EXTNAME": "COMP-MAP", "MASKFILE": "smica.fits", "SEED": 1,
    }  # fmt: skip
    assert 0 <= other.header["REMAINSP"] < 0.01 and other.header["NFILLED"] == (~MASKS[1]).sum()
    with afits.open("o.fits") as new, afits.open("smica.fits") as old:
        assert new[1].columns.names == old[1].columns.names
        assert new[1].columns.units[:3] == old[1].columns.units[:3]
    for was, now in zip(
        read_other_columns("smica.fits", STOKES), read_other_columns("o.fits", STOKES), strict=True
    ):
        assert (was.name, was.unit) == (now.name, now.unit)
        np.testing.assert_array_equal(was.values, now.values)
    assert f"({100 * (~MASKS[1]).mean():.1f} % of the sky)" in capsys.readouterr().out


@pytest.mark.parametrize(("fields", "noise"), [("T", 3.0), ("QU", 0.1)])
def test_fields_says_what_is_filled(fields: str, noise: float) -> None:
    run(
        f"smica.fits --fields {fields} --mask-field TMASK,PMASK {OPTIONS.replace('3,0.1', str(noise))} -o o.fits"
    )
    sky, _ = read_map("smica.fits", "TQU")
    now, _ = read_map("o.fits", "TQU")
    part, mask = (sky[0], MASKS[0]) if fields == "T" else (sky[1:], MASKS[1])
    expected = inpaint_map(part, mask, cl=CL, fwhm=FWHM, noise_std=noise, unit="K", seed=1)
    np.testing.assert_array_equal(now[0] if fields == "T" else now[1:], expected)
    np.testing.assert_array_equal(now[1:] if fields == "T" else now[0], sky[1:] if fields == "T" else sky[0])


def test_the_iau_convention_is_honored_and_declared(desk) -> None:
    flip = np.array([[1.0], [1.0], [-1.0]])
    run(f"smica.fits --mask-field TMASK,PMASK {OPTIONS} -o cosmo.fits")
    cosmo = read_map("cosmo.fits", "TQU")[0]
    component_map(desk / "iau.fits", flip * SKY, MASKS, "IAU")
    component_map(desk / "bare.fits", flip * SKY, MASKS, None)
    for name, words in (("iau", ""), ("bare", "--polconv IAU")):
        run(f"{name}.fits --mask-field TMASK,PMASK {words} {OPTIONS} -o {name}_filled.fits")
        found, info = read_map(f"{name}_filled.fits", "TQU")
        np.testing.assert_array_equal(found, (flip * cosmo).astype("f4"))
        assert info.polcconv == "IAU"


def test_noise_covariances_of_a_frequency_map(desk) -> None:
    rng = np.random.default_rng(2)
    level = rng.uniform(0.5, 2.0, NPIX)
    cov = np.array([9.0, 0.05, -0.1, 0.01, 0.004, 0.02])[:, None] * level
    path = frequency_map(desk / "f.fits", SKY, cov, np.arange(NPIX) + 1)
    write_map("m.fits", MASKS[0].astype("f4"))
    options = f"--cl cl.txt --fwhm-arcmin {FWHM_ARCMIN} --noise-cov f.fits --seed 1"
    run(f"f.fits --mask m.fits {options} -o o.fits")
    stored = np.stack([read_map(path, name)[0].astype(float) for name in COVARIANCE])
    sky, _ = read_map(path, "TQU")
    expected = inpaint_map(sky, MASKS[0], cl=CL, fwhm=FWHM, noise_cov=1e12 * stored, unit="K", seed=1)
    np.testing.assert_array_equal(read_map("o.fits", "TQU")[0], expected)
    white = inpaint_map(sky, MASKS[0], cl=CL, fwhm=FWHM, noise_std=NOISE, unit="K", seed=1)
    assert np.abs(white - expected).max() > 1e-8, "the covariance matters"
    run(f"f.fits --fields T --mask m.fits {options} -o t.fits")
    std = np.sqrt(1e12 * stored[0])
    alone = inpaint_map(sky[0], MASKS[0], cl=CL[0], fwhm=FWHM, noise_std=std, unit="K", seed=1)
    np.testing.assert_array_equal(read_map("t.fits")[0], alone)


@pytest.mark.parametrize(
    "names",
    [
        ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION"),
        ("T", "Q", "U"),
        ("I", "Q", "U"),
        ("STOKES_I", "STOKES_Q", "STOKES_U"),
    ],
    ids=["wmap", "toast", "iqu", "stokes"],
)  # fmt: skip
def test_columns_are_found_by_their_names_in_any_order(names: tuple[str, ...]) -> None:
    holes = np.where([MASKS[0], MASKS[1], MASKS[1]], SKY, hp.UNSEEN)
    columns = {"N_OBS": np.ones(NPIX), **dict(zip(names[::-1], holes[::-1], strict=True))}
    write_map("w.fits", columns, unit=dict.fromkeys(names, "mK"))
    run("w.fits --seed 1 --unit uK -o o.fits")
    expected = inpaint_map(holes, unit="uK", seed=1)
    np.testing.assert_array_equal(read_map("o.fits", names)[0], expected)
    with afits.open("o.fits") as hdus:
        assert hdus[1].columns.names == ["N_OBS", *names]


def test_masks_in_files_of_their_own() -> None:
    write_map("t.fits", MASKS[0].astype("f4"))
    write_map("p.fits", {"OTHER": np.ones(NPIX, "f4"), "M": MASKS[1].astype("f4")})
    run(f"smica.fits --mask-field TMASK,PMASK {OPTIONS} -o a.fits")
    expected = read_map("a.fits", "TQU")[0]
    write_map("both.fits", {"TMASK": MASKS[0].astype("f4"), "PMASK": MASKS[1].astype("f4")})
    hp.write_map("three.fits", [MASKS[0], MASKS[1], MASKS[1]], dtype=np.float32)
    for i, words in enumerate(
        ("--mask t.fits --mask-pol p.fits --mask-field 0,M", "--mask both.fits", "--mask three.fits")
    ):
        run(f"smica.fits {words} {OPTIONS} -o o{i}.fits")
        np.testing.assert_array_equal(read_map(f"o{i}.fits", "TQU")[0], expected)
    assert afits.getheader("o0.fits", 1)["MASKPOL"] == "p.fits"


def test_a_series_with_mean_and_standard_deviation(capsys) -> None:
    words = (
        f"smica.fits --mask-field TMASK,PMASK {OPTIONS} --realizations 3 --mean-map m.fits --std-map s.fits"
    )
    run(f"{words} -o r.fits")
    sky, _ = read_map("smica.fits", "TQU")
    made = np.stack([read_map(f"r_{i:03d}.fits", "TQU")[0] for i in range(3)])
    second = inpaint_map(sky, MASKS, unit="K", seed=1, draws=Draws(first=1), **KNOWN)
    np.testing.assert_array_equal(made[1], second)
    mean, info = read_map("m.fits", "TQU")
    std, _ = read_map("s.fits", tuple(f"{name}_STD" for name in STOKES))
    np.testing.assert_allclose(mean, made.astype(float).mean(axis=0), rtol=1e-6, atol=1e-13)
    np.testing.assert_allclose(std, made.astype(float).std(axis=0, ddof=1), rtol=1e-5, atol=1e-13)
    assert (info.unit, info.header["NREALIZ"]) == ("K_CMB", 3) and (std[0, MASKS[0]] == 0).all()
    capsys.readouterr()
    run(f"{words} -o r.fits")
    assert "3 of 3 realizations are there already" in capsys.readouterr().out
    plan = plan_inpainting(MASKS)
    assert error_map(plan, inpaint_map(sky, MASKS, unit="K", seed=1, return_info=True, **KNOWN)[1].sky_model, n=2,
                     seed=0).shape == (3, NPIX)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("smica.fits", "no mask was given: give --mask FILE, or --mask-field TMASK,PMASK for the file's own"),
        ("smica.fits --mask-field TMASK --model kriging", "use --model default, the exact answer, which fills all"),
        ("smica.fits --mask-field TMASK --model diffusive", "fills temperature only, the map is of T, Q, U"),
        ("smica.fits --mask-field TMASK --model combine128", "fills temperature only, the map is of T, Q, U"),
        ("smica.fits --field Q_STOKES", "column 'Q_STOKES' is Q by its name, and T was expected: --fields TQU"),
        ("smica.fits --field U_STOKES,Q_STOKES", "column 'U_STOKES' is U by its name, and Q was expected"),
        ("smica.fits --field I_STOKES --fields TQU", "--field names 1 columns, --fields TQU has 3"),
        ("smica.fits --mask-field TMASK --noise-std 1,2,3,4", "--noise-std 1,2,3,4 gives 4; the map is of T, Q, U: "
         "one for all, two for T and polarization, or 3, one for each"),
        ("smica.fits --mask-field TMASK --noise-std t.fits", "--noise-std t.fits gives one map, the map is of T, Q, U"),
        ("smica.fits --mask-field TMASK --noise-cov t.fits", "t.fits has no noise covariance by the names of its "
         "columns: T; expected II, IQ, IU, QQ, QU, UU, or II_COV and so on"),
        ("smica.fits --mask-field TMASK,PMASK,TMASK,PMASK", "the mask gives 4; the map is of T, Q, U: one for all"),
        ("smica.fits --mask-pol t.fits", "--mask-pol is the mask of Q and U; give T's too"),
        ("smica.fits --fields T --mask-pol t.fits", "--mask-pol is for Q and U; the map is of T"),
        ("smica.fits --fields T --polconv IAU --mask-field TMASK", "--polconv IAU is for Q and U; the map is of T"),
        ("odd.fits --mask-field TMASK", "has POLCCONV='ODD'; known: COSMO, IAU. --polconv declares what it is"),
        ("t.fits --fields TQU", "has 0 columns that are Q by their names; it has T: name them, as --field I_STOKES,"),
        ("smica.fits --mask-field TMASK --cl tt.txt", "beside ell it has 1 spectrum; T, Q, U need TT, EE, BB, TE"),
    ],
)  # fmt: skip
def test_what_cannot_be_filled_is_refused(words: str, said: str, desk, capsys) -> None:
    component_map(desk / "odd.fits", SKY, MASKS, "ODD")
    write_map("t.fits", SKY[0], unit="uK", column="T")
    np.savetxt("tt.txt", np.column_stack([np.arange(CL.shape[1]), CL[0]]), header="C_ell")
    assert said in fails(f"{words} -o o.fits", capsys)


def test_info_says_what_would_be_filled_with_what(desk, capsys) -> None:
    run("smica.fits --mask-field TMASK,PMASK --json", "info")
    found = json.loads(capsys.readouterr().out)
    assert (found["fields"], found["column"], found["polconv"]) == ("TQU", ", ".join(STOKES), "COSMO")
    assert found["masks"] == ["TMASK", "PMASK"] and found["noise_covariance"] == []
    assert found["holes"]["pixels"] == (~MASKS[0]).sum()
    assert found["holes_of_polarization"]["pixels"] == (~MASKS[1]).sum()
    np.testing.assert_allclose(found["std"], 1e-6 * SKY.std(axis=1), rtol=1e-5)
    assert found["pixels"] == NPIX and found["unknown_pixels"] == [0, 0, 0]
    assert sum(c["is_mask"] for c in found["columns"]) == 4
    run("smica.fits --mask-field TMASK,PMASK", "info")
    out = capsys.readouterr().out
    for words in (
        "T, Q, U, filled together",
        "convention   COSMO",
        "--mask-field TMASK,PMASK",
        "fsky T ",
        "fsky Q, U",
    ):
        assert words in out
    path = frequency_map(desk / "f.fits", SKY, np.ones((6, NPIX)), np.ones(NPIX))
    run("f.fits", "info")
    out = capsys.readouterr().out
    assert f"{', '.join(COVARIANCE)}: --noise-cov {path.name}" in out and "holes        none" in out
    component_map(desk / "bare.fits", SKY, MASKS, None)
    run("bare.fits --fields QU", "info")
    assert "not given: COSMO, HEALPix's, is assumed; --polconv declares it" in capsys.readouterr().out


def test_simulate_makes_files_to_try_it_with(capsys) -> None:
    run(
        f"--nside 8 --fields TQU --noise-std 3,0.1 --fwhm-arcmin {FWHM_ARCMIN} --pixwin --seed 1 --unit uK -o s.fits",
        "simulate",
    )
    found, info = read_map("s.fits", "TQU")
    np.testing.assert_array_equal(found, SKY.astype("f4"))
    assert (info.columns, info.polcconv) == (STOKES, "COSMO")
    said = capsys.readouterr().out
    assert "rms " + ", ".join(f"{row.std():.4g}" for row in SKY) in said
    run("--nside 8 --fields TQU --holes planck --seed 1 -o holes.fits", "simulate")
    seen = read_map("holes.fits", "TQU")[0] > -1e30
    assert 0.6 < seen.mean() < 0.9 and (seen == seen[0]).all()
    words = f"--nside 8 --fields QU --cl cl.txt --noise-std 0.1 --fwhm-arcmin {FWHM_ARCMIN} --column A,B"
    run(f"{words} --seed 1 -o q.fits", "simulate")
    expected = simulate_sky(CL[1:3], NSIDE, fwhm=FWHM, noise_std=0.1, seed=1)
    np.testing.assert_allclose(read_map("q.fits", ("A", "B"))[0], 1e-6 * expected, rtol=1e-6)
    assert "names 1 columns, --fields QU has 2" in fails(
        "--fields QU --column A -o o.fits", capsys, "simulate"
    )


def test_spectra_of_all_six(desk, capsys) -> None:
    """Files in IAU and COSMO are compared as the same sky; the masks are the file's own."""
    flip = np.array([[1.0], [1.0], [-1.0]])
    component_map(desk / "iau.fits", flip * 1.1 * SKY, MASKS, "IAU")
    words = "smica.fits --target iau.fits --observed smica.fits --mask-field TMASK,PMASK --lmax 20 --bins 4"
    run(f"{words} -o s.csv", "spectra")
    out = capsys.readouterr().out
    lines = Path("s.csv").read_text(encoding="utf-8").splitlines()
    assert lines[1].startswith("spectrum,ell_min,ell_max,filled,target,observed,")
    rows = [dict(zip(lines[1].split(","), line.split(","), strict=True)) for line in lines[2:]]
    assert [row["spectrum"] for row in rows] == [
        name for name in ("TT", "EE", "BB", "TE", "EB", "TB") for _ in range(4)
    ]
    expected = compare_spectra(SKY, target=1.1 * SKY, mask=MASKS, lmax=20, bins=4)
    for row in rows:
        one = expected[row["spectrum"]]
        here = int(np.flatnonzero(one.bands.edges == int(float(row["ell_min"])))[0])
        factor = one.bands.centers[here] * (one.bands.centers[here] + 1) / (2 * np.pi)
        for name in ("filled", "target", "observed"):
            # Single precision of the file.
            scale = float(np.abs(expected[row["spectrum"][0] * 2].filled[here])) ** 0.5
            scale *= float(np.abs(expected[row["spectrum"][1] * 2].filled[here])) ** 0.5
            assert float(row[name]) == pytest.approx(
                getattr(one, name)[here] * factor, abs=1e-3 * scale * factor
            )
        assert float(row["transfer"]) == pytest.approx(1 / 1.21, rel=1e-4) or row["spectrum"] in (
            "TE",
            "EB",
            "TB",
        )
    assert Path("s.png").stat().st_size > 10_000 and "\n\nEB\n" in out
    words = words.replace("--bins 4", "--bins 3") + " --apodize 20,C2"
    run(f"{words} -o soft.csv", "spectra")
    last = Path("soft.csv").read_text(encoding="utf-8").splitlines()
    soft = dict(zip(last[1].split(","), last[5].split(","), strict=True))
    one = compare_spectra(SKY, target=1.1 * SKY, mask=MASKS, lmax=20, bins=3, apodize=(20.0, "C2"))["EE"]
    center = one.bands.centers[0]
    assert soft["spectrum"] == "EE"
    assert float(soft["observed"]) == pytest.approx(
        one.observed[0] * center * (center + 1) / (2 * np.pi), rel=0.01
    )
    words = words.replace(" --apodize 20,C2", "").replace("--bins 3", "--bins 4")
    run(f"{words} --fields T --fwhm-arcmin 100 -o t.json", "spectra")
    assert len(json.loads(Path("t.json").read_text(encoding="utf-8"))["bands"]) == 4


def test_a_report_has_q_u_e_b_and_six_spectra(desk, monkeypatch) -> None:
    monkeypatch.setattr("cmbinpaint.report.page._DPI", 30.0)
    monkeypatch.setattr("cmbinpaint.report.page._GRAY_DPI", 30.0)
    words = f"smica.fits --mask-field TMASK,PMASK {OPTIONS}"
    run(f"{words} --realizations 2 --std-map std.fits -o r.fits")
    run(f"{words} --report once -o o.fits")
    mask = "--mask-field TMASK,PMASK"
    run(
        f"smica.fits r_000.fits r_001.fits {mask} --error-map std.fits --target smica.fits -o twice", "report"
    )
    for folder in ("once", "twice"):
        page = Path(folder, "report.html").read_text(encoding="utf-8")
        assert 'href="#polarization"' in page and page.count("The numbers of ") == 7
        assert f"0 of {2 * MASKS[1].sum():,} values" in page and f"0 of {MASKS[0].sum():,}" in page
        assert "I_STOKES, Q_STOKES, U_STOKES of HDU 1" in page and "Not the same sky" not in page
    run(f"smica.fits --fields T --mask-field TMASK {OPTIONS.replace('3,0.1', '3')} -o t.fits")
    run("smica.fits t.fits --mask-field TMASK -o alone", "report")
    assert "polarization" not in Path("alone", "report.html").read_text(encoding="utf-8")
    changed = np.array(read_map("o.fits", "TQU")[0])
    changed[2, np.flatnonzero(MASKS[1])[:5]] += 1e-6
    write_map("changed.fits", changed, info=read_map("smica.fits", "TQU")[1])
    run(f"smica.fits changed.fits {mask} -o odd", "report")
    page = Path("odd", "report.html").read_text(encoding="utf-8")
    assert f"5 of {2 * MASKS[1].sum():,} values" in page and "Observed Q or U differ from the input." in page


def test_a_report_on_q_and_u_alone(monkeypatch) -> None:
    monkeypatch.setattr("cmbinpaint.report.page._DPI", 30.0)
    monkeypatch.setattr("cmbinpaint.report.page._GRAY_DPI", 30.0)
    words = f"smica.fits --fields QU --mask-field PMASK {OPTIONS.replace('3,0.1', '0.1')}"
    run(f"{words} --realizations 2 --report r -o r.fits")
    run("smica.fits r_000.fits r_001.fits --mask-field PMASK --target smica.fits -o twice", "report")
    for folder in ("r", "twice"):
        page = Path(folder, "report.html").read_text(encoding="utf-8")
        assert (
            "All maps of Q share" in page
            and "Distribution of Q<" in page
            and "temperature" not in page.lower()
        )
        assert page.count("The numbers of ") == 4 and "The numbers of BB" in page
        assert f"0 of {2 * MASKS[1].sum():,} values" in page and f"0 of {MASKS[1].sum():,}" in page
    # The main spectrum is E's, of both fills.
    found = compare_spectra(
        1e6 * read_map("r_000.fits", "QU")[0],
        mask=MASKS[1],
        lmax=2 * NSIDE,
        target=SKY[1:].astype(np.float32),
    )["EE"]
    table = page.split("The numbers of this figure")[1].split("</table>")[0]
    assert f"{found.table().rows[0][2]:.4g}" in table


def test_a_self_check_of_all_three_goes_into_history(capsys) -> None:
    """Many small holes; of U in the other convention the same is said."""
    rng = np.random.default_rng(0)
    sky, mask = SKY.copy(), rng.random(NPIX) > 0.06
    sky[:, ~mask] = hp.UNSEEN
    write_map("holes.fits", sky, unit="uK")
    run(f"holes.fits {OPTIONS} --self-check --polconv COSMO -o o.fits")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("self-check: ")]
    assert "errors of Q in the edge ring" in line
    sky[2, mask] *= -1
    write_map("other.fits", sky, unit="uK")
    run(f"other.fits {OPTIONS} --self-check --polconv IAU -o iau.fits")
    assert line in capsys.readouterr().out.splitlines()
    assert any(one.startswith("self-check: ") for one in read_map("o.fits", "TQU")[1].history)


@pytest.mark.parametrize("polconv", ["COSMO", "IAU"])
def test_e_and_b_as_columns_and_the_alm(polconv: str) -> None:
    component_map(
        Path("map.fits"), SKY * np.array([[1], [1], [-1 if polconv == "IAU" else 1]]), MASKS, polcconv=polconv
    )
    run(f"map.fits --mask-field TMASK,PMASK {OPTIONS} --eb-maps --alm -o o.fits")
    run(f"map.fits --mask-field TMASK,PMASK {OPTIONS} -o plain.fits")
    filled, info = read_map("o.fits", "TQU")
    np.testing.assert_array_equal(filled, read_map("plain.fits", "TQU")[0])
    cosmo = filled.astype(np.float64) * np.array([[1], [1], [-1 if polconv == "IAU" else 1]])
    alm = np.array(hp.map2alm(cosmo, iter=3))
    written = np.array([hp.read_alm("o_alm.fits", hdu=hdu) for hdu in (1, 2, 3)])
    np.testing.assert_allclose(written, alm, atol=1e-9 * np.abs(alm).max())
    for name, row in (("E_MODES", alm[1]), ("B_MODES", alm[2])):
        column, own = read_map("o.fits", name)
        assert own.unit == info.unit == "K_CMB"
        expected = hp.alm2map(row, NSIDE)
        np.testing.assert_allclose(column, expected, atol=1e-6 * np.abs(expected).max())  # single precision
    with afits.open("o_alm.fits") as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["ALM_T", "ALM_E", "ALM_B"]
        assert hdus[0].header["SEED"] == 1 and hdus[1].columns["REAL"].unit == "K_CMB"
    # Filled again, the file has them once.
    run(f"o.fits --mask-field TMASK,PMASK {OPTIONS} --eb-maps -o again.fits")
    names = afits.getdata("again.fits", 1).columns.names
    assert names.count("E_MODES") == 1 and names[-2:] == ["E_MODES", "B_MODES"]


def test_alm_of_t_and_of_a_series(capsys) -> None:
    run(f"smica.fits --fields T --mask-field TMASK {OPTIONS.replace('3,0.1', '3')} --alm -o t.fits")
    assert "\nt_alm.fits\n" in capsys.readouterr().out
    expected = hp.map2alm(read_map("t.fits")[0].astype(np.float64), iter=3)
    np.testing.assert_allclose(hp.read_alm("t_alm.fits"), expected, atol=1e-9 * np.abs(expected).max())
    words = f"smica.fits --mask-field TMASK,PMASK {OPTIONS} --alm --realizations 2 -o r.fits"
    run(words)
    found = [np.array(hp.read_alm(f"r_00{i}_alm.fits", hdu=3)) for i in (0, 1)]
    assert np.abs(found[0] - found[1]).max() > 0
    Path("r_001.fits").unlink()
    run(words)  # what is there stays, what is left beside it is made again
    np.testing.assert_array_equal(hp.read_alm("r_001_alm.fits", hdu=3), found[1])
    said = fails("smica.fits --fields T --mask-field TMASK --noise-std 3 --eb-maps -o o.fits", capsys)
    assert "--eb-maps is of Q and U; this fill is of T" in said
    Path("o_alm.fits").write_bytes(b"mine")
    said = fails(f"smica.fits --mask-field TMASK,PMASK {OPTIONS} --alm -o o.fits", capsys)
    assert "o_alm.fits exists already" in said and Path("o_alm.fits").read_bytes() == b"mine"


def test_realizations_follow_from_the_model_that_was_estimated(tmp_path: Path) -> None:
    """Power of Q and U that no lensed sky has, as foregrounds have it: the first fill's model serves the second."""
    rng = np.random.default_rng(3)
    steep = hp.smoothing(rng.standard_normal(12 * 32**2), np.radians(8)) * 600
    sky = np.stack([70 * rng.standard_normal(steep.size), steep, np.roll(steep, 9000)])
    sky += rng.standard_normal(sky.shape)
    sky[:, :1000] = hp.UNSEEN
    hp.write_map(tmp_path / "wmap.fits", sky, column_units="uK_CMB", coord="G")
    words = ["inpaint", tmp_path / "wmap.fits", "-o", tmp_path / "f.fits", "--seed", 1, "--realizations", 2]
    assert cli.main([str(word) for word in words]) == 0
    first, second = (read_map(tmp_path / f"f_00{i}.fits", "TQU")[0] for i in (0, 1))
    assert np.array_equal(first[:, 1000:], second[:, 1000:]) and not np.array_equal(first, second)
