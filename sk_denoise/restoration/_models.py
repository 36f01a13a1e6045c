"""The weights in the box, and the networks that they belong to."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from sk_denoise._validation import check_one_of
from sk_denoise.networks import NoiseMapUNet

__all__ = ["MODELS", "Model", "load_network"]

WEIGHTS = Path(__file__).parent / "weights"
_LOADING = threading.Lock()


@dataclass(frozen=True)
class Model:
    """A network whose weights are in the box.

    Attributes
    ----------
    channels : int
        Of the pictures that it takes: 1 or 3.
    strongest : float
        The largest standard deviation of noise that it has learned from, in [0, 1].
    """

    channels: int
    strongest: float


MODELS: dict[str, Model] = {"gray": Model(channels=1, strongest=55 / 255)}


def load_network(name: str) -> NoiseMapUNet:
    """Return the network of a model in single precision, loaded once; leave its weights as they are."""
    check_one_of(name, MODELS, "model")
    with _LOADING:
        return _loaded(name)


@cache
def _loaded(name: str) -> NoiseMapUNet:
    from safetensors.torch import load_file

    network = NoiseMapUNet(MODELS[name].channels)
    weights = load_file(WEIGHTS / f"{name}.safetensors")  # half precision on disk
    network.load_state_dict({key: weight.float() for key, weight in weights.items()})
    for weight in network.parameters():
        weight.requires_grad_(False)
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
