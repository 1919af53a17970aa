"""Spectra in text and FITS files are read as what they are, or refused."""

import bz2
import gzip
import lzma
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from cmbinpaint.errors import SpectrumError, UnitsError
from cmbinpaint.spectra import read_cl

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

CL = 1e3 / (np.arange(1, 1201) * np.arange(2, 1202.0))
DL = CL * np.arange(1200) * np.arange(1, 1201) / (2 * np.pi)


def write(path, columns, header=""):
    np.savetxt(path, np.column_stack(columns), header=header)
    return path


def test_text_and_fits_files_are_read(tmp_path):
    ell = np.arange(1200)
    for path in (
        write(tmp_path / "a", [CL]),
        write(tmp_path / "b", [ell, CL, CL / 9]),
        write(tmp_path / "c", [ell, CL], "ell C_ell"),
        write(tmp_path / "d", [ell, CL / 9, CL]),
    ):
        column = 2 if path.name == "d" else None
        np.testing.assert_allclose(read_cl(path, column=column), CL, rtol=1e-12)
    hp.write_cl(str(tmp_path / "e.fits"), CL, dtype=np.float64)
    np.testing.assert_allclose(read_cl(tmp_path / "e.fits"), CL, rtol=1e-12)


@pytest.mark.parametrize("header", ["L TT EE BB TE", "ell D_ell", "l  l(l+1)C_l/2pi [uK^2]", None])
def test_dl_is_told_by_its_header_or_the_user(tmp_path, header):
    path = write(tmp_path / "a", [np.arange(2, 1200), DL[2:]], header or "")
    found = read_cl(path) if header else read_cl(path, kind="dl")
    np.testing.assert_allclose(found[2:], CL[2:], rtol=1e-10)
    assert (found[:2] == 0).all()
    if header is None:
        with pytest.raises(
            SpectrumError, match="does not say whether it holds C_ell or D_ell, and its shape is that of D"
        ):
            read_cl(path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "the file is empty"),
        ("2 1.0\n4 1.0\n", "the first column must be ell = 0, 1, 2 and so on without gaps"),
        ("0 1.0\n1 -1.0\n", "cl.txt holds 1 negative or non-finite values, the first at ell = 1"),
        ("0 1.0\n1 nan\n", "cl.txt holds 1 negative or non-finite values, the first at ell = 1"),
        ("hello\n", "not a table of numbers with # comments"),
        ("SIMPLE  = T\n", "not a spectrum as written by healpy.write_cl"),
    ],
)
def test_files_that_hold_no_spectrum_are_refused(tmp_path, text, error):
    path = tmp_path / "cl.txt"
    path.write_text(text)
    with pytest.raises(SpectrumError, match=error):
        read_cl(path)


@pytest.mark.parametrize("save", [np.save, np.savez], ids=["npy", "npz"])
def test_arrays_of_numpy_are_refused_with_what_is_read(tmp_path, save):
    with (tmp_path / "cl").open("wb") as stream:
        save(stream, CL)
    text = "cl is neither text nor FITS, but a file of numpy; text, one column of C_ell or ell and C_ell"
    with pytest.raises(SpectrumError, match=text):
        read_cl(tmp_path / "cl")
    (tmp_path / "cl").write_bytes(b"\x89HDF\r\n\x1a\n\0\0")
    with pytest.raises(SpectrumError, match="cl is neither text nor FITS; text, one column"):
        read_cl(tmp_path / "cl")


def test_missing_files_columns_and_kinds_are_refused(tmp_path):
    with pytest.raises(SpectrumError, match="no such file; a spectrum was expected"):
        read_cl(tmp_path / "none")
    with pytest.raises(SpectrumError, match="a directory; a spectrum was expected"):
        read_cl(tmp_path)
    path = write(tmp_path / "a", [np.arange(9), CL[:9]])
    with pytest.raises(SpectrumError, match="there is no column 5; the file has 2 columns"):
        read_cl(path, column=5)
    with pytest.raises(SpectrumError, match='kind is "auto", "cl" or "dl"; got \'Dl\''):
        read_cl(path, kind="Dl")


