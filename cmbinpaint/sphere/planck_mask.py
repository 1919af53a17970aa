"""A seeded mask that looks like Planck's temperature confidence mask, the same sky at every nside.

Inputs: nside, a seed. Outputs: bool `valid` (npix,) RING, True = observed, fsky near 0.76.
"""

import healpy as hp
import numpy as np
from scipy.ndimage import map_coordinates

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import MaskError
from cmbinpaint.sphere.maps import validate_nside

__all__ = ["planck_like_mask"]

_BAND_SKY = 0.16  # share of the sky within the Galactic band
_N_REGIONS = 60  # clouds and nearby galaxies, near the band most of them
_N_SOURCES = 4200
# One pixel per source at least: at low nside fewer sources, the largest first, or they would cover the sky.
_SOURCES_PER_PIXEL = 0.05
_GRID_DEG = 0.5  # of the table that draws the band's edge
_LAT_LIMIT_DEG = 60.0
_CHUNK = 1 << 20


def planck_like_mask(nside: int, *, seed: int = 0) -> BoolArray:
    """Draw a mask with a Galactic band, extended regions and thousands of point sources.

    The band is wider towards the Galactic center and has a ragged edge; of 4200 sources with radii from 0.1
    to 1.5 degrees the largest come first, up to 5 for each 100 pixels. One seed is one sky: another nside
    shows the same regions, but for what it cannot resolve.

    Parameters
    ----------
    nside
        Resolution.
    seed
        Which sky; 0 is a seed like any other.

    Returns
    -------
    valid
        (npix,) bool, RING, True = observed; fsky 0.75 to 0.77 from nside 64.

    Raises
    ------
    MaskError
        If seed is no whole number of 0 or more.
    """
    nside = validate_nside(nside)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise MaskError(f"seed must be a whole number, 0 or more; got {seed!r}")
    band_rng, region_rng, source_rng = (
        np.random.default_rng(child) for child in np.random.SeedSequence(int(seed)).spawn(3)
    )
    valid = ~_galactic_band(nside, band_rng)
    for centers, radii in (_regions(region_rng), _sources(source_rng, 12 * nside * nside)):
        valid[hp.vec2pix(nside, *centers.T)] = False  # a disc smaller than its pixel still is a hole
        for center, radius in zip(centers, radii, strict=True):
            valid[hp.query_disc(nside, center, radius)] = False
    return valid


def _galactic_band(nside: int, rng: np.random.Generator) -> BoolArray:
    """Return where the sky is inside the band: |lat| below a width that depends on longitude and place."""
    table = _band_table(rng)
    npix = 12 * nside * nside
    inside = np.zeros(npix, dtype=bool)
    for start in range(0, npix, _CHUNK):
        pixels = np.arange(start, min(start + _CHUNK, npix))
        lon, lat = hp.pix2ang(nside, pixels, lonlat=True)
        near = np.abs(lat) < _LAT_LIMIT_DEG
        # Columns are longitudes from 0 and wrap; rows are latitudes from -limit.
        row = (lat[near] + _LAT_LIMIT_DEG) / _GRID_DEG
        found = map_coordinates(table, [row, lon[near] / _GRID_DEG], order=1, mode="grid-wrap")
        inside[pixels[near]] = found < 0
    return inside


def _band_table(rng: np.random.Generator) -> FloatArray:
    """Return a (lat, lon) table that is negative inside the band, calibrated to its share of the sky."""
    n_lon = round(360 / _GRID_DEG)
    lat = np.arange(-_LAT_LIMIT_DEG, _LAT_LIMIT_DEG + _GRID_DEG / 2, _GRID_DEG)
    lon = np.radians(np.arange(n_lon) * _GRID_DEG)
    ragged = _ragged(rng, lat.size, n_lon)
    # Half-width in units that the calibration fixes: the bulge, and slow undulations of edge and midplane.
    width = 1 + 0.3 * np.cos(lon) + 0.1 * np.cos(2 * lon)
    middle = np.zeros(n_lon)
    for order in range(1, 5):
        amplitude, phase = rng.normal(size=2) * 0.18 / order, rng.uniform(0, 2 * np.pi, size=2)
        width += amplitude[0] * np.cos(order * lon + phase[0])
        middle += 8 * amplitude[1] * np.cos(order * lon + phase[1])
    height = np.abs(lat[:, None] - middle) / np.maximum(width, 0.35) * np.exp(0.33 * ragged)
    # The level below which the wanted share of the sphere lies.
    area = np.broadcast_to(np.cos(np.radians(lat))[:, None], height.shape).ravel()
    order_by_height = np.argsort(height, axis=None)
    share = np.cumsum(area[order_by_height]) * np.radians(_GRID_DEG) ** 2 / (4 * np.pi)
    level = height.ravel()[order_by_height[np.searchsorted(share, _BAND_SKY)]]
    return height - level


def _ragged(rng: np.random.Generator, n_lat: int, n_lon: int) -> FloatArray:
    """Return a random field of unit variance with the steep spectrum of Galactic dust, periodic in longitude."""
    rows = 2 * n_lat  # twice as high as needed, so that north and south are not joined
    k_lat, k_lon = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(n_lon)[None, :]
    k = np.hypot(k_lat, k_lon)
    lowest = 1 / n_lon
    spectrum = np.fft.rfft2(rng.normal(size=(rows, n_lon))) * np.maximum(k, 4 * lowest) ** -1.5
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(rows, n_lon))[:n_lat]
    return (field - field.mean()) / field.std()


def _vectors(lon: FloatArray, sin_lat: FloatArray) -> FloatArray:
    cos_lat = np.sqrt(1 - sin_lat**2)
    return np.stack([cos_lat * np.cos(lon), cos_lat * np.sin(lon), sin_lat], axis=-1)


def _regions(rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return centers (n, 3) and radii, radians, of extended regions; latitudes within some tens of degrees."""
    lat = np.clip(rng.normal(scale=np.radians(28), size=_N_REGIONS), -1.4, 1.4)
    radii = np.radians(np.clip(rng.lognormal(np.log(2.0), 0.5, size=_N_REGIONS), 0.5, 5.0))
    return _vectors(rng.uniform(0, 2 * np.pi, size=_N_REGIONS), np.sin(lat)), radii


def _sources(rng: np.random.Generator, npix: int) -> tuple[FloatArray, FloatArray]:
    """Return centers (n, 3) and radii, radians, of the largest sources that npix pixels have room for."""
    centers = _vectors(rng.uniform(0, 2 * np.pi, size=_N_SOURCES), rng.uniform(-1, 1, size=_N_SOURCES))
    radii = np.radians(np.clip(rng.lognormal(np.log(0.42), 0.35, size=_N_SOURCES), 0.1, 1.5))
    largest = np.argsort(-radii)[: min(_N_SOURCES, max(1, int(_SOURCES_PER_PIXEL * npix)))]
    return centers[largest], radii[largest]
