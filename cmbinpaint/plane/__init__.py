"""The flat patch: tangent planes, masks drawn on them, flat-sky power spectra. Knows nothing of HEALPix."""

from cmbinpaint.plane.shapes import draw_mask

__all__ = ["draw_mask"]