# --- units ------------------------------------------------------------------------------------------------

CLASS = (
    "dimensionless total [l(l+1)/2pi] C_l's\nfor l=2 to 1199, i.e. 1198 multipoles\n"
    "-> for CMB lensing (phi), these are C_l^phi-phi\n1:l 2:TT"
)
T2 = 2.7255e6**2  # µK²


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("ell C_ell [K^2]", CL * 1e-12),
        ("ell C_ell [uK^2]", CL),
        ("ell C_ell in mK²", CL * 1e-6),
        ("l(l+1)C_l/2pi [(muK)^2]", DL),
        (CLASS, DL / T2),
        ("total [l(l+1)/2pi] C_l's (units: [microK]^2)\n-> for CMB lensing (d), these are C_l^dd", DL),
        ("L TT EE BB TE", DL),
        ("ell   TT   EE   TE    NB: dimensionless C_l's", CL / T2),
    ],
)
def test_the_unit_a_text_file_says_is_converted(tmp_path, header, values):
    path = write(tmp_path / "a", [np.arange(2, 1200), values[2:]], header)
    np.testing.assert_allclose(read_cl(path)[2:], CL[2:], rtol=1e-10)


@pytest.mark.parametrize(
    ("tunit", "factor"),
    [
        ("K^2", 1e-12),
        ("uK^2", 1),
        ("(uK_CMB)^2", 1),
        ("mK2", 1e-6),
        ("", 1),
        ("unknown", 1),
        ("dimensionless", 1 / T2),
    ],
)
def test_the_unit_a_fits_file_says_is_converted(tmp_path, tunit, factor):
    column = fits.Column(name="TEMPERATURE", format="D", array=CL * factor, unit=tunit or None)
    fits.BinTableHDU.from_columns([column]).writeto(tmp_path / "cl.fits")
    np.testing.assert_allclose(read_cl(tmp_path / "cl.fits"), CL, rtol=1e-12)


@pytest.mark.parametrize("sign", [b"\xb5", b"\xc2\xb5"])
def test_a_micro_sign_in_a_fits_spectrum_is_micro(tmp_path, sign):
    column = fits.Column(name="TEMPERATURE", format="D", array=CL, unit="uK^2")
    fits.BinTableHDU.from_columns([column]).writeto(tmp_path / "cl.fits")
    raw = (tmp_path / "cl.fits").read_bytes()
    (tmp_path / "cl.fits").write_bytes(raw.replace(b"'uK^2    '", (b"'" + sign + b"K^2").ljust(9) + b"'", 1))
    np.testing.assert_allclose(read_cl(tmp_path / "cl.fits"), CL, rtol=1e-12)


def test_a_declared_unit_is_converted_and_never_contradicts(tmp_path):
    bare = write(tmp_path / "bare", [CL * 1e-12])
    np.testing.assert_allclose(read_cl(bare, unit="K^2"), CL, rtol=1e-12)
    np.testing.assert_array_equal(read_cl(bare), CL * 1e-12)  # nothing said, nothing converted
    raw = write(tmp_path / "class", [np.arange(1200), DL / T2])
    np.testing.assert_allclose(read_cl(raw, kind="dl", unit="dimensionless")[1:], CL[1:], rtol=1e-12)
    said = write(tmp_path / "said", [CL], "C_ell [K^2]")
    np.testing.assert_allclose(read_cl(said, unit="K2"), CL * 1e12, rtol=1e-12)
    with pytest.raises(UnitsError, match=r"unit='uK\^2' was declared, but .*said says K_CMB\^2: omit unit="):
        read_cl(said, unit="uK^2")
    with pytest.raises(UnitsError, match=r"'uK' is not a unit of a power spectrum; known: the square of K"):
        read_cl(bare, unit="uK")


