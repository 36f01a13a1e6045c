"""The weights in the box, and the networks that they belong to."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from numpy.random import RandomState

from sk_denoise import _registry
from sk_denoise._random import root_seed
from sk_denoise._validation import check_one_of
from sk_denoise.estimators import ImageDenoiser
from sk_denoise.networks.folded_unet import FoldedUNet, FoldedUNetNetwork
from sk_denoise.noise import GaussianNoiser

__all__ = ["MODELS", "Model", "load_pretrained", "shared_network"]

WEIGHTS = Path(__file__).parent / "weights"
RATE_TO_GO_ON = 2e-4  # at ten times that, the first steps undo what is known
SIZES = ("widths", "blocks")  # metadata of a file whose network is larger than the default
_LOADING = threading.Lock()


@dataclass(frozen=True)
class Model:
    """A network whose weights are in the box.

    Attributes
    ----------
    name : str
        By which it is asked for.
    channels : int
        Of the images that it takes: 1 or 3.
    max_sigma : float
        The largest standard deviation of noise that it has learned from, in [0, 1].

    Examples
    --------
    >>> from sk_denoise.restoration import MODELS
    >>> round(255 * MODELS["rgb"].max_sigma), MODELS["rgb"].channels
    (55, 3)
    """

    name: str
    channels: int
    max_sigma: float

    @property
    def card(self) -> str:
        """How it was trained, and how good it is: a text in Markdown."""
        return (WEIGHTS / f"{self.name}.md").read_text(encoding="utf-8")


MODELS: dict[str, Model] = {
    name: Model(name, channels=model.channels, max_sigma=model.max_sigma)
    for name, model in _registry.MODELS.items()
}


def load_pretrained(name: str, *, random_state: int | RandomState | None = None) -> ImageDenoiser:
    """Return a fitted :class:`~sk_denoise.ImageDenoiser` with weights that were trained on photos.

    It takes images of any size, and brings those in other units to [0, 1], see
    :meth:`sk_denoise.ImageDenoiser.predict`; what :func:`denoise_image` does for stronger and for very weak
    noise is no part of it. With
    ``warm_start`` or ``partial_fit`` it goes on learning from other images and noise (of pairs with
    ``noise="auto"``), from ``n_iter_ = 0``: all of ``max_epochs`` is for what it learns here. A search,
    ``clone`` and a ``fit`` without ``warm_start`` begin anew, as with any estimator: in a pipeline that is to
    be fitted, stand it in a :class:`sklearn.frozen.FrozenEstimator`. Its ``learning_rate`` is one for going
    on, a tenth of that for weights drawn at random. How it was trained and how good it is stands in the card
    beside the weights, ``sk_denoise/restoration/weights``. Nothing is downloaded.

    Parameters
    ----------
    name : {"gray", "rgb"}
        Which network: for images (height, width), or (height, width, 3).
    random_state : int, RandomState or None, default=None
        Determines what a fit that goes on draws: patches, noise and the validation split.

    Returns
    -------
    ImageDenoiser
        One of your own, for white Gaussian noise with a standard deviation of up to 55 / 255.

    Raises
    ------
    ValueError
        For an unknown name.

    See Also
    --------
    denoise_image : Any image, with these weights, in one call.

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
    network, model = shared_network(name), MODELS[name]
    noise = GaussianNoiser((0, model.max_sigma))
    two_levels = len(network.widths) == 2
    denoiser = ImageDenoiser(
        "folded_unet" if two_levels else FoldedUNetNetwork(network.widths, blocks=network.blocks),
        noise=noise,
        sigma="map",
        learning_rate=RATE_TO_GO_ON,
        random_state=random_state,
    )._with_weights(network.state_dict(), model.channels, model.max_sigma)
    denoiser._root_ = root_seed(random_state)
    return denoiser


def shared_network(name: str) -> FoldedUNet:
    """Return the network of this name, loaded once; leave it as it is."""
    check_one_of(name, MODELS, "model")
    with _LOADING:
        return _loaded(name)


@cache
def _loaded(name: str) -> FoldedUNet:
    from safetensors import safe_open

    model = _registry.MODELS[name]
    with safe_open(WEIGHTS / f"{name}.safetensors", "pt") as file:
        sizes = {key: json.loads(value) for key, value in file.metadata().items() if key in SIZES}
        weights = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - it is no dict
    network: FoldedUNet = _registry.load_entry(model)(model.channels, noise_map=True, **sizes)
    network.load_state_dict(weights)  # half precision on disk
    return network.eval()
