"""Networks on maps: tiling, cutting, pasting, cards and weights."""
