"""Files: HEALPix maps in FITS and spectra in text or FITS, read and written whole."""
