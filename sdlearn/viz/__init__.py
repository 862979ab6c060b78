"""Figures of the course: plain functions of plain data. matplotlib is imported here and nowhere else."""

from sdlearn.viz.bench_plots import benchmark
from sdlearn.viz.clip_plots import similarity_run, word_map
from sdlearn.viz.guidance_plots import guidance_split
from sdlearn.viz.hardware_plots import improvements, intensities, rates, roofline, work_and_time
from sdlearn.viz.latent_colours import fit_latent_to_rgb, latent_to_rgb
from sdlearn.viz.loss_plots import loss_curves
from sdlearn.viz.plots import Plot, curves, false_colours, heat_maps, strip, vectors
from sdlearn.viz.run_plots import compare_runs, film_strip
from sdlearn.viz.sampler_plots import error_against_steps, noise_levels, paths, slope, stairs
from sdlearn.viz.schedule_plots import Measured, against_theory, clouds, densities, noise_schedules
from sdlearn.viz.speed_plots import quality_against_time
from sdlearn.viz.steering_plots import guidance_arrows, with_intervals
from sdlearn.viz.text_plots import attention_by_word, similarity_matrix, token_table
from sdlearn.viz.training_plots import clock_hands, error_by_timestep, noise_and_guess
from sdlearn.viz.weights_plots import stacked_bars, turning

__all__ = ["Plot", "curves", "false_colours", "heat_maps", "strip", "vectors"]
__all__ += ["Measured", "against_theory", "clouds", "densities", "noise_schedules"]
__all__ += ["error_against_steps", "noise_levels", "paths", "slope", "stairs"]
__all__ += ["compare_runs", "film_strip", "guidance_split", "loss_curves"]
__all__ += ["fit_latent_to_rgb", "latent_to_rgb"]
__all__ += ["attention_by_word", "similarity_matrix", "token_table"]
__all__ += ["clock_hands", "error_by_timestep", "noise_and_guess"]
__all__ += ["similarity_run", "word_map"]
__all__ += ["guidance_arrows", "with_intervals"]
__all__ += ["quality_against_time"]
__all__ += ["benchmark"]
__all__ += ["stacked_bars", "turning"]
__all__ += ["improvements", "intensities", "rates", "roofline", "work_and_time"]
