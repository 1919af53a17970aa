"""Training patches cut from spheres, as the pipeline cuts them: what a network sees in use, with the exact mean known.

    python benchmarks/sphere_patches.py make PATCHES --spheres 0 175     # more processes may make other numbers
    python benchmarks/sphere_patches.py train PATCHES -o RUN

Each sphere of nside 128 has a mask, a sky model and some skies of its own. Finer pixels are had by stretching the
spectrum: C'(L) = f² C(f L) is the sky seen with pixels f times smaller. Each file is a pure function of its number.
"""

import argparse
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import healpy as hp
import numpy as np
import torch

from cmbinpaint.gaussian.hole_posterior import hole_factor, spread_by_depth
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.networks.cutting import cut_field, nearest_pixels
from cmbinpaint.networks.inpainter import FADE, SPREAD_EDGES
from cmbinpaint.networks.tiling import Tiling
from cmbinpaint.nn.inputs import conditions, patch_rms
from cmbinpaint.nn.models import build_model
from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.sphere.harmonics import Harmonics
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask
from cmbinpaint.training import Recipe, train
from cmbinpaint.training.data.sky import PatchBatch
from cmbinpaint.training.run.export import export_weights

NSIDE, SKIES, TILES = 128, 6, 64


def stretched_cl(factor: float) -> np.ndarray:
    """The fiducial spectrum as pixels `factor` times smaller than nside 128's see it."""
    cl = fiducial_cl(6200)
    ell = np.arange(3 * NSIDE)
    out = factor**2 * np.interp(ell * factor, np.arange(cl.size), cl, right=0.0)
    out[:2] = 0.0
    return out


