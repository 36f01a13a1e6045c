"""Restoration of images of any size by pretrained networks, listed in ``MODELS``."""

from sk_denoise._lazy_arrays import set_part_denoiser
from sk_denoise._noise_model import NoiseModel
from sk_denoise.restoration._denoise_image import denoise_image, estimate_sigma
from sk_denoise.restoration._enlarge_image import enlarge_image
from sk_denoise.restoration._image_files import denoise_file, is_written_as_stack
from sk_denoise.restoration._noise_estimation import estimate_noise
from sk_denoise.restoration._part_denoiser import PartDenoiser
from sk_denoise.restoration._pretrained import MODELS, PretrainedModel, load_pretrained
from sk_denoise.restoration._zarr_images import ZarrReport, denoise_zarr, sample_zarr

__all__ = [
    "MODELS",
    "NoiseModel",
    "PretrainedModel",
    "ZarrReport",
    "denoise_file",
    "denoise_image",
    "denoise_zarr",
    "enlarge_image",
    "estimate_noise",
    "estimate_sigma",
    "is_written_as_stack",
    "load_pretrained",
    "sample_zarr",
]

# denoise_image cannot import the class, which calls it for the parts of a dask array.
set_part_denoiser(PartDenoiser)
