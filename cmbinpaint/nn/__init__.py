"""Networks that know which pixels are observed: partial convolutions and the U-Nets made of them."""

from importlib import import_module
from typing import Any

from cmbinpaint.errors import requires

# PEP 562: torch is imported when a name is used.
_HOMES = {
    "PConvUNet": "cmbinpaint.nn.unet",
    "PartialConv2d": "cmbinpaint.nn.pconv",
}

__all__ = ["PConvUNet", "PartialConv2d"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        requires("network")
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'cmbinpaint.nn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
