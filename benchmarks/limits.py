"""How near the exact mean kriging comes for other beams, noise and cosmologies, one at a time.

    python benchmarks/limits.py --skies 3 --records RECORDS -o benchmarks/results/limits_128.json

Skies of nside 128 behind the Planck-like mask; a change is true of the sky and given to the model. Records in RECORDS
are kept and not made again.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from common import write

from cmbinpaint.sims.theory import Cosmology, theory_cl
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask
from cmbinpaint.validation.ensemble import Candidate, Ensemble
from cmbinpaint.validation.simulation_setup import BEAM_PIXELS, NOISE_UK, SimulationSetup
from cmbinpaint.validation.validation import Validation

NSIDE = 128
MODELS = ("kriging",)
BEAMS = (0.0, 1.0, 2.0, 5.0, 7.0)  # pixels; beside 3
NOISES = (0.0, 0.3, 10.0, 30.0, 100.0)  # µK; beside 3
TILTS = (0.5, 1.5)  # beside 0.9649


def changes() -> dict[str, dict[str, Any]]:
    """Of the standard setup, by what they are called."""
    step, n = pixel_size(NSIDE), 3 * NSIDE
    tilted = {ns: theory_cl(Cosmology(ns=ns), lmax=n) for ns in TILTS}
    return {
        "standard": {},
        **{f"beam {b:g} px": {"fwhm": b * step} for b in BEAMS},
        **{f"noise {v:g} µK": {"noise_std": v} for v in NOISES},
        **{f"n_s {ns:g}": {"cl": cl} for ns, cl in tilted.items()},
    }


def graded(setup: SimulationSetup, skies: int, records: Path) -> dict[str, Any]:
    """Excess and distance of each model, with errors, and what the sky is made of."""
    candidates = [Candidate.named(name) for name in MODELS]
    ensemble = Ensemble(setup, candidates, records)
    for unit in ensemble.missing(skies):
        ensemble.make(unit)
    result = Validation.of(ensemble, skies)
    model = setup.sky_model
    return {
        "rms_uK": model.rms,
        "noise_over_rms": setup.noise_std / model.rms,
        "lmax": model.lmax,
        "exact_uK": result.exact,
        "models": {
            label: {what: _plain(getattr(figures, what)) for what in ("excess", "distance")}
            for label, figures in result.models.items()
        },
    }


def _plain(estimate: Any) -> dict[str, Any]:
    return {"value": estimate.value, "error": estimate.error}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--skies", type=int, default=3)
    parser.add_argument("--records", type=Path, required=True, help="folder")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file for the figures")
    args = parser.parse_args()
    valid = planck_like_mask(NSIDE)
    settings: dict[str, Any] = {}
    for name, change in changes().items():
        cl = change.pop("cl", None)
        setup = SimulationSetup.standard(valid, **change)
        if cl is not None:
            setup = setup.varied(cl=cl)
        settings[name] = graded(setup, args.skies, args.records / name.replace(" ", "_"))
        worst = {k: np.max(v["excess"]["value"]) for k, v in settings[name]["models"].items()}
        print(name, worst, flush=True)
    write(
        {
            "what": "limits", "nside": NSIDE, "skies": args.skies, "beam_px": BEAM_PIXELS, "noise_uK": NOISE_UK,
            "depths": SimulationSetup.standard(valid).depths.labels, "settings": settings,
        },
        args.output,
    )  # fmt: skip


if __name__ == "__main__":
    main()
