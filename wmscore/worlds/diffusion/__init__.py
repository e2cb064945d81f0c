"""Image- and video-to-video pipelines of the Diffusers library, or of its shape."""

from wmscore.worlds.diffusion.model import DiffusersModel
from wmscore.worlds.diffusion.output import pipeline_frames
from wmscore.worlds.diffusion.signature import PipelineInputs, pipeline_inputs

__all__ = ["DiffusersModel", "PipelineInputs", "pipeline_frames", "pipeline_inputs"]
