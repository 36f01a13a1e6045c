"""Denoise images of any size and type with the weights in the box."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from sk_denoise._extras import require_extra
from sk_denoise._intensity import without_alpha
from sk_denoise._noise_level import noise_level
from sk_denoise._validation import check_one_of, refuse_channels_first, refuse_masked
from sk_denoise.estimators import ImageDenoiser
from sk_denoise.io import read_image, write_image
from sk_denoise.restoration._networks import Network, network_for
from sk_denoise.training import PRECISIONS, has_bfloat16_units, resolve_device

__all__ = ["denoise_file", "denoise_image", "estimate_sigma"]

COLORS = 3  # channels of a network that takes gray images as well


def denoise_image(
    image: ArrayLike,
    *,
    sigma: ArrayLike | None = None,
    model: str | ImageDenoiser = "auto",
    tile_size: int | Literal["auto"] | None = "auto",
    ensemble: bool = False,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    device: str | torch.device = "auto",
    verbose: bool = False,
    callback: Callable[[int, int], object] | None = None,
) -> NDArray[Any]:
    """Denoise an image with a network that was trained on photos, offline and out of the box.

    The networks in the box take white Gaussian noise away, of any strength. A network of your own takes what
    it learned from. Images of any size are worked on tile by tile, with overlaps that make tiles and whole
    agree.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, channels)
        Gray, gray with alpha (2 channels), colour (3) or colour with alpha (4). Integers, of which those of
        more than 8 bits may use 10, 12 or 14 bits of their 16, or floats: with black at 0 and white at 1, or
        counts and other numbers of any range.
    sigma : float, array-like of shape (height, width) or None, default=None
        Standard deviation of the noise, in the unit of the image: for floats in [0, 1] a share of that, for
        integers grey levels; a map where it differs from place to place. None estimates it, once for the
        image, see :func:`estimate_sigma`. A network that learned with ``sigma="blind"`` is told nothing.
    model : {"auto", "gray", "rgb"} or ImageDenoiser, default="auto"
        Which network. "rgb" is for three colours, and takes a gray image as three equal ones; "gray" works on
        each channel by itself; "auto" takes the one that fits. Or an :class:`~sk_denoise.ImageDenoiser` that
        was fitted: one for gray images works on each channel by itself, one for three colours takes gray ones
        too; one that learned from floats beyond [0, 1] takes the numbers as they are.
    tile_size : int, "auto" or None, default="auto"
        Side of the tiles in pixels, a multiple of the network's stride, 4 for "gray" and 8 for "rgb"; "auto"
        makes them as large as 256 MB allow (1 GB for a network that looks at the whole image), None takes
        the image whole.
    ensemble : bool, default=False
        Whether to average the answers to the image turned and mirrored in eight ways: a little better, and
        eight times as long.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What the layers compute in. "auto" takes bfloat16 on processors that have units for it: faster, and
        different by a small part of a grey level.
    device : str or torch.device, default="auto"
        Where to compute: "auto" is a CUDA GPU where there is one, else the CPU.
    verbose : bool, default=False
        Whether to show a line that counts tiles.
    callback : callable, optional
        Called as ``callback(done, total)`` with numbers of tiles, before the first one and after each. What
        it raises ends the work, and comes out of this function.

    Returns
    -------
    ndarray of the shape and type of image
        Integers are rounded and clipped to the range of their type; alpha is what it was.

    Raises
    ------
    ValueError
        For images or options that cannot be used; the message says what to do.

    Warns
    -----
    UserWarning
        Where the noise is estimated to be stronger than a network of yours knows, where sigma is below one
        grey level and the noise is not, and where tiles of one that looks at the whole image do not quite
        agree.

    See Also
    --------
    denoise_file : From file to file.
    load_pretrained : The networks in the box as estimators.

    Notes
    -----
    One rule tells what is black and white, here, on the command line and in the app: integers of 8 bits use
    the range of their type; floats are between 0 and 1, with noise around that; other numbers from 0 up
    count to the largest of 8, 10, 12, 14 or 16 bits, the fewest that hold them. The range of few counts and
    of other units is measured. A thousandth of the numbers at either end decides nothing, so a hot pixel
    does not change it.

    The networks in the box learned from photos in [0, 1] with noise up to 55 grey levels of 255. They answer
    nearly alike when an image and its noise are brightened or darkened together, so they are shown others in
    that way: images that reach beyond that range, and deep ones that use less than a quarter of it, are
    spread from the darkest to the brightest number but for a thousandth at each end; under stronger noise,
    images are darkened. A map of weak and of such noise has the image worked on twice, for both kinds of
    places. Numbers without meaning, such as -9999 for what was not measured, count as dark: fill these places
    first. A model of yours sees images of another unit in the same way, as far as their noise stays as weak
    as that of its fit.

    What these networks take away is held to what noise can be: at no pixel more than five standard
    deviations. What is clean lies within that, and the nearest point of a convex set that holds the truth is
    nearer to it. So nothing disappears that stands out from the noise, not stars in a dark sky, and not
    single bright pixels of a camera; for these see :class:`~sk_denoise.MedianDenoiser`. What is brighter than
    the white that networks see, or darker than their black, by more than noise can be, stays as it is. And
    where noise is weaker than the networks' own error, half to one grey level of 255, only a part is taken
    away.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.datasets import load_images
    >>> from sk_denoise.restoration import denoise_image
    >>> clean = load_images("gray").test[0][:128, :128]
    >>> noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape).astype("float32")
    >>> denoised = denoise_image(noisy, sigma=0.1)
    >>> bool(np.mean((denoised - clean) ** 2) < 0.2 * np.mean((noisy - clean) ** 2))
    True
    """
    check_one_of(precision, dict.fromkeys(PRECISIONS), "precision")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function of two numbers, (done, total), got {callback!r}.")
    array = _checked(image)
    network = network_for(model, array)
    _check_channels(network, array)
    restored = array.copy()
    noisy, answers = _parts_for(network, array, restored)
    colors = _stack(array, network.n_channels)
    n_equal = max(1, noisy[0].shape[3] // colors.shape[3])
    levels, ranges = network.look(colors, sigma, gain=math.sqrt(n_equal))
    if levels is not None and not levels.any():
        return restored
    where = resolve_device(device)
    module = _on(where, network.module)
    options = {
        "tile_size": tile_size,
        "ensemble": ensemble,
        "half": precision == "bfloat16" or (precision == "auto" and has_bfloat16_units(where)),
    }
    restorers = [network.restorer(module, seen, **options) for seen in ranges]
    n_tiles = len(noisy) * sum(restorer.count_tiles(*array.shape[:2]) for restorer in restorers)
    with tqdm(disable=not verbose, unit="tile", total=n_tiles) as bar:
        progress = _Progress(bar, n_tiles, callback)
        for part, answer in zip(noisy, answers, strict=True):
            restorers[0].restore(part, answer, levels, progress)
            for restorer in restorers[1:]:
                assert levels is not None
                elsewhere = answer.copy()
                restorer.restore(part, elsewhere, levels, progress)
                np.copyto(answer, elsewhere, where=~network.knows(levels, ranges[0])[..., None])
    if n_equal > 1:
        mean = answers[0].mean(axis=3, keepdims=True, dtype=np.float64)
        _stack(restored, network.n_channels)[...] = np.rint(mean) if restored.dtype.kind in "iu" else mean
    return restored


def estimate_sigma(image: ArrayLike) -> float:
    """Estimate how strong the noise of an image is, from the image alone.

    The level is read off the flattest blocks of an image, away from black and white, where noise is clipped.
    Noise that is not white, such as that of compressed or resized images, is underestimated.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, channels)
        An image as :func:`denoise_image` takes it.

    Returns
    -------
    float
        The standard deviation of white noise, in the unit of the image: of [0, 1] for floats, grey levels
        for integers.

    References
    ----------
    J. Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding 64 (1996).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.restoration import estimate_sigma
    >>> noise = np.random.default_rng(0).normal(0, 10, (256, 256))
    >>> round(estimate_sigma((128 + noise).astype(np.uint8)))
    10
    """
    array = _checked(image)
    return noise_level(np.moveaxis(_stack(array, 1)[0], -1, 0))


def denoise_file(source: str | os.PathLike[str], destination: str | os.PathLike[str], **options: Any) -> None:
    """Denoise an image from file to file.

    Type, depth, alpha, colour profile and EXIF data are kept, as far as the format of the destination can
    hold them; see :func:`sk_denoise.io.read_image` and :func:`sk_denoise.io.write_image`. What was at the
    destination is replaced only when the new file is whole.

    Parameters
    ----------
    source, destination : path-like
        PNG, JPEG, TIFF, BMP or WebP files; they may be the same.
    **options
        What :func:`denoise_image` takes.

    Raises
    ------
    MissingExtraError
        Without the packages of the extra ``images``.
    UnreadableImageError
        Where the source is broken or no image.
    ValueError
        Where the destination's format cannot hold the image, or for options that cannot be used.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sk_denoise.io import read_image, write_image
    >>> from sk_denoise.restoration import denoise_file
    >>> noisy = np.random.default_rng(0).normal(100, 10, (64, 64)).astype(np.uint8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(Path(folder) / "noisy.png", noisy)
    ...     denoise_file(Path(folder) / "noisy.png", Path(folder) / "clean.png", sigma=10)
    ...     bool(read_image(Path(folder) / "clean.png").std() < 3)
    True
    """
    require_extra("denoise_file", "images")
    write_image(destination, denoise_image(read_image(source), **options), like=source)


def _checked(image: ArrayLike) -> NDArray[Any]:
    """Return what may be an image as an array, once it is known to be one."""
    refuse_masked(image, "image")
    array = np.asarray(image)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.ndim not in (2, 3) or array.dtype.kind not in "iuf" or 0 in array.shape:
        advice = " Convert it, by image.astype(np.uint8) * 255." if array.dtype.kind == "b" else ""
        raise ValueError(
            "image must be of shape (height, width) or (height, width, channels) and hold integers or "
            f"floats, got {array.dtype} of shape {array.shape}.{advice}"
        )
    if array.ndim == 3 and array.shape[2] > 4:
        refuse_channels_first(array.shape, name="image", may_declare=False)
        raise ValueError(
            f"An image has 1 to 4 channels on its last axis, got shape {array.shape}. Of a stack "
            "(n, height, width), denoise each image by itself."
        )
    if array.dtype.kind == "f":
        _check_numbers(array)
    return array


def _check_numbers(image: NDArray[Any]) -> None:
    """Refuse floats that there is no arithmetic for."""
    low, high = float(image.min()), float(image.max())
    if not math.isfinite(low) or not math.isfinite(high):
        raise ValueError("image holds NaN or infinity; fill these places first.")
    if high - low > float(np.finfo(np.result_type(image.dtype, np.float32)).max) / 8:
        raise ValueError(
            f"The numbers of image reach from {low:g} to {high:g}, too far for arithmetic. Scale them to "
            "[0, 1]."
        )


def _check_channels(network: Network, image: NDArray[Any]) -> None:
    """Refuse an image whose channels a network takes neither together nor one by one."""
    wanted, given = network.n_channels, _stack(image, network.n_channels).shape[3]
    if wanted not in (1, given) and not (given == 1 and wanted == COLORS):
        raise ValueError(
            f"This network takes images of {wanted} channels, this one has {given}"
            f"{' besides alpha' if given < np.shape(image)[-1] and image.ndim == 3 else ''}. Take "
            'model="auto", or a network that learned from such images.'
        )


def _stack(image: NDArray[Any], n_channels: int) -> NDArray[Any]:
    """Return a view of an image as a stack of one, (1, height, width, channels), without alpha.

    The last of 2 or 4 channels is alpha, unless the network takes as many.
    """
    colors = without_alpha(image, n_channels)
    return colors[None, ..., None] if colors.ndim == 2 else colors[None]


def _parts_for(network: Network, *images: NDArray[Any]) -> list[list[NDArray[Any]]]:
    """Return images as stacks of one that the network takes: views of them whole or channel by channel.

    For a network of colours, a gray image is three equal channels, in a copy.
    """
    stacks = [_stack(image, network.n_channels) for image in images]
    if network.n_channels == stacks[0].shape[3]:
        return [[stack] for stack in stacks]
    if network.n_channels > stacks[0].shape[3]:
        return [[np.repeat(stack, network.n_channels, axis=3)] for stack in stacks]
    return [[stack[..., channel, None] for channel in range(stack.shape[3])] for stack in stacks]


def _on(device: torch.device, network: torch.nn.Module) -> torch.nn.Module:
    """Return the network on a device, in a copy where it is on another one."""
    return network if next(network.parameters()).device == device else copy.deepcopy(network).to(device)


class _Progress:
    """Counts tiles, for a line on the screen and for whoever else wants to know."""

    def __init__(self, bar: Any, total: int, callback: Callable[[int, int], object] | None) -> None:
        self.bar, self.done, self.total, self.callback = bar, 0, total, callback
        self._tell()

    def update(self) -> None:
        """Count one more."""
        self.bar.update()
        self.done += 1
        self._tell()

    def _tell(self) -> None:
        if self.callback is not None:
            self.callback(self.done, self.total)
