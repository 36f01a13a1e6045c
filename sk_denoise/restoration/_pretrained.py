"""Pretrained models, and networks that restore images."""

from __future__ import annotations

import copy
import json
import threading
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sk_denoise import _registry
from sk_denoise._intensity import DEVIATIONS, SLACK, IntensityRange, without_alpha
from sk_denoise._noise_level import estimate_scale_levels
from sk_denoise._random import root_seed
from sk_denoise._resources import Cost, cost_of
from sk_denoise._validation import check_one_of
from sk_denoise.estimators import ImageDenoiser, SignalDenoiser
from sk_denoise.estimators._tiled_prediction import ResidualClipper, TiledPredictor
from sk_denoise.estimators._training_domain import resolve_levels, warn_of_tiny_sigma
from sk_denoise.networks.folded_unet import FoldedUNet, FoldedUNetNetwork
from sk_denoise.noise import CameraNoiser, DownscaleNoiser, GaussianNoiser

__all__ = [
    "MODELS",
    "BlindNetwork",
    "ImageNetwork",
    "PretrainedModel",
    "cached_network",
    "load_pretrained",
    "select_network",
]

WEIGHTS = Path(__file__).parent / "weights"
# Learning rate of a fit that continues. At ten times that, the first steps destroy the weights.
FINE_TUNING_RATE = 2e-4
# Metadata of files whose network is larger than the default one.
SIZES = ("widths", "blocks")
# Share of the range beyond black and white that a blind network takes as noise.
BLIND_MARGIN = 0.25
# Side in pixels of the image that the cost of a network is computed for: a multiple of all strides.
COST_SIDE = 8

_LOADING = threading.Lock()

Levels = NDArray[Any] | None
# None is the unit that the network of a user was trained in.
InputRange = IntensityRange | None


# Pretrained models ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PretrainedModel:
    """A pretrained network; its weights are part of the package.

    Attributes
    ----------
    name : str
        Name of the model.
    channels : int
        Number of channels of its images: 1 or 3.
    max_sigma : float
        Largest noise standard deviation of its training, in [0, 1].
    is_blind : bool
        Whether the network takes no noise level, as that for the noise of cameras.

    Examples
    --------
    >>> from sk_denoise.restoration import MODELS
    >>> round(255 * MODELS["rgb"].max_sigma), MODELS["rgb"].channels
    (55, 3)
    """

    name: str
    channels: int
    max_sigma: float
    is_blind: bool = False

    @property
    def card(self) -> str:
        """Model card in Markdown: training data, recipe and PSNR."""
        return (WEIGHTS / f"{self.name}.md").read_text(encoding="utf-8")


MODELS: dict[str, PretrainedModel] = {
    name: PretrainedModel(name, channels=model.channels, max_sigma=model.max_sigma, is_blind=model.is_blind)
    for name, model in _registry.MODELS.items()
}


def load_pretrained(name: str, *, random_state: int | RandomState | None = None) -> ImageDenoiser:
    """Load a fitted :class:`~sk_denoise.ImageDenoiser`, pretrained on photos.

    It takes images of any size, and scales those in other units to [0, 1], see
    :meth:`sk_denoise.ImageDenoiser.predict`. The treatment of stronger and of very weak noise in
    :func:`denoise_image` is not part of it.

    With ``warm_start`` or ``partial_fit`` training continues on other images and noise (of pairs with
    ``noise="auto"``). It starts at ``n_iter_ = 0``, so all of ``max_epochs`` is for your data. The
    ``learning_rate`` is a tenth of that for random weights. A search, ``clone`` and a ``fit`` without
    ``warm_start`` start from random weights, as with any estimator. In a pipeline that you fit, wrap the
    denoiser in a :class:`sklearn.frozen.FrozenEstimator`.

    With an ``objective``, training continues on noisy images alone, such as 50 images of one microscope: by
    ``denoiser.set_params(objective="recorrupt", noise="auto", warm_start=True, max_epochs=6)`` and then
    ``denoiser.fit(noisy)``. The learning rate rises in 20 steps, so that the weights stay good. ``noise`` is
    that of the images then: a number, a noiser, a :class:`NoiseModel` or "auto". Images are floats in [0, 1],
    perhaps beyond by their noise, or files. A few hundred steps suffice.

    The card beside the weights, ``sk_denoise/restoration/weights``, describes training and quality. Nothing
    is downloaded.

    Parameters
    ----------
    name : {"gray", "rgb", "camera", "enlarge"}
        Model for images (height, width), or (height, width, 3) for the last three.
    random_state : int, RandomState or None, default=None
        Seed of a fit that continues: patches, noise and the validation split.

    Returns
    -------
    ImageDenoiser
        A new estimator: for white Gaussian noise with a standard deviation of up to 55 / 255; "camera" for
        the noise of cameras and of JPEG, without a level; "enlarge" for images of twice the height and width.

    Raises
    ------
    ValueError
        If the name is unknown.

    See Also
    --------
    denoise_image : Denoise any image with these weights in one call.
    enlarge_image : Enlarge any image with the weights of "enlarge".

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.datasets import load_images
    >>> from sk_denoise.restoration import load_pretrained
    >>> clean = load_images("gray").test[0][:128, :128]
    >>> noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape)
    >>> denoiser = load_pretrained("gray")
    >>> bool(denoiser.score([noisy], [clean]) > 28)
    True
    """
    network, model = cached_network(name), _entry(name)
    noise: Any = CameraNoiser() if model.is_blind else GaussianNoiser((0, model.max_sigma))
    if name in _registry.ENLARGERS:
        noise = DownscaleNoiser(2)
    default = FoldedUNetNetwork()
    is_default = (network.widths, network.blocks) == (default.widths, default.blocks)
    denoiser = ImageDenoiser(
        "folded_unet" if is_default else FoldedUNetNetwork(network.widths, blocks=network.blocks),
        noise=noise,
        sigma="blind" if model.is_blind else "map",
        learning_rate=FINE_TUNING_RATE,
        random_state=random_state,
    )._with_weights(network.state_dict(), model.channels, model.max_sigma)
    denoiser._root_ = root_seed(random_state)
    return denoiser


