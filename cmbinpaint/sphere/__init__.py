"""The sphere: maps, masks, spectra, transforms and FITS files in HEALPix pixels.

Import the module you need (`from cmbinpaint.sphere import maps`); nothing is loaded before.
"""
