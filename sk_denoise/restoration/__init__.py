"""Pictures of any size, denoised by networks whose weights are in the box."""

from sk_denoise.restoration._images import denoise_file, denoise_image, estimate_sigma
from sk_denoise.restoration._models import load_pretrained

__all__ = ["denoise_file", "denoise_image", "estimate_sigma", "load_pretrained"]
