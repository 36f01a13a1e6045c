"""Noise in words: ``gaussian:0.02-0.2``, ``poisson:30+gaussian:0.02``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from sk_denoise._registry import GREY_LEVELS, NOISES
from sk_denoise._registry import Amount as Strength
from sk_denoise.cli._console import Refusal

__all__ = ["KINDS", "Noise", "NoiseType", "check_noises", "noise_help", "noise_option", "words_of"]

NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE]-?\d+)?"
PART = re.compile(rf"(?P<name>[^:]+)(?::(?P<low>{NUMBER})(?:-(?P<high>{NUMBER}))?)?")
FORM = "expected NAME, NAME:AMOUNT or NAME:LOW-HIGH, several joined by +, such as poisson:30+gaussian:0.02"

Amount = float | tuple[float, float] | None


# Noises that a name and an amount tell; the others are made of them
KINDS: dict[str, Strength] = {
    name: noise.amount for name, noise in NOISES.items() if noise.amount is not None
}


@dataclass(frozen=True)
class Noise:
    """One noise, or several that act one after the other.

    Attributes
    ----------
    text : str
        As it was written.
    parts : tuple of (str, Amount)
        Names in ``KINDS`` and amounts; None is the default of the noiser.
    """

    text: str
    parts: tuple[tuple[str, Amount], ...]

    def noiser(self, random_state: int | None = None) -> Any:
        """Return it for images in [0, 1]."""
        import sk_denoise

        noisers = []
        for name, amount in self.parts:
            given = {} if amount is None else {KINDS[name].parameter: amount}
            noisers.append(getattr(sk_denoise, NOISES[name].name)(**given, **NOISES[name].known))
        noiser = noisers[0] if len(noisers) == 1 else sk_denoise.NoiserChain(noisers)
        return noiser.set_params(random_state=random_state)


class NoiseType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Reads a noise from the command line.

    Parameters
    ----------
    in_training : bool
        Whether it corrupts many patches at once, and not an image by itself.
    """

    name = "noise"

    def __init__(self, *, in_training: bool = False) -> None:
        self.in_training = in_training

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "NAME[:AMOUNT[-AMOUNT]][+...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Noise:
        if isinstance(value, Noise):
            return value
        parts = tuple(self._part(text.strip(), value, param, ctx) for text in value.split("+"))
        return Noise("+".join(text.strip() for text in value.split("+")), parts)

    def _part(
        self, text: str, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Amount]:
        found = PART.fullmatch(text)
        if found is None:
            self.fail(f"{value!r} is no noise: {FORM}.", param, ctx)
        name = found["name"].replace("-", "_")
        if name not in KINDS:
            self.fail(_unknown(name), param, ctx)
        if NOISES[name].mixes_samples and not self.in_training:
            self.fail(f"{name} takes values from other patches, and here images come one by one.", param, ctx)
        amounts = [float(end) for end in (found["low"], found["high"]) if end is not None]
        problem = _problem(name, amounts)
        if problem:
            self.fail(f"{text!r}: {problem}.", param, ctx)
        if len(amounts) == 2:
            return name, (amounts[0], amounts[1])
        return name, amounts[0] if amounts else None


def noise_option(*, in_training: bool = False, multiple: bool = False, required: bool = False) -> Any:
    """Return the option ``--noise``."""
    what = "What is added to the images, which count as clean."
    what += (
        " Several times for several noises."
        if multiple
        else " [default: Gaussian noise, for each patch up to the standard deviation of the images]"
    )
    return click.option(
        "--noise", type=NoiseType(in_training=in_training), multiple=multiple, required=required, help=what
    )


def check_noises(noises: Sequence[Noise]) -> None:
    """Refuse what is asked for twice."""
    texts = [noise.text for noise in noises]
    for text in texts:
        if texts.count(text) > 1:
            raise Refusal(f"--noise {text} is given twice")


def noise_help() -> str:
    """Return what each noise means, for the end of a help page."""
    width = max(map(len, KINDS))
    lines = [f"  {name:<{width}}  {kind.meaning}" for name, kind in KINDS.items()]
    return "\b\nNoise, and what AMOUNT means for images from 0 (black) to 1 (white):\n" + "\n".join(
        [
            *lines,
            "LOW-HIGH draws an amount for each patch or image; without an amount it is",
            "that of the library. In poisson:30+gaussian:0.02 one follows the other.",
        ]
    )


def words_of(noiser: Any) -> str:
    """Return a noiser in the words of the command line, or as Python shows it."""
    names = {NOISES[name].name: name for name in KINDS}
    kind = type(noiser).__name__
    if kind == "NoiserChain":
        return "+".join(map(words_of, noiser.noisers))
    if kind not in names:
        return " ".join(repr(noiser).split())
    amount = getattr(noiser, KINDS[names[kind]].parameter)
    ends = amount if isinstance(amount, tuple | list) else [amount]
    return f"{names[kind]}:{'-'.join(f'{end:g}' for end in ends)}"


def _unknown(name: str) -> str:
    if name in NOISES:
        return f"{name!r} is made of other noise, which a name does not tell. Join noises in order by +."
    nearest = difflib.get_close_matches(name, KINDS, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"there is no noise {name!r}.{hint} Known: {', '.join(KINDS)}."


def _problem(name: str, amounts: list[float]) -> str:
    """Return what is wrong with amounts; nothing where all is well."""
    kind = KINDS[name]
    if amounts != sorted(amounts):
        return f"LOW-HIGH needs LOW below HIGH, {amounts[1]:g}-{amounts[0]:g}"
    if kind.above_zero and 0 in amounts:
        return f"the amount must be above 0 ({kind.meaning})"
    if max(amounts, default=0) <= kind.high:
        return ""
    problem = f"the amount must be at most {kind.high:g} ({kind.meaning})"
    if kind.unit == GREY_LEVELS and max(amounts) <= 255:
        shares = "-".join(f"{amount / 255:.3g}" for amount in amounts)
        problem += f"; grey levels of 255 would be {name}:{shares}"
    return problem
