"""The model that ``--model`` names, and whether it can do what is asked, known before any work."""

from __future__ import annotations

import difflib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sk_denoise.cli._console import Refusal, is_folder, is_there, reason_of, shown, tell

if TYPE_CHECKING:
    from sk_denoise import ImageDenoiser

__all__ = ["IN_THE_BOX", "Settings", "check_name", "choose_model", "load_estimator", "unknown_model"]

IN_THE_BOX = ("gray", "rgb")  # as in sk_denoise.restoration.MODELS, which waits for torch; tested equal
SLACK = 1.05  # what the library allows beyond the strongest noise that a network learned from
Settings = dict[str, Any]  # of denoise_image


def unknown_model(name: str, known: tuple[str, ...]) -> Refusal:
    """Return the error that answers a name with those that there are and the nearest of them."""
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return Refusal(
        f"there is no model or file {shown(name)!r}.{hint} Known: {', '.join(known)}, or a file that "
        "sk_denoise.io.save wrote"
    )


def check_name(name: str) -> None:
    """Refuse what is neither a name nor a file, before torch is imported."""
    known = ("auto", *IN_THE_BOX)
    if name not in known and (not is_there(Path(name)) or is_folder(Path(name))):
        raise unknown_model(name, known)


def load_estimator(path: str) -> Any:
    """Return what a file holds; a warning of the library is one line."""
    from sk_denoise.io import load

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator = load(path)
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        raise Refusal(reason if shown(path) in reason else f"{shown(path)}: {reason}") from error
    for warning in caught:
        tell(f"{shown(path)}: {shown(warning.message)}")
    return estimator


def choose_model(name: str, sigma: float | None, device: str, ensemble: bool) -> Settings:
    """Return what :func:`sk_denoise.restoration.denoise_image` is to be called with, for every picture.

    Parameters
    ----------
    name : str
        "auto", a name in the box, or a file.
    sigma : float or None
        In grey levels of 255.
    device : str
        Where to compute.
    ensemble : bool
        Whether to average over turned pictures.

    Raises
    ------
    Refusal
        Where the file holds no fitted ImageDenoiser, the noise is stronger than the model knows, the model is
        told nothing of it, or the device is not there.
    """
    from sk_denoise.restoration import load_pretrained

    if name in ("auto", *IN_THE_BOX):
        model: str | ImageDenoiser = name
        asked = load_pretrained(IN_THE_BOX[0] if name == "auto" else name)
    else:
        model = asked = _fitted_denoiser(name)
    _check_sigma(name, asked, sigma)
    _check_device(asked, device)
    return {"model": model, "device": device, "ensemble": ensemble}


def _fitted_denoiser(path: str) -> ImageDenoiser:
    from sk_denoise import ImageDenoiser

    estimator = load_estimator(path)
    kind = type(estimator).__name__
    if not isinstance(estimator, ImageDenoiser):
        raise Refusal(f"{shown(path)} holds a {kind}; --model takes a fitted ImageDenoiser")
    if not hasattr(estimator, "patch_shape_"):
        raise Refusal(f"{shown(path)} holds an ImageDenoiser that is not fitted; save it after its fit")
    return estimator


def _check_sigma(name: str, model: ImageDenoiser, sigma: float | None) -> None:
    if sigma is None:
        return
    if model.noise_levels_ is None:
        raise Refusal(f"the model {shown(name)} learned to do without the level (blind); leave --sigma out")
    if model.white_ is None:  # the numbers of a picture count as they are, which says nothing yet
        return
    strongest = 255 * model.noise_levels_[1] / model.white_
    if sigma > SLACK * strongest:
        raise Refusal(
            f"--sigma {sigma:g} is more than the model {shown(name)} knows: its strongest noise is "
            f"{strongest:.3g} grey levels of 255"
        )


def _check_device(model: ImageDenoiser, device: str) -> None:
    """Try the device on a few pixels: it would fail for every picture."""
    import numpy as np

    from sk_denoise.restoration import denoise_image

    if device == "auto":
        return
    channels = model.patch_shape_[2:]
    few = np.random.default_rng(0).normal(0.5, 0.01, (8, 8, *channels))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the picture is none of the user's
            denoise_image(few, model=model, device=device)
    except (RuntimeError, ValueError) as error:
        raise Refusal(reason_of(error)) from error
