"""Self-supervised objectives: training pairs made of noisy samples alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from sklearn.base import BaseEstimator, clone
from torch import Tensor
from torch.nn.functional import conv2d, pad

from sk_denoise import _registry
from sk_denoise._compat import DocumentationLinkMixin
from sk_denoise._noise_model import NoiseSplitter
from sk_denoise._registry import LazyTable
from sk_denoise._validation import Interval, StrOptions, check_one_of, check_parameters

__all__ = ["BlindSpotObjective", "NeighboursObjective", "RecorruptObjective"]

OBJECTIVES: LazyTable[type[Any]] = LazyTable(_registry.OBJECTIVES)
# Shares of the information that recorrupted targets get by default
IMAGE_SHARE, ROW_SHARE = 0.1, 0.5
# Cubic interpolation of a pixel from those on both sides, at distances of 1 and 3, and linear interpolation.
CUBIC = (-1 / 16, 0.0, 9 / 16, 0.0, 9 / 16, 0.0, -1 / 16)
LINEAR = (0.5, 0.0, 0.5)
# One of so many samples gets the correction of interpolated targets.
CORRECTED_EVERY = 4
# Distance along rows and columns up to which hidden pixels are replaced by others.
MAX_DISTANCE = 2


@dataclass(frozen=True)
class NoisySamples:
    """Noisy samples of a batch, with the means of an objective to make a pair.

    Attributes
    ----------
    values : Tensor of shape (n, n_features), (n, height, width) or (n, height, width, channels)
        Noisy samples, in the unit of the data. Signals are images of height 1.
    kind : {"table", "images"}
        Whether the entries of a sample are features, or pixels with neighbours.
    generator : torch.Generator
        Source of randomness.
    progress : float
        Share of the training that is done, from 0 to 1.
    denoise : callable or None
        From noisy samples to the output of the network with its present weights, without gradients, in the
        unit of the data. None for validation samples, which are made before the training.
    noise : NoiseSplitter or None
        Noise in the samples; None where the objective does not need it.
    is_weighted : bool
        Whether each sample has a weight in the loss, so that a pair must stay in the place of its sample.
    """

    values: Tensor
    kind: Literal["table", "images"]
    generator: torch.Generator
    progress: float
    denoise: Callable[[Tensor], Tensor] | None = None
    noise: NoiseSplitter | None = None
    is_weighted: bool = False

    def mean_level(self) -> Tensor:
        """Return the root mean square of the noise in each sample, of shape (n,)."""
        assert self.noise is not None
        return self.noise.level(self.values).square().flatten(1).mean(1).sqrt()


@dataclass(frozen=True)
class TrainingPair:
    """Input and target of the network, made of noisy samples.

    Attributes
    ----------
    input, target : Tensor of shape (n, ...)
        Input of the network and its target, in the unit of the data, of one shape.
    weight : Tensor of the shape of target, optional
        Weight of each entry in the loss, with a mean of 1.
    level : Tensor of shape (n,), optional
        Noise standard deviation of each input, for networks with a noise-level map.
    """

    input: Tensor
    target: Tensor
    weight: Tensor | None = None
    level: Tensor | None = None


@runtime_checkable
class Objective(Protocol):
    """Protocol of self-supervised objectives, of the library and of users.

    ``make_pair`` turns noisy samples into an input and a target for every batch. The target must be unbiased:
    its mean is the clean sample. The noise of the target must be independent of the input. A network that
    minimizes the squared error then learns the clean samples.

    Attributes
    ----------
    needs_noise : bool
        Whether the noise in the samples must be known or estimated.
    kinds : tuple of str
        Kinds of samples that it takes: "table", "images".
    """

    needs_noise: bool
    kinds: tuple[str, ...]

    def make_pair(self, samples: NoisySamples) -> TrainingPair: ...


class _BaseObjective(DocumentationLinkMixin, BaseEstimator):
    """Objective of the library, with parameters that are checked."""

    _parameter_constraints: ClassVar[dict[str, Any]]
    needs_noise: ClassVar[bool] = False
    # Correlated noise would be learned as if it were the image.
    needs_independence: ClassVar[bool] = True

    def check(self) -> None:
        """Check the parameters."""
        check_parameters(self, self._parameter_constraints)


class RecorruptObjective(_BaseObjective):
    """Split known noise: learn one independent part from the other.

    New noise of the same level is added to a sample in two ways, so that the two results have independent
    noise and the same clean mean. The network learns the one from the other. Counts are thinned instead. A
    prediction is the mean of the outputs for several such inputs.

    A small share leaves the input nearly as it is, but the target has strong noise. For images and signals,
    most of it cancels: each second patch of a batch is the one before with the opposite new noise, in place
    of another patch. The two then contribute a finite difference of the network along the noise, as in an
    estimate of the risk (SURE).

    Parameters
    ----------
    share : float or "auto", default="auto"
        Share of the information that goes to the target, between 0 and 1. The input has the noise variance
        divided by ``1 - share``, the target divided by ``share``. "auto" is 0.1 for images and 0.5 for
        tables and signals.
    n_copies : int, default=8
        Number of inputs, with different new noise, whose outputs a
        :class:`~sk_denoise.DenoisingAutoencoder` averages in a prediction. 0 takes the output for the noisy
        sample itself, as :class:`~sk_denoise.ImageDenoiser` does.

    See Also
    --------
    NeighboursObjective, BlindSpotObjective : For noise of unknown level.

    References
    ----------
    T. Pang, H. Zheng, Y. Quan and H. Ji, "Recorrupted-to-recorrupted", CVPR (2021); B. Monroy, J. Bacca and
    J. Tachella, "Generalized recorrupted-to-recorrupted", CVPR (2025).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import DenoisingAutoencoder, RecorruptObjective
    >>> X = load_digits().data / 16
    >>> noisy = X + np.random.default_rng(0).normal(0, 0.25, X.shape)
    >>> dae = DenoisingAutoencoder(latent_dim=16, objective=RecorruptObjective(0.4), noise=0.25)
    >>> denoised = dae.set_params(max_epochs=10, random_state=0).fit(noisy).predict(noisy)
    >>> bool(((denoised - X) ** 2).mean() < 0.6 * 0.25**2)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "share": [Interval(Real, 0, 1, closed="neither"), StrOptions({"auto"})],
        "n_copies": [Interval(Integral, 0, None, closed="left")],
    }
    needs_noise = True
    kinds = ("table", "images")

    def __init__(self, share: float | Literal["auto"] = "auto", *, n_copies: int = 8) -> None:
        self.share = share
        self.n_copies = n_copies

    def resolve_share(self, sample_shape: tuple[int, ...]) -> float:
        """Return the share for samples of a shape in the user's layout."""
        if self.share != "auto":
            return self.share
        # The opposite noise of the many pixels of images makes small shares cheap.
        is_image = len(sample_shape) > 1 and min(sample_shape[:2]) > 1
        return IMAGE_SHARE if is_image else ROW_SHARE

    def make_pair(self, samples: NoisySamples) -> TrainingPair:
        """Return two parts of the samples with independent noise."""
        noise = samples.noise
        assert noise is not None
        share = self.resolve_share(tuple(samples.values.shape[1:]))
        # Validation samples, and samples with weights, must all occur.
        in_opposites = samples.kind == "images" and samples.denoise is not None and not samples.is_weighted
        if in_opposites:
            values = samples.values[::2].repeat_interleave(2, dim=0)[: len(samples.values)]
            samples = replace(samples, values=values)
        first, second = noise.split(samples.values, share, samples.generator, in_opposites=in_opposites)
        return TrainingPair(first, second, level=samples.mean_level() / math.sqrt(1 - share))


