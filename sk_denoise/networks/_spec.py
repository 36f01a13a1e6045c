"""Base classes of the network specs; only this module imports scikit-learn."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import BaseEstimator
from torch import nn

from sk_denoise._compat import DocumentationLinkMixin
from sk_denoise._validation import Interval, StrOptions, check_one_of, check_parameters
from sk_denoise.networks._base import ACTIVATIONS, CONVOLUTIONS

__all__ = [
    "AT_LEAST_ONE",
    "AutoencoderSpec",
    "GridAutoencoderSpec",
    "ImageNetworkSpec",
    "SignalNetworkSpec",
    # networks take these from here, so that they need no other import of scikit-learn
    "Interval",
    "StrOptions",
]

AT_LEAST_ONE = [Interval(Integral, 1, None, closed="left")]


class BaseNetworkSpec(DocumentationLinkMixin, BaseEstimator):
    """Base of the specs, scikit-learn estimators with a method ``build``.

    They are what kernels are to Gaussian processes: the parameters of a network can be searched, cloned and
    saved. The spec describes and checks them, once; the module takes them by the same names and trusts them.
    """

    meant_for: ClassVar[str]
    """The estimator that trains the network."""

    _module: ClassVar[type[nn.Module]]
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}
    # Parameters that hold the sizes of layers, and the number of sizes that they hold at least
    _size_parameters: ClassVar[dict[str, int]] = {}

    def _checked_parameters(self) -> dict[str, Any]:
        """Check the parameters and return those of the module, sizes as lists of integers."""
        check_parameters(self, self._parameter_constraints)
        sizes = {name: self._checked_sizes(name, least) for name, least in self._size_parameters.items()}
        # Keyword-only parameters of the module; a subclass of a user may have other ones than these.
        taken = inspect.signature(self._module).parameters.values()
        names = [parameter.name for parameter in taken if parameter.kind is parameter.KEYWORD_ONLY]
        return {name: sizes[name] if name in sizes else getattr(self, name) for name in names}

    def _checked_sizes(self, name: str, least: int) -> list[int]:
        sizes = getattr(self, name)
        check_parameters(self, {name: ["array-like"]})
        whole = all(np.issubdtype(type(size), np.integer) and size >= 1 for size in sizes)
        if not whole or len(sizes) < least:
            kind = "integers of at least 1" + (", at least one of them" if least else "")
            raise ValueError(f"{name} must hold {kind}, got {sizes!r}.")
        return [int(size) for size in sizes]


class AutoencoderSpec(BaseNetworkSpec):
    """A spec for ``DenoisingAutoencoder``."""

    meant_for: ClassVar[str] = "DenoisingAutoencoder"
    activation: str
    latent_activation: str
    output_activation: str

    def build(self, input_shape: Sequence[int], latent_dim: int) -> nn.Module:
        """Build the network; an estimator draws its weights again.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one sample as the network receives it: ``(features,)``, ``(channels, length)`` or
            ``(channels, height, width)``.
        latent_dim : int
            Length of the latent vector, or channels of the latent map.

        Returns
        -------
        torch.nn.Module
            With the parts ``encoder`` and ``decoder``.
        """
        parameters = {**self._checked_parameters(), **self._checked_activations()}
        self._check_shape(input_shape, latent_dim)
        return self._module(input_shape, latent_dim, **parameters)

    def _check_shape(self, input_shape: Sequence[int], latent_dim: int) -> None:
        if min([*input_shape, latent_dim]) < 1:
            raise ValueError(
                f"Every side and layer needs at least one entry, got samples of shape {tuple(input_shape)} "
                f"and latent_dim={latent_dim}."
            )

    def _checked_activations(self) -> dict[str, str]:
        names = {
            "activation": self.activation,
            "latent_activation": self.latent_activation,
            "output_activation": "identity" if self.output_activation == "auto" else self.output_activation,
        }
        for parameter, name in names.items():
            check_one_of(name, ACTIVATIONS, parameter)
        return names


class GridAutoencoderSpec(AutoencoderSpec):
    """A spec of a convolutional network for ``DenoisingAutoencoder``."""

    # Entries of a signal share a unit and those of a table do not: other rows arrive as (batch, 1, length),
    # scaled and corrupted as one.
    rows_are_signals: ClassVar[bool] = True

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"kernel_size": AT_LEAST_ONE}
    kernel_size: int

    def _check_shape(self, input_shape: Sequence[int], latent_dim: int) -> None:
        if len(input_shape) - 1 not in CONVOLUTIONS:
            raise ValueError(
                "A convolutional network takes samples of shape (channels, length) or "
                f"(channels, height, width), got {tuple(input_shape)}."
            )
        super()._check_shape(input_shape, latent_dim)
        if self.kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size must be odd, so that a kernel has a middle, got {self.kernel_size}."
            )


class ImageNetworkSpec(BaseNetworkSpec):
    """A spec for ``ImageDenoiser``."""

    meant_for: ClassVar[str] = "ImageDenoiser"

    def build(self, channels: int, noise_map: bool) -> nn.Module:
        """Build the network; an estimator draws its weights again.

        Parameters
        ----------
        channels : int
            Channels of the images.
        noise_map : bool
            Whether a map of the noise level follows them as the last channel of the input: its standard
            deviation at each pixel, in the unit of the image.

        Returns
        -------
        torch.nn.Module
            Maps images ``(batch, channels [+ 1], height, width)`` to ``(batch, channels, height, width)``.
        """
        if channels < 1:
            raise ValueError(f"A network for images needs at least one channel, got channels={channels}.")
        parameters = self._checked_parameters()
        self._check_sizes()
        return self._module(channels, noise_map, **parameters)

    def _check_sizes(self) -> None:
        """Check sizes that depend on each other."""


class SignalNetworkSpec(BaseNetworkSpec):
    """A spec for ``SignalDenoiser``."""

    meant_for: ClassVar[str] = "SignalDenoiser"
    kernel_size: int
    residual: bool | Literal["auto"]

    def build(self, channels: int) -> nn.Module:
        """Build the network; an estimator draws its weights again.

        Parameters
        ----------
        channels : int
            Channels of the signals.

        Returns
        -------
        torch.nn.Module
            Maps signals ``(batch, channels, length)`` to the same shape.
        """
        if channels < 1:
            raise ValueError(f"A network for signals needs at least one channel, got channels={channels}.")
        parameters = self._checked_parameters()
        if self.kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size must be odd, so that a kernel has a middle, got {self.kernel_size}."
            )
        # An estimator settles it by the data.
        residual = True if self.residual == "auto" else self.residual
        return self._module(channels, **{**parameters, "residual": residual})
