"""Options that several commands share, with one spelling and one help each."""

from __future__ import annotations

import difflib
import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from sk_denoise._registry import GREY_LEVELS, NOISE_KINDS, NOISES, Amount
from sk_denoise.cli._console import RefusedInput
from sk_denoise.cli._paths import FOLDER

__all__ = [
    "NOISE_AMOUNTS",
    "RESULT_FORMATS",
    "NetworkOptionType",
    "DecibelsType",
    "NoiseSpec",
    "NoiseType",
    "columns_option",
    "conflicting_options",
    "device_option",
    "ensemble_option",
    "format_noiser",
    "given_options",
    "limit_option",
    "max_pixels_option",
    "noise_help",
    "noise_kind_option",
    "noise_option",
    "noisy_option",
    "outliers_option",
    "parse_integer",
    "quiet_option",
    "refuse_repeated_noises",
    "results_options",
    "sampling_rate_option",
    "seed_option",
    "sigma_option",
    "strength_option",
]

RESULT_FORMATS = ("table", "csv", "json")
# numpy's RandomState takes seeds below 2**32, and the demo uses the next seed too.
MAX_SEED = 2**32 - 2
# The default of sk_denoise.io.read_image; importing it here would import numpy for every help text.
DEFAULT_MAX_PIXELS = 2**28

# Noises with a single amount. The other ones need arrays, or combine noises, as "+" does.
NOISE_AMOUNTS: dict[str, Amount] = {
    name: noise.amount for name, noise in NOISES.items() if noise.amount is not None
}
NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE]-?\d+)?"
NOISE_PART = re.compile(rf"(?P<name>[^:]+)(?::(?P<low>{NUMBER})(?:-(?P<high>{NUMBER}))?)?")
NOISE_SYNTAX = (
    "expected NAME, NAME:AMOUNT or NAME:LOW-HIGH, several joined by +, such as poisson:30+gaussian:0.02"
)

AmountValue = float | tuple[float, float] | None
Command = TypeVar("Command", bound=Callable[..., Any])


# Noise ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoiseSpec:
    """A noise from the command line, for example ``poisson:30+gaussian:0.02``.

    Attributes
    ----------
    text : str
        The noise as the user wrote it.
    parts : tuple of (str, AmountValue)
        Names in `NOISE_AMOUNTS` with their amounts, in the order of application; None is the default amount.
    """

    text: str
    parts: tuple[tuple[str, AmountValue], ...]

    def build_noiser(self, random_state: int | None = None) -> Any:
        """Return a noiser for images in [0, 1]."""
        import sk_denoise

        # Black is 0 and white is 1, so that a noise is the same in training, for one image and for many.
        noisers = []
        for name, amount in self.parts:
            parameters = {} if amount is None else {NOISE_AMOUNTS[name].parameter: amount}
            noisers.append(
                getattr(sk_denoise, NOISES[name].name)(**parameters, **NOISES[name].fixed_parameters)
            )
        noiser = noisers[0] if len(noisers) == 1 else sk_denoise.NoiserChain(noisers)
        return noiser.set_params(random_state=random_state)

    def build_signal_noiser(self, random_state: int | None = None, scale: str = "std") -> Any:
        """Return a noiser for signals; amounts are shares of their standard deviation.

        Parameters
        ----------
        random_state : int, optional
            Seed of the noise.
        scale : {"std", "absolute"}
            "absolute" for signals that are divided by their standard deviation already.
        """
        import sk_denoise

        noisers = []
        for name, amount in self.parts:
            kind = getattr(sk_denoise, NOISES[name].name)
            parameters: dict[str, Any] = {} if amount is None else {NOISE_AMOUNTS[name].parameter: amount}
            # Units of signals differ, so that no fixed number is weak or strong.
            if "scale" in inspect.signature(kind).parameters:
                parameters["scale"] = scale
            noisers.append(kind(**parameters))
        noiser = noisers[0] if len(noisers) == 1 else sk_denoise.NoiserChain(noisers)
        return noiser.set_params(random_state=random_state)


