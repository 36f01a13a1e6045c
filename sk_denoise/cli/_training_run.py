"""Training runs of ``sk-denoise train``: estimator, display and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from sk_denoise._registry import NETWORKS, NetworkEntry, networks_of
from sk_denoise.cli._console import (
    CommandFailure,
    RefusedInput,
    describe_error,
    pluralize,
    print_message,
    printable,
)
from sk_denoise.cli._methods import load_image_denoiser, model_color
from sk_denoise.cli._options import format_noiser
from sk_denoise.cli._output import open_console

__all__ = [
    "AUGMENTATIONS",
    "IMAGE_NETWORKS",
    "Checkpointer",
    "IntegerOrAutoType",
    "TrainingDisplay",
    "TrainingRun",
    "build_network_spec",
    "create_denoiser",
    "format_duration",
    "format_metrics",
    "is_writing_process",
    "open_display",
    "resume_denoiser",
    "start_from_weights",
    "train_denoiser",
]

IMAGE_NETWORKS = networks_of("ImageDenoiser")
# Parameters of sk_denoise.Augmenter by the value of --augment.
AUGMENTATIONS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "mirror": {},
    "flips": {"flip": "both"},
    "turns": {"flip": "both", "quarter_turns": True},
}
# Parameters of ImageDenoiser by option.
PARAMETERS = {
    "network": "network",
    "sigma_map": "sigma",
    "noise": "noise",
    "objective": "objective",
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
# Options that may differ when a run is resumed.
CHANGEABLE_OPTIONS = (
    "epochs",
    "device",
    "precision",
    "early_stopping",
    "validation_fraction",
    "patience",
)
# Options that the weights of a model determine.
WEIGHT_OPTIONS = ("network", "sigma_map")
# As in load_pretrained. At ten times this rate, the first steps would undo the training so far.
FINE_TUNING_LEARNING_RATE = 2e-4

Options = Mapping[str, Any]


# Parameter types -----------------------------------------------------------------------------------------


class IntegerOrAutoType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Parameter type of an integer of at least 1, or "auto"."""

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


# Estimators ----------------------------------------------------------------------------------------------


def create_denoiser(options: Options, given: set[str]) -> tuple[Any, str]:
    """Return an untrained estimator, and the color of its images.

    Parameters
    ----------
    options : mapping
        Values of all options.
    given : set of str
        Options from the command line. Other parameters have the defaults of the estimator.
    """
    from sk_denoise import ImageDenoiser

    return ImageDenoiser(**dict(_build_parameters(options, given))), options["color"]


def start_from_weights(start: str | Path, options: Options, given: set[str]) -> tuple[Any, str]:
    """Return an estimator with trained weights for a new run, and its images' color.

    Parameters
    ----------
    start : str or Path
        Name of a pretrained model, or a model file.
    options : mapping
        Values of all options.
    given : set of str
        Options from the command line.

    Raises
    ------
    RefusedInput
        If the file cannot be used, or the weights determine another value of an option.
    """
    from sk_denoise.restoration import load_pretrained

    if isinstance(start, Path):
        if "seed" in given:
            raise RefusedInput(
                f"--seed goes with the pretrained models gray and rgb: {printable(start)} has its own seed"
            )
        denoiser = load_image_denoiser(start)
        # The new run counts its epochs from 0.
        denoiser.net_.history.clear()
        denoiser.n_iter_ = 0
    else:
        denoiser = load_pretrained(start, random_state=options["seed"])
    source = f"the weights of {printable(start)}"
    _refuse_other_values(denoiser, options, given, WEIGHT_OPTIONS, source, "leave it out")
    parameters = dict(_build_parameters(options, given - {*WEIGHT_OPTIONS, "seed"}))
    parameters.setdefault("learning_rate", FINE_TUNING_LEARNING_RATE)
    parameters.setdefault("max_epochs", "auto")
    # Pairs and noisy images have their own noise; the model's noise was for clean images.
    is_noisy = parameters.get("objective", denoiser.objective) != "supervised"
    if options["noisy"] is not None or is_noisy:
        parameters.setdefault("noise", "auto")
    return denoiser.set_params(**parameters, callbacks=None), _check_model_color(denoiser, options, given)


