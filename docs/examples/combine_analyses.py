"""
CoMBInE's analyses
==================

What Montefalcone et al. 2020 and its code looked at: how far the filled pixels are from the target while a
network trains, behind random shapes and behind circles, in temperatures and in pictures. Here of a toy that
trains while this page is built; ``cmbinpaint analyze all runs/NAME -o analysis`` does all of it and writes
tables and figures.
"""

import tempfile
from pathlib import Path

import numpy as np

from cmbinpaint.studies.clipping import study_clipping
from cmbinpaint.studies.colors import fill_panels
from cmbinpaint.studies.differences import study_differences
from cmbinpaint.studies.drawings.clipping import draw_clipping_figure
from cmbinpaint.studies.drawings.colors import draw_panels
from cmbinpaint.studies.drawings.differences import draw_difference_figure, draw_mask_size_figure
from cmbinpaint.studies.patch_study import RANDOM, chosen_states, circles, combine_masks
from cmbinpaint.training import Recipe, train
from cmbinpaint.training.data.targets import take_targets
from cmbinpaint.training.run.checkpoint_models import Trained

# %%
# A training that keeps its checkpoints (``keep_checkpoints = 0``) can be followed.

recipe = Recipe.from_mapping(
    {
        "name": "toy",
        "seed": 1,
        "steps": 90,
        "keep_checkpoints": 0,
        "data": {
            "kind": "flat",
            "side": 64,
            "batch_size": 8,
            "step_arcmin": 13.74,
            "beam_fwhm_arcmin": 41.2,
            "masks": {"kind": "circles", "radius_px": [4, 14]},
        },
        "model": {
            "family": "pconv",
            "channels": 1,
            "encoder": [[16, 7], [32, 5], [32, 3], [32, 3]],
            "decoder": [32, 32, 16],
        },
        "loss": {"valid": 1.0, "hole": 6.0},
        "optimizer": {"algorithm": "adam", "lr": 3e-3, "warmup_steps": 5},
        "validate_every": 30,
        "checkpoint_every": 15,
        "validation_batches": 2,
        "workers": 0,
        "threads": 1,
    }
)
run = Path(tempfile.mkdtemp()) / "toy"
train(recipe, run)
trained = Trained.open(run)
targets = take_targets(trained.data, 12, trained.seed)
print(f"{len(trained.states)} checkpoints, {len(targets)} validation patches of {targets.truth.shape[-1]} px")

# %%
# Mean and standard deviation of the absolute difference, over the checkpoints: 12 patches behind one mask of
# random shapes. Percentages of temperature are of the field's rms, since its mean is zero; of pictures, of the
# target's mean color, as CoMBInE has it.

side = targets.truth.shape[-1]
masks = combine_masks(side, 0, radii_px=(10, 20, 30, 40, 50, 60))
shapes = {RANDOM: masks[RANDOM]}
study = study_differences(trained, targets, shapes, chosen_states(trained, last=False))
draw_difference_figure(study)

# %%
# One patch behind circles that grow, and behind random shapes, at each checkpoint.

sizes = study_differences(trained, targets[:1], masks, chosen_states(trained, last=False))
draw_mask_size_figure(sizes)

# %%
# Input, prediction, target and difference, on common scales.

panels = fill_panels(trained, targets, {**shapes, **circles(side, (25, 50))})
draw_panels(panels)

# %%
# The power spectrum of clipped grey pictures against that of the temperatures, as a
# function of where the colors end.

clipping = study_clipping(targets.truth, np.radians(targets.step_arcmin / 60))
draw_clipping_figure(clipping)
