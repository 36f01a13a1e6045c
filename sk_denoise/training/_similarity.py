"""Structural similarity as a loss: images compared by local brightness, contrast and structure."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d

__all__ = ["MultiScaleSimilarityLoss", "SimilarityLoss", "Units"]

WINDOW = 11  # pixels, the side of the Gaussian window
DEVIATION = 1.5  # pixels, of the window
STABILITY = (0.01**2, 0.03**2)  # of brightness and of contrast, for data of range one
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # from the finest scale to the coarsest
LEAST_FACTOR = 0.01  # of a scale; towards zero the slopes of powers below one have no limit


@dataclass(frozen=True, eq=False)
class Units:
    """How the unit of a network relates to that of the data: ``data = output * spread + center``.

    Without arguments, both are the same and the data lie in [0, 1].

    Attributes
    ----------
    center, spread : Tensor
        In the unit of the data, of a shape that broadcasts against a batch ``(n, channels, height, width)``
        or ``(n, features)``.
    low : float
        What counts as black in the clean data, in their unit.
    data_range : float
        The distance from black to white, above 0, in the same unit.
    """

    center: Tensor = field(default_factory=lambda: torch.zeros(()))
    spread: Tensor = field(default_factory=lambda: torch.ones(()))
    low: float = 0.0
    data_range: float = 1.0


class SimilarityLoss(nn.Module):
    """One minus the structural similarity (SSIM) of images, the mean over samples and channels.

    Images are compared in the unit of the data, brought to [0, 1]: SSIM changes when channels are scaled.
    As in the paper, the window is a Gaussian of 1.5 pixels cut to 11, moments are not corrected for the
    sample, and windows lie within the image. The window of smaller images is cut further, to the largest
    odd side that fits, and sums to one again. (:func:`sk_denoise.metrics.ssim` takes a uniform window for
    them.) At sides of 1 or 2 pixels brightness alone is compared.

    It computes in single precision at least, also under autocast: bfloat16 has too few digits for a variance
    that is a small difference of squares. Targets get no gradient.

    Parameters
    ----------
    units : Units
        Where black and white lie in the unit of the network.

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
            What the network gives and what it should.
        weight : Tensor of shape (n, 1, 1, 1), optional
            What each sample counts. The weighted sum is divided by the number of samples.

        Returns
        -------
        Tensor of shape ()
        """
        with torch.autocast(output.device.type, enabled=False):
            each = 1 - self.similarity(self._stacked(output), self._stacked(target.detach()))
        return each.mean() if weight is None else (each.view(len(output), -1) * weight.view(-1, 1)).mean()

    def similarity(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the similarity of each image of two stacks ``(1, images, height, width)`` in [0, 1]."""
        return _local_similarity(output, target)[0]

    def _stacked(self, images: Tensor) -> Tensor:
        """Return ``(1, n * channels, height, width)``, in [0, 1].

        A CPU blurs many times as fast where the same pixel of all images lies side by side. A GPU would
        leave that to cuDNN, which rounds to TensorFloat-32; with whole images torch's own kernels do it.
        """
        if images.dtype != torch.float64:
            images = images.float()
        stack = (images * self.gain + self.offset).flatten(0, 1)[None]
        on_cpu = stack.device.type == "cpu"
        return stack.contiguous(memory_format=torch.channels_last if on_cpu else torch.contiguous_format)


class MultiScaleSimilarityLoss(SimilarityLoss):
    """One minus the multi-scale structural similarity (MS-SSIM), the mean over samples and channels.

    Contrast and structure are compared at up to five scales, each half as fine as the one before (means of
    2 x 2 pixels; an odd last row or column is left out), and brightness at the last. The similarity is the
    product of the scales' means to the powers of the paper.

    There are as many scales as keep both sides at 11 pixels or more: five from 176 pixels on, four from 88,
    three from 44, two from 22, one below. The powers of fewer than five are scaled to sum to one. With one
    scale this is :class:`SimilarityLoss`. With several, a mean below 0.01 counts as that, because negative
    numbers have no such powers; the slope goes on there, so that an answer that is wrong can come back.

    Parameters
    ----------
    units : Units
        Where black and white lie in the unit of the network.

    References
    ----------
    Z. Wang, E. P. Simoncelli and A. C. Bovik, "Multiscale structural similarity for image quality
    assessment", Asilomar Conference on Signals, Systems and Computers (2003).
    """

    def similarity(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the similarity of each image of two stacks ``(1, images, height, width)`` in [0, 1]."""
        n_scales = _scales_within(min(output.shape[-2:]))
        whole, contrast = _local_similarity(output, target)
        if n_scales == 1:
            return whole
        factors = [contrast]
        for _ in range(1, n_scales):
            output, target = avg_pool2d(output, 2), avg_pool2d(target, 2)
            whole, contrast = _local_similarity(output, target)
            factors.append(contrast)
        factors[-1] = whole  # brightness counts at the coarsest scale alone
        weights = output.new_tensor(SCALE_WEIGHTS[:n_scales])
        means = torch.stack(factors, dim=-1)
        held = means + (means.clamp(min=LEAST_FACTOR) - means).detach()  # with the slope of the means
        return (held.log() * (weights / weights.sum())).sum(dim=-1).exp()


def _scales_within(side: int) -> int:
    """Return how many scales keep a side of a whole window, at least one."""
    return max(1, sum(side >> halvings >= WINDOW for halvings in range(len(SCALE_WEIGHTS))))


def _local_similarity(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return means over the windows of each image of two stacks ``(1, images, height, width)``.

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
    # the two variances only occur as their sum, so three blurs do, and one call for all of them
    blurred = _blurred(torch.cat([output, output * target, squares], dim=1), taps)
    mean_output, mean_product, mean_squares = blurred.chunk(3, dim=1)
    products = mean_output * mean_target
    squared_means = torch.addcmul(mean_target * mean_target, mean_output, mean_output)
    covariance = mean_product - products
    variances = (mean_squares - squared_means).clamp(min=0)  # rounding goes below
    for_brightness, for_contrast = STABILITY
    brightness = (2 * products + for_brightness) / (squared_means + for_brightness)
    contrast = (2 * covariance + for_contrast) / (variances + for_contrast)
    return (brightness * contrast).mean(dim=(0, 2, 3)), contrast.mean(dim=(0, 2, 3))


def _gaussian_taps(side: int) -> Tensor:
    """Return the window along one axis, with the largest odd length up to ``side``, of the sum one."""
    reach = (side - 1) // 2
    distances = torch.arange(-reach, reach + 1, dtype=torch.float64) / DEVIATION
    return torch.softmax(-distances.square() / 2, dim=0)


def _blurred(images: Tensor, taps: Tensor) -> Tensor:
    """Return weighted means of windows, first along columns, then along rows, where they fit."""
    n_images = images.shape[1]
    columns = taps.view(1, 1, -1, 1).repeat(n_images, 1, 1, 1)
    rows = columns.mT.contiguous()
    return conv2d(conv2d(images, columns, groups=n_images), rows, groups=n_images)
