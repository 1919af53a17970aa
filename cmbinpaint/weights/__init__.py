"""Trained networks: what ships with the package, and how weights are stored, checked and loaded."""

from cmbinpaint.networks.card import Card, Golden
from cmbinpaint.networks.store import as_stored, list_models, load_into, load_weights, save_weights

__all__ = ["Card", "Golden", "as_stored", "list_models", "load_into", "load_weights", "save_weights"]
