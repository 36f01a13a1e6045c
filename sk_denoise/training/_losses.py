"""Losses: what a network is trained to make small.

A loss is a name in the registry, a mix ``{name: weight, ...}``, or anyone's function of output and target.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from sk_denoise._registry import LOSSES, LossEntry, LossTraits, load_entry
from sk_denoise._validation import check_one_of
from sk_denoise.training._similarity import Units

__all__ = [
    "LOSSES",
    "LossTraits",
    "Units",
    "build_criterion",
    "check_loss",
]

CHARBONNIER_WIDTH = 2.0**-10  # the papers' 1e-3, with a square that has an exact root: right answers give 0
LEAST_INTENSITY = 1e-6  # below the steps of 16 bits; slopes stay within a million


# Losses with a name -----------------------------------------------------------------------------------


class ByEntry(nn.Module):
    """A loss that compares entry by entry, of batches of any shape, and takes the mean.

    Parameters
    ----------
    function : callable
        Like those of :mod:`torch.nn.functional`: takes output, target and ``reduction``, "mean" or "none".
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map two batches to one number.

        Parameters
        ----------
        output, target : Tensor
            What the network gives and what it should, of the same shape.
        weight : Tensor, optional
            What each entry counts, of a shape that broadcasts against theirs. The sum of weighted entries is
            divided by their number, and not by the sum of the weights: what an entry counts does not depend
            on how many others count more. So corrupted entries are emphasised in P. Vincent et al., "Stacked
            denoising autoencoders", JMLR 11 (2010), section 4.

        Returns
        -------
        Tensor of shape ()
            At least 0, which a right answer gives.
        """
        if weight is None:
            return self.function(output, target)
        return (self.function(output, target, reduction="none") * weight).mean()


def charbonnier_loss(output: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return sqrt(d^2 + w^2) - w of errors d, or its mean: absolute error, smooth around 0.

    P. Charbonnier et al., "Two deterministic half-quadratic regularization algorithms for computed imaging",
    ICIP (1994); W.-S. Lai et al., "Deep Laplacian pyramid networks", CVPR (2017), whose w is 0.001. They do
    not take w off, which changes no slope.
    """
    each = (output - target).square().add(CHARBONNIER_WIDTH**2).sqrt()
    return (each.mean() if reduction == "mean" else each) - CHARBONNIER_WIDTH


