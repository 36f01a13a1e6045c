"""The base of the specs that stand beside the networks: the one module here that knows scikit-learn.

A spec is a scikit-learn estimator with parameters and a method ``build``, as a kernel is in Gaussian
processes: so its parameters can be searched, cloned and saved.
"""

from __future__ import annotations

from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator

from sk_denoise._compat import DocumentationLinkMixin
from sk_denoise._validation import Interval, StrOptions, check_one_of, check_parameters
from sk_denoise.networks._base import ACTIVATIONS

__all__ = [
    "ONE_OR_MORE",
    "AutoencoderSpec",
    "ImageNetworkSpec",
    "Interval",  # from here, so that no other network needs to know scikit-learn
    "StrOptions",
    "check_parameters",
    "sizes_of",
]

ONE_OR_MORE = [Interval(Integral, 1, None, closed="left")]


class AutoencoderSpec(DocumentationLinkMixin, BaseEstimator):
    """A spec for ``DenoisingAutoencoder``, built by ``build(input_shape, latent_dim)``."""

    meant_for: ClassVar[str] = "DenoisingAutoencoder"
    activation: str
    latent_activation: str
    output_activation: str

    def _activations(self) -> dict[str, str]:
        names = {
            "activation": self.activation,
            "latent_activation": self.latent_activation,
            "output_activation": "identity" if self.output_activation == "auto" else self.output_activation,
        }
        for what, name in names.items():
            check_one_of(name, ACTIVATIONS, what)
        return names


class ImageNetworkSpec(DocumentationLinkMixin, BaseEstimator):
    """A spec for ``ImageDenoiser``, built by ``build(channels, noise_map)``."""

    meant_for: ClassVar[str] = "ImageDenoiser"


def sizes_of(spec: BaseEstimator, name: str, at_least: int) -> list[int]:
    """Return the sizes of layers that the parameter ``name`` of a spec holds."""
    sizes = getattr(spec, name)
    check_parameters(spec, {name: ["array-like"]})
    whole = all(np.issubdtype(type(size), np.integer) and size >= 1 for size in sizes)
    if not whole or len(sizes) < at_least:
        kind = "integers of at least 1" + (", at least one of them" if at_least else "")
        raise ValueError(f"{name} must hold {kind}, got {sizes!r}.")
    return [int(size) for size in sizes]
