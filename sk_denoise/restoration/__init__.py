"""Images of any size, denoised by networks whose weights are in the box, which ``MODELS`` lists by name."""

from sk_denoise.restoration._images import denoise_file, denoise_image, estimate_sigma
from sk_denoise.restoration._models import MODELS, Model, load_pretrained

__all__ = ["MODELS", "Model", "denoise_file", "denoise_image", "estimate_sigma", "load_pretrained"]