class BinaryCrossEntropy(nn.Module):
    """Mean binary cross-entropy of probabilities, of any shape, with targets in [0, 1] of the same."""

    def forward(self, probability: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map two batches to one number, at least 0; ``weight`` is that of :class:`ByEntry`."""
        loss: Tensor = _CrossEntropy.apply(probability, target, weight)
        return loss


class _CrossEntropy(torch.autograd.Function):
    """Mean binary cross-entropy of probabilities, several times as fast on a CPU as torch's own.

    Torch takes its logarithms one by one. As there, they are held at -100 and above, and p (1 - p) at 1e-12.
    """

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
    """Mean generalised Kullback-Leibler divergence of intensities in [0, 1]: t log(t / p) - t + p.

    With the target t and the output p, this is Csiszar's I-divergence: at least 0, and 0 only where p is t.
    Up to terms without p it is the negative log-likelihood of photon counts with the mean p (a Poisson
    distribution), so the same error counts more in the dark. Keras' ``kl_divergence`` lacks the terms
    without a logarithm. It compares distributions, which sum to one; images do not, and for them it falls
    below 0 and is least where the whole answer is white.

    Target and output count as 1e-6 where they are less.

    References
    ----------
    I. Csiszar, "Why least squares and maximum entropy? An axiomatic approach to inference for linear inverse
    problems", Annals of Statistics 19 (1991).
    """

    def forward(self, intensity: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map two batches to one number, at least 0; ``weight`` is that of :class:`ByEntry`."""
        loss: Tensor = _Divergence.apply(intensity, target, weight)
        return loss


class _Divergence(torch.autograd.Function):
    """Mean generalised divergence with one logarithm; torch's ``xlogy`` takes five times as long.

    Like that of the cross-entropy, the slope goes on where an output is held, so that it can come back.
    """

    @staticmethod
    def forward(ctx: Any, intensity: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        output, target = intensity.clamp(min=LEAST_INTENSITY), target.clamp(min=LEAST_INTENSITY)
        ratio = target / output
        ctx.save_for_backward(ratio, weight)
        return _weighted_mean(ratio.log().mul_(target).sub_(target).add_(output), weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        ratio, weight = ctx.saved_tensors
        return _weighted_slope(1 - ratio, weight, gradients[0]), None, None


def _weighted_mean(each: Tensor, weight: Tensor | None) -> Tensor:
    """Return the mean of entries, which are overwritten."""
    return each.mean() if weight is None else each.mul_(weight).mean()


def _weighted_slope(slope: Tensor, weight: Tensor | None, gradient: Tensor) -> Tensor:
    """Return the gradient of a mean whose entries have this slope, which is overwritten."""
    slope.mul_(gradient / slope.numel())
    return slope if weight is None else slope.mul_(weight)


# Losses that are made of others -----------------------------------------------------------------------


class Mix(nn.Module):
    """A weighted sum of losses of the table.

    Parameters
    ----------
    losses : sequence of Module
        The losses.
    weights : sequence of float
        What each counts.
    """

    def __init__(self, losses: Sequence[nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.weights = list(weights)

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map two batches to one number; ``weight`` is that of :class:`ByEntry`, for losses that take it."""
        batches = (output, target) if weight is None else (output, target, weight)
        parts = zip(self.weights, self.losses, strict=True)
        return torch.stack([share * loss(*batches) for share, loss in parts]).sum()


class CustomLoss(nn.Module):
    """A user's function of output and target, whose answer is checked.

    Parameters
    ----------
    function : callable
        From two batches in the unit of the network to a tensor of shape (). A copy is kept, because training
        may move a module to another device.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = copy.deepcopy(function)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Map two batches to one number."""
        loss = self.function(output, target)
        if not (isinstance(loss, Tensor) and loss.numel() == 1):
            came = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise ValueError(
                f"loss={self.function!r} must return one number as a tensor, got {came}. Take the mean, say."
            )
        return loss.reshape(())


# Losses by name, as a mix, or as a function ----------------------------------------------------------


def check_loss(loss: object) -> LossTraits:
    """Check what a user may pass as ``loss``, and return what a fit must know of it.

    Parameters
    ----------
    loss : object
        A name in :data:`LOSSES`, a dict of names and weights above 0, or a function of output and target, of
        which nothing is known.

    Returns
    -------
    LossTraits
        Of a mix: on the unit interval or for images only as soon as one part is, by entry where all are.

    Raises
    ------
    ValueError
        For an unknown name, a mix of nothing, or a weight that is not a finite number above 0.
    TypeError
        For anything else, a class among it.
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
    """Return a fresh loss for a network whose unit relates to the data in this way.

    Parameters
    ----------
    loss : str, mapping or callable
        What :func:`check_loss` lets pass.
    units : Units
        For the losses that compare in the unit of the data. Functions of a user do it in that of the network.

    Returns
    -------
    Module
        Takes output and target, and a weight for each entry where the traits say so.
    """
    if isinstance(loss, str):
        return _build(LOSSES[loss], units)
    if isinstance(loss, Mapping):
        return Mix([_build(LOSSES[name], units) for name in loss], [float(w) for w in loss.values()])
    return CustomLoss(loss)


def _build(entry: LossEntry, units: Units) -> nn.Module:
    """Return a loss of the table."""
    loss = load_entry(entry)
    if not isinstance(loss, type):
        return ByEntry(loss)
    module: nn.Module = loss(units) if entry.images_only else loss()
    return module


def _check_mix(mix: Mapping[Any, Any]) -> list[LossEntry]:
    """Return the losses that a mix names."""
    if not mix:
        raise ValueError(f"A mix of losses needs at least one, got loss={mix!r}.")
    for name, weight in mix.items():
        number = isinstance(weight, Real) and not isinstance(weight, bool)
        if not (number and math.isfinite(weight) and weight > 0):
            raise ValueError(
                f"Weights of a mix of losses must be finite numbers above 0, got {weight!r} for {name!r}."
            )
    return [check_one_of(name, LOSSES, "loss") for name in mix]
