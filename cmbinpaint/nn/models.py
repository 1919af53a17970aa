"""Architectures by name. Inputs: the architecture part of a recipe or card. Outputs: a network."""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from torch import nn

from cmbinpaint.errors import CmbInpaintError, WeightsError
from cmbinpaint.nn.unet import PRESETS, Final, PConvUNet
from cmbinpaint.nn.vgg import VGG16


def pconv_unet(
    preset: str | None = None,
    channels: int = 1,
    final: Final | None = None,
    *,
    encoder: Sequence[Sequence[int]] | None = None,
    decoder: Sequence[int] | None = None,
    thinner: int = 1,
) -> PConvUNet:
    """Make a network of CoMBInE's family.

    Parameters
    ----------
    preset
        "unet128" or "unet512"; or give `encoder` and `decoder` as `PConvUNet` takes them.
    channels
        1 for temperature, 3 for RGB.
    final
        None: "linear" for one channel, "sigmoid" for three.
    thinner
        Divides every width of the preset, for trials.

    Raises
    ------
    WeightsError
        Neither or both of a preset and levels, or a divisor that leaves no channels.
    """
    if final is None:
        final = "linear" if channels == 1 else "sigmoid"
    if (preset is None) == (encoder is None or decoder is None):
        raise WeightsError("family 'pconv' needs a preset, or encoder and decoder, and not both")
    if encoder is not None and decoder is not None:
        return PConvUNet(channels, encoder, decoder, final)
    if thinner == 1 or preset not in PRESETS:
        return PConvUNet.from_preset(str(preset), channels, final)
    levels = PRESETS[preset]
    narrowest = min(width for width, _ in levels["encoder"])
    if not 1 <= thinner <= narrowest:
        raise WeightsError(f"got thinner={thinner}; expected 1 to {narrowest}, the preset's narrowest level")
    thin = [(width // thinner, kernel) for width, kernel in levels["encoder"]]
    return PConvUNet(channels, thin, [width // thinner for width in levels["decoder"]], final)


FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "pconv": pconv_unet,
    "vgg16": VGG16,
}


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
    except (CmbInpaintError, TypeError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        raise WeightsError(f"architecture of family {family!r}: {error}") from error