class NoiseType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Parameter type of a noise.

    Parameters
    ----------
    in_training : bool, default=False
        Whether the noise corrupts batches of patches. Otherwise it corrupts one image at a time, and noise
        that mixes samples is refused.
    """

    name = "noise"

    def __init__(self, *, in_training: bool = False) -> None:
        self.in_training = in_training

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "NAME[:AMOUNT[-AMOUNT]][+...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> NoiseSpec:
        # click converts defaults too, which may be converted already.
        if isinstance(value, NoiseSpec):
            return value
        texts = [text.strip() for text in value.split("+")]
        return NoiseSpec("+".join(texts), tuple(self._parse_part(text, value, param, ctx) for text in texts))

    def _parse_part(
        self, text: str, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, AmountValue]:
        match = NOISE_PART.fullmatch(text)
        if match is None:
            self.fail(f"{value!r} is not a noise: {NOISE_SYNTAX}.", param, ctx)
        name = match["name"].replace("-", "_")
        if name not in NOISE_AMOUNTS:
            self.fail(_unknown_noise_message(name), param, ctx)
        if NOISES[name].mixes_samples and not self.in_training:
            self.fail(f"{name} takes values from other patches, and images are read one by one.", param, ctx)
        amounts = [float(end) for end in (match["low"], match["high"]) if end is not None]
        problem = _find_amount_problem(name, amounts)
        if problem:
            self.fail(f"{text!r}: {problem}.", param, ctx)
        if len(amounts) == 2:
            return name, (amounts[0], amounts[1])
        return name, amounts[0] if amounts else None


def _unknown_noise_message(name: str) -> str:
    if name in NOISES and NOISES[name].made_of == "other noise":
        return f"{name!r} combines other noises. Join their names in order by +."
    if name in NOISES and NOISES[name].changes_size:
        return f"{name!r} changes the size of images: use {NOISES[name].name} in Python."
    if name in NOISES and not NOISES[name].made_of:
        return f"{name!r} is no noise of images: use {NOISES[name].name} in Python."
    if name in NOISES:
        return f"{name!r} needs {NOISES[name].made_of}: use {NOISES[name].name} in Python."
    nearest = difflib.get_close_matches(name, NOISE_AMOUNTS, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"there is no noise {name!r}.{hint} Known: {', '.join(NOISE_AMOUNTS)}."


def _find_amount_problem(name: str, amounts: list[float]) -> str:
    """Return the reason why amounts are impossible; an empty text otherwise."""
    limits = NOISE_AMOUNTS[name]
    if amounts != sorted(amounts):
        return f"LOW-HIGH needs LOW below HIGH, {amounts[1]:g}-{amounts[0]:g}"
    if limits.above_zero and 0 in amounts:
        return f"the amount must be above 0 ({limits.description})"
    if max(amounts, default=0) <= limits.max_value:
        return ""
    problem = f"the amount must be at most {limits.max_value:g} ({limits.description})"
    # Standard deviations of 8-bit images are often quoted in grey levels.
    if limits.unit == GREY_LEVELS and max(amounts) <= 255:
        unit_amounts = "-".join(f"{amount / 255:.3g}" for amount in amounts)
        problem += f"; grey levels of 255 would be {name}:{unit_amounts}"
    return problem


def noise_option(*, in_training: bool = False, multiple: bool = False, required: bool = False) -> Any:
    """Return the option ``--noise``."""
    description = "Noise to add to the images, which are taken as clean."
    description += (
        " May be given several times."
        if multiple
        else " [default: Gaussian noise, for each patch up to the standard deviation of the images]"
    )
    return click.option(
        "--noise",
        type=NoiseType(in_training=in_training),
        multiple=multiple,
        required=required,
        help=description,
    )


def refuse_repeated_noises(noises: Sequence[NoiseSpec]) -> None:
    """Check that no noise is given twice.

    Raises
    ------
    RefusedInput
        If two noises have the same text, which is the label of their results.
    """
    texts = [noise.text for noise in noises]
    for text in texts:
        if texts.count(text) > 1:
            raise RefusedInput(f"--noise {text} is given twice")


def noise_help() -> str:
    """Return the meaning of every noise and its amount, for the end of a help text."""
    width = max(map(len, NOISE_AMOUNTS))
    lines = [f"  {name:<{width}}  {amount.description}" for name, amount in NOISE_AMOUNTS.items()]
    # click keeps the line breaks of a paragraph that begins with \b.
    return "\b\nNoise, and the meaning of AMOUNT for images from 0 (black) to 1 (white):\n" + "\n".join(
        [
            *lines,
            "LOW-HIGH draws an amount for each patch or image. The default amount is that",
            "of the library. poisson:30+gaussian:0.02 applies one noise after the other.",
        ]
    )


def format_noiser(noiser: Any) -> str:
    """Return a noiser in the syntax of ``--noise``, or its repr."""
    names = {NOISES[name].name: name for name in NOISE_AMOUNTS}
    class_name = type(noiser).__name__
    if class_name == "NoiserChain":
        return "+".join(map(format_noiser, noiser.noisers))
    # The syntax has amounts only: other parameters need the repr of Python.
    if class_name not in names:
        return " ".join(repr(noiser).split())
    amount = getattr(noiser, NOISE_AMOUNTS[names[class_name]].parameter)
    ends = amount if isinstance(amount, tuple | list) else [amount]
    return f"{names[class_name]}:{'-'.join(f'{end:g}' for end in ends)}"


class DecibelsType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Parameter type of a signal-to-noise ratio: ``10`` or ``-5-10``, in dB."""

    name = "decibels"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | tuple[float, float]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        match = re.fullmatch(r"(-?\d+\.?\d*)(?:-(-?\d+\.?\d*))?", value)
        ends = [float(end) for end in match.groups() if end is not None] if match else []
        if not ends or ends != sorted(ends):
            self.fail(f"expected a number of decibels, or LOW-HIGH such as 0-20, got {value!r}", param, ctx)
        return ends[0] if len(ends) == 1 else (ends[0], ends[1])


