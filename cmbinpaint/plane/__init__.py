"""The flat patch: tangent planes and flat-sky power spectra. Knows nothing of HEALPix."""
