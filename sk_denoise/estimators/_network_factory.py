"""Networks by name, as specs or as functions of users, built for an estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from numpy.typing import NDArray
from sklearn.base import clone
from torch import nn

from sk_denoise import _registry
from sk_denoise._random import borrowed_global_state, stream, stream_seed
from sk_denoise._registry import LazyTable, networks_of
from sk_denoise._scaling import AffineScaler
from sk_denoise._validation import Noiser, as_tensor, check_one_of, specification_key
from sk_denoise.estimators._pairs import Pair
from sk_denoise.estimators._preparation import ImageLayout, Preparation, SampleLayout
from sk_denoise.networks import AlongRows, Bounded, SeededModule
from sk_denoise.noise import find_blocks
from sk_denoise.training import check_loss

__all__ = [
    "IMAGE_NETWORKS",
    "NETWORKS",
    "AutoencoderFactory",
    "ImageNetworkFactory",
    "NetworkFactory",
    "SIGNAL_NETWORKS",
    "SignalNetworkFactory",
]

NETWORKS: LazyTable[type[Any]] = LazyTable(networks_of("DenoisingAutoencoder"))
IMAGE_NETWORKS: LazyTable[type[Any]] = LazyTable(networks_of("ImageDenoiser"))
SIGNAL_NETWORKS: LazyTable[type[Any]] = LazyTable(networks_of("SignalDenoiser"))
EVERY_NETWORK: LazyTable[type[Any]] = LazyTable(_registry.NETWORKS)
# Slack of the range from black to white, for single precision.
ROUNDING = 1e-4
# Entries of a channel, at most, from which its scaling is learned, and quantiles that limit them
MAX_SCALED_ENTRIES, WILD_SHARES = 2**20, (0.0005, 0.9995)


@runtime_checkable
class NetworkSpec(Protocol):
    """An object with a method that builds the network."""

    build: Callable[..., nn.Module]


def _resolve(network: Any, table: Mapping[str, type[Any]], estimator: str, arguments: str) -> Any:
    """Return the spec or callable of the parameter ``network`` of an estimator.

    Parameters
    ----------
    network : object
        The parameter, as the user passed it.
    table : mapping of str to type
        Specs by name.
    estimator : str
        Name of the class of the estimator.
    arguments : str
        Arguments that a class or function of the user receives.
    """
    if isinstance(network, str):
        # A network of the other estimator is refused below, with the name of the estimator that takes it.
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
            f"{network!r} is a network for {meant_for}. {estimator} takes {', '.join(map(repr, table))}."
        )
    if is_spec(network) or callable(network):
        return network
    raise ValueError(
        f"network must be one of {list(table)}, a spec such as {next(iter(table.values())).__name__}(...), "
        f"or a class or function that takes {arguments} and gives a torch.nn.Module. Got {network!r}."
    )


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


@dataclass(frozen=True)
class AutoencoderFactory:
    """Builds networks for samples of one shape, through a latent vector.

    Attributes
    ----------
    parameter : str, spec, class or callable
        The parameter ``network`` of the estimator.
    latent_dim : int
        Length of the latent vector.
    loss : str, dict or callable
        The parameter ``loss``, which may need an output in [0, 1].
    image_shape : tuple of int or None
        The parameter ``image_shape``.
    scaling : {"standard", "robust", "quantile"}
        The parameter ``scaling``.
    """

    parameter: Any
    latent_dim: int
    loss: Any
    image_shape: Sequence[int] | None
    scaling: Literal["standard", "robust", "quantile"] = "standard"
    # No channel of the noise level is added to the input.
    has_noise_map: ClassVar[bool] = False

    @cached_property
    def network(self) -> Any:
        """The spec of the network, or the function that makes it."""
        network = _resolve(self.parameter, NETWORKS, "DenoisingAutoencoder", "(input_shape, latent_dim)")
        if getattr(network, "output_activation", None) == "auto":
            settled = "sigmoid" if check_loss(self.loss).on_unit_interval else "identity"
            network = clone(network).set_params(output_activation=settled)
        return network

    @property
    def rows_are_signals(self) -> bool:
        """Whether rows are signals of shape ``(1, length)``, in one unit."""
        return bool(getattr(self.network, "rows_are_signals", False))

    def layout(self, sample_shape: tuple[int, ...]) -> SampleLayout:
        """Return the layout of samples of this shape."""
        return SampleLayout.of(sample_shape, self.image_shape, self.rows_are_signals)

    def batch_layout(self, sample_shape: tuple[int, ...], batch_shape: tuple[int, ...]) -> SampleLayout:
        """Return the layout of the samples in a training batch."""
        return self.layout(sample_shape)

    def input_shape(self, layout: SampleLayout) -> tuple[int, ...]:
        """Return the shape of one network input."""
        return layout.network_shape

    def build(self, layout: SampleLayout, on_unit_interval: bool, root: int) -> nn.Module:
        """Return the network with weights drawn from the root seed."""
        shape = layout.network_shape
        return build_network(self.network, (shape, self.latent_dim), shape, shape, root)

    def preparation(
        self, pair: Pair, layout: SampleLayout, noiser: Noiser | None, on_unit_interval: bool, root: int
    ) -> Preparation:
        """Learn the scaling of inputs and targets from a pair."""
        return Preparation.of(
            layout,
            as_tensor(pair.inputs),
            as_tensor(pair.targets),
            noiser,
            stream(root, "statistics"),
            scale_target=not on_unit_interval,
            has_black_and_white=pair.known_intensity is not None,
            is_robust=self.scaling == "robust",
            maps_quantiles=self.scaling == "quantile",
            blocks=self._blocks(as_tensor(pair.targets), noiser, layout),
        )

    def _blocks(
        self, clean: torch.Tensor, noiser: Noiser | None, layout: SampleLayout
    ) -> tuple[tuple[int, ...], ...]:
        """Return the one-hot blocks for the loss: those of the noise, or of the data."""
        if not check_loss(self.loss).by_block or len(layout.network_shape) > 1:
            return ()
        noisers = [noiser, *getattr(noiser, "noisers_", [])]
        blocks = next(
            (part.blocks_ for part in noisers if getattr(part, "blocks_", None)), find_blocks(clean)
        )
        for block in blocks:
            if clean[:, block].min() < 0 or clean[:, block].max() > 1:
                raise ValueError(
                    f"loss={self.loss!r} compares the columns {block} as the probabilities of categories, "
                    "and they have values outside of [0, 1]. Name the columns of a one-hot encoding as "
                    "blocks."
                )
        return tuple(map(tuple, blocks))

    def fixed_parameters(self) -> dict[str, Any]:
        """Return the parameters that must not change when a fit is continued."""
        return {
            "network": specification_key(self.parameter),
            "latent_dim": self.latent_dim,
            "scaling": self.scaling,
            "a loss by block": check_loss(self.loss).by_block,
        }

    def needs_unit_interval(self, clean: NDArray[Any], fitted: Preparation | None) -> bool:
        """Return whether the output is in [0, 1]; refuse clean data outside."""
        if check_loss(self.loss).on_unit_interval:
            cause = f"loss={self.loss!r}"
        elif getattr(self.network, "output_activation", None) == "sigmoid":
            cause = 'output_activation="sigmoid"'
            if check_loss(self.loss).by_block:
                raise ValueError(
                    f"loss={self.loss!r} has outputs of any size for categories, and {cause} limits them to "
                    '[0, 1]. Leave output_activation="auto".'
                )
        else:
            return False
        low, high = float(clean.min()), float(clean.max())
        if low < 0 or high > 1:
            raise ValueError(
                f"{cause} needs clean data in [0, 1], got values from {low:.4g} to {high:.4g}. Scale "
                'them to [0, 1], or use loss="mse" with output_activation="identity".'
            )
        return True

    def samples_for_noise(self, clean: NDArray[Any]) -> NDArray[Any]:
        """Return the clean samples that the noiser is fitted to."""
        return clean


@dataclass(frozen=True)
class ImageNetworkFactory:
    """Builds networks for images of any size, with or without a noise-level map.

    Attributes
    ----------
    parameter : str, spec, class or callable
        The parameter ``network`` of the estimator.
    sigma : {"blind", "map"}
        The parameter ``sigma``.
    loss : str, dict or callable
        The parameter ``loss``, which may need an output in [0, 1].
    image_shape : tuple of int or None
        The parameter ``image_shape``, for rows.
    """

    parameter: Any
    sigma: Literal["blind", "map"]
    loss: Any
    image_shape: Sequence[int] | None
    # Rows that are not flattened images are images of height 1.
    rows_are_signals: ClassVar[bool] = True

    @cached_property
    def network(self) -> Any:
        """The spec of the network, or the function that makes it."""
        return _resolve(self.parameter, IMAGE_NETWORKS, "ImageDenoiser", "(channels, noise_map)")

    @property
    def has_noise_map(self) -> bool:
        """Whether the last channel of the input is the noise level of each pixel."""
        return self.sigma == "map"

    def layout(self, sample_shape: tuple[int, ...]) -> SampleLayout:
        """Return the layout of samples of this shape."""
        is_row = len(sample_shape) == 1 and self.image_shape is None
        return SampleLayout.of(sample_shape, (1, *sample_shape) if is_row else self.image_shape)

    def batch_layout(self, sample_shape: tuple[int, ...], batch_shape: tuple[int, ...]) -> SampleLayout:
        """Return the layout of the patches in a training batch."""
        return ImageLayout(batch_shape, batch_shape)

    def input_shape(self, layout: SampleLayout) -> tuple[int, ...]:
        """Return the shape of one network input, with the noise-level map."""
        channels, height, width = layout.network_shape
        return channels + self.has_noise_map, height, width

    def build(self, layout: SampleLayout, on_unit_interval: bool, root: int) -> nn.Module:
        """Return the network with weights drawn from the root seed."""
        shape = layout.network_shape
        arguments = (shape[0], self.has_noise_map)
        module = build_network(self.network, arguments, self.input_shape(layout), shape, root)
        # A soft clip in place of a sigmoid: a network that predicts the noise could not pass the image
        # on through a sigmoid.
        return Bounded(module) if on_unit_interval else module

    def preparation(
        self, pair: Pair, layout: SampleLayout, noiser: Noiser | None, on_unit_interval: bool, root: int
    ) -> Preparation:
        """Return the scaling of black to 0 and of white to 1, of inputs and targets alike."""
        # One scale for both sides: the pixels that a residual network leaves alone keep their values.
        return Preparation.to_unit_range(layout, pair.intensity.black, pair.intensity.span)

    def fixed_parameters(self) -> dict[str, Any]:
        """Return the parameters that must not change when a fit is continued."""
        return {"network": specification_key(self.parameter), "sigma": self.sigma}

    def needs_unit_interval(self, clean: NDArray[Any], fitted: Preparation | None) -> bool:
        """Return whether the loss needs an output from black (0) to white (1)."""
        if not check_loss(self.loss).on_unit_interval:
            return False
        if fitted is not None:
            scaled = fitted.target_scaler.scale(as_tensor(clean))
            if scaled.min() < -ROUNDING or scaled.max() > 1 + ROUNDING:
                raise ValueError(
                    f"loss={self.loss!r} needs clean images between black and white of those of the first "
                    f"fit, got values from {clean.min():.4g} to {clean.max():.4g}."
                )
        return True

    def samples_for_noise(self, clean: NDArray[Any]) -> NDArray[Any]:
        """Return the pixels that the noiser is fitted to."""
        # Single pixels: the statistics of noise must not depend on the place where a patch was cut.
        return clean.reshape(-1, 1, 1, *clean.shape[3:])


@dataclass(frozen=True)
class SignalNetworkFactory(ImageNetworkFactory):
    """Builds networks for signals of any length, which are images of height 1.

    Attributes
    ----------
    predicts_noise : bool
        Whether a network with ``residual="auto"`` predicts the noise.
    """

    predicts_noise: bool = True

    @cached_property
    def network(self) -> Any:
        """The spec of the network, or the function that makes it."""
        network = _resolve(self.parameter, SIGNAL_NETWORKS, "SignalDenoiser", "(channels)")
        if getattr(network, "residual", None) == "auto":
            network = clone(network).set_params(residual=self.predicts_noise)
        return network

    def layout(self, sample_shape: tuple[int, ...]) -> SampleLayout:
        """Return the layout of samples of this shape."""
        # A declared shape: one row of many channels looks like an image with its channels first.
        return SampleLayout.of(sample_shape, sample_shape)

    def build(self, layout: SampleLayout, on_unit_interval: bool, root: int) -> nn.Module:
        """Return the network with weights drawn from the root seed."""
        channels, _, length = layout.network_shape
        shape = channels, length
        module = AlongRows(build_network(self.network, (channels,), shape, shape, root))
        return Bounded(module) if on_unit_interval else module

    def preparation(
        self, pair: Pair, layout: SampleLayout, noiser: Noiser | None, on_unit_interval: bool, root: int
    ) -> Preparation:
        """Return the scaling of each channel to zero mean and unit deviation."""
        if on_unit_interval:
            return super().preparation(pair, layout, noiser, on_unit_interval, root)
        channels = layout.to_network(as_tensor(pair.targets)).movedim(1, 0).flatten(1)
        step = max(1, channels.shape[1] // MAX_SCALED_ENTRIES)
        values = channels[:, ::step].double()
        # Entries far outside, such as lost contacts, would make all others small.
        low, high = (values.quantile(q, dim=1, keepdim=True) for q in WILD_SHARES)
        spread, center = torch.std_mean(values.clamp(low, high), dim=1, correction=0)
        # A rare pulse may lie outside of both quantiles.
        spread = torch.where(spread > 0, spread, values.std(dim=1, correction=0))
        spread = torch.where(spread > 0, spread, 1.0)
        shape = () if len(values) == 1 else (len(values), 1, 1)
        scaler = AffineScaler(center.reshape(shape), spread.reshape(shape))
        return Preparation(layout, scaler, None, scaler)

    def needs_unit_interval(self, clean: NDArray[Any], fitted: Preparation | None) -> bool:
        """Return whether the loss needs an output in [0, 1]."""
        if clean.ndim == 4 and check_loss(self.loss).on_unit_interval:
            raise ValueError(
                f"loss={self.loss!r} needs one range for all entries, and signals of several channels have "
                'several. Use loss="mse" or "mae".'
            )
        return super().needs_unit_interval(clean, fitted)


NetworkFactory = AutoencoderFactory | ImageNetworkFactory
