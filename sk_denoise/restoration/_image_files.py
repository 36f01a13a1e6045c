"""Denoising of files: images, and stacks plane by plane."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from sk_denoise._noise_model import NoiseModel
from sk_denoise._package import require_extra
from sk_denoise._validation import warn_user
from sk_denoise.io import ImageStack, is_stack, open_stack, read_image, write_image
from sk_denoise.io._images import MAX_PIXELS
from sk_denoise.io._stack_files import STACK_SUFFIXES, rewrite_stack
from sk_denoise.restoration._denoise_image import denoise_image
from sk_denoise.restoration._noise_estimation import estimate_noise
from sk_denoise.restoration._stacks import Callback, StackDenoiser, is_blind_model

__all__ = ["denoise_file", "is_written_as_stack"]


def denoise_file(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    max_pixels: int = MAX_PIXELS,
    **options: Any,
) -> list[NoiseModel]:
    """Denoise an image or a stack from file to file.

    Type, depth, alpha, colour profile and EXIF data of an image are kept, as far as the format of the
    destination can hold them; see :func:`sk_denoise.io.read_image` and :func:`sk_denoise.io.write_image`.

    A stack, that is a TIFF of many pages, an ImageJ hyperstack, an OME-TIFF, an animated GIF or a DICOM file
    of several frames, is read, denoised and written one plane at a time, so that it may be larger than
    memory. All planes have one noise level, or one for each channel C, estimated from some of them. The
    result is a TIFF of the kind of the source with its axes, pixel size, names and descriptions; see
    :func:`sk_denoise.io.write_stack`.

    An existing file is replaced only when the new one is complete.

    Parameters
    ----------
    source : path-like
        File for :func:`sk_denoise.io.read_image` or :func:`sk_denoise.io.open_stack`.
    destination : path-like
        File to write, which may be the source: PNG, JPEG, TIFF, BMP, WebP, JPEG 2000 or PNM for an image,
        ``.tif`` or ``.tiff`` for a stack.
    max_pixels : int, default=2**28
        Largest number of pixels of an image or a plane.
    **options
        Options of :func:`denoise_image`, without ``axes``. For a stack ``sigma`` may be one number for each
        channel C, and ``callback`` and ``verbose`` count planes.

    Returns
    -------
    list of NoiseModel
        Estimated noise: one model for an image, and one for each channel C of a stack. Series of another type
        have models of their own. The list is empty if ``sigma`` or ``noise`` describe the noise, or if the
        network takes no level.

    Raises
    ------
    MissingExtraError
        If the packages of the extra ``images`` are missing, or of ``dicom`` for a DICOM file.
    UnreadableImageError
        If the source is damaged or not an image.
    ValueError
        If the format of the destination cannot hold the image, or if an option is invalid.

    Warns
    -----
    UserWarning
        If planes of a stack are missing, or its description does not fit.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sk_denoise.io import read_stack, write_stack
    >>> from sk_denoise.restoration import denoise_file
    >>> noisy = np.random.default_rng(0).normal(100, 10, (3, 64, 64)).astype(np.uint8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_stack(Path(folder) / "noisy.tif", noisy, axes="ZYX")
    ...     models = denoise_file(Path(folder) / "noisy.tif", Path(folder) / "clean.tif")
    ...     clean, axes = read_stack(Path(folder) / "clean.tif")
    >>> axes, clean.shape, bool(clean.std() < 3), round(models[0].sigma)
    ('ZYX', (3, 64, 64), True, 10)
    """
    # read_image would name itself in the error.
    require_extra("denoise_file", "images")
    if "axes" in options:
        raise TypeError("denoise_file takes the axes from the file; leave axes out.")
    if not is_written_as_stack(source, destination):
        image = read_image(source, max_pixels=max_pixels, allow_nan=True)
        models = _estimate_image_noise(image, options)
        known = {"noise": models[0]} if models else {}
        write_image(destination, denoise_image(image, **{**options, **known}), like=source, allow_nan=True)
        return models
    callback, verbose = options.pop("callback", None), options.pop("verbose", False)
    sigma = options.pop("sigma", None)
    models = []

    def transform(stacks: list[ImageStack]) -> list[Iterable[NDArray[Any]]]:
        for note in dict.fromkeys(note for stack in stacks for note in stack.notes):
            warn_user(f"{source}: {note}.")
        denoisers, levels = _build_denoisers(stacks, sigma, options)
        models.extend(arguments["noise"] for arguments in levels if "noise" in arguments)
        return _denoise_series(stacks, denoisers, callback, verbose)

    rewrite_stack(source, destination, transform, max_pixels=max_pixels)
    return models


def is_written_as_stack(source: str | os.PathLike[str], destination: str | os.PathLike[str]) -> bool:
    """Return whether :func:`denoise_file` reads a file plane by plane.

    Parameters
    ----------
    source, destination : path-like
        Files as for :func:`denoise_file`. A stack of one plane may be written as an image, for example as
        PNG.

    Returns
    -------
    bool
        Whether the source is a stack, and is written as one.

    Raises
    ------
    MissingExtraError
        If the packages of the extra ``images`` are missing.
    UnreadableImageError
        If the source is damaged, or has an unknown format.
    FileNotFoundError, IsADirectoryError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sk_denoise.io import write_stack
    >>> from sk_denoise.restoration import is_written_as_stack
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_stack(Path(folder) / "a.tif", np.zeros((1, 8, 8), np.uint8), axes="ZYX")
    ...     [is_written_as_stack(Path(folder) / "a.tif", name) for name in ("b.tif", "b.png")]
    [True, False]
    """
    if not is_stack(source):
        return False
    if Path(destination).suffix.lower() in STACK_SUFFIXES:
        return True
    # rewrite_stack refuses the name of the destination with advice.
    with open_stack(source) as stack:
        return len(stack) > 1 or stack.n_series > 1 or stack.plane_axes not in ("YX", "YXS")


def _build_denoisers(
    stacks: list[ImageStack], sigma: ArrayLike | None, options: dict[str, Any]
) -> tuple[list[StackDenoiser], list[dict[str, Any]]]:
    """Return a denoiser for each series, and the noise levels that they share."""
    denoisers = [StackDenoiser(stack.axes, stack.shape, denoise_image, sigma, options) for stack in stacks]
    estimated: list[dict[str, Any]] = []
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, stack in enumerate(stacks):
        key = (stack.dtype, stack.plane_axes, denoisers[index].n_channels)
        groups.setdefault(key, []).append(index)
    for indexes in groups.values():
        # The largest series has the most planes and pixels to estimate from.
        largest = max(indexes, key=lambda index: stacks[index].series.n_planes * stacks[index].plane_shape[0])
        if denoisers[largest].levels is None:
            stack = stacks[largest]
            levels = denoisers[largest].estimate_levels(stack.__getitem__, stack.missing)
            estimated += levels
            for index in indexes:
                denoisers[index].levels = list(levels)
    return denoisers, estimated


def _denoise_series(
    stacks: list[ImageStack], denoisers: list[StackDenoiser], callback: Callback | None, verbose: bool
) -> list[Iterable[NDArray[Any]]]:
    total = sum(len(stack) for stack in stacks)
    bar = tqdm(disable=not verbose, unit="plane", total=total)
    if callback is not None and total > 1:
        callback(0, total)

    def planes(stack: ImageStack, denoiser: StackDenoiser, first: int) -> Iterator[NDArray[Any]]:
        read = stack.__getitem__
        for plane in denoiser.denoise_all(read, callback, missing=stack.missing, first=first, total=total):
            yield plane
            bar.update()
        if first + len(stack) == total:
            bar.close()

    firsts = [sum(len(stack) for stack in stacks[:index]) for index in range(len(stacks))]
    return [planes(*items) for items in zip(stacks, denoisers, firsts, strict=True)]


def _estimate_image_noise(image: NDArray[Any], options: dict[str, Any]) -> list[NoiseModel]:
    """Return the noise model of an image, or nothing if the options have it."""
    kind, model = options.get("noise", "auto"), options.get("model", "auto")
    takes_model = isinstance(model, str) and not is_blind_model(model)
    if options.get("sigma") is not None or not isinstance(kind, str) or not takes_model:
        return []
    outliers = options.get("outliers", "keep")
    # estimate_noise refuses other kinds.
    return [estimate_noise(image, options.get("mask"), kind=kind, outliers=outliers)]  # type: ignore[arg-type]
