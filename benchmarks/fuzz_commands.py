"""Damaged command lines: they end with a line, leave their inputs as they are, and fill nothing but holes.

Inputs: a generator, a scratch folder. Outputs: cases (`fuzz_case`).
"""

import contextlib
import io
import os
import shutil
from pathlib import Path
from typing import Any

import fuzz_mutations as damage
import healpy as hp
import numpy as np
from fuzz_case import Case, silence

from cmbinpaint import cli
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.files.fits import write_map
from cmbinpaint.sphere.maps import UNSEEN, is_unseen

LINES = """
info map.fits
info map.fits --json
models
simulate --nside 4 --cl cl.txt --seed 1 -o out.fits --noise-std 3 --fwhm-arcmin 900
spectra filled.fits --observed map.fits --mask mask.fits --bins 3 -o out
inpaint map.fits --mask mask.fits -o out.fits --seed 2 --model kriging --noise-std 5 --cl cl.txt --lmax 10
inpaint map.fits --mask mask.fits -o out.fits --realizations 2 --seed 2 --model diffusive
inpaint map.fits -o out/ --fill prediction --guard 1 --exclude mask.fits --unit uK --field 0 --hdu 1
inpaint map.fits --mask mask.fits --mask-threshold 0.5 --max-memory 1G --refine 1 -o out.fits --seed 3 --overwrite
validate --nside 8 --skies 2 --model kriging -o out --seed 1
train recipe.toml -o run --device cpu
report map.fits filled.fits -o out.html
"""


def command_files(folder: Path) -> None:
    """What command lines name: a map with holes, its mask, a filled one, a spectrum, a pipe, an empty file, a text."""
    rng, npix = np.random.default_rng(1), 12 * 8**2
    sky, mask = 50 * rng.standard_normal(npix), rng.random(npix) > 0.1
    holes = np.where(np.arange(npix) < 20, UNSEEN, sky).astype("f4")
    for name, values in (("map", holes), ("filled", sky), ("mask", mask.astype("u1"))):
        write_map(folder / f"{name}.fits", values, unit="uK_CMB" if name != "mask" else None, overwrite=True)
    ell = np.arange(2, 32)
    rows = "\n".join(f"{i} {1e5 / i / (i + 1):.6e}" for i in ell)
    (folder / "cl.txt").write_text(f"# ell C_ell [uK^2]\n{rows}\n")
    (folder / "text.txt").write_text("a text\n")
    (folder / "recipe.toml").write_text('name = "none"\nseed = 1\nsteps = -1\n')
    (folder / "empty").touch()
    os.mkfifo(folder / "pipe")


def command_case(state: dict[str, Any], rng: np.random.Generator, folder: Path) -> Case:
    """A command line: it ends with 0, 1 or 2 and a line of error, leaves its inputs and the observed pixels."""
    work, inputs = folder / "work", folder / "inputs"
    if not inputs.exists():
        inputs.mkdir()
        command_files(inputs)
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(inputs, work, copy_function=_copy)
    words = damage.damaged_words(damage.pick(rng, LINES.strip().splitlines()).split(), rng)

    def try_it() -> str | None:
        said = io.StringIO()
        with (
            contextlib.chdir(work),
            contextlib.redirect_stderr(said),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            code = cli.main(words)
        changed = [
            p.name for p in inputs.iterdir() if p.is_file() and p.read_bytes() != (work / p.name).read_bytes()
        ]
        if changed:
            return f"{words}: changed the input {changed[0]}"
        if ("unexpected " in (text := said.getvalue()) and "this is a bug" in text) or code not in (0, 1, 2):
            raise RuntimeError(f"{words}: {code}, {text}")
        if code:
            raise CmbInpaintError(text)
        return observed_differ(work)

    return try_it


def _copy(source: str, target: str) -> None:
    if Path(source).is_fifo():
        os.mkfifo(target)
    else:
        shutil.copy(source, target)


def observed_differ(work: Path) -> str | None:
    """Whether a filled map has other values than its map where that has any."""
    sky = np.asarray(hp.read_map(work / "map.fits", dtype=None))
    known = ~is_unseen(sky)
    with silence():
        mask = np.asarray(hp.read_map(work / "mask.fits", dtype=None)) > 0
        for path in work.glob("out*.fits"):
            filled, header = hp.read_map(path, dtype=None, h=True)
            if "MAPSHA" in dict(header) and not np.array_equal(filled[known & mask], sky[known & mask]):
                return f"{path.name} differs in observed pixels"
    return None