def cached_network(name: str) -> FoldedUNet:
    """Return a pretrained network, loaded once and shared: do not change it."""
    check_one_of(name, {**MODELS, **_registry.ENLARGERS}, "model")
    # The lock keeps threads from loading the same weights twice.
    with _LOADING:
        return _load_network(name)


def _entry(name: str) -> _registry.PretrainedEntry:
    return {**_registry.MODELS, **_registry.ENLARGERS}[name]


@cache
def _load_network(name: str) -> FoldedUNet:
    from safetensors import safe_open

    model = _entry(name)
    with safe_open(WEIGHTS / f"{name}.safetensors", "pt") as file:
        sizes = {key: json.loads(value) for key, value in file.metadata().items() if key in SIZES}
        # Weights are stored in half precision.
        weights = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - not a dict
    network: FoldedUNet = _registry.load_entry(model)(**sizes).build(
        model.channels, noise_map=not model.is_blind
    )
    network.load_state_dict(weights)
    return network.eval()


# Networks that restore images -------------------------------------------------------------------------


class ImageNetwork(Protocol):
    """A network that restores images.

    Attributes
    ----------
    n_channels : int
        Number of channels of its images.
    module : Module
        The torch module, in evaluation mode. It is shared, so it must not be changed.
    """

    n_channels: int
    module: nn.Module

    def prepare_input(
        self, colors: NDArray[Any], sigma: ArrayLike | None, gain: float = 1.0
    ) -> tuple[Levels, list[InputRange]]:
        """Return noise levels and input ranges for an image (1, height, width, channels).

        If there are two ranges, the first is for the pixels whose noise level it covers, and the second for
        all others. Levels are multiplied by the gain: three equal channels have the same noise, which is as
        hard to remove as independent noise that is the square root of three times as strong.
        """

    def covers_levels(self, levels: NDArray[Any], input_range: InputRange) -> NDArray[np.bool_]:
        """Return a mask of the noise levels that the training covers, in an input range."""

    def build_predictor(self, module: nn.Module, input_range: InputRange, **options: Any) -> TiledPredictor:
        """Return a predictor for images in an input range.

        ``module`` is the module of this network, or a copy of it on another device.
        """


class PretrainedNetwork:
    """A pretrained network for white Gaussian noise.

    Images of any range, and noise of any level, are scaled to those of the training.
    """

    def __init__(self, name: str) -> None:
        check_one_of(name, {"auto": None, **MODELS}, "model")
        self._name = name
        self.module: nn.Module = cached_network(name)
        self.n_channels, self._max_sigma = MODELS[name].channels, MODELS[name].max_sigma

    def prepare_input(
        self, colors: NDArray[Any], sigma: ArrayLike | None, gain: float = 1.0
    ) -> tuple[Levels, list[InputRange]]:
        levels = resolve_levels(sigma, colors)
        max_level = float(levels.max())
        image_range = IntensityRange.of(colors[0], max_level)
        if sigma is not None:
            check_sigma(max_level, colors, image_range)
        levels, max_level = levels * gain, max_level * gain
        normal = image_range.adapt_to(colors[0], SLACK + DEVIATIONS * max_level / image_range.span)
        # Darker images have weaker noise: a wider range brings strong noise down to that of the training.
        darkened = normal.with_min_span(max_level / self._max_sigma)
        is_covered = self.covers_levels(levels, normal)
        return levels, [darkened] if is_covered.all() or not is_covered.any() else [normal, darkened]

    def covers_levels(self, levels: NDArray[Any], input_range: InputRange) -> NDArray[np.bool_]:
        assert input_range is not None
        return np.asarray(levels <= self._max_sigma * input_range.span)

    def build_predictor(self, module: nn.Module, input_range: InputRange, **options: Any) -> TiledPredictor:
        assert input_range is not None
        return TiledPredictor.of(
            module,
            _cost_per_pixel(self._name),
            black=input_range.black,
            data_range=input_range.span,
            adds_noise_map=True,
            clipper=ResidualClipper(
                partial(clip_input, max_sigma=self._max_sigma),
                partial(clip_residual, error=_registry.MODELS[self._name].error),
            ),
            **options,
        )