class NeighboursObjective(_BaseObjective):
    """Learn each pixel from an image without it, under independent noise.

    Every second pixel of every second row makes an image of half the size, from one of the four places at
    random. Its target is interpolated from the pixels between, so that the two have independent noise. The
    interpolation is exact for cubic polynomials, and a mean of eight values, so that the target has a third
    of the noise variance. Signals are halved along their length.

    Thin lines and texture of a period below about four pixels are not interpolated well, which counts where
    the noise is weaker than they are. ``correction`` recovers a part of them. "recorrupt" keeps them, if the
    noise is known or can be estimated.

    Parameters
    ----------
    correction : float, default=0.5
        Final weight of a correction for the error of the interpolation, from 0 to 1. The error is measured on
        the output of the network for the whole image. The weight grows from 0 during the training. 0 takes
        two thirds of the time, and is .1 dB better for photos under strong noise; 1 suits pages of text.

    References
    ----------
    T. Huang, S. Li, X. Jia, H. Lu and J. Liu, "Neighbor2Neighbor: self-supervised denoising from single noisy
    images", CVPR (2021), takes an adjacent pixel for the target.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import FoldedUNetNetwork, ImageDenoiser
    >>> from sk_denoise.datasets import load_images
    >>> clean = [image[:192, :192] for image in load_images("gray").train[:4]]
    >>> noisy = [x + np.random.default_rng(i).normal(0, 0.1, x.shape) for i, x in enumerate(clean)]
    >>> small = FoldedUNetNetwork((16, 24), blocks=(1, 1))
    >>> denoiser = ImageDenoiser(small, objective="neighbours", batch_size=4, max_epochs=8, random_state=0)
    >>> denoised = denoiser.fit(noisy).predict(noisy)
    >>> bool(np.mean((denoised[0] - clean[0]) ** 2) < 0.5 * 0.1**2)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "correction": [Interval(Real, 0, 1, closed="both")],
    }
    kinds = ("images",)
    # The network must take images of half the size.
    halves_images = True

    def __init__(self, correction: float = 0.5) -> None:
        self.correction = correction

    def make_pair(self, samples: NoisySamples) -> TrainingPair:
        """Return images of half the size, and their pixels from the others."""
        values = samples.values
        _check_has_neighbours(values)
        cells = _cells_of(values)
        draws = torch.randint(
            cells.shape[-1], (len(values),), device=values.device, generator=samples.generator
        )
        chosen = draws.reshape(-1, *(1,) * (cells.ndim - 1)).expand(*cells.shape[:-1], 1)
        target = _take(_cells_of(_interpolate(values)), chosen)
        weight = self.correction * samples.progress
        if weight and samples.denoise is not None:
            # A quarter of the samples, with four times the weight, has the same mean gradient in less time.
            part = slice(None, None, CORRECTED_EVERY)
            denoised = samples.denoise(values[part]).to(values.dtype)
            errors = _take(_cells_of(denoised - _interpolate(denoised)), chosen[part])
            target[part] += CORRECTED_EVERY * weight * errors
        level = None if samples.noise is None else samples.mean_level()
        return TrainingPair(_take(cells, chosen), target, level=level)


class BlindSpotObjective(_BaseObjective):
    """Learn hidden entries from the others, under independent noise.

    A pixel is hidden by a random one of the 5 x 5 around it, and a column of a table by its mean. The network
    learns the hidden entries. It never sees the noise of its target, so nothing about the noise need be
    known but its independence. For images, the output hardly uses the pixel itself, which "neighbours" does.

    Parameters
    ----------
    fraction : float, default=0.25
        Share of the entries that are hidden, between 0 and 1.

    References
    ----------
    J. Batson and L. Royer, "Noise2Self: blind denoising by self-supervision", ICML (2019); A. Krull, T.-O.
    Buchholz and F. Jug, "Noise2Void: learning denoising from single noisy images", CVPR (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import BlindSpotObjective, DenoisingAutoencoder
    >>> X = load_digits().data / 16
    >>> noisy = X + np.random.default_rng(0).normal(0, 0.25, X.shape)
    >>> objective = BlindSpotObjective(fraction=0.3)
    >>> dae = DenoisingAutoencoder(objective=objective, latent_dim=16, max_epochs=10, random_state=0)
    >>> denoised = dae.fit(noisy).predict(noisy)
    >>> bool(((denoised - X) ** 2).mean() < 0.7 * 0.25**2)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "fraction": [Interval(Real, 0, 1, closed="neither")],
    }
    kinds = ("table", "images")
    needs_entry_weights = True

    def __init__(self, fraction: float = 0.25) -> None:
        self.fraction = fraction

    def make_pair(self, samples: NoisySamples) -> TrainingPair:
        """Return samples with hidden entries, and the samples."""
        values = samples.values
        if samples.kind == "images":
            _check_has_neighbours(values)
        # All channels of a pixel are hidden together, since their noise may be common.
        shape = values.shape[:3] if samples.kind == "images" else values.shape
        draws = torch.rand(shape, device=values.device, generator=samples.generator)
        hidden = draws < self.fraction
        # At least one entry of each sample is hidden, so that its weights are finite.
        hidden |= draws == draws.flatten(1).amin(1).reshape(-1, *(1,) * (draws.ndim - 1))
        if samples.kind == "images":
            fill = _draw_neighbours(values, samples.generator)
        else:
            # Without the sample itself, since its noise must not reach the input.
            fill = (values.sum(0, keepdim=True) - values) / max(1, len(values) - 1)
        if hidden.ndim < values.ndim:
            hidden = hidden[..., None].expand_as(values)
        weight = hidden / hidden.float().mean()
        level = None if samples.noise is None else samples.mean_level()
        return TrainingPair(torch.where(hidden, fill, values), values, weight, level)


