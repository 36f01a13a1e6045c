"""Settings of a training run: from options to an estimator, and back to what a file says of them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from sk_denoise._registry import networks_of
from sk_denoise.cli._console import Failure, Refusal, number_of, reason_of, shown, tell
from sk_denoise.cli._methods import color_of, load_denoiser
from sk_denoise.cli._noise import words_of
from sk_denoise.cli._output import terminal

__all__ = [
    "AUGMENTATIONS",
    "IntegerOrAuto",
    "Keeper",
    "NETWORKS",
    "NetworkOption",
    "Screen",
    "begun",
    "figures_of",
    "fresh",
    "in_time",
    "resumed",
    "screen",
]

NETWORKS = networks_of("ImageDenoiser")
AUGMENTATIONS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "mirror": {},
    "flips": {"flip": "both"},
    "turns": {"flip": "both", "quarter_turns": True},
}
PARAMETERS = {  # option: parameter of ImageDenoiser
    "network": "network",
    "sigma_map": "sigma",
    "noise": "noise",
    "patch_size": "patch_size",
    "patches_per_image": "patches_per_image",
    "augment": "augment",
    "batch_size": "batch_size",
    "epochs": "max_epochs",
    "learning_rate": "learning_rate",
    "loss": "loss",
    "early_stopping": "early_stopping",
    "validation_fraction": "validation_fraction",
    "patience": "n_iter_no_change",
    "device": "device",
    "precision": "precision",
    "seed": "random_state",
}
# to change on the way
FREE = ("epochs", "device", "precision", "early_stopping", "validation_fraction", "patience")
OF_THE_WEIGHTS = ("network", "sigma_map")
RATE_TO_GO_ON = 2e-4  # that of load_pretrained: at ten times that, the first steps undo what is known

Options = Mapping[str, Any]


class IntegerOrAuto(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Reads an integer of at least 1, or "auto"."""

    name = "integer"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if isinstance(value, int) or value == "auto":
            return value  # type: ignore[no-any-return]
        try:
            number = int(value)
        except ValueError:
            number = 0
        if number < 1:
            self.fail(f"expected an integer of at least 1, or auto, got {value!r}", param, ctx)
        return number


