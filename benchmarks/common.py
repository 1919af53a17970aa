"""What the benchmarks share: the setting of every table (Planck-like mask, beam 3 px, noise 3 µK) and its skies."""

import argparse
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from cmbinpaint.files.fits import read_mask
from cmbinpaint.plots.figures import save_figure
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.sphere.maps import degrade
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask

NOISE_STD = 3.0  # µK per pixel
BINS = {128: (1.3, 2.3, 4.3, 8.3), 256: (1.3, 2.3, 4.3, 8.3), 512: (1.3, 4.3, 8.3, 20.0)}


@dataclass(frozen=True)
class Setting:
    """One table's sky: cut, model and the depth bin of each target."""

    nside: int
    plan: InpaintingPlan
    sky_model: SkyModel
    bin_of: np.ndarray

    @classmethod
    def at(cls, nside: int, mask: str | None) -> "Setting":
        valid = planck_like_mask(nside, seed=0) if mask is None else _take(mask, nside)
        plan = InpaintingPlan.from_valid(valid)
        model = SkyModel.from_theory(theory(nside), nside, fwhm=3 * pixel_size(nside), noise_std=NOISE_STD)
        edges = BINS.get(nside, BINS[512])
        return cls(nside, plan, model, np.digitize(plan.depth[plan.targets], edges, right=True))

    def sky(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The observation and its signal, µK."""
        observed, parts = simulate_sky(
            theory(self.nside), self.nside, fwhm=3 * pixel_size(self.nside), noise_std=NOISE_STD,
            pixwin=True, lmax=self.sky_model.lmax, seed=seed, return_parts=True,
        )  # fmt: skip
        return observed, parts.signal

    def squares(self, error: np.ndarray) -> np.ndarray:
        """Mean square of a (npix,) error in each depth bin."""
        values = np.square(error[self.plan.targets])
        return np.array([values[self.bin_of == b].mean() for b in range(5)])


def theory(nside: int) -> np.ndarray:
    return fiducial_cl(min(6000, 3 * nside))


def _take(path: str, nside: int) -> np.ndarray:
    mask = read_mask(path) > 0.5
    values, valid = degrade(mask.astype(np.float64), np.ones(mask.size, bool), nside)
    return valid & (values > 0.5)


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--nside", type=int, default=128)
    parser.add_argument("--skies", type=int, default=4)
    parser.add_argument("--mask", help="FITS file, 1 = observed; default: the package's own Planck-like mask")
    parser.add_argument("--model", default="default")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the figures")
    return parser


def write(result: dict[str, Any], path: Path | None) -> None:
    """Print the figures, and keep them where asked."""
    result["machine"] = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    text = json.dumps(result, indent=1, default=lambda v: np.asarray(v).tolist())
    print(text)
    if path is not None:
        path.write_text(text + "\n", encoding="utf-8")


def save_small(figure: Figure, path: Path, *, colors: int = 96) -> None:
    """Save a picture for the docs: a PNG of few colors, small enough for a page."""
    save_figure(figure, path)
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(
            colors, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
        )
    few.save(path, optimize=True)