def test_units_that_are_none_are_refused(tmp_path):
    column = fits.Column(name="TEMPERATURE", format="D", array=CL, unit="Jy^2/sr")
    fits.BinTableHDU.from_columns([column]).writeto(tmp_path / "cl.fits")
    with pytest.raises(
        UnitsError, match=r"cl.fits: TUNIT1 is 'Jy\^2/sr': .* is not a unit of a power spectrum"
    ):
        read_cl(tmp_path / "cl.fits")
    path = write(tmp_path / "both", [CL], "C_ell [K^2], formerly [uK^2]")
    with pytest.raises(UnitsError, match=r"its comment lines mention K_CMB\^2 and uK_CMB\^2; keep one"):
        read_cl(path)


# --- encodings and compression ----------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig"])
def test_comments_in_any_encoding_are_comments(tmp_path, encoding):
    rows = "".join(f"{ell} {value!r}\n" for ell, value in enumerate(CL.tolist()))
    (tmp_path / "cl.txt").write_text("# ell C_ell [µK²]\n" + rows, encoding=encoding)
    np.testing.assert_array_equal(read_cl(tmp_path / "cl.txt"), CL)


@pytest.mark.parametrize("module", [gzip, bz2, lzma])
def test_compressed_spectra_are_read(tmp_path, module):
    hp.write_cl(str(tmp_path / "cl.fits"), CL, dtype=np.float64)
    write(tmp_path / "cl.txt", [np.arange(1200), CL], "ell C_ell")
    for name in ("cl.fits", "cl.txt"):
        path = tmp_path / f"{name}.packed"
        path.write_bytes(module.compress((tmp_path / name).read_bytes()))
        np.testing.assert_allclose(read_cl(path), CL, rtol=1e-12)
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(
            SpectrumError, match=r"is truncated or damaged|not a spectrum as written by healpy"
        ):
            read_cl(path)


def test_a_damaged_spectrum_is_found_by_its_checksum(tmp_path):
    column = fits.Column(name="TEMPERATURE", format="D", array=CL, unit="uK^2")
    fits.BinTableHDU.from_columns([column]).writeto(tmp_path / "cl.fits", checksum=True)
    raw = bytearray((tmp_path / "cl.fits").read_bytes())
    raw[2 * 2880 + 800] ^= 1
    (tmp_path / "cl.fits").write_bytes(raw)
    with pytest.raises(
        SpectrumError, match=r"not a spectrum as written by healpy.write_cl: .* in HDU 1 DATASUM is"
    ):
        read_cl(tmp_path / "cl.fits")


def test_absurd_sizes_are_refused(tmp_path, monkeypatch):
    (tmp_path / "far.txt").write_text("1000000000000 1\n1000000000001 1\n")
    with pytest.raises(SpectrumError, match="the first column must be ell = 0, 1, 2"):
        read_cl(tmp_path / "far.txt")
    monkeypatch.setattr("cmbinpaint.files.spectrum_files._LONGEST", 1000)
    with pytest.raises(SpectrumError, match="holds more than 1000 bytes; a spectrum was expected"):
        read_cl(write(tmp_path / "long", [CL]))


# --- public files -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the public files are not at {DATA}")
def test_public_spectra_agree():
    healpix, camb = (
        read_cl(DATA / "planck2018_lcdm_cl_v3.fits"),
        read_cl(DATA / "FFP10_wdipole_lensedCls.dat"),
    )
    np.testing.assert_allclose(healpix[2:2000], camb[2:2000], rtol=0.05)  # two Planck cosmologies
    assert healpix[10] * 10 * 11 / (2 * np.pi) == pytest.approx(836, rel=0.05)  # µK²
    with pytest.raises(SpectrumError, match="the first column must be ell"):
        read_cl(DATA / "COM_PowerSpect_CMB-TT-binned_R3.01.txt")


