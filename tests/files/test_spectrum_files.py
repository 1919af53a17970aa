"""Spectra in text and FITS files are read as what they are, or refused."""

import healpy as hp
import numpy as np
import pytest

from cmbinpaint.errors import SpectrumError
from cmbinpaint.spectra import read_cl

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
            SpectrumError, match="does not say whether it holds C_ell or D_ell, and it runs as D"
        ):
            read_cl(path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "the file is empty"),
        ("2 1.0\n4 1.0\n", "the first column must be ell = 0, 1, 2 and so on without gaps"),
        ("0 1.0\n1 -1.0\n", "1 values are negative or not finite, the first at ell = 1"),
        ("0 1.0\n1 nan\n", "1 values are negative or not finite, the first at ell = 1"),
        ("hello\n", "not a table of numbers with # comments"),
        ("SIMPLE  = T\n", "no spectrum as healpy.write_cl makes it"),
    ],
)
def test_files_that_hold_no_spectrum_are_refused(tmp_path, text, error):
    path = tmp_path / "cl.txt"
    path.write_text(text)
    with pytest.raises(SpectrumError, match=error):
        read_cl(path)


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
