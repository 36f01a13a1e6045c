"""Denoise pictures of any size and type with the weights in the box."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from sk_denoise._noise_level import noise_level
from sk_denoise._threads import suitable_threads
from sk_denoise._validation import check_one_of
from sk_denoise.io import read_image, write_image
from sk_denoise.networks import NoiseMapUNet
from sk_denoise.restoration._models import MODELS, Model, load_network
from sk_denoise.restoration._tiling import check_tile_size, tile_side, tiles_of
from sk_denoise.training import PRECISIONS, has_bfloat16_units, resolve_device

__all__ = ["denoise_file", "denoise_image", "estimate_sigma"]

FLOPS_PER_PIXEL = 2e5  # of the network, about; decides on threads


def denoise_image(
    image: ArrayLike,
    *,
    sigma: float | None = None,
    model: str = "gray",
    tile_size: int | Literal["auto"] | None = "auto",
    ensemble: bool = False,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    device: str | torch.device = "auto",
    verbose: bool = False,
) -> NDArray[Any]:
    """Denoise a picture with a network that was trained on photos, offline and out of the box.

    The network takes white Gaussian noise away, of any strength up to 55 grey levels of 255. Pictures of
    any size are worked on tile by tile, with overlaps that make tiles and whole agree.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, channels)
        Gray, gray with alpha (2 channels), colour (3) or colour with alpha (4). Integers of 8 or 16 bits,
        or floats with black at 0 and white at 1.
    sigma : float or None, default=None
        Standard deviation of the noise, in the unit of the picture: of [0, 1] for floats, grey levels for
        integers. None estimates it, once for the picture, see :func:`estimate_sigma`.
    model : {"gray"}, default="gray"
        Which network. "gray" works on each channel of a colour picture by itself.
    tile_size : int, "auto" or None, default="auto"
        Side of the tiles in pixels, a multiple of 4; "auto" makes them as large as 256 MB allow, None takes
        the picture whole.
    ensemble : bool, default=False
        Whether to average the answers to the picture turned and mirrored in eight ways: a little better, and
        eight times as long.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What the layers compute in. "auto" takes bfloat16 on processors that have units for it: faster, and
        different by a small part of a grey level.
    device : str or torch.device, default="auto"
        Where to compute: "auto" is a CUDA GPU where there is one, else the CPU.
    verbose : bool, default=False
        Whether to show a line that counts tiles.

    Returns
    -------
    ndarray of the shape and type of image
        Integers are rounded and clipped to the range of their type; alpha is what it was.

    Raises
    ------
    ValueError
        For pictures or options that cannot be used; the message says what to do.

    Warns
    -----
    UserWarning
        Where the noise is estimated to be stronger than the network knows.

    See Also
    --------
    denoise_file : From file to file.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.datasets import load_pictures
    >>> from sk_denoise.restoration import denoise_image
    >>> clean = load_pictures("gray").test[0][:128, :128]
    >>> noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape).astype("float32")
    >>> denoised = denoise_image(noisy, sigma=0.1)
    >>> bool(np.mean((denoised - clean) ** 2) < 0.2 * np.mean((noisy - clean) ** 2))
    True
    """
    chosen = check_one_of(model, MODELS, "model")
    check_one_of(precision, dict.fromkeys(PRECISIONS), "precision")
    check_tile_size(tile_size, NoiseMapUNet.stride)
    picture = _checked(image)
    level = _checked_sigma(sigma, picture, chosen)
    restored = picture.copy()
    if level == 0:
        return restored
    where = resolve_device(device)
    network = load_network(model)
    side = tile_side(network.bytes_per_pixel, network.reach, network.stride)
    worker = _Worker(
        network if where.type == "cpu" else copy.deepcopy(network).to(where),
        level,
        side if tile_size == "auto" else tile_size,
        precision == "bfloat16" or (precision == "auto" and has_bfloat16_units(where)),
        where,
    )
    turns = _TURNS if ensemble else _TURNS[:1]
    with tqdm(disable=not verbose, unit="tile") as bar:
        for noisy, plane in zip(_colours(picture), _colours(restored), strict=True):
            worker.restore(noisy, plane, turns, bar)
    return restored


def estimate_sigma(image: ArrayLike) -> float:
    """Estimate how strong the noise of a picture is, from the picture alone.

    The level is read off the flattest blocks of a picture, away from black and white, where noise is clipped.
    Noise that is not white, such as that of compressed or resized pictures, is underestimated.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, channels)
        A picture as :func:`denoise_image` takes it.

    Returns
    -------
    float
        The standard deviation of white noise, in the unit of the picture: of [0, 1] for floats, grey levels
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
    return noise_level(np.stack(_colours(_checked(image))))