class NetworkOptionType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Parameter type of a network's parameter: ``widths=32,48``, ``depth=9``."""

    name = "NAME=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        name, sign, text = value.partition("=")
        if not (name and sign and text):
            self.fail(f"expected NAME=VALUE, such as widths=32,48, got {value!r}", param, ctx)
        constants = {"true": True, "false": False, "none": None}
        parts = [constants.get(part, _as_number(part)) for part in text.split(",")]
        return name, parts[0] if len(parts) == 1 else tuple(parts)


def _as_number(text: str) -> int | float | str:
    """Return a number that a text holds, or the text."""
    if text.isdecimal():
        return int(text)
    return float(text) if re.fullmatch(rf"-?{NUMBER}", text) else text


# Other options -------------------------------------------------------------------------------------------


def given_options(context: click.Context) -> set[str]:
    """Return the names of the options from the command line."""
    return {
        name for name in context.params if context.get_parameter_source(name) == ParameterSource.COMMANDLINE
    }


def conflicting_options(first: str, second: str) -> RefusedInput:
    """Return the error of two options that exclude each other."""
    return RefusedInput(f"{first} and {second} contradict each other; give one of them")


def parse_integer(text: Any) -> int:
    """Return the value of an option as an integer."""
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter(f"expected an integer, got {text!r}") from None


def _parse_seed(text: Any) -> int:
    seed = parse_integer(text)
    if not 0 <= seed <= MAX_SEED:
        raise click.BadParameter(f"expected an integer from 0 to {MAX_SEED}, got {text!r}")
    return seed


def _parse_grey_levels(text: Any) -> float:
    try:
        level = float(text)
    except ValueError:
        level = math.nan
    if not 0 <= level < math.inf:
        raise click.BadParameter(f"expected a number of grey levels, 0 or more, got {text!r}")
    return level


def seed_option(description: str, default: int | None = 0) -> Callable[[Command], Command]:
    """Return the option ``--seed``."""
    return click.option(
        "--seed", type=_parse_seed, default=default, metavar="S", show_default=True, help=description
    )


device_option = click.option(
    "--device",
    default="auto",
    metavar="DEVICE",
    show_default=True,
    help='Device to compute on: "cpu", "cuda" or "cuda:1"; "auto" takes a GPU if there is one.',
)
ensemble_option = click.option(
    "--ensemble",
    is_flag=True,
    help="Self-ensemble: average over eight turned and mirrored copies. A little better, 8 times slower.",
)
noise_kind_option = click.option(
    "--noise",
    type=click.Choice(list(NOISE_KINDS)),
    default="auto",
    show_default=True,
    help="Kind of the noise: "
    + "; ".join(f"{name}, {kind.description}" for name, kind in NOISE_KINDS.items())
    + ".",
)
outliers_option = click.option(
    "--outliers",
    type=click.Choice(["keep", "replace"]),
    default="keep",
    show_default=True,
    help="Keep hot and dead pixels, or replace them by the median of their neighbours.",
)
strength_option = click.option(
    "--strength",
    type=click.FloatRange(0, 100),
    default=100.0,
    metavar="PERCENT",
    help="Share of the noise to remove, 0 to 100; below 100 the result is a blend with the image. "
    "[default: 100]",
)
columns_option = click.option(
    "--columns",
    metavar="NAME,...",
    help="For signals: channels of a CSV, TSV, TXT or EDF file, by name or by number from 0.",
)
sampling_rate_option = click.option(
    "--sampling-rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="HZ",
    help="For signals: samples per second, in place of that of the file.",
)
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Use the first N images only."
)
max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=DEFAULT_MAX_PIXELS,
    metavar="N",
    show_default=True,
    help="Refuse images with more pixels.",
)
noisy_option = click.option(
    "--noisy",
    type=FOLDER,
    help="In place of --noise: folder with the noisy version of each image, under the same name.",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print results, warnings and errors only.")
sigma_option = click.option(
    "--sigma",
    type=_parse_grey_levels,
    metavar="FLOAT",
    help="Standard deviation of the noise in grey levels of 255, for any bit depth: 10 is 10/255 of the "
    "range from black to white. By default the noise is estimated for each image.",
)


def results_options(command: Command) -> Command:
    """Add the options for the format and the file of results to a command."""
    # Decorators apply from the inside out, so the last option comes first in the help.
    for option in (
        click.option(
            "--format",
            "form",
            type=click.Choice(RESULT_FORMATS),
            help="Format of the results. [default: by the suffix of OUT, or table]",
        ),
        click.option("--overwrite", is_flag=True, help="Replace existing files."),
        click.option(
            "-o",
            "--output",
            type=click.Path(path_type=Path),
            metavar="OUT",
            help="Write the results to a file.",
        ),
    ):
        command = option(command)
    return command
