"""The networks that denoise images: those in the box, and those that users trained."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sk_denoise._intensity import DEVIATIONS, SLACK, IntensityRange
from sk_denoise._resources import Cost, cost_of
from sk_denoise._validation import check_one_of
from sk_denoise.estimators import ImageDenoiser
from sk_denoise.estimators._tiled_prediction import Guard, Restorer
from sk_denoise.estimators._training_domain import resolve_levels, warn_of_tiny_sigma
from sk_denoise.restoration._models import MODELS, shared_network

__all__ = ["Network", "network_for", "only_noise", "within_sight"]

Levels = NDArray[Any] | None
Seen = IntensityRange | None  # None: in the unit that a network of the user learned in
ANY_SIDE = 64  # pixels of the square that costs are counted for


class Network(Protocol):
    """What denoises an image.

    Attributes
    ----------
    n_channels : int
        That it takes at once.
    module : Module
        In evaluation mode; nobody changes it.
    """

    n_channels: int
    module: nn.Module

    def look(
        self, colors: NDArray[Any], sigma: ArrayLike | None, gain: float = 1.0
    ) -> tuple[Levels, list[Seen]]:
        """Return the noise levels of (1, height, width, channels), and the ranges to see such images in.

        Where there are two ranges, the first is for the places whose noise the network knows in it, and the
        second for the others. Levels are multiplied by a gain: three equal channels have the same noise,
        which weighs as much as independent noise that is the square root of three times as strong.
        """

    def knows(self, levels: NDArray[Any], seen: Seen) -> NDArray[np.bool_]:
        """Return where the network knows the noise, in images that it sees in a range."""

    def restorer(self, module: nn.Module, seen: Seen, **options: Any) -> Restorer:
        """Return the network, or a copy of it on another device, at work on images that it sees so."""


class NetworkInTheBox:
    """One that knows white Gaussian noise on photos, and is shown any range and strength as what it knows."""

    def __init__(self, name: str) -> None:
        check_one_of(name, {"auto": None, **MODELS}, "model")
        self.module: nn.Module = shared_network(name)
        self.n_channels, self._strongest = MODELS[name].channels, MODELS[name].max_sigma

    def look(
        self, colors: NDArray[Any], sigma: ArrayLike | None, gain: float = 1.0
    ) -> tuple[Levels, list[Seen]]:
        levels = resolve_levels(sigma, colors)
        most = float(levels.max())
        counted = IntensityRange.of(colors[0], most)
        if sigma is not None:
            check_sigma(most, colors, counted)
        levels, most = levels * gain, most * gain
        plain = counted.seen(colors[0], SLACK + DEVIATIONS * most / counted.span)
        dark = plain.widened(most / self._strongest)
        known = self.knows(levels, plain)
        return levels, [dark] if known.all() or not known.any() else [plain, dark]

    def knows(self, levels: NDArray[Any], seen: Seen) -> NDArray[np.bool_]:
        assert seen is not None
        return np.asarray(levels <= self._strongest * seen.span)

    def restorer(self, module: nn.Module, seen: Seen, **options: Any) -> Restorer:
        assert seen is not None
        whole = cost_of(module, (self.n_channels + 1, ANY_SIDE, ANY_SIDE))
        cost = Cost(whole.flops // ANY_SIDE**2, -(-whole.widest // ANY_SIDE**2))
        return Restorer.of(
            module,
            cost,
            black=seen.black,
            data_range=seen.span,
            tells_level=True,
            guard=Guard(partial(within_sight, strongest=self._strongest), only_noise),
            **options,
        )


class NetworkOfAUser:
    """One that knows the noise and the unit of its fit, and sees images of other units as in that one."""

    def __init__(self, denoiser: ImageDenoiser) -> None:
        check_is_fitted(denoiser)
        self._denoiser, self.module = denoiser, denoiser.net_.module_
        self.n_channels = denoiser.patch_shape_[2] if len(denoiser.patch_shape_) == 3 else 1

    def look(
        self, colors: NDArray[Any], sigma: ArrayLike | None, gain: float = 1.0
    ) -> tuple[Levels, list[Seen]]:
        if self._denoiser.noise_levels_ is None and sigma is not None:
            raise ValueError('This network learned to do without sigma (sigma="blind"). Pass sigma=None.')
        levels = None if self._denoiser.noise_levels_ is None else resolve_levels(sigma, colors)
        if levels is not None and sigma is not None and self._denoiser.intensity_range_ is not None:
            most = float(levels.max())
            check_sigma(most, colors, IntensityRange.of(colors[0], most))
        (seen,) = self._denoiser._ranges_of(colors, levels)
        if levels is not None:
            known = self._denoiser._limit_levels(levels, seen, is_given=sigma is not None, name="image")
            levels = np.minimum(gain * known, self._denoiser._max_level_in(seen))
        return levels, [seen]

    def knows(self, levels: NDArray[Any], seen: Seen) -> NDArray[np.bool_]:
        return np.ones(np.shape(levels), bool)

    def restorer(self, module: nn.Module, seen: Seen, **options: Any) -> Restorer:
        return self._denoiser.restorer(seen, network=module, **options)


def check_sigma(sigma: float, colors: NDArray[Any], counted: IntensityRange) -> None:
    """Refuse a level of noise that images (n, height, width, channels) have no room for.

    One that is far too small for their numbers, as a share of [0, 1] is for integers, gets a warning.

    Raises
    ------
    ValueError
        Where it cannot be in the unit of the image.
    """
    low, high = float(colors.min()), float(colors.max())
    if sigma > max(counted.span, high - low, abs(low), abs(high)):
        raise ValueError(
            f"sigma reaches {sigma:.4g}, and the numbers of image {low:.4g} to {high:.4g}. It is in the unit "
            "of image: for floats in [0, 1] a share of that, for integers grey levels."
        )
    warn_of_tiny_sigma(sigma, colors, "image")


def network_for(model: str | ImageDenoiser, image: NDArray[Any]) -> Network:
    """Return the network that an image is denoised by; "auto" takes the one in the box that fits."""
    if isinstance(model, ImageDenoiser):
        return NetworkOfAUser(model)
    if model == "auto":
        model = "rgb" if image.ndim == 3 and image.shape[2] in (3, 4) else "gray"
    return NetworkInTheBox(model)


ERROR = 1 / 255  # where noise is as weak as this, what the networks take away is as wrong as it is right


def within_sight(shown: NDArray[Any], strongest: float) -> NDArray[Any]:
    """Cut what is shown to a network to what noise makes of black and white, in place, and return it.

    Parameters
    ----------
    shown : ndarray of shape (n, height, width, channels + 1)
        Images, and the level of their noise as a last channel.
    strongest : float
        What levels are cut to.
    """
    np.minimum(shown[..., -1], strongest, out=shown[..., -1])
    image, (low, high) = shown[..., :-1], _sight(shown)
    np.clip(image, low, high, out=image)
    return shown


def _sight(shown: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    noise = SLACK + DEVIATIONS * shown[..., -1:]
    return -noise, 1 + noise


def only_noise(shown: NDArray[Any], answers: NDArray[Any]) -> NDArray[Any]:
    """Return of what networks take away what can be white Gaussian noise of the level that they were told.

    Noise hardly ever lies further than five deviations from 0, so neither may what is taken away: what is
    clean lies in that range, and to move an answer to the nearest point of it brings it nearer to what is
    clean. Thus a star remains that a network has never seen the like of. What was cut for the networks to
    see it stays as it is. And of noise that is weaker than the networks' own error less is taken away: at
    best ``sigma**2 / (sigma**2 + error**2)`` of it, for errors that know nothing of the noise (Wiener's
    filter). A power of 4 fits both networks better; what comes of it is measured by
    ``benchmarks/photos.py --only strengths``.

    Parameters
    ----------
    shown : ndarray of shape (n, height, width, channels + 1)
        Images within sight, from black (0) to white (1), and the level of their noise.
    answers : ndarray of shape (n, height, width, channels)
        What the network answered.
    """
    image, levels, (low, high) = shown[..., :-1], shown[..., -1:], _sight(shown)
    fourth = np.square(np.square(levels / ERROR))
    noise: NDArray[Any] = image - answers
    noise *= fourth / (1 + fourth)
    np.clip(noise, -DEVIATIONS * levels, DEVIATIONS * levels, out=noise)
    noise[(image <= low) | (image >= high)] = 0
    return noise
