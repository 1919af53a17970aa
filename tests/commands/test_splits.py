"""`cmbinpaint splits`: the files hold what `inpaint_splits` makes of the maps."""

from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.io import fits as afits

from cmbinpaint import cli, inpaint_splits, plan_inpainting
from cmbinpaint.files import fits
from cmbinpaint.sims import fiducial_cl, fiducial_spectra, simulate_sky

NSIDE = 8
NPIX = 12 * NSIDE**2
NOISE = [20.0, 35.0]
VALID = np.abs(np.arange(NPIX) - NPIX / 2) > 90
LESS = VALID & (np.arange(NPIX) > 40)


@pytest.fixture
def splits(tmp_path: Path, monkeypatch) -> list[np.ndarray]:
    """Files a.fits and b.fits in K with a column beside, masks, a spectrum."""
    monkeypatch.chdir(tmp_path)
    sky = simulate_sky(fiducial_cl(23), NSIDE, fwhm=np.radians(15), pixwin=True, seed=1)
    rng = np.random.default_rng(2)
    maps = [(1e-6 * (sky + std * rng.standard_normal(NPIX))).astype("f4") for std in NOISE]
    for name, one in zip("ab", maps, strict=True):
        columns = {"I_STOKES": one, "HITS": np.arange(NPIX, dtype="i4")}
        fits.write_map(f"{name}.fits", columns, unit={"I_STOKES": "K_CMB"}, ordering="NESTED", coord="G")
    fits.write_map("mask.fits", VALID.astype("f4"), coord="G")
    fits.write_map("less.fits", LESS.astype("f4"), coord="G")
    np.savetxt("cl.txt", fiducial_cl(23), header="C_ell [uK^2]")
    return maps


def run(words: str) -> int:
    return cli.main(["splits", *words.split()])


KNOWN = "--cl cl.txt --fwhm-arcmin 900 --noise-std 20 --noise-std 35 --seed 3"


def test_the_files_hold_what_the_function_makes(splits, capsys) -> None:
    assert run(f"a.fits b.fits --mask less.fits --mask mask.fits {KNOWN} --realizations 2 -o out") == 0
    said = capsys.readouterr().out
    expected = inpaint_splits(
        splits, [LESS, VALID], cl=fiducial_cl(23), fwhm=np.radians(15), noise_std=NOISE, seed=3,
        n_realizations=2, unit="K",
    )  # fmt: skip
    for name, maps, one, mask in zip("ab", expected, splits, (LESS, VALID), strict=True):
        for index in (0, 1):
            path = f"out/{name}_filled_{index:03d}.fits"
            filled, info = fits.read_map(path)
            assert (info.ordering, info.unit, info.column) == ("NESTED", "K_CMB", "I_STOKES")
            np.testing.assert_allclose(filled, maps[index], rtol=1e-6)
            assert np.array_equal(filled[mask], one[mask]) and not np.array_equal(filled[~mask], one[~mask])
            assert np.array_equal(fits.read_map(path, "HITS", unit="uK")[0], np.arange(NPIX)), (
                "columns pass through"
            )
            header = afits.getheader(path, 1)
            assert (header["SEED"], header["REALIZ"], header["NSPLITS"]) == (3, index, 2)
            holes, share = plan_inpainting(mask).n_holes, 100 * np.mean(~mask)
            assert (
                f"{path}: {holes} {'hole' if holes == 1 else 'holes'} filled ({share:.1f} % of the sky), seed 3\n"
                in said
            )
            assert (header["NHOLES"], header["CLFILE"]) == (holes, "cl.txt")
            assert header["MASKFILE"] == {"a": "less.fits", "b": "mask.fits"}[name]


def test_one_mask_for_all_and_noise_from_the_products(splits) -> None:
    assert run("a.fits b.fits --mask mask.fits --cl cl.txt --fwhm-arcmin 900 --seed 3 -o out/") == 0
    expected = inpaint_splits(splits, VALID, cl=fiducial_cl(23), fwhm=np.radians(15), seed=3, unit="K")
    for name, maps in zip("ab", expected, strict=True):
        np.testing.assert_allclose(fits.read_map(f"out/{name}_filled.fits")[0], maps, rtol=1e-6)
    assert run("a.fits b.fits --mask mask.fits --cl cl.txt --fwhm-arcmin 900 --seed 3 -o out/") == 1
    assert (
        run("a.fits b.fits --mask mask.fits --cl cl.txt --fwhm-arcmin 900 --seed 3 -o out/ --overwrite") == 0
    )


def test_polarized_splits_keep_their_convention(splits) -> None:
    spectra = fiducial_spectra(23)
    np.savetxt("all.txt", np.column_stack([np.arange(24), spectra.T]), header="L C_TT C_EE C_BB C_TE [uK^2]")
    sky = simulate_sky(spectra, NSIDE, fwhm=np.radians(15), pixwin=True, seed=1)
    rng = np.random.default_rng(1)
    maps = [sky + rng.standard_normal(sky.shape) for _ in range(2)]
    for name, one in zip("cd", maps, strict=True):
        healpy.write_map(f"{name}.fits", one * [[1], [1], [-1]], column_units="uK_CMB", coord="G")
    words = "--cl all.txt --cl-kind cl --fwhm-arcmin 900 --noise-std 1 --noise-std 1 --seed 3 --polconv IAU -o out"
    assert run(f"c.fits d.fits --mask mask.fits {words}") == 0
    expected = inpaint_splits(
        maps, VALID, cl=spectra, fwhm=np.radians(15), noise_std=[1.0, 1.0], seed=3, unit="uK"
    )
    for name, one in zip("cd", expected, strict=True):
        filled, info = fits.read_map(f"out/{name}_filled.fits", "TQU")
        assert info.polcconv == "IAU"
        np.testing.assert_allclose(filled, one * [[1], [1], [-1]], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("a.fits -o out", "one split was given, a.fits; give two or more"),
        (
            "a.fits b.fits --mask mask.fits --noise-std 20 -o out",
            "2 splits and 1 times --noise-std were given",
        ),
        ("a.fits a.fits --mask mask.fits -o out", "would be written twice"),
        ("a.fits c.fits --mask mask.fits -o out", "differ in unit: K_CMB, uK_CMB"),
        ("a.fits b.fits -o a.fits", "a.fits is not a folder"),
        ("a.fits nothere.fits -o out", "nothere.fits"),
    ],
)
def test_what_is_wrong_is_said(words: str, text: str, splits, capsys) -> None:
    fits.write_map("c.fits", splits[1] * 1e6, unit="uK_CMB", coord="G")
    assert run(words) == 1
    assert text in capsys.readouterr().err
    assert Path("out").exists() == (
        text in {"would be written twice", "differ in unit: K_CMB, uK_CMB", "nothere.fits"}
    )


def test_no_split_is_ever_replaced(splits, capsys) -> None:
    Path("out").mkdir()
    Path("out/a_filled.fits").symlink_to(Path("b.fits").resolve())
    assert run(f"a.fits b.fits --mask mask.fits {KNOWN} -o out --overwrite") == 1
    assert "is an input; it is never overwritten" in capsys.readouterr().err