def resume_denoiser(model: Path, options: Options, given: set[str]) -> tuple[Any, str]:
    """Load the estimator of an earlier run, and the color of its images.

    Parameters
    ----------
    model : Path
        The model file of the run.
    options : mapping
        Values of all options.
    given : set of str
        Options from the command line.

    Raises
    ------
    RefusedInput
        If the file cannot be used, or the run had another value of an option.
    """
    denoiser = load_image_denoiser(model)
    fixed = [name for name in PARAMETERS if name not in CHANGEABLE_OPTIONS]
    remedy = "leave it out to continue as before, or train from the beginning with --overwrite"
    _refuse_other_values(denoiser, options, given, fixed, printable(model), remedy)
    was_noisy = denoiser.target_source_ == "noisy"
    if was_noisy and options["noisy"] is not None:
        raise RefusedInput(f"{printable(model)} was trained on noisy images alone: leave --noisy out")
    was_paired = denoiser.noiser_ is None and not was_noisy
    if was_paired != (options["noisy"] is not None):
        data = (
            "pairs: give --noisy FOLDER" if was_paired else "clean images and added noise: leave --noisy out"
        )
        raise RefusedInput(f"{printable(model)} was trained on {data}")
    parameters = dict(_build_parameters(options, given & set(CHANGEABLE_OPTIONS)))
    return denoiser.set_params(**parameters, callbacks=None), _check_model_color(denoiser, options, given)


