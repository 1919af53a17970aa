"""The package as `pip install cmbinpaint` brings it, at work: torch, safetensors and CAMB are refused if asked for.

Run it where they are not installed, `python tests/core_alone.py`, or anywhere, as `test_without_extras.py` does.
Pillow comes with matplotlib. It raises at the first thing that does not work, and prints what it did as JSON.
"""

import contextlib
import io
import json
import sys
import tempfile
from importlib.abc import MetaPathFinder
from pathlib import Path

REFUSED = ("torch", "safetensors", "camb")


class Refuser(MetaPathFinder):
    """Answers an import as an interpreter does that lacks the library."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


sys.meta_path.insert(0, Refuser())

import healpy as hp  # noqa: E402
import numpy as np  # noqa: E402

import cmbinpaint  # noqa: E402
from cmbinpaint import cli, sims  # noqa: E402

NSIDE = 16


def library(folder: Path) -> dict[str, object]:
    """Each function that a user of the core meets."""
    cl, fwhm = sims.fiducial_cl(3 * NSIDE - 1), np.radians(11)
    sky = sims.simulate_sky(cl, NSIDE, fwhm=fwhm, noise_std=3.0, seed=0)
    mask = np.abs(hp.pix2ang(NSIDE, np.arange(sky.size), lonlat=True)[1]) > 15
    model = sims.SkyModel.from_theory(cl, NSIDE, fwhm=fwhm, noise_std=3.0)
    plan = cmbinpaint.plan_inpainting(mask)
    filled, info = cmbinpaint.inpaint_map(sky, plan=plan, seed=1, return_info=True)
    kriged = cmbinpaint.inpaint_map(sky, mask, model="kriging", sky_model=model, seed=1)
    cmbinpaint.write_map(folder / "filled.fits", filled, unit="uK_CMB")
    again, _ = cmbinpaint.read_map(folder / "filled.fits")
    error = cmbinpaint.error_map(plan, model, n=4, seed=0)
    checked = cmbinpaint.self_check(sky, mask, sky_model=model, n_simulations=10)
    compared = cmbinpaint.compare_spectra(filled, observed=sky, mask=mask, lmax=2 * NSIDE)
    return {
        "model": info.model,
        "observed kept": bool((filled[mask] == sky[mask]).all() and (kriged[mask] == sky[mask]).all()),
        "rms in holes over outside": float(filled[~mask].std() / sky[mask].std()),
        "read back": float(np.abs(again - filled).max() / filled.std()),
        "error over rms": float(error[~mask].mean() / sky.std()),
        "p": checked.p,
        "bands": len(compared.bands.centers),
        "models": [card.name for card in cmbinpaint.list_models()],
    }


def commands(folder: Path) -> dict[str, int]:
    """The exit code of each command."""
    sky, out = str(folder / "demo" / "sky.fits"), str(folder / "out.fits")
    holes = ["--field", "I_STOKES", "--mask-field", "TMASK"]
    lines = (
        ["demo", "--nside", "32", "-o", str(folder / "demo")],
        ["inpaint", sky, *holes, "-o", out, "--seed", "1"],
        ["info", sky, *holes],
        ["spectra", out, "-o", str(folder / "spectra")],
        ["report", sky, out, *holes, "-o", str(folder / "report")],
        ["simulate", "--nside", "16", "-o", str(folder / "simulated.fits")],
        ["models"],
        ["validate", "--nside", "16", "--skies", "2", "--model", "kriging", "-o", str(folder / "validation")],
    )
    with contextlib.redirect_stdout(io.StringIO()):
        return {words[0]: cli.main(words) for words in lines}


def refusals(folder: Path) -> dict[str, str]:
    """What is said where an extra is needed: by functions as an error, by commands on stderr."""
    said = {}
    for name, call in {
        "theory_cl": lambda: sims.theory_cl(lmax=10),
        "load_model": lambda: cmbinpaint.load_model("combine128"),
        "unknown": lambda: cmbinpaint.load_model("combine182"),
        "nn": lambda: __import__("cmbinpaint.nn", fromlist=["PConvUNet"]).PConvUNet,
        "training": lambda: __import__("cmbinpaint.training", fromlist=["train"]).train,
    }.items():
        try:
            call()
        except (ImportError, ValueError) as error:
            said[name] = f"{type(error).__name__}: {error}"
    for words in (
        ["train", "combine128-short", "-o", str(folder / "run")],
        ["analyze", "all", "combine128", "-o", str(folder / "analysis")],
        ["dataset", "data-old-small", "-o", str(folder / "set")],
    ):
        with contextlib.redirect_stderr(io.StringIO()) as stream:
            code = cli.main(words)
        said[words[0]] = f"{code}: {stream.getvalue().strip()}"
    return said


def main() -> None:
    """Do all of it and say what came out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        done = {"library": library(folder), "commands": commands(folder), "refusals": refusals(folder)}
    done["loaded"] = sorted(set(REFUSED) & set(sys.modules))
    print(json.dumps(done))


if __name__ == "__main__":
    main()