def resolve_objective(objective: Any) -> Objective | None:
    """Return the objective of the parameter of an estimator, None for "supervised"."""
    if isinstance(objective, str):
        if objective == "supervised":
            return None
        known: Mapping[str, Any] = {"supervised": None, **OBJECTIVES}
        made: Objective = check_one_of(objective, known, "objective")()
        return made
    if isinstance(objective, type) or not isinstance(objective, Objective):
        raise ValueError(
            f"objective must be one of {['supervised', *OBJECTIVES]}, or an object with make_pair, "
            f"needs_noise and kinds, such as RecorruptObjective(share=0.4). Got {objective!r}."
        )
    # A fit must not see later changes of the parameter.
    copied = clone(objective, safe=False)
    if isinstance(copied, _BaseObjective):
        copied.check()
    return copied  # type: ignore[no-any-return]


def _check_has_neighbours(images: Tensor) -> None:
    """Refuse samples of a single pixel."""
    height, width = images.shape[1:3]
    if height * width < 2:
        raise ValueError(
            "The objective learns pixels from their neighbours, and the samples have n_features=1. It takes "
            "images or signals of at least 2 entries."
        )


def _cells_of(images: Tensor) -> Tensor:
    """Return the pixels of cells of 2 x 2, or of two in narrow images."""
    n, height, width, *channels = images.shape
    rows, columns = 1 + (height > 1), 1 + (width > 1)
    cropped = images[:, : height // rows * rows, : width // columns * columns]
    cells = cropped.reshape(n, height // rows, rows, width // columns, columns, *channels)
    # Numbers of the pixels of a cell last.
    return cells.movedim((2, 4), (-2, -1)).flatten(-2)


def _interpolate(images: Tensor) -> Tensor:
    """Return pixels interpolated from those at odd distances."""
    _, height, width, *channels = images.shape
    planes = images[:, None] if not channels else images.movedim(3, 1)
    flat = planes.reshape(-1, 1, height, width)
    estimates = []
    for side, axis in ((height, 2), (width, 3)):
        if side < 2:
            continue
        kernel = torch.tensor(CUBIC if side > 3 else LINEAR, dtype=images.dtype, device=images.device)
        margin = len(kernel) // 2
        # Reflection keeps distances odd, so that no pixel of the same half enters.
        if axis == 2:
            padded = pad(flat, (0, 0, margin, margin), mode="reflect")
            estimates.append(conv2d(padded, kernel[None, None, :, None]))
        else:
            padded = pad(flat, (margin, margin, 0, 0), mode="reflect")
            estimates.append(conv2d(padded, kernel[None, None, None]))
    mean = torch.stack(estimates).mean(0).reshape(planes.shape)
    return mean[:, 0] if not channels else mean.movedim(1, 3)


def _take(cells: Tensor, numbers: Tensor) -> Tensor:
    return cells.gather(-1, numbers)[..., 0]


def _draw_neighbours(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return for each pixel a random other one of the 5 x 5 around it."""
    n, height, width, *channels = images.shape
    y, x = (min(MAX_DISTANCE, side // 2) for side in (height, width))
    n_choices = (2 * y + 1) * (2 * x + 1)
    # Numbers of the offsets in reading order, without the one in the middle.
    draws = torch.randint(n_choices - 1, (n, height, width), device=images.device, generator=generator)
    draws += draws >= n_choices // 2
    places = []
    for side, offset, axis in ((height, draws // (2 * x + 1) - y, 1), (width, draws % (2 * x + 1) - x, 2)):
        start = torch.arange(side, device=images.device).reshape(-1, *(1,) * (2 - axis))
        place = start + offset
        # Beyond an edge, the pixel at the same distance on the other side, which is never the pixel itself
        places.append(torch.where((place < 0) | (place >= side), start - offset, place))
    index = (places[0] * width + places[1]).reshape(n, height * width, *(1,) * len(channels))
    drawn = images.flatten(1, 2).gather(1, index.expand(n, height * width, *channels))
    return drawn.reshape(images.shape)