def _build_parameters(options: Options, given: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield the parameters of the estimator that options determine."""
    import sk_denoise

    for name in given & set(PARAMETERS):
        value = options[name]
        if name == "noise":
            value = value.build_noiser()
        elif name == "sigma_map":
            value = "map"
        elif name == "augment":
            parameters = AUGMENTATIONS[value]
            value = None if parameters is None else sk_denoise.Augmenter(**parameters)
        elif name == "network" and options["network_option"]:
            value = build_network_spec(IMAGE_NETWORKS[value], dict(options["network_option"]), 1, False)
        yield PARAMETERS[name], value


def build_network_spec(entry: NetworkEntry, parameters: dict[str, Any], *arguments: Any) -> Any:
    """Return the spec of a network with the parameters of ``--network-option``.

    Parameters
    ----------
    entry : NetworkEntry
        Entry of the network.
    parameters : dict
        Parameters of the spec.
    *arguments
        Arguments of its ``build``, to refuse wrong parameters before the data are read.
    """
    import sk_denoise

    spec = getattr(sk_denoise, entry.name)()
    unknown = set(parameters) - set(spec.get_params())
    if unknown:
        name = next(name for name, known in NETWORKS.items() if known is entry)
        raise RefusedInput(
            f"--network-option: {name} has no {', '.join(sorted(unknown))}. "
            f"Known: {', '.join(spec.get_params())}"
        )
    # The fit would refuse wrong values too, but only after the images are read.
    try:
        spec.set_params(**parameters).build(*arguments)
    except (TypeError, ValueError) as error:
        raise RefusedInput(f"--network-option: {describe_error(error)}") from error
    return spec


def _refuse_other_values(
    denoiser: Any, options: Options, given: set[str], names: Sequence[str], source: str, remedy: str
) -> None:
    """Refuse options with another value than in an estimator, and name them."""
    parameters = dict(_build_parameters(options, given & set(names)))
    values = {
        name: (
            _format_setting(parameters[PARAMETERS[name]]),
            _format_setting(getattr(denoiser, PARAMETERS[name])),
        )
        for name in names
        if PARAMETERS[name] in parameters
    }
    differences = [
        f"--{name.replace('_', '-')} is {new}, {source} has {old}"
        for name, (new, old) in values.items()
        if new != old
    ]
    if differences:
        raise RefusedInput(f"{'; '.join(differences)}; {remedy}")


def _format_setting(value: Any) -> str:
    """Return a setting as text; equal settings have equal texts."""
    # Estimators such as noisers and network specs do not compare by value.
    if hasattr(value, "corrupt"):
        return format_noiser(value)
    return str(value) if isinstance(value, str) else " ".join(repr(value).split())


def _check_model_color(denoiser: Any, options: Options, given: set[str]) -> str:
    """Return the color of an estimator's images; refuse another one in the options."""
    color = model_color(denoiser)
    if "color" in given and options["color"] not in ("auto", color):
        raise RefusedInput(f"--color is {options['color']}, and the model takes {color} images; leave it out")
    return color


# Display -------------------------------------------------------------------------------------------------


class TrainingDisplay(Protocol):
    """Display of a training run."""

    def write_line(self, text: str) -> None:
        """Write a line, such as a warning."""

    def show_epoch(self, n_epochs: int, metrics: str) -> None:
        """Show the number of finished epochs, and the metrics of the last one."""


class SilentDisplay:
    """Display of warnings only."""

    def write_line(self, text: str) -> None:
        print_message(printable(text))

    def show_epoch(self, n_epochs: int, metrics: str) -> None:
        pass


class LineDisplay:
    """Display of one line for each epoch, for files and pipes.

    Parameters
    ----------
    total : int
        Number of epochs of the run.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.times = [time.monotonic()]

    def write_line(self, text: str) -> None:
        print_message(printable(text))

    def show_epoch(self, n_epochs: int, metrics: str) -> None:
        self.times.append(time.monotonic())
        # The first epoch includes the preparations, so it does not count once there is another one.
        times = self.times[1:] if len(self.times) > 2 else self.times
        seconds_per_epoch = (times[-1] - times[0]) / (len(times) - 1)
        remaining = format_duration(seconds_per_epoch * (self.total - n_epochs))
        print_message(f"epoch {n_epochs}/{self.total}, {metrics}, {remaining} left")


class ProgressBarDisplay:
    """Display of a progress bar on a terminal."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.progress, self.task = progress, task

    def write_line(self, text: str) -> None:
        self.progress.console.print(Text(printable(text)), soft_wrap=True)

    def show_epoch(self, n_epochs: int, metrics: str) -> None:
        self.progress.update(self.task, completed=n_epochs, metrics=metrics)


@contextmanager
def open_display(n_epochs: int, total: int, quiet: bool) -> Iterator[TrainingDisplay]:
    """Show a run that has finished a number of epochs already."""
    if quiet:
        yield SilentDisplay()
        return
    console = open_console()
    if console is None:
        yield LineDisplay(total)
        return
    width = len(f"epoch {total}/{total}")
    columns = (
        TextColumn("epoch {task.completed:.0f}/{task.total:.0f}", table_column=Column(min_width=width)),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[metrics]}", table_column=Column(no_wrap=True, ratio=1)),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        task = progress.add_task("", total=total, completed=n_epochs, metrics="")
        yield ProgressBarDisplay(progress, task)


# Runs ----------------------------------------------------------------------------------------------------


@dataclass
class TrainingRun:
    """A training run.

    Attributes
    ----------
    denoiser : ImageDenoiser
        The estimator; a resumed run begins with a fitted one.
    images : ImageFolder
        Training images.
    validation : ImageFolder or None
        Validation images.
    model : Path
        File of the model.
    total : int
        Number of epochs, including those of earlier runs.
    further : dict
        Further arguments of the fit: the clean sides of pairs of signals.
    """

    denoiser: Any
    images: Any
    validation: Any
    model: Path
    total: int
    further: dict[str, Any] = field(default_factory=dict)

    @property
    def n_epochs(self) -> int:
        """Number of finished epochs."""
        return int(getattr(self.denoiser, "n_iter_", 0))


class Checkpointer:
    """Callback of an ImageDenoiser that saves the model after each epoch.

    Parameters
    ----------
    path : Path
        File of the model.
    n_saved : int
        Number of epochs that the file holds already.
    settings : dict
        Parameters of the saved estimator: those of the whole run, where the fit has those of its part.
    ratio : str
        Name of the ratio in dB that the squared error of the training is: PSNR of images in [0, 1], SNR of
        signals in units of their standard deviation.

    Attributes
    ----------
    display : TrainingDisplay
        Display of the epochs.
    metrics : str
        Metrics of the last epoch.
    """

    def __init__(self, path: Path, n_saved: int, settings: dict[str, Any], ratio: str = "PSNR") -> None:
        self.path, self.n_saved, self.settings, self.ratio = path, n_saved, settings, ratio
        self.display: TrainingDisplay = SilentDisplay()
        self.metrics = ""

    def __call__(self, denoiser: Any, epoch: dict[str, Any]) -> None:
        self.save(denoiser)
        self.metrics = format_metrics(epoch, denoiser.loss, denoiser.target_source_ == "noisy", self.ratio)
        self.display.show_epoch(self.n_saved, self.metrics)

    def save(self, denoiser: Any) -> None:
        """Save a model in the place of the previous one.

        Raises
        ------
        CommandFailure
            If the file cannot be written. The previous one stays.
        """
        from sk_denoise.persistence import save
        from sk_denoise.training import is_first_process

        # One process writes the file for all of a launch.
        if not is_first_process():
            return
        # The callback belongs to this run, and the file to every later one.
        try:
            save(denoiser.set_params(**self.settings, callbacks=None), self.path)
        except OSError as error:
            saved = f"; it holds {pluralize(self.n_saved, 'epoch')}" if self.n_saved else ""
            raise CommandFailure(
                f"cannot write {printable(self.path)}: {describe_error(error)}{saved}"
            ) from error
        self.n_saved = denoiser.n_iter_


def is_writing_process(options: dict[str, Any]) -> bool:
    """Return whether this process writes, and make the others of a launch quiet."""
    from sk_denoise.training import is_first_process

    options["quiet"] |= not is_first_process()
    return is_first_process()


def train_denoiser(run: TrainingRun, checkpointer: Checkpointer, display: TrainingDisplay) -> None:
    """Train the estimator of a run, and save it after each epoch and at the end."""
    denoiser = run.denoiser
    checkpointer.display = display
    denoiser.set_params(
        max_epochs=run.total, warm_start=hasattr(denoiser, "n_iter_"), callbacks=[checkpointer]
    )
    denoiser.fit(run.images, X_val=run.validation, **run.further)
    # After early stopping the run is complete, so that --resume does not continue it.
    checkpointer.settings["max_epochs"] = run.n_epochs
    checkpointer.save(denoiser)


def format_metrics(
    epoch: dict[str, Any], loss: Any, has_noisy_targets: bool = False, ratio: str = "PSNR"
) -> str:
    """Return the loss of an epoch as text, with the validation or training PSNR.

    The distance to noisy targets is no PSNR: most of it is their noise.
    """
    value = float(epoch["train_loss"])
    if has_noisy_targets:
        valid = f", validation {epoch['valid_loss']:.5f}" if "valid_loss" in epoch else ""
        return f"loss {value:.5f}{valid} (to noisy {'images' if ratio == 'PSNR' else 'signals'})"
    if "valid_psnr" in epoch:
        return f"loss {value:.5f}, validation PSNR {epoch['valid_psnr']:.2f} dB"
    # The squared error of values in [0, 1] is a PSNR; other losses are not.
    if loss == "mse" and value > 0:
        return f"loss {value:.5f}, training {ratio} {-10 * math.log10(value):.2f} dB"
    return f"loss {value:.5f}"


def format_duration(seconds: float) -> str:
    """Return seconds as hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"
