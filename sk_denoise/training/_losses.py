"""Losses by name, as a mix ``{name: weight, ...}``, or as a function of the user."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d

from sk_denoise._registry import LOSSES, LossEntry, LossTraits, load_entry
from sk_denoise._scaling import FINITE_TENSOR
from sk_denoise._schema import BLOCKS, NUMBER, POSITIVE_NUMBER, Rule
from sk_denoise._validation import check_one_of

__all__ = [
    "LOSSES",
    "LossTraits",
    "MultiScaleSimilarityLoss",
    "SimilarityLoss",
    "Units",
    "build_criterion",
    "check_loss",
]

# Width of the bend of the Charbonnier loss: the papers' 1e-3, but with a square that has an exact root, so
# that a perfect output gives 0
CHARBONNIER_WIDTH = 2.0**-10
# Lowest intensity in the Kullback-Leibler divergence: below the steps of 16 bits, and gradients stay within
# a million
MIN_INTENSITY = 1e-6

# Side of the Gaussian window of SSIM and its standard deviation, in pixels
WINDOW = 11
WINDOW_DEVIATION = 1.5
# Stability constants of brightness and of contrast, for data of range one
STABILITY = (0.01**2, 0.03**2)
# Powers of the scales of MS-SSIM, from the finest to the coarsest
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Lowest mean of a scale: towards zero the gradients of powers below one have no limit
MIN_SCALE_MEAN = 0.01


# Unit of the network ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Units:
    """Relation between the units of network and data.

    ``data = output * spread + center``. By default both are the same and the data lie in [0, 1].

    Attributes
    ----------
    center, spread : Tensor
        In the unit of the data, of a shape that broadcasts against a batch ``(n, channels, height, width)``
        or ``(n, features)``.
    low : float
        Black of the clean data, in their unit.
    data_range : float
        Distance from black to white, above 0, in the same unit.
    blocks : tuple of tuple of int
        Columns of each block of a one-hot encoding.
    """

    # Saved files hold this name.
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "center": FINITE_TENSOR,
        "spread": FINITE_TENSOR,
        "low": NUMBER,
        "data_range": POSITIVE_NUMBER,
        "blocks": BLOCKS,
    }
    center: Tensor = field(default_factory=lambda: torch.zeros(()))
    spread: Tensor = field(default_factory=lambda: torch.ones(()))
    low: float = 0.0
    data_range: float = 1.0
    blocks: tuple[tuple[int, ...], ...] = ()


# Losses of entries ------------------------------------------------------------------------------------


class ByEntry(nn.Module):
    """The mean of a loss of entries, for batches of any shape.

    Parameters
    ----------
    function : callable
        Takes output, target and ``reduction``, "mean" or "none", as in :mod:`torch.nn.functional`.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map two batches to one number.

        Parameters
        ----------
        output, target : Tensor
            Output of the network and its target, of the same shape.
        weight : Tensor, optional
            Weight of each entry, of a shape that broadcasts against theirs. The sum of weighted entries is
            divided by their number, and not by the sum of the weights, so that the weight of an entry does
            not depend on the others. So corrupted entries are emphasised in P. Vincent et al., "Stacked
            denoising autoencoders", JMLR 11 (2010), section 4.

        Returns
        -------
        Tensor of shape ()
            At least 0; a perfect output gives 0.
        """
        if weight is None:
            return self.function(output, target)
        return (self.function(output, target, reduction="none") * weight).mean()


def charbonnier_loss(output: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return sqrt(d^2 + w^2) - w of errors d: the absolute error, smooth around 0.

    P. Charbonnier et al., "Two deterministic half-quadratic regularization algorithms for computed imaging",
    ICIP (1994); W.-S. Lai et al., "Deep Laplacian pyramid networks", CVPR (2017), with a w of 0.001. They do
    not subtract w, which changes no gradient.
    """
    each = (output - target).square().add(CHARBONNIER_WIDTH**2).sqrt()
    return (each.mean() if reduction == "mean" else each) - CHARBONNIER_WIDTH


