"""CoMBInE's analyses of a filled map: patches cut from it beside patches cut from the true map.

Inputs: a filled map and its truth, µK. Outputs: `MapPatches`; of them differences, colors, spectra of pictures and of
temperatures, Kolmogorov-Smirnov tests.

Patches are those that a network of CoMBInE's family sees: 128 px at half a map pixel, here of maps that are full on
both sides. So whatever filled the map is measured alike, the network and the exact answer too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ks_2samp

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import MapError, UnitsError
from cmbinpaint.files import fits
from cmbinpaint.networks.cutting import SmoothMap, known_pixels, patch_angles
from cmbinpaint.networks.tiling import SIDE, Tiling
from cmbinpaint.sphere.maps import is_unseen, npix_to_nside
from cmbinpaint.sphere.pixels import pixel_vectors
from cmbinpaint.sphere.units import unit_factor
from cmbinpaint.studies.clipping import ClippingStudy, study_clipping
from cmbinpaint.studies.colors import ColorStudy, distribution
from cmbinpaint.studies.differences import ALL, HOLES, KINDS, measure, regions_of
from cmbinpaint.studies.patch_study import PatchSpectra, stacked
from cmbinpaint.training.data.planck_colors import LIMIT_uK, render
from cmbinpaint.training.run.checkpoint_models import State

_HOLE_SHARE = (0.01, 0.7)  # of the patches that are taken
_KS_BANDS = 40  # of a patch, from the second mode to Nyquist
_LEVEL = 0.001  # CoMBInE's paper: indistinguishable at the 99.9 % level
_MASK = "the map's own"
DIFFERENCE_UNITS = {
    "unit": {
        "temperature": "uK; percent of the rms",
        "rgb": "full scale of a color; percent of the mean color",
    },
    "scatter": "standard deviation over patches",
}


@dataclass(frozen=True, eq=False)
class MapPatches:
    """Patches of a filled map and of the truth, (n, side, side) each.

    Attributes
    ----------
    name
        Of what was filled.
    target, filled
        µK.
    valid
        True = observed.
    step_rad
        The pixel's side.
    """

    name: str
    target: FloatArray
    filled: FloatArray
    valid: BoolArray
    step_rad: float

    @classmethod
    def read(cls, filled: Path, target: Path, n: int, seed: int) -> "MapPatches":
        """Cut patches from the first columns of two files; see `cut`."""
        return cls.cut(filled.name, _read_uK(filled), _read_uK(target), n, seed)

    @classmethod
    def cut(cls, name: str, filled: FloatArray, target: FloatArray, n: int, seed: int) -> "MapPatches":
        """Cut up to n patches with holes, chosen at random, from (npix,) RING maps in µK.

        What is equal in both maps counts as observed: fills leave observed pixels bit for bit.

        Raises
        ------
        MapError
            If the maps differ in size, or are equal nowhere or everywhere, or no two patches have fair holes.
        """
        if filled.shape != target.shape:
            raise MapError(f"got a filled map of {filled.size} pixels and a target of {target.size}")
        observed = filled == target
        if not observed.any() or observed.all():
            what = "agree in every pixel: nothing was filled" if observed.all() else "agree in no pixel"
            raise MapError(
                f"the filled map and the target {what}. The target is the map that was filled, before its pixels were "
                "hidden: signal and noise"
            )
        nside = npix_to_nside(filled.size)
        tiling = Tiling.cover(nside, pixel_vectors(nside, np.flatnonzero(~observed)))
        valid = known_pixels(observed, nside, tiling.planes)
        share = np.mean(~valid, axis=(1, 2))
        fair = np.flatnonzero((share >= _HOLE_SHARE[0]) & (share <= _HOLE_SHARE[1]))
        if fair.size < 2:
            raise MapError(
                f"{fair.size} patches of {SIDE} px have 1 to 70 % in holes; two or more are needed"
            )
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(9,)))
        chosen = np.sort(rng.permutation(fair)[:n])
        angles = patch_angles([tiling.planes[i] for i in chosen])
        cut = [SmoothMap.of(sky, nside).at(*angles).astype(np.float64) for sky in (target, filled)]
        return cls(name, cut[0], cut[1], valid[chosen], tiling.grid.step_rad)

    def __len__(self) -> int:
        return len(self.target)

    @property
    def facts(self) -> dict[str, Any]:
        """What the numbers refer to."""
        return {
            "map": self.name, "patches": len(self), "side": SIDE,
            "step_arcmin": float(np.degrees(self.step_rad)) * 60, "rms_uK": self.rms_uK,
            "hole_fraction": float(np.mean(~self.valid)),
        }  # fmt: skip

    @property
    def rms_uK(self) -> float:
        """Of the target."""
        return float(np.sqrt(np.mean(np.square(self.target))))

    def differences(self, colors_uK: tuple[float, float] = (-LIMIT_uK, LIMIT_uK)) -> list[dict[str, Any]]:
        """Gross differences by region, of temperatures and of pictures: means over patches that have such pixels."""
        pictures = [render(field, *colors_uK).astype(np.float64) for field in (self.target, self.filled)]
        color = np.abs(pictures[1] - pictures[0])
        regions = [{k: v for k, v in regions_of(valid).items() if k != ALL} for valid in self.valid]
        rows = []
        for kind in KINDS:
            fields = color if kind == "rgb" else np.abs(self.filled - self.target)[..., None]
            scale = pictures[0].mean((1, 2, 3)) if kind == "rgb" else np.full(len(self), self.rms_uK)
            found = stacked(
                [measure(fields[i : i + 1], regions[i], scale[i : i + 1]) for i in range(len(self))],
                (len(self),),
            )
            for r, region in enumerate(regions[0]):
                row: dict[str, Any] = {"kind": kind, "region": region}
                for key in ("mean", "std", "percent"):
                    values = getattr(found, key)[:, 0, r]
                    values = values[np.isfinite(values)]
                    row["patches"] = values.size
                    row[key] = float(values.mean()) if values.size else float("nan")
                    row[f"{key}_scatter"] = float(values.std()) if values.size else float("nan")
                rows.append(row)
        return rows

    def colors(
        self, colors_uK: tuple[float, float] = (-LIMIT_uK, LIMIT_uK), colors: str = "planck"
    ) -> ColorStudy:
        """Mean, standard deviation and distribution of red, green, blue and grey."""
        target, filled = (
            distribution(render(field, *colors_uK, colors)) for field in (self.target, self.filled)
        )
        state = State(0, 1, None)
        return ColorStudy(self.name, (state,), (_MASK,), target, stacked([filled], (1, 1)), colors, colors_uK)

    def spectra(self) -> ClippingStudy:
        """Power of the filled patches over the targets', from temperatures and from pictures of them."""
        return study_clipping(self.target, self.step_rad, filled_uK=self.filled)

    def ks_tests(self) -> list[dict[str, Any]]:
        """Two-sample tests of a filled patch against its own target, as CoMBInE's paper makes them, patch by patch.

        Its table of probabilities is for independent values, which pixels are not. Beside each test is that of another
        true patch in place of the filled one: what the test says of two skies that have nothing in common.
        """
        edges = np.linspace(2.5 * 2 * np.pi / (SIDE * self.step_rad), np.pi / self.step_rad, _KS_BANDS + 1)
        spectra = PatchSpectra(SIDE, self.step_rad, edges)
        powers = [spectra.auto(field) for field in (self.target, self.filled)]
        everywhere = np.ones_like(self.valid)
        samples: Mapping[str, tuple[FloatArray, FloatArray, BoolArray]] = {
            "pixels of the patch": (self.target, self.filled, everywhere),
            f"pixels in {HOLES}": (self.target, self.filled, ~self.valid),
            "power spectrum": (powers[0], powers[1], np.ones(powers[0].shape, bool)),
        }
        rows = []
        for what, (target, filled, chosen) in samples.items():
            row: dict[str, Any] = {"what": what}
            for against, fields in (("", filled), ("other_sky_", np.roll(target, 1, axis=0))):
                tests = [
                    ks_2samp(a[inside], b[inside], method="asymp")
                    for a, b, inside in zip(fields, target, chosen, strict=True)
                ]
                p = np.array([test.pvalue for test in tests])
                row[f"{against}distance"] = float(np.mean([test.statistic for test in tests]))
                row[f"{against}median_p"] = float(np.median(p))
                row[f"{against}indistinguishable"] = float(np.mean(p > _LEVEL))
            rows.append(row)
        return rows


def _read_uK(path: Path) -> FloatArray:
    """(npix,) RING, the first column of a file."""
    sky, info = fits.read_map(path)
    if info.unit is None:
        raise UnitsError(
            f"{path} does not give its unit, and pictures end at temperatures: TUNIT1 must say it"
        )
    unknown = int(np.count_nonzero(is_unseen(sky) | ~np.isfinite(sky)))
    if unknown:
        raise MapError(
            f"{path} has {unknown} unknown pixels (UNSEEN or NaN); patches are cut from maps of the full sky"
        )
    return np.asarray(sky, dtype=np.float64) * unit_factor(info.unit, "uK_CMB")
