"""The networks that an estimator can be given: by name, as a spec, or as a user's own class or function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from sklearn.base import clone
from torch import nn

from sk_denoise import _registry
from sk_denoise._random import borrowed_global_state, stream, stream_seed
from sk_denoise._registry import Loaded, networks_of
from sk_denoise._validation import check_one_of
from sk_denoise.networks import SeededModule

__all__ = [
    "IMAGE_NETWORKS",
    "NETWORKS",
    "NetworkSpec",
    "build_network",
    "is_spec",
    "resolve_image_network",
    "resolve_network",
    "rows_are_signals",
]

NETWORKS: Loaded[type[Any]] = Loaded(networks_of("DenoisingAutoencoder"))
IMAGE_NETWORKS: Loaded[type[Any]] = Loaded(networks_of("ImageDenoiser"))
EVERY_NETWORK: Loaded[type[Any]] = Loaded(_registry.NETWORKS)


@runtime_checkable
class NetworkSpec(Protocol):
    """What an estimator asks of a network spec."""

    build: Callable[..., nn.Module]


def resolve_network(network: Any, *, on_unit_interval: bool) -> Any:
    """Return a spec or callable for what a user may pass as ``network``, its "auto" output settled."""
    network = _resolve_spec(network, NETWORKS, "DenoisingAutoencoder", "(input_shape, latent_dim)")
    if getattr(network, "output_activation", None) == "auto":
        settled = "sigmoid" if on_unit_interval else "identity"
        network = clone(network).set_params(output_activation=settled)
    return network


def resolve_image_network(network: Any) -> Any:
    """Return a spec or callable for what a user may pass as ``network`` to an ImageDenoiser."""
    return _resolve_spec(network, IMAGE_NETWORKS, "ImageDenoiser", "(channels, noise_map)")


def _resolve_spec(network: Any, table: Mapping[str, type[Any]], estimator: str, arguments: str) -> Any:
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
        # a network of the other estimator is refused below, which says what takes it
        known = EVERY_NETWORK if network in EVERY_NETWORK else table
        network = check_one_of(network, known, "network")()
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
    """Return whether a network reads rows that are no images as signals, ``(batch, 1, length)``."""
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