@cache
def _cost_per_pixel(name: str) -> Cost:
    """Compute the cost of a pretrained network for each pixel."""
    # On a copy: other threads may be using the shared network.
    module = copy.deepcopy(cached_network(name))
    n_inputs = MODELS[name].channels + (not MODELS[name].is_blind)
    total = cost_of(module, (n_inputs, COST_SIDE, COST_SIDE))
    return Cost(total.flops // COST_SIDE**2, -(-total.widest // COST_SIDE**2))


class BlindNetwork(PretrainedNetwork):
    """A pretrained network without a noise level, for the noise of cameras.

    Images of any range, and noise of any level, are scaled to those of the training.

    Parameters
    ----------
    name : str
        Name of the model.
    like : ndarray, optional
        Image that determines the range, if parts of it are denoised.
    """

    def __init__(self, name: str, like: NDArray[Any] | None = None) -> None:
        super().__init__(name)
        self._like = like

    def prepare_input(
        self, colors: NDArray[Any], sigma: ArrayLike | None, gain: float = 1.0
    ) -> tuple[Levels, list[InputRange]]:
        if sigma is not None:
            raise ValueError(f'The model "{self._name}" takes no noise level. Pass sigma=None.')
        if self._like is not None:
            colors = without_alpha(self._like)[None]
            colors = colors if colors.ndim == 4 else colors[..., None]
        scale_levels = estimate_scale_levels(np.moveaxis(colors[0], -1, 0), scales=(1, 2))
        image_range = IntensityRange.of(colors[0], float(np.mean(scale_levels[:, 0])))
        max_level = float(np.nanmax(scale_levels))
        normal = image_range.adapt_to(colors[0], SLACK + DEVIATIONS * max_level / image_range.span)
        # Darker images have weaker noise: a wider range brings strong noise down to that of the training.
        return None, [normal.with_min_span(max_level / self._max_sigma)]

    def build_predictor(self, module: nn.Module, input_range: InputRange, **options: Any) -> TiledPredictor:
        assert input_range is not None
        return TiledPredictor.of(
            module,
            _cost_per_pixel(self._name),
            black=input_range.black,
            data_range=input_range.span,
            adds_noise_map=False,
            clipper=ResidualClipper(clip_blind_input, blind_residual),
            **options,
        )


class UserNetwork:
    """The network of a fitted :class:`~sk_denoise.ImageDenoiser`.

    Images in other units are scaled to that of the fit.
    """

    def __init__(self, denoiser: ImageDenoiser) -> None:
        check_is_fitted(denoiser)
        self._denoiser, self.module = denoiser, denoiser.net_.module_
        self.n_channels = denoiser.patch_shape_[2] if len(denoiser.patch_shape_) == 3 else 1

    def prepare_input(
        self, colors: NDArray[Any], sigma: ArrayLike | None, gain: float = 1.0
    ) -> tuple[Levels, list[InputRange]]:
        if self._denoiser.noise_levels_ is None and sigma is not None:
            raise ValueError('This network was trained with sigma="blind". Pass sigma=None.')
        levels = None if self._denoiser.noise_levels_ is None else resolve_levels(sigma, colors)
        if levels is not None and sigma is not None and self._denoiser.intensity_range_ is not None:
            max_level = float(levels.max())
            check_sigma(max_level, colors, IntensityRange.of(colors[0], max_level))
        (input_range,) = self._denoiser._ranges_of(colors, levels)
        if levels is not None:
            limited = self._denoiser._limit_levels(
                levels, input_range, is_given=sigma is not None, name="image"
            )
            levels = np.minimum(gain * limited, self._denoiser._max_level_in(input_range))
        return levels, [input_range]

    def covers_levels(self, levels: NDArray[Any], input_range: InputRange) -> NDArray[np.bool_]:
        return np.ones(np.shape(levels), bool)

    def build_predictor(self, module: nn.Module, input_range: InputRange, **options: Any) -> TiledPredictor:
        return self._denoiser._tiled_predictor(input_range, network=module, **options)


def select_network(model: str | ImageDenoiser, image: NDArray[Any]) -> ImageNetwork:
    """Return the network of a model; "auto" selects a pretrained one by the channels."""
    if isinstance(model, SignalDenoiser):
        raise TypeError(
            "model is a SignalDenoiser, which denoises signals: call model.predict(signals). Images take an "
            "ImageDenoiser or the name of a pretrained model."
        )
    if isinstance(model, ImageDenoiser):
        if getattr(model, "scale_", 1) > 1:
            raise ValueError(
                f"model enlarges images {model.scale_} times, and the result has the size of the image. Call "
                "model.predict([image])[0]."
            )
        return UserNetwork(model)
    if model == "auto":
        model = "rgb" if image.ndim == 3 and image.shape[2] in (3, 4) else "gray"
    return BlindNetwork(model) if model in MODELS and MODELS[model].is_blind else PretrainedNetwork(model)


def check_sigma(sigma: float, colors: NDArray[Any], image_range: IntensityRange) -> None:
    """Refuse a noise level larger than all numbers of (n, height, width, channels).

    A level far too small for these numbers, such as a share of [0, 1] for integers, gets a warning.

    Raises
    ------
    ValueError
        If sigma cannot be in the unit of the image.
    """
    low, high = float(colors.min()), float(colors.max())
    if sigma > max(image_range.span, high - low, abs(low), abs(high)):
        raise ValueError(
            f"sigma reaches {sigma:.4g}, and the numbers of image {low:.4g} to {high:.4g}. It is in the unit "
            "of image: for floats in [0, 1] a share of that, for integers grey levels."
        )
    warn_of_tiny_sigma(sigma, colors, "image")


# Limits of input and residual -------------------------------------------------------------------------


def clip_input(network_input: NDArray[Any], max_sigma: float) -> NDArray[Any]:
    """Clip an input to five noise deviations beyond black and white, in place.

    Parameters
    ----------
    network_input : ndarray of shape (n, height, width, channels + 1)
        Images, with the noise level as last channel.
    max_sigma : float
        Limit of the noise level.

    Returns
    -------
    ndarray
        The input itself.
    """
    np.minimum(network_input[..., -1], max_sigma, out=network_input[..., -1])
    image, (low, high) = network_input[..., :-1], _input_limits(network_input)
    np.clip(image, low, high, out=image)
    return network_input


def _input_limits(network_input: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    margin = SLACK + DEVIATIONS * network_input[..., -1:]
    return -margin, 1 + margin


def clip_residual(network_input: NDArray[Any], output: NDArray[Any], error: float) -> NDArray[Any]:
    """Clip a residual to five noise deviations, and shrink it for weak noise.

    Parameters
    ----------
    network_input : ndarray of shape (n, height, width, channels + 1)
        Clipped images, from black (0) to white (1), with the noise level as last channel.
    output : ndarray of shape (n, height, width, channels)
        Output of the network.
    error : float
        Mean error of the network. Below this noise level its residual is more error than noise.

    Returns
    -------
    ndarray of shape (n, height, width, channels)
        The noise to subtract from the images.
    """
    image, levels, (low, high) = (
        network_input[..., :-1],
        network_input[..., -1:],
        _input_limits(network_input),
    )
    # For errors that are independent of the noise, Wiener's filter keeps sigma**2 / (sigma**2 + error**2) of
    # the residual. A power of 4 fits the networks better, see benchmarks/photos.py --only strengths.
    fourth = np.square(np.square(levels / error))
    noise: NDArray[Any] = image - output
    noise *= fourth / (1 + fourth)
    # Gaussian noise hardly ever exceeds five deviations, so the clean image lies within them, and the nearest
    # point of this interval is nearer to it than any output outside. So a star remains even if the network
    # has seen no similar one.
    np.clip(noise, -DEVIATIONS * levels, DEVIATIONS * levels, out=noise)
    # The network has not seen the numbers beyond its input limits, so these stay unchanged.
    noise[(image <= low) | (image >= high)] = 0
    return noise


def clip_blind_input(network_input: NDArray[Any]) -> NDArray[Any]:
    """Clip an input to a little beyond black and white, in place."""
    return np.clip(network_input, -BLIND_MARGIN, 1 + BLIND_MARGIN, out=network_input)


def blind_residual(network_input: NDArray[Any], output: NDArray[Any]) -> NDArray[Any]:
    """Return the noise to subtract from images of (n, height, width, channels)."""
    noise: NDArray[Any] = network_input - output
    # As for other networks, numbers beyond the limits of the input stay unchanged.
    noise[np.abs(network_input - 0.5) >= 0.5 + BLIND_MARGIN] = 0
    return noise
