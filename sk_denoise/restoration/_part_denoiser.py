"""Denoising of the parts of an image that is larger than memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import nn

from sk_denoise._noise_level import estimate_noise_level
from sk_denoise._noise_model import NoiseModel
from sk_denoise._registry import NOISE_KINDS
from sk_denoise._validation import Noiser, check_one_of, warn_user
from sk_denoise.estimators import ImageDenoiser
from sk_denoise.estimators._tiled_prediction import ATTENTION_HALO
from sk_denoise.restoration._counts import MAX_REDUCTIONS, count_reductions
from sk_denoise.restoration._denoise_image import denoise_image
from sk_denoise.restoration._image_repair import (
    check_image,
    color_planes,
    fill_hidden,
    replace_outliers,
    visible_pixels,
)
from sk_denoise.restoration._network_pass import PassOptions, run_network
from sk_denoise.restoration._noise_estimation import estimate_planes, measure_noiser
from sk_denoise.restoration._pretrained import select_network
from sk_denoise.restoration._removal import FLOOR_WINDOW, GUARD_WINDOW, remove_noise
from sk_denoise.restoration._shared_statistics import SharedStatistics
from sk_denoise.restoration._stacks import is_blind_model

__all__ = ["PartDenoiser"]

Image = NDArray[Any]
Window = tuple[slice, slice]
# Pixels around an output pixel that the interpolation of a reduced image reads, at the finer scale.
INTERPOLATION_REACH = 4
# Pixels around an output pixel that decide whether it is an outlier.
OUTLIER_REACH = 2
# A pixel without a value gets that of the nearest pixel, which is at most this many times as far from it as
# any other pixel with a value: the diagonal of a square to its side, besides the way to the pixel itself.
GAP_REACH = 1 + math.sqrt(2)


@dataclass(frozen=True)
class PartDenoiser:
    """Denoiser of the parts of one image, with statistics that are measured once.

    In single precision, the parts that it returns are those of the whole image, bit by bit, if each part is
    read with its halo. It can be pickled.

    Attributes
    ----------
    noise : NoiseModel
        Noise of the image. It holds the statistics that all parts share.
    halo, stride : int
        Width of the halo in pixels, and the grid on which parts begin.
    options : dict
        Options of :func:`denoise_image`, without ``noise`` and ``sigma``.
    """

    noise: NoiseModel
    halo: int
    stride: int
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def measure(
        cls,
        samples: Sequence[Image],
        *,
        noise: str | NoiseModel | Noiser = "auto",
        sigma: float | None = None,
        model: str | ImageDenoiser = "auto",
        outliers: str = "keep",
        **options: Any,
    ) -> PartDenoiser:
        """Measure the noise and the intensity range of an image on some of its parts.

        Parameters
        ----------
        samples : sequence of ndarray of shape (height, width) or (height, width, channels)
            Parts of the image from random places, or the whole image. Pixels with NaN do not count.
        noise, sigma, model, outliers
            As in :func:`denoise_image`; sigma is a number.
        **options
            ``strength``, ``ensemble``, ``precision`` ("float32" by default: only so are parts equal to those
            of the whole image) and ``device``.

        Raises
        ------
        ValueError
            If the samples hold no number, or an option is not valid.
        """
        check_one_of(outliers, {"keep": None, "replace": None}, "outliers")
        parts = [check_image(sample) for sample in samples if _has_numbers(sample)]
        if not parts:
            raise ValueError("The samples of the image hold NaN alone: the noise is not known. Pass sigma.")
        network = select_network(model, parts[0])
        known = _resolve_noise(parts, noise, sigma, model, outliers)
        statistics = SharedStatistics(known.shared, is_recording=not known.shared)
        if not known.shared:
            passes = PassOptions(precision="float32", statistics=statistics)
            mosaic = _mosaic(parts)
            visible = visible_pixels(mosaic, None, network.n_channels)
            noisy = fill_hidden(mosaic, visible)
            if outliers == "replace":
                noisy, _ = replace_outliers(noisy, network.n_channels, statistics)
            if isinstance(model, ImageDenoiser):
                run_network(network, noisy, None if is_blind_model(model) else known.sigma, passes)
            else:
                remove_noise(noisy, visible, None, known, model, passes)
            # A pass without noise needs no statistics.
            known = replace(known, shared=tuple(statistics.record) or (("none", ()),))
        n_reductions = count_reductions(known.shared)
        halo, stride = _reach(model, parts[0], known.kind, n_reductions)
        if getattr(network.module, "receptive_radius", 0) is None:
            warn_user(
                f"{type(network.module).__name__} looks at the whole image, and parts of it are denoised: "
                "the result is close to that of the whole image, but not the same."
            )
        options = {"precision": "float32", **options, "model": model, "outliers": outliers}
        return cls(known, halo, stride, options)

    @classmethod
    def reach(cls, model: str | ImageDenoiser, noise: object, n_channels: int = 1) -> tuple[int, int]:
        """Return the largest halo and the stride, before any measurement.

        Parameters
        ----------
        model : str or ImageDenoiser
            As in :func:`denoise_image`.
        noise : object
            As in :func:`denoise_image`, or a number for white noise.
        n_channels : int, default=1
            Number of channels of the image.
        """
        kind = noise.kind if isinstance(noise, NoiseModel) else noise
        kinds = [kind] if kind in ("none", "white", "counts", "camera") else ["white", "counts", "camera"]
        kinds = ["white"] if isinstance(noise, int | float) or isinstance(model, ImageDenoiser) else kinds
        image = np.zeros((1, 1) if n_channels == 1 else (1, 1, n_channels))
        reaches = [_reach(model, image, kind, MAX_REDUCTIONS) for kind in kinds]
        return max(halo for halo, _ in reaches), math.lcm(*(stride for _, stride in reaches))

    def window(self, inner: Window, shape: tuple[int, ...], *, has_gaps: bool = False) -> Window:
        """Return the rows and columns to read for a part of an image.

        Parameters
        ----------
        inner : pair of slice
            Rows and columns of the part.
        shape : tuple of int
            Height and width of the image.
        has_gaps : bool, default=False
            Whether the part holds NaN, so that the values that stand for them come from farther away.
        """
        halo = math.ceil(GAP_REACH * self.halo) if has_gaps else self.halo
        return tuple(  # type: ignore[return-value]
            # Parts begin on the grid of the network. They end on that of the mirrored image, which counts for
            # a self-ensemble.
            slice(
                max(0, (span.start - halo) // self.stride * self.stride),
                length - max(0, (length - span.stop - halo) // self.stride * self.stride),
            )
            for span, length in zip(inner, shape, strict=False)
        )

    def denoise(self, part: Image, kept: Window) -> Image:
        """Return the denoised rows and columns ``kept`` of a part with its halo.

        Parts without any number stay as they are.
        """
        if not _has_numbers(part):
            return np.ascontiguousarray(part[kept])
        return np.ascontiguousarray(denoise_image(part, noise=self.noise, **self.options)[kept])


def _has_numbers(part: Image) -> bool:
    return part.dtype.kind != "f" or not bool(np.isnan(part).all())


def _resolve_noise(
    parts: list[Image],
    noise: str | NoiseModel | Noiser,
    sigma: ArrayLike | None,
    model: str | ImageDenoiser,
    outliers: str,
) -> NoiseModel:
    """Return the noise of an image from some parts of it, or as the user describes it."""
    if sigma is not None:
        if not isinstance(noise, str) or noise not in ("auto", "white"):
            raise ValueError("sigma is the level of white noise. Pass either sigma or noise.")
        if np.ndim(sigma) or not float(sigma) >= 0:  # type: ignore[arg-type]
            raise ValueError(f"sigma must be a number of at least 0 for an image in parts, got {sigma!r}.")
        return NoiseModel("white", float(sigma))  # type: ignore[arg-type]
    if isinstance(noise, NoiseModel):
        return noise
    if isinstance(model, ImageDenoiser):
        if not isinstance(noise, str) or noise not in ("auto", "white"):
            raise ValueError(
                "A network of your own removes the noise of its training. Pass noise only with a pretrained "
                "one."
            )
        filled = [fill_hidden(part, visible_pixels(part)) for part in parts]
        levels = [estimate_noise_level(color_planes(part)) for part in filled]
        return NoiseModel("white", float(np.median(levels)))
    if not isinstance(noise, str):
        return measure_noiser(noise, fill_hidden(parts[0], visible_pixels(parts[0])))
    check_one_of(noise, NOISE_KINDS, "noise")
    return estimate_planes(parts, [None] * len(parts), noise, outliers)


def _mosaic(parts: list[Image]) -> Image:
    """Return parts side by side, as one image."""
    height, width = (min(part.shape[axis] for part in parts) for axis in (0, 1))
    n_columns = math.isqrt(len(parts))
    cut = [part[:height, :width] for part in parts[: len(parts) // n_columns * n_columns]]
    rows = [np.concatenate(cut[i : i + n_columns], axis=1) for i in range(0, len(cut), n_columns)]
    return np.concatenate(rows)


def _reach(model: str | ImageDenoiser, image: Image, kind: str, n_reductions: int) -> tuple[int, int]:
    """Return the halo and the stride for a kind of noise."""
    names = [model]
    if model == "auto":
        # Channels of unequal noise are denoised one by one.
        names = ["auto", "gray"] + ["camera"] * (kind == "camera")
    networks = [select_network(name, image).module for name in names]
    stride = math.lcm(*(getattr(network, "stride", 1) for network in networks))
    halo = max(_radius(network) for network in networks) + GUARD_WINDOW // 2
    if kind == "camera":
        halo += FLOOR_WINDOW // 2
    if kind == "counts":
        at_one_scale = halo
        for _ in range(n_reductions):
            halo = at_one_scale + INTERPOLATION_REACH + 2 * halo
        stride *= 2**n_reductions
    return -(-(halo + OUTLIER_REACH) // stride) * stride, stride


def _radius(network: nn.Module) -> int:
    if not hasattr(network, "receptive_radius"):
        raise ValueError(
            f"{type(network).__name__} has no receptive_radius, so parts would leave seams. Give it the "
            "attributes receptive_radius and stride, in pixels."
        )
    radius = network.receptive_radius
    return ATTENTION_HALO if radius is None else int(radius)  # type: ignore[arg-type]
