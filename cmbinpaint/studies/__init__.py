"""Analyses of CoMBInE: differences, colors, clipping, classes, mask size, and their drawings."""
