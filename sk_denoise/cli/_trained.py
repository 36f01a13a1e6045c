"""Models by name or file."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import click

__all__ = ["NAMED", "ModelType", "channels_of", "load_denoiser"]

NAMED = ("auto", "gray", "rgb")  # what denoise_image knows by name


class ModelType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Reads the name of what denoises, or the path of a model of one's own.

    Parameters
    ----------
    *names : str
        The names that may be given.
    """

    name = "model"

    def __init__(self, *names: str) -> None:
        self.names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | Path:
        if isinstance(value, Path):
            return value
        name, path = value.replace("-", "_"), Path(value)
        if name in self.names:
            return str(name)
        if not path.is_file():
            nearest = difflib.get_close_matches(name, self.names, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            what = "is a folder" if path.is_dir() else "is neither a file nor a name"
            self.fail(f"{value!r} {what}.{hint} Known names: {', '.join(self.names)}.", param, ctx)
        return path


def load_denoiser(path: Path) -> Any:
    """Return the ImageDenoiser of a file."""
    from sklearn.utils.validation import check_is_fitted

    from sk_denoise import ImageDenoiser
    from sk_denoise.io import load

    denoiser = load(path)
    if not isinstance(denoiser, ImageDenoiser):
        raise ValueError(
            f"{path} holds a {type(denoiser).__name__}, where an ImageDenoiser was expected, as "
            "sk-denoise train makes it."
        )
    check_is_fitted(denoiser)
    return denoiser


def channels_of(denoiser: Any) -> int:
    """Return how many channels the pictures have that a denoiser learned from."""
    return int((*denoiser.patch_shape_, 1)[2])