def draw_mask(rng: np.random.Generator) -> np.ndarray:
    """A Planck-like mask, its pixels one, two or four across, and sometimes discs."""
    block = int(rng.choice([1, 2, 4], p=[0.5, 0.25, 0.25]))
    valid = planck_like_mask(NSIDE // block, seed=int(rng.integers(1 << 30)))
    valid = np.asarray(hp.ud_grade(valid.astype(float), NSIDE)) > 0.5
    if rng.random() < 0.5:
        for radius in np.exp(rng.uniform(np.log(1), np.log(20), size=rng.integers(20, 150))):
            center = rng.standard_normal(3)
            valid[hp.query_disc(NSIDE, center / np.linalg.norm(center), radius * pixel_size(NSIDE))] = False
    return valid


def make(number: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(np.random.SeedSequence(number, spawn_key=(77,)))
    factor = float(np.exp(rng.uniform(0, np.log(16))))
    cl, fwhm = stretched_cl(factor), rng.uniform(0.5, 5.0) * pixel_size(NSIDE)
    rough = SkyModel.from_theory(cl, NSIDE, fwhm=fwhm, noise_std=1.0)
    side_rms = patch_rms(rough.signal_cl, pixel_size(NSIDE), 64)
    noise = side_rms * float(np.exp(rng.uniform(np.log(0.01), np.log(0.5))))
    model = SkyModel.from_theory(cl, NSIDE, fwhm=fwhm, noise_std=noise)
    valid = draw_mask(rng)
    k = int(rng.choice([32, 64]))
    guess = hole_factor(valid, model, nearest=k, threads=1)
    solver = GaussianSolver(valid, model, factor=guess, threads=1)
    near = np.sort(guess.holes[guess.depth < FADE[1]])
    tiling = Tiling.cover(NSIDE, near)
    grid = tiling.grid
    rms = patch_rms(model.signal_cl, grid.step_rad, grid.side)
    class_of, std = spread_by_depth(guess, SPREAD_EDGES)
    spread, depth = np.zeros(valid.size), np.zeros(valid.size)
    spread[guess.holes], depth[guess.holes] = std[class_of] / rms, guess.depth
    chosen = rng.permutation(len(tiling))[:TILES]
    planes = [tiling.planes[i] for i in chosen]
    under = nearest_pixels(NSIDE, planes)
    transform = Harmonics(NSIDE, 3 * NSIDE - 1, single=True, threads=1)
    fields, wanted = [], []
    for _ in range(SKIES):
        observed = simulate_sky(
            cl,
            NSIDE,
            fwhm=fwhm,
            noise_std=noise,
            pixwin=True,
            lmax=model.lmax,
            seed=int(rng.integers(1 << 30)),
        )
        filled = np.where(valid, observed, 0.0)
        filled[guess.holes] = guess.mean(filled)
        change = np.where(valid, 0.0, solver.solve(observed).mean - filled) / rms
        alm = transform.analysis((filled - filled.mean()).astype(np.float32), iterations=1)
        fields.append(cut_field(alm, planes, threads=1) / rms)
        wanted.append(change[under] / np.maximum(spread[under], 1e-3))
    return {
        "x": np.stack(fields, 1).astype(np.float32),
        "wanted": np.stack(wanted, 1).astype(
            np.float16
        ),  # (tiles, skies, side, side) what lacks, over the spread
        "valid": valid[under],
        "deep": depth[under] >= FADE[1],
        "spread": spread[under].astype(np.float16),
        "told": conditions(model.signal_cl, noise, grid.step_rad, grid.side),
        "facts": np.array([factor, fwhm / pixel_size(NSIDE), noise / rms, k, float(valid.mean())]),
    }


@dataclass(frozen=True)
class SpherePatches:
    """Batches of patches of several spheres, turned and mirrored; the first spheres are held out."""

    seed: int
    files: tuple[Path, ...]
    held_out: int = 4
    masks: int = 3

    def batch(self, index: int, split: str = "train") -> PatchBatch:
        training = split == "train"
        files = self.files[self.held_out :] if training else self.files[: self.held_out]
        rng = np.random.default_rng(
            np.random.SeedSequence(self.seed, spawn_key=(0 if training else 1, index))
        )
        rows = []
        for _ in range(self.masks):
            sphere = _read(files[rng.integers(len(files))])
            tile = rng.integers(len(sphere["x"]))
            x, valid, wanted = (
                sphere["x"][tile],
                sphere["valid"][tile],
                sphere["wanted"][tile].astype(np.float32),
            )
            spread = np.where(valid, 0.0, sphere["spread"][tile].astype(np.float32))
            asked = ~(valid | sphere["deep"][tile])
            truth = x + np.where(asked, wanted * np.maximum(spread, 1e-3), 0.0)
            arrays = (x, valid[None], spread[None], truth)
            if training:
                turns, mirrored = rng.integers(4), rng.integers(2)
                arrays = tuple(np.rot90(a[..., ::-1] if mirrored else a, turns, (-2, -1)) for a in arrays)
            rows.append((*arrays, sphere["told"]))
        return PatchBatch(*(np.ascontiguousarray(np.stack(c), np.float32) for c in zip(*rows, strict=True)))


@cache
def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return dict(stored)


def recipe(spheres: int, steps: int) -> Recipe:
    """A network of a quarter of `linear-first`'s weights, but with more channels at full resolution."""
    return Recipe.from_mapping({
        "name": "linear-sphere", "seed": 1, "steps": steps, "precision": "bf16", "ema_decay": 0.998,
        "validation_batches": 60, "validate_every": 250, "checkpoint_every": 250, "log_every": 25, "threads": 1,
        "workers": 0, "keep_checkpoints": 2, "loss": {"relative_l2": 1.0},
        "data": {"kind": "benchmarks/sphere_patches.py", "spheres": spheres, "skies": SKIES, "tiles": TILES},
        "model": {"family": "linear", "widths": [8, 24, 48, 64, 64], "gate_widths": [8, 12, 24, 32, 32],
                  "head_width": 8},
        "optimizer": {"algorithm": "adam", "lr": 1e-3, "warmup_steps": 100, "schedule": "cosine",
                      "final_lr_share": 0.02, "grad_clip": 0.5},
    })  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("make", "train"))
    parser.add_argument("patches", type=Path, help="folder of the patches")
    parser.add_argument("--spheres", type=int, nargs=2, default=(0, 175), metavar=("FIRST", "LAST"))
    parser.add_argument("--steps", type=int, default=4444, help="of 18 patches")
    parser.add_argument("-o", "--output", type=Path, help="folder of the training")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "make":
        make_all(args.patches, range(*args.spheres))
        return
    files = tuple(sorted(args.patches.glob("?????.npz")))
    chosen = recipe(len(files), args.steps)
    torch.manual_seed(chosen.seed)
    print(train(chosen, args.output, stream=SpherePatches(1, files), model=build_model(chosen.model)))
    print(export_weights(args.output, best=True))


def make_all(folder: Path, numbers: range) -> None:
    """Spheres that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        path = folder / f"{number:05d}.npz"
        if path.exists():
            continue
        made = make(number)
        beside = path.with_suffix(".part.npz")
        np.savez(beside, **made)
        os.replace(beside, path)
        asked = ~(made["valid"] | made["deep"])[:, None]
        lack = np.sqrt(np.mean(np.square(made["wanted"].astype(float)), where=asked))
        print(path.name, np.round(made["facts"], 3), f"lacks {lack:.3f} of the spread", flush=True)


if __name__ == "__main__":
    main()
