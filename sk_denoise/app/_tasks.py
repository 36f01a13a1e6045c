"""Tasks of worker processes on image files: check, download and encode."""

# This module must not import torch: the processes that only read files are small and start fast.

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sk_denoise._intensity import IntensityRange
from sk_denoise.app._download import DownloadedImage, DownloadLimits, download_image
from sk_denoise.app._jobs import ProgressCallback
from sk_denoise.app._urls import Resolver
from sk_denoise.app._views import convert_for_file
from sk_denoise.io import image_size, is_stack, open_stack, output_suffix, write_image

__all__ = ["check_header", "encode_file", "fetch_file", "prepare"]

# Pixels of all planes of a stack, relative to the largest image. A compressed file may claim any number.
STACK_SIZE = 16
# Arrays of different sizes or types in a file; each of them is opened for itself.
MAX_SERIES = 64
# More than any file claims.
MAX_CLAIMED_PIXELS = 2**62


def prepare() -> None:
    """Do nothing: the import of this module prepares its process."""


def check_header(path: Path, name: str, max_pixels: int) -> dict[str, Any]:
    """Return the facts of a `StoredImage`, or refuse a bad or too large file.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        Name of the file for the user.
    max_pixels : int
        Largest image.
    """
    try:
        suffix = output_suffix(path)
        # A stack of one plane is an image, unless it has channels that images lack.
        if is_stack(path) and not _is_image(path):
            return {"suffix": suffix, **_check_stack(path, name, max_pixels)}
        size = image_size(path)
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), name)) from error
    _check_size(size, name, max_pixels)
    return {"size": size, "suffix": suffix}


def _is_image(path: Path) -> bool:
    """Return whether a stack has one plane of colours or gray, as an image."""
    with open_stack(path, max_pixels=MAX_CLAIMED_PIXELS) as stack:
        return len(stack) == 1 and stack.n_series == 1 and stack.plane_axes in ("YX", "YXS")


def _check_size(size: tuple[int, ...], name: str, max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise ValueError(
            f"{name} has {size[1]} x {size[0]} pixels; this app takes images of up to "
            f"{max_pixels // 10**6} megapixels. Send a part of it, or a smaller copy."
        )


def _check_stack(path: Path, name: str, max_pixels: int) -> dict[str, Any]:
    """Return size, axes and number of planes of a stack with all its series."""
    facts: dict[str, Any] = {}
    n_series, n_planes, n_pixels = 1, 0, 0
    for index in range(MAX_SERIES):
        # The limits are checked with messages of the app.
        with open_stack(path, series=index, max_pixels=MAX_CLAIMED_PIXELS) as stack:
            _check_size(stack.plane_shape, name, max_pixels)
            n_channels = 1 if stack.plane_axes[-1] in "XS" else stack.plane_shape[-1]
            n_series = stack.n_series
            n_planes += len(stack) * n_channels
            n_pixels += len(stack) * n_channels * stack.plane_shape[0] * stack.plane_shape[1]
            facts = facts or {"size": stack.plane_shape[:2], "axes": stack.axes}
        if index + 1 == n_series:
            break
    if n_series > MAX_SERIES:
        raise ValueError(
            f"{name} holds {n_series} arrays of different sizes or types; this app takes up to "
            f"{MAX_SERIES}. Send a part of it."
        )
    if n_pixels > STACK_SIZE * max_pixels:
        raise ValueError(
            f"{name} has {n_planes} planes with {n_pixels / 1e6:.0f} megapixels in all; this app takes "
            f"stacks of up to {STACK_SIZE * max_pixels // 10**6}. Send a part of it."
        )
    return {**facts, "n_planes": n_planes}


def fetch_file(
    url: str, target: Path, limits: DownloadLimits, resolve: Resolver, progress: ProgressCallback
) -> DownloadedImage:
    """Download an image to a file, with progress reports."""

    def report(received: int, expected: int | None) -> None:
        progress(received, expected or 0, "Fetching the image")

    return download_image(url, target, limits=limits, resolve=resolve, callback=report)


def encode_file(array_path: Path, source: Path, target: Path, file_range: IntensityRange | None) -> None:
    """Encode an array as a file with the metadata of the original."""
    image = np.load(array_path, mmap_mode="r")
    # TIFF stores floats; the other formats store integers.
    array = image if target.suffix == ".tif" else convert_for_file(image, file_range)
    write_image(target, array, like=source, allow_nan=True)
