"""Models by name or file, and whether they can do what is asked, known before any work."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sk_denoise._registry import FILTERS, MODELS
from sk_denoise.cli._console import Refusal, in_lines, reason_of, require, shown, tell
from sk_denoise.cli._files import is_folder, is_there

if TYPE_CHECKING:
    from sk_denoise import ImageDenoiser

__all__ = [
    "FILTERS",
    "IN_THE_BOX",
    "ModelType",
    "NAMED",
    "Settings",
    "check_device",
    "choose_model",
    "color_of",
    "filter_called",
    "filter_help",
    "load_denoiser",
    "load_estimator",
    "refuse_color",
]

IN_THE_BOX = tuple(MODELS)
NAMED = ("auto", *IN_THE_BOX)  # what denoise_image knows by name
SLACK = 1.05  # what the library allows beyond the strongest noise that a network learned from
WHITE = 255  # grey levels that --sigma counts in
Settings = dict[str, Any]  # of denoise_image


class ModelType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Reads the name of what denoises, or the path of a file; the file is not opened here.

    Parameters
    ----------
    *names : str
        The names that may be given; they go before files.
    """

    name = "model"

    def __init__(self, *names: str) -> None:
        self.names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | Path:
        if isinstance(value, Path):
            return value
        name, path = str(value).replace("-", "_"), Path(value)
        if name in self.names:
            return name
        if not is_there(path) or is_folder(path):
            nearest = difflib.get_close_matches(name, self.names, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            what = f"{value!r} is a folder." if is_folder(path) else f"there is no model or file {value!r}."
            known = f"Known: {', '.join(self.names)}, or a file that sk_denoise.persistence.save wrote"
            self.fail(f"{what}{hint} {known}", param, ctx)
        return path


def load_estimator(path: Path) -> Any:
    """Return what a file holds; a warning of the library is one line."""
    from sk_denoise.persistence import load

    try:
        with in_lines(lambda text: tell(f"{shown(path)}: {shown(text)}")):
            return load(path)
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        raise Refusal(reason if shown(path) in reason else f"{shown(path)}: {reason}") from error


def load_denoiser(path: Path) -> ImageDenoiser:
    """Return the fitted ImageDenoiser of a file."""
    from sk_denoise import ImageDenoiser

    estimator = load_estimator(path)
    if not isinstance(estimator, ImageDenoiser):
        kind = type(estimator).__name__
        raise Refusal(f"{shown(path)} holds a {kind}, where a fitted ImageDenoiser was expected")
    if not hasattr(estimator, "patch_shape_"):
        raise Refusal(f"{shown(path)} holds an ImageDenoiser that is not fitted; save it after its fit")
    return estimator


def color_of(model: str | ImageDenoiser) -> str:
    """Return what images a model takes: gray, rgb, or keep for auto, which takes both."""
    if model == "auto":
        return "keep"
    channels = MODELS[model].channels if isinstance(model, str) else (*model.patch_shape_, 1)[2]
    if channels not in (1, 3):
        raise Refusal(f"the model takes images of {channels} channels; only gray and colour are known here")
    return "gray" if channels == 1 else "rgb"


def refuse_color(asked: str, model: str | ImageDenoiser) -> None:
    """Refuse gray images for a model of colours; one of gray works on each channel by itself."""
    if asked == "gray" and color_of(model) == "rgb":
        raise Refusal("--color is gray, and the model takes rgb images; leave it out")


def choose_model(name: str | Path, *, sigma: float | None, device: str, ensemble: bool) -> Settings:
    """Return what :func:`sk_denoise.restoration.denoise_image` is to be called with, for every image.

    Parameters
    ----------
    name : str or Path
        "auto", a name in the box, or a file.
    sigma : float or None
        In grey levels of 255.
    device : str
        Where to compute.
    ensemble : bool
        Whether to average over turned images.

    Raises
    ------
    Refusal
        Where the file holds no fitted ImageDenoiser, the noise is stronger than the model knows, the model is
        told nothing of it, or the device is not there.
    """
    model: str | ImageDenoiser = load_denoiser(name) if isinstance(name, Path) else name
    if sigma is not None:
        _check_sigma(str(name), model, sigma)
    check_device(device)
    return {"model": model, "device": device, "ensemble": ensemble}


def _check_sigma(name: str, model: str | ImageDenoiser, sigma: float) -> None:
    if sigma > WHITE:
        raise Refusal(f"--sigma {sigma:g} is more than the {WHITE} grey levels from black to white")
    if isinstance(model, str):  # in the box, where any noise is known
        return
    if model.noise_levels_ is None:
        raise Refusal(f"the model {shown(name)} learned to do without the level (blind); leave --sigma out")
    if model.intensity_range_ is None:  # the numbers of an image count as they are, which says nothing yet
        return
    strongest = WHITE * model.noise_levels_[1] / model.intensity_range_.span
    if sigma > SLACK * strongest:
        raise Refusal(
            f"--sigma {sigma:g} is more than the model {shown(name)} knows: its strongest noise is "
            f"{strongest:.3g} grey levels of 255"
        )


def check_device(device: str) -> None:
    """Try the device on a few pixels: it would fail for every image.

    Raises
    ------
    Refusal
        Where there is no such device, or it cannot compute.
    """
    import numpy as np

    from sk_denoise.restoration import denoise_image

    if device == "auto":
        return
    few = np.random.default_rng(0).normal(0.5, 0.01, (8, 8))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the image is none of the user's
            denoise_image(few, model=IN_THE_BOX[0], device=device)
    except (RuntimeError, ValueError) as error:
        raise Refusal(reason_of(error)) from error


BLOCK, STEP = FILTERS["wiener"].least, 2  # pixels of the Wiener filter's patches, and between them
EXAMPLES = 2_000  # patches of each photo that it learns from

ImageFilter = Callable[[Any], Any]


def filter_help() -> str:
    """Return what each filter does, for the end of a help page."""
    width = max(map(len, FILTERS))
    lines = [f"  {name:<{width}}  {chosen.about}" for name, chosen in FILTERS.items()]
    return "\b\nFilters:\n" + "\n".join(lines)


def filter_called(name: str) -> ImageFilter:
    """Return a filter as a function of one image, or say what it lacks."""
    import sk_denoise

    chosen = FILTERS[name]
    if chosen.extra:
        require(chosen.extra, name)
    if name == "wiener":
        return _wiener
    return partial(_by_itself, getattr(sk_denoise, chosen.name)())


def _by_itself(denoiser: Any, image: Any) -> Any:
    """Return an image denoised by a filter, which a fit tells no more than the layout."""
    return denoiser.fit(image[None]).predict(image[None])[0]


def _wiener(image: Any) -> Any:
    """Return an image denoised patch by patch, each channel by itself, with the noise estimated once."""
    import numpy as np

    from sk_denoise import WienerDenoiser
    from sk_denoise.datasets import extract_patches, join_patches
    from sk_denoise.restoration import estimate_sigma

    sigma = estimate_sigma(image)
    if sigma == 0:
        return image
    denoiser = WienerDenoiser(sigma=sigma).fit(_patches_of_photos())
    channels = np.moveaxis(np.atleast_3d(image), -1, 0)
    answers = []
    for channel in channels:
        patches = extract_patches(channel[None], BLOCK, stride=STEP)
        answers.append(join_patches(denoiser.predict(patches), channel.shape, stride=STEP))
    return np.stack(answers, axis=-1).reshape(image.shape)


@cache
def _patches_of_photos() -> Any:
    from sk_denoise.datasets import extract_patches, load_images

    return extract_patches(load_images("gray").train, BLOCK, n_per_image=EXAMPLES, random_state=0)
