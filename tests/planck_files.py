"""Files with the columns and cards of Planck's third release (PR3), of other values. The real ones are untried here.

Component maps (COM_CMB_IQU-smica_2048_R3.00_full.fits) have T, Q, U, the masks, and an inpainted version; frequency
maps (HFI_SkyMap_143_2048_R3.01_full.fits) have T, Q, U, hits and the covariance of their noise.
"""

from collections.abc import Mapping
from pathlib import Path

import healpy as hp
import numpy as np
from astropy.io import fits

STOKES = ("I_STOKES", "Q_STOKES", "U_STOKES")
COVARIANCE = ("II_COV", "IQ_COV", "IU_COV", "QQ_COV", "QU_COV", "UU_COV")


def write_planck(
    path: Path, columns: Mapping[str, np.ndarray], *, extname: str, kelvin: str, cards: Mapping[str, object]
) -> Path:
    """NESTED columns of one value a row, from RING arrays: f4, hits i4; maps in K, covariances in K²."""
    nside = hp.npix2nside(next(iter(columns.values())).size)
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(
                name=name,
                format="J" if name == "HITS" else "E",
                array=hp.reorder(values, r2n=True).astype(">i4" if name == "HITS" else ">f4"),
                unit=f"{kelvin}^2" if name in COVARIANCE else kelvin if "STOKES" in name else "",
            )
            for name, values in columns.items()
        ]
    )
    table.header.update(
        {"EXTNAME": extname, "PIXTYPE": "HEALPIX", "COORDSYS": "GALACTIC", "ORDERING": "NESTED", "NSIDE": nside,
         "FIRSTPIX": 0, "LASTPIX": 12 * nside**2 - 1, "INDXSCHM": "IMPLICIT", "OBJECT": "FULLSKY",
         "BAD_DATA": -1.6375e30, **cards}
    )  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    return path


def component_map(path: Path, sky: np.ndarray, masks: np.ndarray, polcconv: str | None = "COSMO") -> Path:
    """As SMICA's, from (3, npix) in µK and the masks of T and polarization."""
    cards = {"AST-COMP": "CMB", "METHOD": "SMICA"} | ({} if polcconv is None else {"POLCCONV": polcconv})
    columns = dict(zip((*STOKES, "TMASK", "PMASK"), (*1e-6 * sky, *masks), strict=True))
    inpainted = {f"{name}_INP": 2e-6 * row for name, row in zip(STOKES, sky, strict=True)}
    columns |= inpainted | {"TMASKINP": masks[0], "PMASKINP": masks[1]}
    return write_planck(path, columns, extname="COMP-MAP", kelvin="K_CMB", cards=cards)


def frequency_map(path: Path, sky: np.ndarray, covariance: np.ndarray, hits: np.ndarray) -> Path:
    """As HFI's, from (3, npix) in µK, (6, npix) in µK² and hits."""
    columns = dict(zip(STOKES, 1e-6 * sky, strict=True)) | {"HITS": hits}
    columns |= dict(zip(COVARIANCE, 1e-12 * covariance, strict=True))
    cards = {"POLCCONV": "COSMO", "FREQ": "143", "PROCVER": "RD12_RC4", "UNITCONV": 371.7}
    return write_planck(path, columns, extname="FREQ-MAP", kelvin="Kcmb", cards=cards)
