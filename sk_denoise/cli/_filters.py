"""Classical filters by name, as functions of one image, for images of any size."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from sk_denoise._registry import FILTERS
from sk_denoise.cli._console import require

__all__ = ["FILTERS", "filter_called", "filter_help"]

BLOCK, STEP = FILTERS["wiener"].least, 2  # pixels of the Wiener filter's patches, and between them
EXAMPLES = 2_000  # patches of each photo that it learns from

ImageFilter = Callable[[Any], Any]


def filter_help() -> str:
    """Return what each filter does, for the end of a help page."""
    width = max(map(len, FILTERS))
    lines = [f"  {name:<{width}}  {chosen.about}" for name, chosen in FILTERS.items()]
    return "\b\nFilters:\n" + "\n".join(lines)


def filter_called(name: str) -> ImageFilter:
    """Return a filter as a function of one image, or say what it lacks."""
    import sk_denoise

    chosen = FILTERS[name]
    if chosen.extra:
        require(chosen.extra, name)
    if name == "wiener":
        return _wiener
    return partial(_by_itself, getattr(sk_denoise, chosen.name)())


def _by_itself(denoiser: Any, image: Any) -> Any:
    """Return an image denoised by a filter, which a fit tells no more than the layout."""
    return denoiser.fit(image[None]).predict(image[None])[0]


def _wiener(image: Any) -> Any:
    """Return an image denoised patch by patch, each channel by itself, with the noise estimated once."""
    import numpy as np

    from sk_denoise import WienerDenoiser
    from sk_denoise.datasets import extract_patches, join_patches
    from sk_denoise.restoration import estimate_sigma

    sigma = estimate_sigma(image)
    if sigma == 0:
        return image
    denoiser = WienerDenoiser(sigma=sigma).fit(_patches_of_photos())
    channels = np.moveaxis(np.atleast_3d(image), -1, 0)
    answers = []
    for channel in channels:
        patches = extract_patches(channel[None], BLOCK, stride=STEP)
        answers.append(join_patches(denoiser.predict(patches), channel.shape, stride=STEP))
    return np.stack(answers, axis=-1).reshape(image.shape)


@cache
def _patches_of_photos() -> Any:
    from sk_denoise.datasets import extract_patches, load_images

    return extract_patches(load_images("gray").train, BLOCK, n_per_image=EXAMPLES, random_state=0)
