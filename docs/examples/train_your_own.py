"""
Train your own network
======================

A toy version of CoMBInE's network (Montefalcone et al. 2020), a U-Net of partial convolutions, small enough
to train while this page is built. It shows how; it is not a network to fill maps with.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from cmbinpaint.nn import PConvUNet
from cmbinpaint.plots import planck_colormap
from cmbinpaint.training import Recipe, build_stream, final_weights, train

# %%
# A recipe holds everything: what is simulated, the network, the losses, the steps. As a TOML file it is the
# same table; the packaged recipes (``cmbinpaint train combine128-short``) are such files.

architecture = {"channels": 1, "encoder": [[16, 7], [32, 5], [32, 3], [32, 3]], "decoder": [32, 32, 16]}
data = {
    "kind": "flat",
    "side": 64,
    "batch_size": 8,
    "step_arcmin": 27.5,
    "beam_fwhm_arcmin": 82.4,
    "masks": {"kind": "circles", "radius_px": [4, 14]},
}
recipe = Recipe.from_mapping(
    {
        "name": "toy",
        "seed": 1,
        "steps": 120,
        "data": data,
        "model": {"family": "pconv", **architecture},
        "loss": {"valid": 1.0, "hole": 6.0},
        "optimizer": {"algorithm": "adam", "lr": 3e-3, "warmup_steps": 5},
        "ema_decay": 0.9,
        "validate_every": 20,
        "checkpoint_every": 60,
        "validation_batches": 4,
        "workers": 0,
        "threads": 1,
    }
)
run = Path(tempfile.mkdtemp()) / "toy"
result = train(recipe, run)
print(result.score.summary())

# %%
# The logs are CSV files. The rms error in the holes, over the field's own rms, falls from step to step:

rows = np.genfromtxt(run / "validation.csv", delimiter=",", names=True)
for step, rms in zip(rows["step"], rows["hole_rms"], strict=True):
    print(f"step {step:3.0f}: rms error in the holes {rms:.3f}")

# %%
# The weights, and their prediction for a patch of the test split, which training never saw. The network
# redraws observed pixels too; only the hole is used.

network = PConvUNet(**architecture)
network.load_state_dict(final_weights(run))
network.eval()
batch = build_stream(data, recipe.seed).batch(0, "test")
x, valid = torch.from_numpy(batch.x), torch.from_numpy(batch.valid)
with torch.inference_mode():
    predicted = network(x, valid).numpy()
number = int(np.argmin(batch.valid.mean(axis=(1, 2, 3))))
observed = batch.valid[number, 0] > 0
pictures = {
    "with its hole": np.where(observed, batch.truth[number, 0], np.nan),
    "filled by the toy": np.where(observed, batch.truth[number, 0], predicted[number, 0]),
    "truth": batch.truth[number, 0],
}
figure = Figure(figsize=(9, 3.2), layout="constrained")
for ax, (title, picture) in zip(figure.subplots(1, 3), pictures.items(), strict=True):
    ax.imshow(picture, cmap=planck_colormap(), vmin=-3, vmax=3, origin="lower")
    ax.set_title(title)
    ax.set_axis_off()

# %%
# The same call continues where it was interrupted, and leaves a finished training alone. ``cmbinpaint analyze
# all DIR`` draws CoMBInE's analyses of it.

print("steps done:", train(recipe, run).step)
