"""The networks that denoise pictures: those in the box, and those that users trained."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sk_denoise._cost import Cost, cost_of
from sk_denoise._validation import check_one_of
from sk_denoise.estimators import ImageDenoiser
from sk_denoise.estimators._told_levels import found_levels, limited_levels
from sk_denoise.estimators._whole_pictures import Guard, Restorer
from sk_denoise.restoration._models import MODELS, shared_network
from sk_denoise.restoration._view import (
    UNKNOWN_NOISE,
    View,
    check_sigma,
    only_noise,
    plain_view,
    within_sight,
)

__all__ = ["Network", "network_for"]

Levels = NDArray[Any] | None
ANY_SIDE = 64  # pixels of the square that costs are counted for
DRAWS = 16  # of the noise that a network learned from, on black and on white patches


class Network(Protocol):
    """What denoises a picture.

    Attributes
    ----------
    n_channels : int
        That it takes at once.
    module : Module
        In evaluation mode; nobody changes it.
    """

    n_channels: int
    module: nn.Module

    def look(self, colors: NDArray[Any], sigma: ArrayLike | None) -> tuple[Levels, list[View]]:
        """Return how strong the noise is on (1, height, width, channels), and how to show such a picture.

        Where there are two views, the first is for the places whose noise the network knows in it, and the
        second for the others.
        """

    def knows(self, levels: NDArray[Any], view: View) -> NDArray[np.bool_]:
        """Tell where the network knows the noise, in a view."""

    def restorer(self, module: nn.Module, view: View, **options: Any) -> Restorer:
        """Return the network, or a copy of it on another device, at work on pictures that are seen so."""


class NetworkInTheBox:
    """One that knows white Gaussian noise on photos, and is shown any range and strength as what it knows."""

    def __init__(self, name: str) -> None:
        check_one_of(name, {"auto": None, **MODELS}, "model")
        self.module: nn.Module = shared_network(name)
        self.n_channels, self._strongest = MODELS[name].channels, MODELS[name].strongest

    def look(self, colors: NDArray[Any], sigma: ArrayLike | None) -> tuple[Levels, list[View]]:
        levels = found_levels(sigma, colors)
        if sigma is not None:
            check_sigma(float(levels.max()), colors[0])
        plain = plain_view(colors[0], float(levels.max()), spreads_faint=True)
        dark = plain.darkened(float(levels.max()), self._strongest)
        known = self.knows(levels, plain)
        return levels, [dark] if known.all() or not known.any() else [plain, dark]

    def knows(self, levels: NDArray[Any], view: View) -> NDArray[np.bool_]:
        return np.asarray(levels <= self._strongest * view.span)

    def restorer(self, module: nn.Module, view: View, **options: Any) -> Restorer:
        whole = cost_of(module, (self.n_channels + 1, ANY_SIDE, ANY_SIDE))
        cost = Cost(whole.flops // ANY_SIDE**2, -(-whole.widest // ANY_SIDE**2))
        return Restorer.of(
            module,
            cost,
            black=view.black,
            data_range=view.span,
            tells_level=True,
            guard=Guard(partial(within_sight, strongest=self._strongest), only_noise),
            **options,
        )


class NetworkOfAUser:
    """One that knows whatever it learned from: what is beyond black and white is spread, and nothing else."""

    def __init__(self, denoiser: ImageDenoiser) -> None:
        check_is_fitted(denoiser)
        self._denoiser, self.module = denoiser, denoiser.net_.module_
        self.n_channels = denoiser.patch_shape_[2] if len(denoiser.patch_shape_) == 3 else 1

    def look(self, colors: NDArray[Any], sigma: ArrayLike | None) -> tuple[Levels, list[View]]:
        known, white = self._denoiser.noise_levels_, self._denoiser.white_
        if known is None and sigma is not None:
            raise ValueError('This network learned to do without sigma (sigma="blind"). Pass sigma=None.')
        levels = None if known is None else found_levels(sigma, colors)
        view = View(0.0, 1.0)
        if white is not None:
            if sigma is not None and levels is not None:
                check_sigma(float(levels.max()), colors[0])
            most = None if levels is None else float(levels.max())
            seen = plain_view(colors[0], most, spreads_faint=False, unknown=self._reach_of_noise(white))
            view = View(seen.black, seen.span / white)
        if known is None or levels is None:
            return None, [view]
        was_told = sigma is not None
        return limited_levels(levels, view.span * known[1], was_told=was_told, name="image"), [view]

    def _reach_of_noise(self, white: float) -> float:
        """Return how far beyond black and white numbers were in training, as a share of the range."""
        noiser = self._denoiser.noiser_
        if noiser is None:
            return UNKNOWN_NOISE
        shape = self._denoiser.patch_shape_
        black_and_white = torch.cat([torch.zeros(DRAWS, *shape), torch.full((DRAWS, *shape), white)])
        noisy = noiser.corrupt(black_and_white, torch.Generator().manual_seed(0)) / white
        return max(UNKNOWN_NOISE, -float(noisy.min()), float(noisy.max()) - 1)

    def knows(self, levels: NDArray[Any], view: View) -> NDArray[np.bool_]:
        return np.ones(np.shape(levels), bool)

    def restorer(self, module: nn.Module, view: View, **options: Any) -> Restorer:
        return self._denoiser.restorer(view.span, view.black, network=module, **options)


def network_for(model: str | ImageDenoiser, picture: NDArray[Any]) -> Network:
    """Return the network that a picture is denoised by; "auto" takes the one in the box that fits."""
    if isinstance(model, ImageDenoiser):
        return NetworkOfAUser(model)
    if model == "auto":
        model = "rgb" if picture.ndim == 3 and picture.shape[2] in (3, 4) else "gray"
    return NetworkInTheBox(model)
