"""Figures of the course: plain functions of plain data. matplotlib is imported here and nowhere else."""

from sdlearn.viz.plots import Plot, curves, false_colours, heat_maps, strip, vectors
from sdlearn.viz.schedule_plots import Measured, against_theory, clouds, densities, noise_schedules

__all__ = ["Plot", "curves", "false_colours", "heat_maps", "strip", "vectors"]
__all__ += ["Measured", "against_theory", "clouds", "densities", "noise_schedules"]
