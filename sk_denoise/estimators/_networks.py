"""The table of networks that an estimator can be given by name, and the specs behind the names.

A spec is a scikit-learn estimator with parameters and ``build(input_shape, latent_dim)``, as a kernel is
in Gaussian processes: so its parameters can be searched, cloned and saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from torch import nn

from sk_denoise._random import borrowed_global_state, stream, stream_seed
from sk_denoise._representation import DocumentationLinkMixin
from sk_denoise._validation import Interval, check_one_of, check_parameters
from sk_denoise.networks import (
    ACTIVATIONS,
    ConvAutoencoder,
    DenseAutoencoder,
    PoolingAutoencoder,
    SeededModule,
)

__all__ = [
    "NETWORKS",
    "ConvNetwork",
    "DenseNetwork",
    "NetworkSpec",
    "PoolingNetwork",
    "build_network",
    "is_spec",
    "resolve_network",
    "resolve_spec",
    "rows_are_signals",
    "sizes_of",
]


@runtime_checkable
class NetworkSpec(Protocol):
    """What an estimator asks of a network spec."""

    build: Callable[..., nn.Module]


KERNEL = {"kernel_size": [Interval(Integral, 1, None, closed="left")]}


def sizes_of(spec: BaseEstimator, name: str, at_least: int) -> list[int]:
    """Return the sizes of layers that the parameter ``name`` of a spec holds."""
    sizes = getattr(spec, name)
    check_parameters(spec, {name: ["array-like"]})
    whole = all(np.issubdtype(type(size), np.integer) and size >= 1 for size in sizes)
    if not whole or len(sizes) < at_least:
        kind = "integers of at least 1" + (", at least one of them" if at_least else "")
        raise ValueError(f"{name} must hold {kind}, got {sizes!r}.")
    return [int(size) for size in sizes]


class _AutoencoderSpec(DocumentationLinkMixin, BaseEstimator):
    """What the specs share: activations by name, and sizes that are checked when they are built."""

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


class DenseNetwork(_AutoencoderSpec):
    """Spec of a fully connected autoencoder, for ``DenoisingAutoencoder(network=...)``.

    The decoder mirrors the encoder: ``DenseNetwork((500, 300))`` with ``latent_dim=100`` is
    784-500-300-100-300-500-784 on data of 784 features.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(512,)
        Widths of the layers between input and latent vector; may be empty.
    activation : str, default="silu"
        Activation of the hidden layers: "identity", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh"
        or "sigmoid".
    latent_activation : str, default="identity"
        Activation of the latent vector, one of the same.
    output_activation : str, default="auto"
        Activation of the output, one of the same. "auto" is "sigmoid" with the losses "bce" and "kl", and
        "identity" otherwise. With "sigmoid" the clean data must lie in [0, 1].

    See Also
    --------
    DenoisingAutoencoder : Trains the network; ``latent_dim`` is its parameter.

    Examples
    --------
    >>> from sk_denoise import DenoisingAutoencoder, DenseNetwork
    >>> dae = DenoisingAutoencoder(DenseNetwork((500, 300)), latent_dim=100)
    >>> dae.set_params(network__activation="gelu").network
    DenseNetwork(activation='gelu', hidden_layer_sizes=(500, 300))
    """

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (512,),
        *,
        activation: str = "silu",
        latent_activation: str = "identity",
        output_activation: str = "auto",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.latent_activation = latent_activation
        self.output_activation = output_activation

    def build(self, input_shape: tuple[int, ...], latent_dim: int) -> nn.Module:
        """Return the network; an estimator draws its weights again.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one sample as the network sees it: ``(features,)`` or ``(channels, height, width)``.
        latent_dim : int
            Length of the latent vector.

        Returns
        -------
        torch.nn.Module
            With the parts ``encoder`` and ``decoder``.
        """
        widths = sizes_of(self, "hidden_layer_sizes", at_least=0)
        return DenseAutoencoder(input_shape, latent_dim, widths, **self._activations())


class ConvNetwork(_AutoencoderSpec):
    """Spec of a convolutional autoencoder, for ``DenoisingAutoencoder(network=...)``.

    Strided convolutions, each of which halves the sides of a picture or the length of a signal, dense
    layers to a latent vector, and the same way back by transposed convolutions. Any size from one entry
    on will do, odd ones too. Rows without ``image_shape`` are one-dimensional signals: spectra,
    electrocardiograms, time series.

    Parameters
    ----------
    channels : sequence of int, default=(32, 64)
        Channels after each of the encoder's convolutions; the decoder mirrors them.
    kernel_size : int, default=3
        Side of all kernels, odd.
    hidden_layer_sizes : sequence of int, default=(256,)
        Widths of the dense layers between the last convolution and the latent vector; may be empty.
    activation : str, default="silu"
        Activation of the hidden layers: "identity", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh"
        or "sigmoid".
    latent_activation : str, default="identity"
        Activation of the latent vector, one of the same.
    output_activation : str, default="auto"
        Activation of the output, one of the same. "auto" is "sigmoid" with the losses "bce" and "kl", and
        "identity" otherwise. With "sigmoid" the clean data must lie in [0, 1].

    See Also
    --------
    DenoisingAutoencoder : Trains the network; ``latent_dim`` is its parameter.
    PoolingNetwork : Keeps a small map in place of the latent vector.

    References
    ----------
    J. Masci, U. Meier, D. Ciresan and J. Schmidhuber, "Stacked convolutional auto-encoders for hierarchical
    feature extraction", ICANN (2011).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import ConvNetwork, DenoisingAutoencoder
    >>> pictures = load_digits().images[:200] / 16
    >>> dae = DenoisingAutoencoder(ConvNetwork((8, 16)), latent_dim=16, max_epochs=2, output="latent")
    >>> dae.fit(pictures).transform(pictures).shape
    (200, 16)
    """

    rows_are_signals: ClassVar[bool] = True

    def __init__(
        self,
        channels: Sequence[int] = (32, 64),
        *,
        kernel_size: int = 3,
        hidden_layer_sizes: Sequence[int] = (256,),
        activation: str = "silu",
        latent_activation: str = "identity",
        output_activation: str = "auto",
    ) -> None:
        self.channels = channels
        self.kernel_size = kernel_size
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.latent_activation = latent_activation
        self.output_activation = output_activation

    def build(self, input_shape: tuple[int, ...], latent_dim: int) -> nn.Module:
        """Return the network; an estimator draws its weights again.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one sample as the network sees it: ``(channels, length)`` or
            ``(channels, height, width)``.
        latent_dim : int
            Length of the latent vector.

        Returns
        -------
        torch.nn.Module
            With the parts ``encoder`` and ``decoder``.
        """
        check_parameters(self, KERNEL)
        return ConvAutoencoder(
            input_shape,
            latent_dim,
            sizes_of(self, "channels", at_least=1),
            kernel_size=self.kernel_size,
            hidden_layer_sizes=sizes_of(self, "hidden_layer_sizes", at_least=0),
            **self._activations(),
        )


class PoolingNetwork(_AutoencoderSpec):
    """Spec of an autoencoder that pools and upsamples, for ``DenoisingAutoencoder(network=...)``.

    Convolution and max-pooling by two, once for each of ``channels``; then convolution and upsampling back.
    The code is a small map with ``latent_dim`` channels rather than a vector: each of its positions knows its
    surroundings alone, and the number of weights does not depend on the size of the pictures. So it keeps
    more detail of large pictures than :class:`ConvNetwork`, and knows less of what they show.

    Parameters
    ----------
    channels : sequence of int, default=(32, 64)
        Channels of the encoder's convolutions; the decoder mirrors them.
    kernel_size : int, default=3
        Side of all kernels, odd.
    activation : str, default="silu"
        Activation of the hidden layers: "identity", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh"
        or "sigmoid".
    latent_activation : str, default="identity"
        Activation of the latent map, one of the same.
    output_activation : str, default="auto"
        Activation of the output, one of the same. "auto" is "sigmoid" with the losses "bce" and "kl", and
        "identity" otherwise. With "sigmoid" the clean data must lie in [0, 1].

    See Also
    --------
    DenoisingAutoencoder : Trains the network; ``latent_dim`` is its parameter.
    ConvNetwork : Has a latent vector.

    References
    ----------
    F. Chollet, "Building autoencoders in Keras", The Keras Blog (2016), section "Application to image
    denoising".

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import DenoisingAutoencoder, PoolingNetwork
    >>> pictures = load_digits().images[:200] / 16
    >>> dae = DenoisingAutoencoder(PoolingNetwork((8,)), latent_dim=4, max_epochs=2, output="latent")
    >>> dae.fit(pictures).transform(pictures).shape  # 4 channels of 4 x 4
    (200, 64)
    """

    rows_are_signals: ClassVar[bool] = True

    def __init__(
        self,
        channels: Sequence[int] = (32, 64),
        *,
        kernel_size: int = 3,
        activation: str = "silu",
        latent_activation: str = "identity",
        output_activation: str = "auto",
    ) -> None:
        self.channels = channels
        self.kernel_size = kernel_size
        self.activation = activation
        self.latent_activation = latent_activation
        self.output_activation = output_activation

    def build(self, input_shape: tuple[int, ...], latent_dim: int) -> nn.Module:
        """Return the network; an estimator draws its weights again.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one sample as the network sees it: ``(channels, length)`` or
            ``(channels, height, width)``.
        latent_dim : int
            Channels of the latent map.

        Returns
        -------
        torch.nn.Module
            With the parts ``encoder`` and ``decoder``.
        """
        check_parameters(self, KERNEL)
        return PoolingAutoencoder(
            input_shape,
            latent_dim,
            sizes_of(self, "channels", at_least=1),
            kernel_size=self.kernel_size,
            **self._activations(),
        )


NETWORKS: dict[str, type[_AutoencoderSpec]] = {
    "dense": DenseNetwork,
    "conv": ConvNetwork,
    "pooling": PoolingNetwork,
}


def resolve_network(network: Any, *, on_unit_interval: bool) -> Any:
    """Return a spec or callable for what a user may pass as ``network``, its "auto" output settled."""
    network = resolve_spec(network, NETWORKS, "DenoisingAutoencoder", "(input_shape, latent_dim)")
    if getattr(network, "output_activation", None) == "auto":
        settled = "sigmoid" if on_unit_interval else "identity"
        network = clone(network).set_params(output_activation=settled)
    return network


def resolve_spec(network: Any, table: Mapping[str, type[Any]], estimator: str, arguments: str) -> Any:
    """Return a spec or callable for what a user may pass as ``network`` to this estimator.

    Parameters
    ----------
    network : object
        What the user passed.
    table : mapping of str to type
        The specs that the estimator knows by name.
    estimator : str
        Whose network it is to be.
    arguments : str
        What a class or function of the user's is called with.
    """
    if isinstance(network, str):
        network = check_one_of(network, table, "network")()
    if isinstance(network, nn.Module):
        raise ValueError(
            f"network={type(network).__name__}(...) is a module that was built already; every fit needs a "
            f"fresh one. Pass its class, a function of {arguments}, or a spec."
        )
    meant_for = getattr(network, "meant_for", estimator)
    if meant_for != estimator:
        raise ValueError(
            f"{network!r} is a network for {meant_for}. {estimator} knows {', '.join(map(repr, table))}."
        )
    if is_spec(network) or callable(network):
        return network
    raise ValueError(
        f"network must be one of {list(table)}, a spec such as {next(iter(table.values())).__name__}(...), "
        f"or a class or function that takes {arguments} and gives a torch.nn.Module. Got {network!r}."
    )


def rows_are_signals(network: Any) -> bool:
    """Return whether a network reads rows that are no pictures as signals, ``(batch, 1, length)``."""
    return bool(getattr(network, "rows_are_signals", False))


def build_network(
    network: Any,
    arguments: tuple[Any, ...],
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    root: int,
) -> nn.Module:
    """Return a network with fresh weights, in single precision.

    Networks of ours draw them from the root seed's stream, wherever they stand in the module. Others draw
    from torch's global state, which is lent to them.
    """
    build = network.build if is_spec(network) else network
    with borrowed_global_state(stream_seed(root, "weights")):
        module = build(*arguments)
    if not isinstance(module, nn.Module):
        raise TypeError(f"network must give a torch.nn.Module, got {type(module).__name__}.")
    module = module.float()
    for number, part in enumerate(module.modules()):
        if isinstance(part, SeededModule):
            part.reset_parameters(stream(root, "weights", number))
    _check_shapes(module, input_shape, output_shape)
    return module


def is_spec(network: Any) -> bool:
    """Return whether it is an instance with a method ``build``."""
    return isinstance(network, NetworkSpec) and not isinstance(network, type)


def _check_shapes(module: nn.Module, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> None:
    probe = torch.zeros(2, *input_shape, dtype=torch.float32)
    with torch.no_grad():
        output = module.eval()(probe)
    if not isinstance(output, torch.Tensor) or output.shape != (2, *output_shape):
        got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        wanted = "the same shape" if input_shape == output_shape else f"shape {(2, *output_shape)}"
        raise ValueError(
            f"The network must map a batch of shape {tuple(probe.shape)} to one of {wanted}, it gave {got}."
        )