class NetworkOption(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Reads a parameter of a network: ``widths=32,48``, ``depth=9``."""

    name = "NAME=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        name, sign, text = value.partition("=")
        if not (name and sign and text):
            self.fail(f"expected NAME=VALUE, such as widths=32,48, got {value!r}", param, ctx)
        words = {"true": True, "false": False, "none": None}
        parts = [words.get(part, int(part) if part.isdecimal() else part) for part in text.split(",")]
        return name, parts[0] if len(parts) == 1 else tuple(parts)


def fresh(options: Options, given: set[str]) -> tuple[Any, str]:
    """Return an estimator that has learned nothing, and the color of its images."""
    from sk_denoise import ImageDenoiser

    return ImageDenoiser(**dict(_parameters(options, given))), options["color"]


def begun(start: str | Path, options: Options, given: set[str]) -> tuple[Any, str]:
    """Return an estimator that goes on from weights in the box or in a file, as a run of its own."""
    from sk_denoise.restoration import load_pretrained

    if isinstance(start, Path):
        if "seed" in given:
            raise Refusal(f"--seed goes with new weights, gray and rgb: {shown(start)} has its own")
        denoiser = load_denoiser(start)
        denoiser.net_.history.clear()  # epochs are counted from here
        denoiser.n_iter_ = 0
    else:
        denoiser = load_pretrained(start, random_state=options["seed"])
    _refuse_other(denoiser, options, given, OF_THE_WEIGHTS, f"the weights of {shown(start)}", "leave it out")
    wanted = dict(_parameters(options, given - {*OF_THE_WEIGHTS, "seed"}))
    wanted.setdefault("learning_rate", RATE_TO_GO_ON)
    wanted.setdefault("max_epochs", "auto")
    if options["noisy"] is not None:
        wanted["noise"] = "auto"  # pairs bring theirs
    return denoiser.set_params(**wanted, callbacks=None), _own_color(denoiser, options, given)


def resumed(model: Path, options: Options, given: set[str]) -> tuple[Any, str]:
    """Return the estimator of a file that a run left, once it is known that the run may go on with it."""
    denoiser = load_denoiser(model)
    fixed = [name for name in PARAMETERS if name not in FREE]
    _refuse_other(
        denoiser,
        options,
        given,
        fixed,
        shown(model),
        "leave it out to go on as before, or train anew with --overwrite",
    )
    paired = denoiser.noiser_ is None
    if paired != (options["noisy"] is not None):
        before = "pairs: give --noisy FOLDER" if paired else "clean images and added noise: leave --noisy out"
        raise Refusal(f"{shown(model)} learned from {before}")
    wanted = dict(_parameters(options, given & set(FREE)))
    return denoiser.set_params(**wanted, callbacks=None), _own_color(denoiser, options, given)


def _parameters(options: Options, given: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield the parameters that options stand for."""
    import sk_denoise

    for name in given & set(PARAMETERS):
        value = options[name]
        if name == "noise":
            value = value.noiser()
        elif name == "sigma_map":
            value = "map"
        elif name == "augment":
            moves = AUGMENTATIONS[value]
            value = None if moves is None else sk_denoise.Augmenter(**moves)
        elif name == "network" and options["network_option"]:
            value = _spec(value, dict(options["network_option"]))
        yield PARAMETERS[name], value


def _spec(name: str, values: dict[str, Any]) -> Any:
    import sk_denoise

    spec = getattr(sk_denoise, NETWORKS[name].name)()
    unknown = set(values) - set(spec.get_params())
    if unknown:
        raise Refusal(
            f"--network-option: {name} has no {', '.join(sorted(unknown))}. "
            f"Known: {', '.join(spec.get_params())}"
        )
    try:
        spec.set_params(**values).build(1, False)  # the fit would refuse it, after the images are read
    except (TypeError, ValueError) as error:
        raise Refusal(f"--network-option: {reason_of(error)}") from error
    return spec


def _refuse_other(
    denoiser: Any, options: Options, given: set[str], names: Any, whose: str, remedy: str
) -> None:
    """Refuse options that say other than what an estimator was made with, and name them."""
    asked = dict(_parameters(options, given & set(names)))
    said = {
        name: (_said(asked[PARAMETERS[name]]), _said(getattr(denoiser, PARAMETERS[name])))
        for name in names
        if PARAMETERS[name] in asked
    }
    differing = [
        f"--{name.replace('_', '-')} is {here}, {whose} has {there}"
        for name, (here, there) in said.items()
        if here != there
    ]
    if differing:
        raise Refusal(f"{'; '.join(differing)}; {remedy}")


def _said(value: Any) -> str:
    """Return a setting in words that are equal where settings are."""
    if hasattr(value, "corrupt"):
        return words_of(value)
    return str(value) if isinstance(value, str) else " ".join(repr(value).split())


def _own_color(denoiser: Any, options: Options, given: set[str]) -> str:
    """Return the color of the images that an estimator takes."""
    color = color_of(denoiser)
    if "color" in given and options["color"] not in ("auto", color):
        raise Refusal(f"--color is {options['color']}, and the model takes {color} images; leave it out")
    return color


class Screen(Protocol):
    """Where a run is shown."""

    def say(self, text: str) -> None:
        """Show a line."""

    def show(self, done: int, figures: str) -> None:
        """Show that so many epochs are done."""


class Silence:
    """Shows warnings alone."""

    def say(self, text: str) -> None:
        tell(shown(text))

    def show(self, done: int, figures: str) -> None:
        pass


class Lines:
    """A plain line for each epoch, for files and pipes."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.times = [time.monotonic()]

    def say(self, text: str) -> None:
        tell(shown(text))

    def show(self, done: int, figures: str) -> None:
        self.times.append(time.monotonic())
        alike = self.times[1:] if len(self.times) > 2 else self.times  # the first one waits for preparations
        each = (alike[-1] - alike[0]) / (len(alike) - 1)
        tell(f"epoch {done}/{self.total}, {figures}, {in_time(each * (self.total - done))} left")


class Bar:
    """A bar on a terminal."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.progress, self.task = progress, task

    def say(self, text: str) -> None:
        self.progress.console.print(Text(shown(text)), soft_wrap=True)

    def show(self, done: int, figures: str) -> None:
        self.progress.update(self.task, completed=done, figures=figures)


@contextmanager
def screen(done: int, total: int, quiet: bool) -> Iterator[Screen]:
    """Show a run from one epoch to another."""
    if quiet:
        yield Silence()
        return
    console = terminal()
    if console is None:
        yield Lines(total)
        return
    width = len(f"epoch {total}/{total}")
    columns = (
        TextColumn("epoch {task.completed:.0f}/{task.total:.0f}", table_column=Column(min_width=width)),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[figures]}", table_column=Column(no_wrap=True, ratio=1)),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        yield Bar(progress, progress.add_task("", total=total, completed=done, figures=""))


class Keeper:
    """Writes the model after each epoch, as a callback of an ImageDenoiser.

    Parameters
    ----------
    path : Path
        Where to.
    kept : int
        How many epochs it holds already.
    """

    def __init__(self, path: Path, kept: int) -> None:
        self.path, self.kept = path, kept
        self.figures = ""

    def begin(self, settings: dict[str, Any], screen: Screen) -> None:
        """Take the parameters that the estimator of the file has, of the whole run, and whom to tell."""
        self.settings, self.screen = settings, screen

    def __call__(self, denoiser: Any, epoch: dict[str, Any]) -> None:
        self.keep(denoiser)
        self.figures = figures_of(epoch, denoiser.loss)
        self.screen.show(self.kept, self.figures)

    def keep(self, denoiser: Any) -> None:
        """Write a model that is whole, in place of the one of the epoch before."""
        from sk_denoise.persistence import save

        try:
            save(denoiser.set_params(**self.settings, callbacks=None), self.path)
        except OSError as error:
            kept = f"; it holds {number_of(self.kept, 'epoch')}" if self.kept else ""
            raise Failure(f"cannot write {shown(self.path)}: {reason_of(error)}{kept}") from error
        self.kept = denoiser.n_iter_


def figures_of(epoch: dict[str, Any], loss: Any) -> str:
    """Return in words the loss of an epoch, and the PSNR that is known."""
    value = float(epoch["train_loss"])
    if "valid_psnr" in epoch:
        return f"loss {value:.5f}, validation PSNR {epoch['valid_psnr']:.2f} dB"
    if loss == "mse" and value > 0:  # in squares of the range from black to white
        return f"loss {value:.5f}, training PSNR {-10 * math.log10(value):.2f} dB"
    return f"loss {value:.5f}"


def in_time(seconds: float) -> str:
    """Return seconds as hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"
