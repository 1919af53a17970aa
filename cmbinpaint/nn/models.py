"""Architectures by name. Takes: the architecture part of a recipe or card. Gives: a network. Floor: 1."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from torch import nn

from cmbinpaint.errors import WeightsError
from cmbinpaint.nn.linear import LinearUNet

FAMILIES = {"linear": LinearUNet}


def build_model(architecture: Mapping[str, Any]) -> nn.Module:
    """Build the network that ``architecture`` describes: its ``family`` and that family's own options.

    Raises
    ------
    WeightsError
        For an unknown family or option.
    """
    options = dict(architecture)
    family = options.pop("family", None)
    if family not in FAMILIES:
        near = get_close_matches(str(family), FAMILIES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise WeightsError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}{hint}")
    try:
        return FAMILIES[family](**options)
    except TypeError as error:
        raise WeightsError(f"architecture of family {family!r}: {error}") from error