class BinaryCrossEntropy(nn.Module):
    """Mean binary cross-entropy of probabilities, with targets in [0, 1]."""

    def forward(self, probability: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map two batches to one number, at least 0; ``weight`` as with :class:`ByEntry`."""
        loss: Tensor = _CrossEntropy.apply(probability, target, weight)
        return loss


class _CrossEntropy(torch.autograd.Function):
    """Mean binary cross-entropy, six times as fast on a CPU as torch's own."""

    # Torch takes its logarithms one by one. As there, they are at least -100, and p (1 - p) is at least
    # 1e-12.

    @staticmethod
    def forward(ctx: Any, probability: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        ctx.save_for_backward(probability, target, weight)
        of_one = probability.log().clamp_(min=-100)
        of_zero = probability.neg().log1p_().clamp_(min=-100)
        return _weighted_mean(of_zero.lerp_(of_one, target), weight).neg_()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        probability, target, weight = ctx.saved_tensors
        variance = torch.addcmul(probability, probability, probability, value=-1).clamp_(min=1e-12)
        slope = (probability - target).div_(variance)
        return _weighted_slope(slope, weight, gradients[0]), None, None


class KullbackLeibler(nn.Module):
    """Mean generalised Kullback-Leibler divergence of intensities in [0, 1].

    With the target t and the output p, t log(t / p) - t + p is Csiszar's I-divergence: at least 0, and 0
    only if p is t. Up to terms without p it is the negative log-likelihood of photon counts with the mean p
    (a Poisson distribution), so the same error has more weight in the dark. Keras' ``kl_divergence`` lacks
    the terms without a logarithm. It compares distributions, which sum to one; images do not, and for them
    it falls below 0 and is lowest for an all-white output.

    Values below 1e-6 count as 1e-6.

    References
    ----------
    I. Csiszar, "Why least squares and maximum entropy? An axiomatic approach to inference for linear inverse
    problems", Annals of Statistics 19 (1991).
    """

    def forward(self, intensity: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map two batches to one number, at least 0; ``weight`` as with :class:`ByEntry`."""
        loss: Tensor = _Divergence.apply(intensity, target, weight)
        return loss


class _Divergence(torch.autograd.Function):
    """Mean generalised divergence with one logarithm."""

    # Torch's xlogy takes five times as long. As with the cross-entropy, outputs beyond the limit keep a
    # gradient, so that they can return.

    @staticmethod
    def forward(ctx: Any, intensity: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        output, target = intensity.clamp(min=MIN_INTENSITY), target.clamp(min=MIN_INTENSITY)
        ratio = target / output
        ctx.save_for_backward(ratio, weight)
        return _weighted_mean(ratio.log().mul_(target).sub_(target).add_(output), weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        ratio, weight = ctx.saved_tensors
        return _weighted_slope(1 - ratio, weight, gradients[0]), None, None


def _weighted_mean(each: Tensor, weight: Tensor | None) -> Tensor:
    """Return the mean of entries, and overwrite them."""
    return each.mean() if weight is None else each.mul_(weight).mean()


def _weighted_slope(slope: Tensor, weight: Tensor | None, gradient: Tensor) -> Tensor:
    """Return the gradient of the mean of entries from theirs, and overwrite it."""
    slope.mul_(gradient / slope.numel())
    return slope if weight is None else slope.mul_(weight)


class MixedLoss(nn.Module):
    """Cross-entropy of one-hot blocks, squared error of other columns.

    The mean over the columns of the original table, in which a block is one column. The outputs of a block
    are logits. Without blocks it is the mean squared error.

    Parameters
    ----------
    units : Units
        Has the columns of the blocks.
    """

    columns: Tensor
    is_filled: Tensor

    def __init__(self, units: Units) -> None:
        super().__init__()
        self.blocks = units.blocks
        width = max(map(len, self.blocks), default=0)
        # Blocks of all sizes in one array, filled up by their first column.
        rows = [[*block, *block[:1] * (width - len(block))] for block in self.blocks]
        columns = torch.tensor(rows, dtype=torch.long).reshape(len(rows), width)
        sizes = torch.tensor([[len(block)] for block in self.blocks], dtype=torch.long)
        self.register_buffer("columns", columns, persistent=False)
        is_filled = torch.arange(width) >= sizes.reshape(-1, 1)
        self.register_buffer("is_filled", is_filled, persistent=False)

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map two batches to one number, at least 0; ``weight`` as with :class:`ByEntry`.

        The weight of a block is that of its first column.
        """
        errors = (output - target).square()
        if not self.blocks:
            return (errors if weight is None else errors * weight).mean()
        logits = output[:, self.columns].masked_fill(self.is_filled, -math.inf)
        # The logarithm of zero would be infinite where nothing stands.
        surprise = -torch.log_softmax(logits, dim=2).masked_fill(self.is_filled, 0.0)
        entropies = (surprise * target[:, self.columns]).sum(dim=2)
        is_free = torch.ones(output.shape[1], dtype=torch.bool, device=output.device)
        is_free[self.columns.reshape(-1)] = False
        if weight is not None:
            weight = weight.expand_as(output)
            errors, entropies = errors * weight, entropies * weight[:, self.columns[:, 0]]
        n_columns = int(is_free.sum()) + len(self.blocks)
        return (errors[:, is_free].sum() + entropies.sum()) / (len(output) * n_columns)


# Losses of images -------------------------------------------------------------------------------------


class SimilarityLoss(nn.Module):
    """One minus the structural similarity (SSIM) of images.

    The mean over samples and channels. Images are compared in the unit of the data, brought to [0, 1]: SSIM
    changes when channels are scaled. As in the paper, the window is a Gaussian of 1.5 pixels cut to 11,
    moments are not corrected for the sample, and windows lie within the image. The window of smaller images
    is cut further, to the largest odd side that fits, and sums to one again.
    (:func:`sk_denoise.metrics.ssim` takes a uniform window for them.) At sides of 1 or 2 pixels brightness
    alone is compared.

    Computed in single precision at least, also under autocast. Targets get no gradient.

    Parameters
    ----------
    units : Units
        Black and white in the unit of the network.

    References
    ----------
    Z. Wang, A. C. Bovik, H. R. Sheikh and E. P. Simoncelli, "Image quality assessment: from error visibility
    to structural similarity", IEEE Transactions on Image Processing 13 (2004).
    """

    gain: Tensor
    offset: Tensor

    def __init__(self, units: Units) -> None:
        super().__init__()
        self.register_buffer("gain", (units.spread / units.data_range).float())
        self.register_buffer("offset", ((units.center - units.low) / units.data_range).float())

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map two batches of images to one number from 0 to 2.

        Parameters
        ----------
        output, target : Tensor of shape (n, channels, height, width)
            Output of the network and its target.
        weight : Tensor of shape (n, 1, 1, 1), optional
            Weight of each sample. The weighted sum is divided by the number of samples.

        Returns
        -------
        Tensor of shape ()
        """
        # bfloat16 has too few digits for a variance, a small difference of squares.
        with torch.autocast(output.device.type, enabled=False):
            each = 1 - self.similarity(self._stacked(output), self._stacked(target.detach()))
        return each.mean() if weight is None else (each.view(len(output), -1) * weight.view(-1, 1)).mean()

    def similarity(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the similarity of each image of stacks ``(1, images, height, width)``."""
        return _local_similarity(output, target)[0]

    def _stacked(self, images: Tensor) -> Tensor:
        """Return a stack ``(1, n * channels, height, width)`` of images in [0, 1]."""
        if images.dtype != torch.float64:
            images = images.float()
        stack = (images * self.gain + self.offset).flatten(0, 1)[None]
        # A CPU blurs many times as fast if the same pixel of all images lies side by side. A GPU would leave
        # that to cuDNN, which rounds to TensorFloat-32; with whole images torch's own kernels compute it.
        on_cpu = stack.device.type == "cpu"
        return stack.contiguous(memory_format=torch.channels_last if on_cpu else torch.contiguous_format)


class MultiScaleSimilarityLoss(SimilarityLoss):
    """One minus the multi-scale structural similarity (MS-SSIM) of images.

    The mean over samples and channels. Contrast and structure are compared at up to five scales, each half
    as fine as the one before (means of 2 x 2 pixels; an odd last row or column is left out), and brightness
    at the last. The similarity is the product of the scales' means to the powers of the paper.

    There are as many scales as keep both sides at 11 pixels or more: five from 176 pixels on, four from 88,
    three from 44, two from 22, one below. The powers of fewer than five are scaled to sum to one. With one
    scale this is :class:`SimilarityLoss`. With several, a mean below 0.01 counts as 0.01, because negative
    numbers have no such powers; its gradient stays, so that a wrong output can recover.

    Parameters
    ----------
    units : Units
        Black and white in the unit of the network.

    References
    ----------
    Z. Wang, E. P. Simoncelli and A. C. Bovik, "Multiscale structural similarity for image quality
    assessment", Asilomar Conference on Signals, Systems and Computers (2003).
    """

    def similarity(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the similarity of each image of stacks ``(1, images, height, width)``."""
        n_scales = _scales_within(min(output.shape[-2:]))
        whole, contrast = _local_similarity(output, target)
        if n_scales == 1:
            return whole
        factors = [contrast]
        for _ in range(1, n_scales):
            output, target = avg_pool2d(output, 2), avg_pool2d(target, 2)
            whole, contrast = _local_similarity(output, target)
            factors.append(contrast)
        # Brightness is compared at the coarsest scale alone.
        factors[-1] = whole
        weights = output.new_tensor(SCALE_WEIGHTS[:n_scales])
        means = torch.stack(factors, dim=-1)
        # The values of the clamp, with the gradients of the means
        clamped = means + (means.clamp(min=MIN_SCALE_MEAN) - means).detach()
        return (clamped.log() * (weights / weights.sum())).sum(dim=-1).exp()


def _scales_within(side: int) -> int:
    """Return the number of scales with a side of at least a window, at least one."""
    return max(1, sum(side >> halvings >= WINDOW for halvings in range(len(SCALE_WEIGHTS))))


def _local_similarity(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the local similarity of each image of two stacks, averaged over windows.

    Parameters
    ----------
    output, target : Tensor of shape (1, images, height, width)
        The stacks.

    Returns
    -------
    Tensor of shape (images,)
        Mean similarity.
    Tensor of shape (images,)
        The same without brightness: contrast and structure.
    """
    taps = _gaussian_taps(min(WINDOW, *output.shape[-2:])).to(output)
    squares = torch.addcmul(target * target, output, output)
    mean_target = _blurred(target, taps)
    # The two variances only occur as their sum, so three blurs suffice, in one call.
    blurred = _blurred(torch.cat([output, output * target, squares], dim=1), taps)
    mean_output, mean_product, mean_squares = blurred.chunk(3, dim=1)
    products = mean_output * mean_target
    squared_means = torch.addcmul(mean_target * mean_target, mean_output, mean_output)
    covariance = mean_product - products
    # Rounding leads a little below zero.
    variances = (mean_squares - squared_means).clamp(min=0)
    brightness_constant, contrast_constant = STABILITY
    brightness = (2 * products + brightness_constant) / (squared_means + brightness_constant)
    contrast = (2 * covariance + contrast_constant) / (variances + contrast_constant)
    return (brightness * contrast).mean(dim=(0, 2, 3)), contrast.mean(dim=(0, 2, 3))


def _gaussian_taps(side: int) -> Tensor:
    """Return the Gaussian window along one axis, of the largest odd length."""
    radius = (side - 1) // 2
    distances = torch.arange(-radius, radius + 1, dtype=torch.float64) / WINDOW_DEVIATION
    return torch.softmax(-distances.square() / 2, dim=0)


def _blurred(images: Tensor, taps: Tensor) -> Tensor:
    """Return weighted means of the windows that lie within the images."""
    n_images = images.shape[1]
    columns = taps.view(1, 1, -1, 1).repeat(n_images, 1, 1, 1)
    rows = columns.mT.contiguous()
    return conv2d(conv2d(images, columns, groups=n_images), rows, groups=n_images)


# Losses that are made of others -----------------------------------------------------------------------


class Mix(nn.Module):
    """A weighted sum of losses of the table.

    Parameters
    ----------
    losses : sequence of Module
        The losses.
    weights : sequence of float
        Weight of each.
    """

    def __init__(self, losses: Sequence[nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.weights = list(weights)

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map two batches to one number; ``weight`` as with :class:`ByEntry`."""
        batches = (output, target) if weight is None else (output, target, weight)
        parts = zip(self.weights, self.losses, strict=True)
        return torch.stack([share * loss(*batches) for share, loss in parts]).sum()


class CustomLoss(nn.Module):
    """A function of the user, with a check of its result.

    Parameters
    ----------
    function : callable
        From output and target, in the unit of the network, to a tensor of shape ().
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        # Training may move a module to another device, and the user's should stay.
        self.function = copy.deepcopy(function)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Map two batches to one number."""
        loss = self.function(output, target)
        if not (isinstance(loss, Tensor) and loss.numel() == 1):
            result = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise ValueError(
                f"loss={self.function!r} must return one number as a tensor, got {result}. "
                "Take the mean, say."
            )
        return loss.reshape(())


# Losses by name, as a mix, or as a function ----------------------------------------------------------


def check_loss(loss: object) -> LossTraits:
    """Check the parameter ``loss`` of an estimator, and return its traits.

    Parameters
    ----------
    loss : object
        A name in :data:`LOSSES`, a dict of names and weights above 0, or a function of output and target,
        which has the default traits.

    Returns
    -------
    LossTraits
        A mix is on the unit interval, for images only or by block if any part is, and by entry or by sample
        if all are.

    Raises
    ------
    ValueError
        For an unknown name, a mix of nothing, or a weight that is not a finite number above 0.
    TypeError
        For anything else, such as a class.
    """
    if isinstance(loss, str):
        return check_one_of(loss, LOSSES, "loss")
    if isinstance(loss, Mapping):
        parts = _check_mix(loss)
        return LossTraits(
            on_unit_interval=any(part.on_unit_interval for part in parts),
            takes_entry_weights=all(part.takes_entry_weights for part in parts),
            takes_sample_weights=all(part.takes_sample_weights for part in parts),
            images_only=any(part.images_only for part in parts),
            by_block=any(part.by_block for part in parts),
        )
    if isinstance(loss, type):
        name = loss.__name__
        raise TypeError(f"loss={name} is a class, which is not called with batches. Did you mean {name}()?")
    if callable(loss):
        return LossTraits()
    raise TypeError(
        f"loss must be one of {list(LOSSES)}, a dict of weights such as {{'mse': 1.0, 'ssim': 0.1}}, or a "
        f"function of output and target that gives one number. Got {loss!r}."
    )


def build_criterion(loss: Any, units: Units) -> nn.Module:
    """Create the module of a loss.

    Parameters
    ----------
    loss : str, mapping or callable
        A loss that passes :func:`check_loss`.
    units : Units
        Unit of the network. Losses of images compare in the unit of the data, others in that of the network.

    Returns
    -------
    Module
        Takes output and target, and weights if the traits allow them.
    """
    if isinstance(loss, str):
        return _build(LOSSES[loss], units)
    if isinstance(loss, Mapping):
        return Mix([_build(LOSSES[name], units) for name in loss], [float(w) for w in loss.values()])
    return CustomLoss(loss)


def _build(entry: LossEntry, units: Units) -> nn.Module:
    """Create a loss of the table."""
    loss = load_entry(entry)
    if not isinstance(loss, type):
        return ByEntry(loss)
    module: nn.Module = loss(units) if entry.images_only or entry.by_block else loss()
    return module


def _check_mix(mix: Mapping[Any, Any]) -> list[LossEntry]:
    """Check a mix, and return the entries of its losses."""
    if not mix:
        raise ValueError(f"A mix of losses needs at least one, got loss={mix!r}.")
    for name, weight in mix.items():
        number = isinstance(weight, Real) and not isinstance(weight, bool)
        if not (number and math.isfinite(weight) and weight > 0):
            raise ValueError(
                f"Weights of a mix of losses must be finite numbers above 0, got {weight!r} for {name!r}."
            )
    return [check_one_of(name, LOSSES, "loss") for name in mix]
