"""Power spectra: full-sky and cut-sky estimates and bandpowers; arrays in, arrays out."""