def test_a_file_that_the_disk_does_not_give_is_named(tmp_path, monkeypatch):
    path = tmp_path / "cl.txt"
    path.write_text("1 2 3")

    def fails(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(type(path), "open", fails)
    with pytest.raises(SpectrumError, match=r"cl\.txt cannot be read: Input/output error"):
        read_cl(path)


SIX = np.stack([CL, CL / 50, CL / 1e4, CL / 20, CL / 1e5, -CL / 1e4])  # TT, EE, BB, TE, EB, TB


@pytest.mark.parametrize(
    ("header", "order"),
    [
        ("ell C_ell", [0, 1, 2, 3, 4, 5]),
        ("ell C_ell", [0, 1, 2, 3]),
        ("C_ell in muK^2\n 1:l  2:TT  3:EE  4:TE  5:BB", [0, 1, 3, 2]),  # CLASS
        ("C_ell in uK^2\n L  TT  TE  EE  BB", [0, 3, 1, 2]),  # Planck's theory, as C_ell
    ],
    ids=["six", "four", "class", "planck"],
)
def test_spectra_of_polarization_are_found_by_name_or_in_healpys_order(tmp_path, header, order):
    path = write(tmp_path / "a", [np.arange(2, 1200), *SIX[order, 2:]], header)
    expected = SIX[: len(order)].copy()
    expected[:, :2] = 0
    np.testing.assert_array_equal(read_cl(path, fields="TQU"), expected)
    np.testing.assert_array_equal(
        read_cl(path, fields="QU"), expected[[1, 2] if len(order) == 4 else [1, 2, 4]]
    )


def test_spectra_of_polarization_in_dl_and_fits(tmp_path):
    ell = np.arange(1200)
    dl = SIX[:4] * ell * (ell + 1) / (2 * np.pi)
    camb = write(tmp_path / "camb", [ell[2:], *dl[:, 2:]], "L TT EE BB TE")
    np.testing.assert_allclose(read_cl(camb, fields="TQU")[:, 2:], SIX[:4, 2:], rtol=1e-12)
    bare = write(tmp_path / "bare", [ell[2:], *dl[:, 2:]])
    with pytest.raises(SpectrumError, match="whether it holds C_ell or D_ell"):
        read_cl(bare, fields="TQU")
    np.testing.assert_allclose(read_cl(bare, fields="QU", kind="dl")[:, 2:], SIX[1:3, 2:], rtol=1e-12)
    hp.write_cl(str(tmp_path / "a.fits"), SIX * 1e-12, dtype=np.float64, column_units="K^2")
    np.testing.assert_allclose(read_cl(tmp_path / "a.fits", fields="TQU"), SIX, rtol=1e-12)
    hp.write_cl(str(tmp_path / "eb.fits"), SIX[1:3], dtype=np.float64)
    np.testing.assert_array_equal(read_cl(tmp_path / "eb.fits", fields="QU"), SIX[1:3])
    with pytest.raises(
        SpectrumError, match=r"eb.fits has 2 spectra; T, Q, U need TT, EE, BB, TE, or these, EB and TB"
    ):
        read_cl(tmp_path / "eb.fits", fields="TQU")
    alone = write(tmp_path / "alone", [ell, CL], "ell C_ell")
    with pytest.raises(SpectrumError, match="beside ell it has 1 spectrum; Q, U need EE, BB, or EE, BB, EB"):
        read_cl(alone, fields="QU")
    np.savetxt(tmp_path / "bare", CL, header="C_ell")
    with pytest.raises(SpectrumError, match=r"bare has 1 spectrum; Q, U need EE, BB, or EE, BB, EB"):
        read_cl(tmp_path / "bare", fields="QU")
    lost = write(tmp_path / "lost", [ell, *np.where(ell == 7, np.nan, SIX[:4])], "ell C_ell")
    with pytest.raises(
        SpectrumError, match="lost: TT holds 1 negative or non-finite values, the first at ell = 7"
    ):
        read_cl(lost, fields="TQU")
