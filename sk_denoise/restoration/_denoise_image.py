"""Denoising of images of any size and type by pretrained networks."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from sk_denoise._intensity import without_alpha
from sk_denoise._noise_level import estimate_noise_level
from sk_denoise._validation import check_one_of, refuse_channels_first, refuse_masked
from sk_denoise.estimators import ImageDenoiser
from sk_denoise.restoration._pretrained import ImageNetwork, select_network
from sk_denoise.restoration._stacks import denoise_array
from sk_denoise.training import PRECISIONS, has_bfloat16_units, resolve_device

__all__ = ["denoise_image", "estimate_sigma"]

# Number of channels of a network that takes gray images as well, as three equal channels.
COLORS = 3


def denoise_image(
    image: ArrayLike,
    *,
    sigma: ArrayLike | None = None,
    axes: str | None = None,
    model: str | ImageDenoiser = "auto",
    tile_size: int | Literal["auto"] | None = "auto",
    ensemble: bool = False,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    device: str | torch.device = "auto",
    verbose: bool = False,
    callback: Callable[[int, int], object] | None = None,
) -> NDArray[Any]:
    """Denoise an image by a network, pretrained on photos, without any training.

    The pretrained networks remove white Gaussian noise of any level. A network of your own removes the noise
    of its training. Large images are processed tile by tile; each tile has a halo, so that the result is
    the same as for the whole image.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, channels), or a stack
        Gray, gray with alpha (2 channels), colour (3) or colour with alpha (4); for other arrays see
        ``axes``. Integers, where those of 16 bits may hold 10, 12 or 14 bits, or floats, with black at 0 and
        white at 1 or in any other range.
    sigma : float, array-like of shape (height, width) or None, default=None
        Standard deviation of the noise in the unit of the image: for floats in [0, 1] a share of this range,
        for integers grey levels. Pass a map if it varies over the image. None estimates one level for the
        whole image, see :func:`estimate_sigma`. A network trained with ``sigma="blind"`` takes no level.
    axes : str, optional
        A letter for each axis of a stack, such as "ZYX", "TCYX" or "YXC": Y and X are the rows and columns of
        the planes, S the samples of a colour (RGB, or with alpha), C independent channels of data. All other
        letters count planes. The planes are denoised one after the other with one noise level, or one for
        each channel C, estimated from some of them. ``sigma`` may be one number for each channel, and
        ``verbose`` and ``callback`` count planes. None takes an image.
    model : {"auto", "gray", "rgb"} or ImageDenoiser, default="auto"
        Network. "rgb" takes three colours, or a gray image as three equal channels; "gray" denoises each
        channel separately; "auto" selects one of them by the number of channels. A fitted
        :class:`~sk_denoise.ImageDenoiser` for gray images denoises each channel separately, one for three
        colours takes gray images too. If it was trained on floats beyond [0, 1], images are not scaled.
    tile_size : int, "auto" or None, default="auto"
        Side of the tiles in pixels, a multiple of the network's stride: 4 for "gray" and 8 for "rgb". "auto"
        makes tiles as large as 256 MB allow (1 GB for a network with an unlimited receptive field). None
        processes the whole image at once.
    ensemble : bool, default=False
        Whether to use a self-ensemble, the mean prediction for the image rotated and mirrored in eight ways.
        It is a little better, and takes eight times as long.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the layers. "auto" selects bfloat16 on processors with units for it. This is faster, and
        changes the result by a small part of a grey level.
    device : str or torch.device, default="auto"
        Device of the computation: "auto" is a CUDA GPU if there is one, else the CPU.
    verbose : bool, default=False
        Whether to show a progress bar of the tiles.
    callback : callable, optional
        Function that is called as ``callback(done, total)`` with the number of tiles, before the first one
        and after each. An exception from it ends the computation and is passed on.

    Returns
    -------
    ndarray of the shape and type of image
        Denoised image. Integers are rounded and clipped to the range of their type; alpha is unchanged.

    Raises
    ------
    ValueError
        If the image or an option is invalid.

    Warns
    -----
    UserWarning
        If the estimated noise exceeds that of the training of your network, if sigma is below one grey level
        and the noise is not, or if tiles change the result because the receptive field is unlimited.

    See Also
    --------
    denoise_file : Denoise a file, also a stack larger than memory.
    load_pretrained : The pretrained networks as estimators.

    Notes
    -----
    The intensity range, black and white of an image, follows one rule here, on the command line and in the
    app. Integers of 8 bits have the range of their type. Floats in [0, 1], with noise around it, have this
    range. Other numbers from 0 up have the smallest depth of 8, 10, 12, 14 or 16 bits that holds them. The
    range of low counts and of other units is measured. A thousandth of the numbers at either end is ignored,
    so that a hot pixel does not change the range.

    The pretrained networks were trained on photos in [0, 1] with noise of up to 55 grey levels of 255. If
    image and noise are scaled together, their prediction scales almost exactly with them. Hence other images
    are scaled to the range of the training. Images beyond their range, and dark images of more than 8 bits
    that use less than a quarter of it, are scaled from the smallest to the largest number, apart from a
    thousandth at either end. Images with stronger noise are darkened. For a map of both weak and strong
    noise, the image is processed twice. Placeholders such as -9999 for missing values count as dark: fill
    these pixels first. Images in another unit than that of the fit of your model are scaled in the same way,
    if their noise does not exceed that of the fit.

    The residual of the pretrained networks is clipped to five noise standard deviations. The clean image
    lies within them, so clipping only moves the result towards it. Hence details that stand out from the
    noise stay: stars in a dark sky, but also hot pixels of a camera, for which see
    :class:`~sk_denoise.MedianDenoiser`. Pixels beyond black or white by more than five deviations stay
    unchanged. If the noise is weaker than the error of the networks, half to one grey level of 255, only a
    part of the residual is subtracted.

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
    if axes is not None:
        options: dict[str, Any] = {"model": model, "tile_size": tile_size, "ensemble": ensemble}
        options |= {"precision": precision, "device": device, "verbose": verbose, "callback": callback}
        return denoise_array(image, axes, denoise_image, sigma=sigma, **options)
    array = _check_image(image)
    network = select_network(model, array)
    _check_channels(network, array)
    restored = array.copy()
    noisy, outputs = _network_stacks(network, array, restored)
    colors = _as_stack(array, network.n_channels)
    n_equal = max(1, noisy[0].shape[3] // colors.shape[3])
    levels, input_ranges = network.prepare_input(colors, sigma, gain=math.sqrt(n_equal))
    # Without noise there is nothing to do.
    if levels is not None and not levels.any():
        return restored
    torch_device = resolve_device(device)
    module = _move_to(torch_device, network.module)
    options = {
        "tile_size": tile_size,
        "ensemble": ensemble,
        "half": precision == "bfloat16" or (precision == "auto" and has_bfloat16_units(torch_device)),
    }
    predictors = [network.build_predictor(module, input_range, **options) for input_range in input_ranges]
    n_tiles = len(noisy) * sum(predictor.count_tiles(*array.shape[:2]) for predictor in predictors)
    with tqdm(disable=not verbose, unit="tile", total=n_tiles) as bar:
        progress = _Progress(bar, n_tiles, callback)
        for stack, output in zip(noisy, outputs, strict=True):
            predictors[0].restore(stack, output, levels, progress)
            # The second predictor is for the pixels with stronger noise than the first range covers.
            for predictor in predictors[1:]:
                assert levels is not None
                second_output = output.copy()
                predictor.restore(stack, second_output, levels, progress)
                is_covered = network.covers_levels(levels, input_ranges[0])
                np.copyto(output, second_output, where=~is_covered[..., None])
    # Three equal channels have three predictions of one gray image.
    if n_equal > 1:
        mean = outputs[0].mean(axis=3, keepdims=True, dtype=np.float64)
        _as_stack(restored, network.n_channels)[...] = np.rint(mean) if restored.dtype.kind in "iu" else mean
    return restored


def estimate_sigma(image: ArrayLike) -> float:
    """Estimate the noise standard deviation of an image from the image alone.

    The estimate comes from the flattest blocks of the image, away from black and white, where noise is
    clipped. Noise that is not white, such as that of compressed or resized images, is underestimated.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, channels)
        An image as for :func:`denoise_image`.

    Returns
    -------
    float
        Standard deviation of white noise, in the unit of the image: a share of [0, 1] for floats in this
        range, grey levels for integers.

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
    array = _check_image(image)
    return estimate_noise_level(np.moveaxis(_as_stack(array, 1)[0], -1, 0))


def _check_image(image: ArrayLike) -> NDArray[Any]:
    """Return an image as an array, or refuse it."""
    refuse_masked(image, "image")
    array = np.asarray(image)
    # torch has no types of another byte order.
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
            f"An image has 1 to 4 channels on its last axis, got shape {array.shape}. A stack "
            'takes a letter for each axis, for example axes="ZYX" for (planes, height, width).'
        )
    if array.dtype.kind == "f":
        _check_floats(array)
    return array


def _check_floats(image: NDArray[Any]) -> None:
    """Refuse NaN, infinity and a range that overflows in arithmetic."""
    low, high = float(image.min()), float(image.max())
    if not math.isfinite(low) or not math.isfinite(high):
        raise ValueError("image holds NaN or infinity; fill these pixels first.")
    # An eighth of the largest number leaves room for sums and differences of a few numbers.
    if high - low > float(np.finfo(np.result_type(image.dtype, np.float32)).max) / 8:
        raise ValueError(
            f"The numbers of image reach from {low:g} to {high:g}, too far for arithmetic. Scale them to "
            "[0, 1]."
        )


def _check_channels(network: ImageNetwork, image: NDArray[Any]) -> None:
    """Refuse an image with another number of channels than the network takes."""
    expected, given = network.n_channels, _as_stack(image, network.n_channels).shape[3]
    # A network of one channel denoises each channel separately.
    if expected not in (1, given) and not (given == 1 and expected == COLORS):
        raise ValueError(
            f"This network takes images of {expected} channels, this one has {given}"
            f"{' besides alpha' if given < np.shape(image)[-1] and image.ndim == 3 else ''}. Take "
            'model="auto", or a network trained on such images.'
        )


def _as_stack(image: NDArray[Any], n_channels: int) -> NDArray[Any]:
    """Return a view of an image without alpha as (1, height, width, channels).

    The last of 2 or 4 channels is alpha, unless the network takes this number of channels.
    """
    colors = without_alpha(image, n_channels)
    return colors[None, ..., None] if colors.ndim == 2 else colors[None]


def _network_stacks(network: ImageNetwork, *images: NDArray[Any]) -> list[list[NDArray[Any]]]:
    """Return each image as a list of stacks with the channels of the network.

    These are views of the whole image, or of each channel. Only for a gray image and a network of colours it
    is a copy with three equal channels.
    """
    stacks = [_as_stack(image, network.n_channels) for image in images]
    if network.n_channels == stacks[0].shape[3]:
        return [[stack] for stack in stacks]
    if network.n_channels > stacks[0].shape[3]:
        return [[np.repeat(stack, network.n_channels, axis=3)] for stack in stacks]
    return [[stack[..., channel, None] for channel in range(stack.shape[3])] for stack in stacks]


def _move_to(device: torch.device, network: torch.nn.Module) -> torch.nn.Module:
    """Return the network on a device, as a copy if it is on another one."""
    # The network is shared with other calls, and must stay on its device.
    return network if next(network.parameters()).device == device else copy.deepcopy(network).to(device)


class _Progress:
    """Number of processed tiles, for the progress bar and the callback."""

    def __init__(self, bar: Any, total: int, callback: Callable[[int, int], object] | None) -> None:
        self.bar, self.done, self.total, self.callback = bar, 0, total, callback
        self._notify()

    def update(self) -> None:
        """Count one more tile."""
        self.bar.update()
        self.done += 1
        self._notify()

    def _notify(self) -> None:
        if self.callback is not None:
            self.callback(self.done, self.total)
