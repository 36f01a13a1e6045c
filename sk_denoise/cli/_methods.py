"""Models and filters of the commands: choose, load and check them before any work."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sk_denoise._registry import FILTERS, MODELS, SIGNAL_FILTERS
from sk_denoise.cli._console import (
    RefusedInput,
    describe_error,
    print_message,
    printable,
    require_installed,
    warnings_as_lines,
)
from sk_denoise.cli._paths import is_folder, path_exists

if TYPE_CHECKING:
    from sk_denoise import ImageDenoiser

__all__ = [
    "FILTERS",
    "MAX_GREY_LEVEL",
    "MODEL_NAMES",
    "PRETRAINED_NAMES",
    "SIGNAL_METHODS",
    "DenoisingOptions",
    "ModelType",
    "build_filter",
    "check_color",
    "check_device",
    "choose_denoising_options",
    "filter_help",
    "keeps_raw_values",
    "load_estimator",
    "load_image_denoiser",
    "model_color",
    "takes_no_level",
]

# Filters that take signals of any length; those of photographs are left out.
SIGNAL_METHODS = {
    **{name: entry for name, entry in FILTERS.items() if name not in ("bm3d", "wiener")},
    **SIGNAL_FILTERS,
}
PRETRAINED_NAMES = tuple(MODELS)
# The names that denoise_image takes.
MODEL_NAMES = ("auto", *PRETRAINED_NAMES)
# White in the unit of --sigma.
MAX_GREY_LEVEL = 255
# The library accepts noise that is this much stronger than the strongest of a model's training.
SIGMA_TOLERANCE = 1.05
WIENER_PATCH_SIZE = FILTERS["wiener"].min_side
WIENER_STRIDE = 2
WIENER_PATCHES_PER_PHOTO = 2_000

# Keyword arguments of sk_denoise.restoration.denoise_image.
DenoisingOptions = dict[str, Any]
ImageFilter = Callable[[Any], Any]


# Models --------------------------------------------------------------------------------------------------


class ModelType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Parameter type of a name or a model file; the file is not opened here.

    Parameters
    ----------
    *names : str
        Allowed names. They take precedence over files of the same name.
    """

    name = "model"

    def __init__(self, *names: str) -> None:
        self.names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | Path:
        # click converts defaults too, which may be converted already.
        if isinstance(value, Path):
            return value
        name, path = str(value).replace("-", "_"), Path(value)
        if name in self.names:
            return name
        if not path_exists(path) or is_folder(path):
            nearest = difflib.get_close_matches(name, self.names, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            problem = (
                f"{value!r} is a folder." if is_folder(path) else f"there is no model or file {value!r}."
            )
            known = f"Known: {', '.join(self.names)}, or a file that sk_denoise.persistence.save wrote"
            self.fail(f"{problem}{hint} {known}", param, ctx)
        return path


def load_estimator(path: Path) -> Any:
    """Load the estimator of a file; print warnings of the library as lines.

    Raises
    ------
    RefusedInput
        If the file cannot be loaded.
    """
    from sk_denoise.persistence import load

    try:
        with warnings_as_lines(lambda text: print_message(f"{printable(path)}: {printable(text)}")):
            return load(path)
    except (OSError, ValueError) as error:
        reason = describe_error(error)
        raise RefusedInput(reason if printable(path) in reason else f"{printable(path)}: {reason}") from error


def load_image_denoiser(path: Path) -> ImageDenoiser:
    """Load the fitted ImageDenoiser of a file.

    Raises
    ------
    RefusedInput
        If the file cannot be loaded, holds another estimator, or one that is not fitted.
    """
    from sk_denoise import ImageDenoiser, SignalDenoiser

    estimator = load_estimator(path)
    if isinstance(estimator, SignalDenoiser):
        raise RefusedInput(f"{printable(path)} denoises signals, and the files are images")
    if not isinstance(estimator, ImageDenoiser):
        class_name = type(estimator).__name__
        raise RefusedInput(
            f"{printable(path)} holds a {class_name}, where a fitted ImageDenoiser was expected"
        )
    if not hasattr(estimator, "patch_shape_"):
        raise RefusedInput(
            f"{printable(path)} holds an ImageDenoiser that is not fitted; save it after its fit"
        )
    return estimator


def model_color(model: str | ImageDenoiser) -> str:
    """Return the color of a model's images: gray, rgb, or keep for auto."""
    # "auto" takes gray and rgb images.
    if model == "auto":
        return "keep"
    channels = MODELS[model].channels if isinstance(model, str) else (*model.patch_shape_, 1)[2]
    if channels not in (1, 3):
        raise RefusedInput(f"the model takes images with {channels} channels; only gray and rgb are possible")
    return "gray" if channels == 1 else "rgb"


def check_color(color: str, model: str | ImageDenoiser) -> None:
    """Refuse gray images for a model of rgb images."""
    # The other way round is possible: a gray model denoises each channel.
    if color == "gray" and model_color(model) == "rgb":
        raise RefusedInput("--color is gray, and the model takes rgb images; leave it out")


def keeps_raw_values(model: Any) -> bool:
    """Return whether a model learned from values without a known black and white."""
    # A pretrained model is a name here and has no such attribute.
    return getattr(model, "intensity_range_", model) is None


def choose_denoising_options(
    name: str | Path,
    *,
    sigma: float | None,
    device: str,
    ensemble: bool,
    noise: str = "auto",
    strength: float = 100.0,
    outliers: str = "keep",
) -> DenoisingOptions:
    """Return the arguments of ``denoise_image`` for all images.

    Parameters
    ----------
    name : str or Path
        "auto", the name of a pretrained model, or a model file.
    sigma : float or None
        Noise standard deviation in grey levels of 255.
    device : str
        Device to compute on.
    ensemble : bool
        Whether to use the self-ensemble.
    noise : str
        Name in ``NOISE_KINDS``.
    strength : float
        Share of the noise to remove, in percent.
    outliers : {"keep", "replace"}
        Whether hot pixels are replaced.

    Raises
    ------
    RefusedInput
        If the file does not hold a fitted ImageDenoiser, the noise is stronger than in the model's training,
        the model does not use the noise level, options contradict each other, or the device is missing.
    """
    _check_noise(name, noise, sigma)
    model: str | ImageDenoiser = load_image_denoiser(name) if isinstance(name, Path) else name
    if sigma is not None:
        _check_sigma(str(name), model, sigma)
    check_device(device)
    return {
        "model": model,
        "device": device,
        "ensemble": ensemble,
        "noise": noise,
        "strength": strength / 100,
        "outliers": outliers,
    }


def _check_noise(name: str | Path, noise: str, sigma: float | None) -> None:
    """Refuse a kind of noise that contradicts the noise level or the model."""
    if sigma is not None and noise not in ("auto", "white"):
        raise RefusedInput(
            f"--sigma is the level of white noise and contradicts --noise {noise}; give one of them"
        )
    if isinstance(name, Path) and noise != "auto":
        raise RefusedInput(
            f"--noise {noise} is for pretrained models; {printable(name)} removes the noise of its training"
        )
    if takes_no_level(name) and noise not in ("auto", "camera"):
        raise RefusedInput(f"the model {name} removes the noise of cameras; leave --noise {noise} out")


def takes_no_level(model: str | Path | ImageDenoiser) -> bool:
    """Return whether a model takes no noise level; a file counts as one that does."""
    if isinstance(model, str):
        return model in MODELS and MODELS[model].is_blind
    # A path has no such attribute.
    return getattr(model, "noise_levels_", True) is None


def _check_sigma(name: str, model: str | ImageDenoiser, sigma: float) -> None:
    if sigma > MAX_GREY_LEVEL:
        raise RefusedInput(
            f"--sigma {sigma:g} is more than the {MAX_GREY_LEVEL} grey levels from black to white"
        )
    if takes_no_level(model):
        raise RefusedInput(
            f"the model {printable(name)} was trained without the noise level (blind); leave --sigma out"
        )
    # Other pretrained models take any noise level.
    if isinstance(model, str):
        return
    assert model.noise_levels_ is not None
    # Without an intensity range, the unit of the training noise is known only once an image is read.
    if model.intensity_range_ is None:
        return
    max_sigma = MAX_GREY_LEVEL * model.noise_levels_[1] / model.intensity_range_.span
    if sigma > SIGMA_TOLERANCE * max_sigma:
        raise RefusedInput(
            f"--sigma {sigma:g} is more than the strongest noise in the training of the model "
            f"{printable(name)}, {max_sigma:.3g} grey levels of 255"
        )


def check_device(device: str) -> None:
    """Denoise a few pixels on a device.

    Raises
    ------
    RefusedInput
        If there is no such device, or it cannot compute.
    """
    import numpy as np

    from sk_denoise.restoration import denoise_image

    if device == "auto":
        return
    # A missing device would fail for every image, after the preparations.
    image = np.random.default_rng(0).normal(0.5, 0.01, (8, 8))
    try:
        with warnings.catch_warnings():
            # Warnings about this image do not concern the user.
            warnings.simplefilter("ignore")
            # With a level, the network runs even if the image seems free of noise.
            denoise_image(image, sigma=0.01, model=PRETRAINED_NAMES[0], device=device)
    except (RuntimeError, ValueError) as error:
        raise RefusedInput(describe_error(error)) from error


# Filters -------------------------------------------------------------------------------------------------


def filter_help() -> str:
    """Return a description of every filter, for the end of a help text."""
    width = max(map(len, FILTERS))
    lines = [f"  {name:<{width}}  {entry.description}" for name, entry in FILTERS.items()]
    return "\b\nFilters:\n" + "\n".join(lines)


def build_filter(name: str) -> ImageFilter:
    """Return a filter as a function of one image.

    Raises
    ------
    CommandFailure
        If the package of the filter is not installed.
    """
    import sk_denoise

    entry = FILTERS[name]
    if entry.extra:
        require_installed(entry.extra, name)
    if name == "wiener":
        return _apply_wiener
    return partial(_fit_and_predict, getattr(sk_denoise, entry.name)())


def _fit_and_predict(denoiser: Any, image: Any) -> Any:
    """Denoise an image by a filter."""
    # A fit of these filters learns the shape of the image alone.
    return denoiser.fit(image[None]).predict(image[None])[0]


def _apply_wiener(image: Any) -> Any:
    """Denoise the overlapping patches of each channel, with one noise level for all."""
    import numpy as np

    from sk_denoise import WienerDenoiser
    from sk_denoise.datasets import extract_patches, join_patches
    from sk_denoise.restoration import estimate_sigma

    sigma = estimate_sigma(image)
    if sigma == 0:
        return image
    denoiser = WienerDenoiser(sigma=sigma).fit(_load_wiener_patches())
    channels = np.moveaxis(np.atleast_3d(image), -1, 0)
    denoised = []
    for channel in channels:
        patches = extract_patches(channel[None], WIENER_PATCH_SIZE, stride=WIENER_STRIDE)
        predictions = denoiser.predict(patches)
        denoised.append(join_patches(predictions, channel.shape, stride=WIENER_STRIDE))
    return np.stack(denoised, axis=-1).reshape(image.shape)


@cache
def _load_wiener_patches() -> Any:
    from sk_denoise.datasets import extract_patches, load_images

    # Photographs of the library: patches of the folder would make the comparison unfair.
    return extract_patches(
        load_images("gray").train,
        WIENER_PATCH_SIZE,
        n_per_image=WIENER_PATCHES_PER_PHOTO,
        random_state=0,
    )
