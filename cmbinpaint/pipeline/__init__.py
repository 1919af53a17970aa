"""The main job: from a map with holes to a full sky, and spectra before and after."""
