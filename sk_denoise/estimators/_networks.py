"""The table of networks that an estimator can be given by name, and the specs behind the names.

A spec is a scikit-learn estimator with parameters and ``build(input_shape, latent_dim)``, as a kernel is
in Gaussian processes: so its parameters can be searched, cloned and saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from torch import nn

from sk_denoise._random import borrowed_global_state, stream, stream_seed
from sk_denoise._validation import check_one_of, check_parameters
from sk_denoise.networks import ACTIVATIONS, DenseAutoencoder, SeededModule

__all__ = [
    "NETWORKS",
    "DenseNetwork",
    "NetworkSpec",
    "build_network",
    "resolve_network",
]


@runtime_checkable
class NetworkSpec(Protocol):
    """What an estimator asks of a network spec."""

    def build(self, input_shape: tuple[int, ...], latent_dim: int) -> nn.Module: ...


class DenseNetwork(BaseEstimator):
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
        Activation of the output, one of the same. "auto" is "sigmoid" with the loss "bce" and
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

    _parameter_constraints: ClassVar[dict[str, Any]] = {"hidden_layer_sizes": ["array-like"]}

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
        check_parameters(self, self._parameter_constraints)
        widths = list(self.hidden_layer_sizes)
        if not all(np.issubdtype(type(width), np.integer) and width >= 1 for width in widths):
            raise ValueError(
                f"hidden_layer_sizes must hold integers of at least 1, got {self.hidden_layer_sizes!r}."
            )
        names = {
            "activation": self.activation,
            "latent_activation": self.latent_activation,
            "output_activation": "identity" if self.output_activation == "auto" else self.output_activation,
        }
        for what, name in names.items():
            check_one_of(name, ACTIVATIONS, what)
        return DenseAutoencoder(input_shape, latent_dim, widths, **names)


NETWORKS: dict[str, type[DenseNetwork]] = {"dense": DenseNetwork}


def resolve_network(network: Any, loss: Any) -> Any:
    """Return a spec or callable for what a user may pass as ``network``, its "auto" output settled."""
    if isinstance(network, str):
        network = check_one_of(network, NETWORKS, "network")()
    if isinstance(network, nn.Module):
        raise ValueError(
            f"network={type(network).__name__}(...) is a module that was built already; every fit needs a "
            "fresh one. Pass its class, a function of (input_shape, latent_dim), or a spec."
        )
    if _is_spec(network):
        if getattr(network, "output_activation", None) == "auto":
            settled = "sigmoid" if loss == "bce" else "identity"
            network = clone(network).set_params(output_activation=settled)
        return network
    if callable(network):
        return network
    raise ValueError(
        f"network must be one of {list(NETWORKS)}, a spec such as DenseNetwork(...), or a class or function "
        f"that takes (input_shape, latent_dim) and gives a torch.nn.Module. Got {network!r}."
    )


def build_network(network: Any, input_shape: tuple[int, ...], latent_dim: int, root: int) -> nn.Module:
    """Return a network with fresh weights, in single precision.

    Networks of ours draw them from the root seed's stream, wherever they stand in the module. Others draw
    from torch's global state, which is lent to them.
    """
    build = network.build if _is_spec(network) else network
    with borrowed_global_state(stream_seed(root, "weights")):
        module = build(input_shape, latent_dim)
    if not isinstance(module, nn.Module):
        raise TypeError(f"network must give a torch.nn.Module, got {type(module).__name__}.")
    module = module.float()
    for number, part in enumerate(module.modules()):
        if isinstance(part, SeededModule):
            part.reset_parameters(stream(root, "weights", number))
    _check_shapes(module, input_shape)
    return module


def _is_spec(network: Any) -> bool:
    return isinstance(network, NetworkSpec) and not isinstance(network, type)


def _check_shapes(module: nn.Module, input_shape: tuple[int, ...]) -> None:
    probe = torch.zeros(2, *input_shape, dtype=torch.float32)
    with torch.no_grad():
        output = module.eval()(probe)
    if not isinstance(output, torch.Tensor) or output.shape != probe.shape:
        got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise ValueError(
            f"The network must map a batch of shape {tuple(probe.shape)} to one of the same shape, it gave "
            f"{got}."
        )
