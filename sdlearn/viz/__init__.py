"""Figures of the course: plain functions of plain data. matplotlib is imported here and nowhere else."""

from sdlearn.viz.plots import Plot, curves, false_colours, heat_maps, strip, vectors

__all__ = ["Plot", "curves", "false_colours", "heat_maps", "strip", "vectors"]
