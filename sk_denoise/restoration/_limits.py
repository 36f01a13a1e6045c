"""Limits to what a pretrained network sees of an image, and to what it takes away: noise, and no more."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_denoise._intensity import DEVIATIONS, SLACK

__all__ = ["only_noise", "within_sight"]

ERROR = 1 / 255  # where noise is as weak as this, what the networks take away is as wrong as it is right


def within_sight(shown: NDArray[Any], strongest: float) -> NDArray[Any]:
    """Cut what is shown to a network to what noise makes of black and white, in place, and return it.

    Parameters
    ----------
    shown : ndarray of shape (n, height, width, channels + 1)
        Images, and the level of their noise as a last channel.
    strongest : float
        What levels are cut to.
    """
    np.minimum(shown[..., -1], strongest, out=shown[..., -1])
    image, (low, high) = shown[..., :-1], _sight(shown)
    np.clip(image, low, high, out=image)
    return shown


def _sight(shown: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    noise = SLACK + DEVIATIONS * shown[..., -1:]
    return -noise, 1 + noise


def only_noise(shown: NDArray[Any], answers: NDArray[Any]) -> NDArray[Any]:
    """Return of what networks take away what can be white Gaussian noise of the level that they were told.

    Noise hardly ever lies further than five deviations from 0, so neither may what is taken away: what is
    clean lies in that range, and to move an answer to the nearest point of it brings it nearer to what is
    clean. Thus a star remains that a network has never seen the like of. What was cut for the networks to
    see it stays as it is. And of noise that is weaker than the networks' own error less is taken away: at
    best ``sigma**2 / (sigma**2 + error**2)`` of it, for errors that know nothing of the noise (Wiener's
    filter). A power of 4 fits both networks better; what comes of it is measured by
    ``benchmarks/photos.py --only strengths``.

    Parameters
    ----------
    shown : ndarray of shape (n, height, width, channels + 1)
        Images within sight, from black (0) to white (1), and the level of their noise.
    answers : ndarray of shape (n, height, width, channels)
        What the network answered.
    """
    image, levels, (low, high) = shown[..., :-1], shown[..., -1:], _sight(shown)
    fourth = np.square(np.square(levels / ERROR))
    noise: NDArray[Any] = image - answers
    noise *= fourth / (1 + fourth)
    np.clip(noise, -DEVIATIONS * levels, DEVIATIONS * levels, out=noise)
    noise[(image <= low) | (image >= high)] = 0
    return noise
