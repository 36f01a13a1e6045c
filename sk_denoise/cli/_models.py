"""``sk-denoise models``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sk_denoise.cli._console import number_of, say
from sk_denoise.cli._methods import IN_THE_BOX, ModelType, load_estimator

if TYPE_CHECKING:
    from sk_denoise import ImageDenoiser

__all__ = ["models"]

REACHED = re.compile(r"([\d.]+) dB at (\d+)")  # in the cards


@click.command(short_help="Show the models in the box, the card of one, or what a file holds.")
@click.argument("model", type=ModelType(*IN_THE_BOX), required=False, metavar="[NAME|FILE]")
def models(model: str | Path | None) -> int:
    """Show the models in the box, the card of one, or what a file holds.

    NAME is one of the models; FILE is an estimator that sk_denoise.persistence.save wrote. Without either,
    a table of the models says how strong a noise they learned from (they take stronger noise away too), and
    the PSNR that they reached on held-out photos under noise of these standard deviations, in grey levels of
    255.
    """
    if model is None:
        from sk_denoise.cli._output import say_table  # rich is for those who print tables

        say_table(_rows())
    elif isinstance(model, Path):
        say(_description(load_estimator(model)))
    else:
        from sk_denoise.restoration import MODELS

        say(MODELS[model].card.rstrip())
    return 0


def _rows() -> list[dict[str, Any]]:
    """Return what the table says of each model."""
    from sk_denoise.restoration import MODELS

    reached = {name: dict(_reached(model.card)) for name, model in MODELS.items()}
    levels = sorted({level for row in reached.values() for level in row})
    return [
        {
            "model": name,
            "channels": model.channels,
            "learned up to": f"{255 * model.strongest:g} of 255",
            **{f"dB at {level}": reached[name].get(level) for level in levels},
        }
        for name, model in MODELS.items()
    ]


def _reached(card: str) -> list[tuple[int, float]]:
    """Return the levels and decibels that a card tells."""
    return [(int(level), float(decibels)) for decibels, level in REACHED.findall(card)]


def _description(estimator: Any) -> str:
    """Return what an estimator is, what it learned from, and its network."""
    from sklearn.exceptions import NotFittedError

    from sk_denoise import ImageDenoiser

    parts = [repr(estimator)]
    if isinstance(estimator, ImageDenoiser) and hasattr(estimator, "patch_shape_"):
        parts.append(_learned(estimator))
    if hasattr(estimator, "summary"):
        try:
            parts.append(repr(estimator.summary()))
        except NotFittedError:
            parts.append("It is not fitted.")
    return "\n\n".join(parts)


def _learned(denoiser: ImageDenoiser) -> str:
    """Return in words what images an ImageDenoiser takes, and what it is told of their noise."""
    shape = denoiser.patch_shape_
    epochs = number_of(denoiser.n_iter_, "epoch")
    lines = [f"Fitted to patches of {' x '.join(map(str, shape))}, in {epochs}."]
    if denoiser.noise_levels_ is None:
        lines.append("It is told nothing of the noise (blind), so it takes no --sigma.")
    else:
        intensity = denoiser.intensity_range_
        unit = "the unit of its images" if intensity is None else "grey levels of 255"
        gain = 1.0 if intensity is None else 255 / intensity.span
        weakest, strongest = (f"{gain * level:.3g}" for level in denoiser.noise_levels_)
        lines.append(f"It is told how strong the noise is: from {weakest} to {strongest}, in {unit}.")
    return "\n".join(lines)
