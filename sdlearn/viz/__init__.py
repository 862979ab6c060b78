"""Figures of the course: plain functions of plain data. matplotlib is imported here and nowhere else."""

from sdlearn.viz.plots import Plot, curves, false_colours, heat_maps, strip, vectors
from sdlearn.viz.training_plots import clock_hands, error_by_timestep, loss_curve, noise_and_guess

__all__ = ["Plot", "curves", "false_colours", "heat_maps", "strip", "vectors"]
__all__ += ["clock_hands", "error_by_timestep", "loss_curve", "noise_and_guess"]