def denoise_file(source: str | os.PathLike[str], destination: str | os.PathLike[str], **options: Any) -> None:
    """Denoise a picture from file to file.

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
    UnreadableImageError
        Where the source is broken or no picture.
    ValueError
        Where the destination's format cannot hold the picture, or for options that cannot be used.

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
    write_image(destination, denoise_image(read_image(source), **options), like=source)


# A picture turned and mirrored: views, so that what is written into one is written into the picture.
_TURNS: list[Callable[[NDArray[Any]], NDArray[Any]]] = [
    lambda x: x,
    lambda x: x[::-1],
    lambda x: x[:, ::-1],
    lambda x: x[::-1, ::-1],
    lambda x: x.T,
    lambda x: x.T[::-1],
    lambda x: x.T[:, ::-1],
    lambda x: x.T[::-1, ::-1],
]


@dataclass(frozen=True)
class _Worker:
    """A network at work on gray planes.

    Attributes
    ----------
    network : Module
        On its device.
    level : float
        The noise level, as a share of the range from black to white.
    side : int or None
        Of the tiles.
    half : bool
        Whether layers compute in bfloat16.
    device : torch.device
        Where.
    """

    network: NoiseMapUNet
    level: float
    side: int | None
    half: bool
    device: torch.device

    def restore(self, noisy: NDArray[Any], plane: NDArray[Any], turns: Sequence[Any], bar: Any) -> None:
        """Write a plane without its noise into ``plane``."""
        white = _white_of(noisy.dtype)
        if len(turns) == 1:
            for inner, answer in self._answers(noisy, white, bar):
                _put(plane[inner], answer)
            return
        total = np.zeros(noisy.shape, np.float32)
        for turn in turns:
            turned = turn(total)
            for inner, answer in self._answers(turn(noisy), white, bar):
                turned[inner] += answer / len(turns)
        _put(plane, total)

    def _answers(
        self, noisy: NDArray[Any], white: float, bar: Any
    ) -> Iterator[tuple[tuple[slice, slice], NDArray[Any]]]:
        """Yield the places of tiles and what the network makes of them, in the unit of the picture."""
        level = torch.full((1, 1, 1, 1), self.level, device=self.device)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)
        height, width = noisy.shape
        for tile in tiles_of(height, width, self.side, self.network.reach):
            part = torch.from_numpy(np.divide(noisy[tile.outer], white, dtype=np.float32))[None, None]
            with torch.inference_mode(), autocast, suitable_threads(FLOPS_PER_PIXEL * part.numel()):
                answer = self.network(part.to(self.device), level)
            yield tile.inner, answer[0, 0].float().cpu().numpy()[tile.kept] * np.float32(white)
            bar.update()


def _checked(image: ArrayLike) -> NDArray[Any]:
    """Return what may be a picture as an array, once it is known to be one."""
    picture = np.asarray(image)
    known = picture.dtype in (np.uint8, np.uint16) or picture.dtype.kind == "f"
    if picture.ndim not in (2, 3) or not known or 0 in picture.shape:
        raise ValueError(
            "image must be a picture of shape (height, width) or (height, width, channels), of type uint8, "
            f"uint16 or float, got {picture.dtype} of shape {picture.shape}."
        )
    if picture.ndim == 3 and picture.shape[2] > 4:
        raise ValueError(
            f"A picture has 1 to 4 channels on its last axis, got shape {picture.shape}. Of a stack "
            "(n, height, width), denoise each picture by itself."
        )
    if picture.dtype.kind == "f" and not np.isfinite(picture).all():
        raise ValueError("image holds NaN or infinity; fill these places first.")
    return picture


def _checked_sigma(sigma: float | None, picture: NDArray[Any], model: Model) -> float:
    """Return the noise level as a share of the range from black to white."""
    white = _white_of(picture.dtype)
    if sigma is None:
        estimated = noise_level(np.stack(_colours(picture))) / white
        if estimated > model.strongest:
            warnings.warn(
                f"The noise is estimated at {estimated:.3g} of the range from black to white, and the "
                f"network knows noise up to {model.strongest:.3g}: some of it will stay.",
                stacklevel=3,
            )
        return min(model.strongest, estimated)
    if not isinstance(sigma, float | int | np.number) or isinstance(sigma, bool) or not 0 <= sigma < np.inf:
        raise ValueError(
            f"sigma must be a finite number of at least 0, or None to estimate it, got {sigma!r}."
        )
    share = float(sigma) / white
    if share > model.strongest:
        raise ValueError(
            f"sigma={sigma!r} is {share:.3g} of the range from black to white of {picture.dtype}, and the "
            f"network knows noise up to {model.strongest:.3g}. For floats sigma is a share of [0, 1], for "
            "integers it counts grey levels."
        )
    return share


def _colours(picture: NDArray[Any]) -> list[NDArray[Any]]:
    """Return views of the channels of a picture, without alpha."""
    if picture.ndim == 2:
        return [picture]
    return [picture[..., channel] for channel in range(picture.shape[2] - (picture.shape[2] in (2, 4)))]


def _white_of(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


def _put(place: NDArray[Any], values: NDArray[Any]) -> None:
    """Write values into a part of a picture, in its type."""
    if place.dtype.kind == "u":
        values = np.clip(np.rint(values), 0, np.iinfo(place.dtype).max)
    place[...] = values
