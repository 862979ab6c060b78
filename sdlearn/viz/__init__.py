"""Figures of the course: plain functions of plain data. matplotlib is imported here and nowhere else."""

from sdlearn.viz.plots import Plot, curves, false_colours, heat_maps, strip, vectors
from sdlearn.viz.sampler_plots import error_against_steps, noise_levels, paths, slope, stairs

__all__ = [
    "Plot",
    "curves",
    "error_against_steps",
    "false_colours",
    "heat_maps",
    "noise_levels",
    "paths",
    "slope",
    "stairs",
    "strip",
    "vectors",
]
