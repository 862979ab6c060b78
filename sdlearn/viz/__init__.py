"""Figures of the course: plain functions of plain data. matplotlib is imported here and nowhere else."""

from sdlearn.viz.guidance_plots import guidance_split
from sdlearn.viz.latent_colours import fit_latent_to_rgb, latent_to_rgb
from sdlearn.viz.loss_plots import loss_curves
from sdlearn.viz.plots import Plot, curves, false_colours, heat_maps, strip, vectors
from sdlearn.viz.run_plots import compare_runs, film_strip
from sdlearn.viz.text_plots import attention_maps, similarity_matrix, token_table

__all__ = [
    "Plot",
    "attention_maps",
    "compare_runs",
    "curves",
    "false_colours",
    "film_strip",
    "fit_latent_to_rgb",
    "guidance_split",
    "heat_maps",
    "latent_to_rgb",
    "loss_curves",
    "similarity_matrix",
    "strip",
    "token_table",
    "vectors",
]
