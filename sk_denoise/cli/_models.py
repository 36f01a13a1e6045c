"""``sk-denoise models``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sk_denoise.cli._chosen import IN_THE_BOX, load_estimator, unknown_model
from sk_denoise.cli._console import is_folder, is_there, say

if TYPE_CHECKING:
    from rich.table import Table

    from sk_denoise import ImageDenoiser

__all__ = ["models"]

REACHED = re.compile(r"([\d.]+) dB at (\d+)")  # in the cards


@click.command(short_help="Show the models in the box, the card of one, or what a file holds.")
@click.argument("model", required=False, metavar="[NAME|FILE]")
def models(model: str | None) -> int:
    """Show the models in the box, the card of one, or what a file holds.

    NAME is one of the models; FILE is an estimator that sk_denoise.io.save wrote. Without either, a table of
    the models says how strong a noise they know, and the PSNR that they reached on held-out photos under
    noise of these standard deviations, in grey levels of 255.
    """
    if model is None:
        _say_table(_table())
    elif model in IN_THE_BOX:
        from sk_denoise.restoration import MODELS

        say(MODELS[model].card.rstrip())
    elif is_there(Path(model)) and not is_folder(Path(model)):
        say(_description(load_estimator(model)))
    else:
        raise unknown_model(model, IN_THE_BOX)
    return 0


def _table() -> Table:
    from rich.table import Table

    from sk_denoise.restoration import MODELS

    reached = {name: dict(_reached(model.card)) for name, model in MODELS.items()}
    levels = sorted({level for row in reached.values() for level in row}, key=int)
    table = Table("model", "channels", "noise up to", *(f"dB at {level}" for level in levels))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, model in MODELS.items():
        cells = [reached[name].get(level, "") for level in levels]
        table.add_row(name, str(model.channels), f"{255 * model.strongest:g} of 255", *cells)
    return table


def _reached(card: str) -> list[tuple[str, str]]:
    """Return the levels and decibels that a card tells."""
    return [(level, decibels) for decibels, level in REACHED.findall(card)]


def _say_table(table: Table) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(table)
    say(captured.get().rstrip("\n"))


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
    """Return in words what pictures an ImageDenoiser takes, and what it is told of their noise."""
    shape = denoiser.patch_shape_
    epochs = f"{denoiser.n_iter_} epoch{'s' * (denoiser.n_iter_ != 1)}"
    lines = [f"Fitted to patches of {' x '.join(map(str, shape))}, in {epochs}."]
    if denoiser.noise_levels_ is None:
        lines.append("It is told nothing of the noise (blind), so it takes no --sigma.")
    else:
        weakest, strongest = (
            f"{255 * level / denoiser.white_:.3g}" if denoiser.white_ else f"{level:.3g}"
            for level in denoiser.noise_levels_
        )
        unit = "grey levels of 255" if denoiser.white_ else "the unit of its pictures"
        lines.append(f"It is told how strong the noise is: from {weakest} to {strongest}, in {unit}.")
    return "\n".join(lines)
