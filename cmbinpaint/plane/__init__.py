"""The flat patch: tangent planes, masks drawn on them, flat-sky power spectra. Knows nothing of HEALPix."""

from cmbinpaint.plane.power import flat_cl, simulate_patch
from cmbinpaint.plane.shapes import draw_mask
from cmbinpaint.plane.tangent import PatchGrid, TangentPlane

__all__ = ["PatchGrid", "TangentPlane", "draw_mask", "flat_cl", "simulate_patch"]
