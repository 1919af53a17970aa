"""T, Q, U from files of Planck's, WMAP's and healpy's make, filled, and back into the same columns."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from cmbinpaint import inpaint_map, read_map, write_map
from cmbinpaint.errors import CmbInpaintWarning, FitsError, UnitsError
from cmbinpaint.sims import fiducial_spectra, simulate_sky

NSIDE = 8
CL, FWHM, NOISE = fiducial_spectra(23), 0.35, [3.0, 0.1, 0.1]
SKY = simulate_sky(CL, NSIDE, fwhm=FWHM, noise_std=NOISE, pixwin=True, seed=1)
MASK = np.abs(hp.pix2vec(NSIDE, np.arange(768))[2]) > 0.2
PLANCK = ("I_STOKES", "Q_STOKES", "U_STOKES")


def planck_file(path: Path, polcconv: str = "COSMO", units: tuple[str, ...] = ("K_CMB",) * 3) -> Path:
    """As PR3's component maps: NESTED, K_CMB, the masks beside the maps. (The real file is untried.)"""
    nested = [hp.reorder(row, r2n=True) for row in (*(1e-6 * SKY), MASK.astype("f4"), MASK.astype("f4"))]
    columns = [
        fits.Column(name=name, format="E", array=row.astype(">f4"), unit=unit)
        for name, row, unit in zip((*PLANCK, "TMASK", "PMASK"), nested, (*units, "", ""), strict=True)
    ]
    table = fits.BinTableHDU.from_columns(columns)
    cards = {"PIXTYPE": "HEALPIX", "ORDERING": "NESTED", "NSIDE": NSIDE, "COORDSYS": "GALACTIC", "POLCCONV": polcconv,
             "POLAR": "T", "INDXSCHM": "IMPLICIT", "BAD_DATA": -1.6375e30, "EXTNAME": "COMP-MAP"}  # fmt: skip
    table.header.update(cards)
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    return path


@pytest.mark.parametrize("polcconv", ["COSMO", "IAU"])
def test_a_planck_file_is_filled_and_written_with_its_columns(tmp_path: Path, polcconv: str) -> None:
    path = planck_file(tmp_path / "planck.fits", polcconv)
    sky, info = read_map(path, "TQU")
    np.testing.assert_allclose(sky, 1e-6 * SKY, rtol=1e-6)
    assert (info.columns, info.unit, info.polcconv, info.ordering) == (PLANCK, "K_CMB", polcconv, "NESTED")
    filled = inpaint_map(
        sky, MASK, cl=CL, fwhm=FWHM, noise_std=NOISE, unit=info.unit, polconv=info.polcconv, seed=1
    )
    out = write_map(tmp_path / "filled.fits", filled, info=info)
    again, other = read_map(out, PLANCK)
    np.testing.assert_array_equal(again, filled)
    np.testing.assert_array_equal(again[:, MASK], sky[:, MASK])
    assert (other.columns, other.unit, other.polcconv, other.ordering) == (
        PLANCK,
        "K_CMB",
        polcconv,
        "NESTED",
    )
    flip = np.array([1, 1, -1 if polcconv == "IAU" else 1], dtype="f4")[:, None]
    cosmo = inpaint_map(flip * sky, MASK, cl=CL, fwhm=FWHM, noise_std=NOISE, unit=info.unit, seed=1)
    np.testing.assert_array_equal(flip * filled, cosmo)


def test_files_of_healpy_and_of_wmap(tmp_path: Path) -> None:
    hp.write_map(tmp_path / "healpy.fits", SKY, column_units="uK", dtype=np.float64)
    read, info = read_map(tmp_path / "healpy.fits", "TQU")
    np.testing.assert_array_equal(read, hp.read_map(tmp_path / "healpy.fits", field=(0, 1, 2)))
    np.testing.assert_array_equal(read_map(tmp_path / "healpy.fits", "QU")[0], SKY[1:])
    np.testing.assert_array_equal(read_map(tmp_path / "healpy.fits", [2, 1])[0], SKY[[2, 1]])
    names = {
        "TEMPERATURE": SKY[0],
        "Q_POLARISATION": SKY[1],
        "U_POLARISATION": SKY[2],
        "N_OBS": MASK.astype("f4"),
    }
    wmap = write_map(
        tmp_path / "wmap.fits",
        names,
        unit={"TEMPERATURE": "mK", "Q_POLARISATION": "mK", "U_POLARISATION": "mK"},
    )
    found, info = read_map(wmap, "TQU")
    np.testing.assert_array_equal(found, SKY)
    assert info.unit == "mK_CMB"
    plain = write_map(tmp_path / "plain.fits", SKY[1:], unit="uK")
    assert read_map(plain, "QU")[1].columns == ("Q_POLARISATION", "U_POLARISATION")


def test_what_is_not_t_q_u_is_refused(tmp_path: Path) -> None:
    path = planck_file(tmp_path / "planck.fits", units=("K_CMB", "K_CMB", "uK_CMB"))
    with pytest.raises(UnitsError, match=r"the columns of .* are in units that differ"):
        read_map(path, "TQU")
    with pytest.raises(FitsError, match="4 columns were named"):
        read_map(path, (*PLANCK, "TMASK"))
    write_map(tmp_path / "t.fits", SKY[0], unit="uK")
    with pytest.raises(
        FitsError, match="has 0 columns that are Q by their names; it has TEMPERATURE: name them"
    ):
        read_map(tmp_path / "t.fits", "TQU")


def test_a_unit_that_is_not_given_is_said_once(tmp_path: Path) -> None:
    path = write_map(tmp_path / "bare.fits", SKY)
    with pytest.warns(CmbInpaintWarning, match="'TEMPERATURE' of HDU 1 of .* has no TUNIT") as caught:
        sky, info = read_map(path, "TQU")
    assert len(caught) == 1 and info.unit is None
    np.testing.assert_array_equal(sky, SKY)
