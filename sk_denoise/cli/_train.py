"""``sk-denoise train``: teach a network on the pictures of a folder."""

from __future__ import annotations

import math
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sk_denoise.cli._epochs import Keeper, Screen, in_time, screen
from sk_denoise.cli._noise import noise_help, noise_option, words_of
from sk_denoise.cli._results import check_writable
from sk_denoise.cli._settings import (
    AUGMENTATIONS,
    LOSSES,
    NETWORKS,
    IntegerOrAuto,
    NetworkOption,
    begun,
    fresh,
    phases,
    resumed,
)
from sk_denoise.cli._told import in_words, note
from sk_denoise.cli._trained import ModelType

__all__ = ["train"]

STEPS, MOST_EPOCHS, BATCH, PATCHES_OF_A_FILE = 2_500, 500, 32, 16  # what "auto" means, see ImageDenoiser
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
COUNT = IntegerOrAuto()


@dataclass
class Run:
    """A training run.

    Attributes
    ----------
    denoiser : ImageDenoiser
        What learns, or goes on learning.
    pictures, validation : ImageFolder
        What it learns from, and what it is measured on, if anything.
    model : Path
        Where it is written.
    total : int
        Epochs in all.
    """

    denoiser: Any
    pictures: Any
    validation: Any
    model: Path
    total: int

    @property
    def done(self) -> int:
        """Epochs so far."""
        return int(getattr(self.denoiser, "n_iter_", 0))


@click.command("train", short_help="Train a model on the pictures of a folder.", epilog=noise_help())
@click.argument("folder", type=FOLDER)
@click.option(
    "-o",
    "--output",
    "model",
    metavar="MODEL",
    required=True,
    type=click.Path(path_type=Path),
    help="The file that is written after every epoch.",
)
@noise_option(
    in_training=True,
    help="What is added to the pictures, which count as clean. [default: Gaussian noise, for each patch up "
    "to the standard deviation of the pictures]",
)
@click.option(
    "--noisy",
    type=FOLDER,
    help="In place of --noise: a folder with the noisy side of each picture, under the same name.",
)
@click.option(
    "--start-from",
    type=ModelType("gray", "rgb"),
    metavar="gray|rgb|FILE",
    help="Go on from weights in the box or in a file, in place of chance.",
)
@click.option("--resume", is_flag=True, help="Go on with MODEL, where it is there, to --epochs in all.")
@click.option("--overwrite", is_flag=True, help="Train anew where MODEL is there.")
@click.option("--network", type=click.Choice(list(NETWORKS)), show_default="folded_unet")
@click.option(
    "--network-option",
    type=NetworkOption(),
    multiple=True,
    help="A parameter of the network, such as widths=32,48 and blocks=1,1 for a smaller folded_unet.",
)
@click.option(
    "--sigma",
    type=click.Choice(["blind", "map"]),
    show_default="blind",
    help="Whether the network is told how strong the noise is: map is for white Gaussian noise.",
)
@click.option("--color", type=click.Choice(["rgb", "gray"]), default="rgb", show_default=True)
@click.option(
    "--patch-size", type=click.IntRange(min=1), show_default="64", help="Sides of patches in pixels."
)
@click.option("--patches-per-picture", type=COUNT, show_default="auto", help="In an epoch; auto is 16.")
@click.option(
    "--augment", type=click.Choice(list(AUGMENTATIONS)), show_default="none", help="Move patches at random."
)
@click.option("--batch-size", type=COUNT, show_default="auto", help="Patches in a batch; auto is 32.")
@click.option("--epochs", type=COUNT, show_default="auto", help="In all; auto makes about 2,500 batches.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    show_default="0.002, and 0.0002 with --start-from",
)
@click.option("--loss", type=click.Choice(LOSSES), show_default="mse")
@click.option("--validation", type=FOLDER, help="Measure each epoch on the pictures of this folder.")
@click.option(
    "--validation-noisy", type=FOLDER, help="With --noisy: the noisy side of the folder --validation."
)
@click.option(
    "--early-stopping", is_flag=True, help="Stop when validation gets no better, and keep the best weights."
)
@click.option(
    "--validation-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    show_default="0.1",
    help="The share of the pictures that --early-stopping measures on, without --validation.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    show_default="10",
    help="Epochs without progress, after which --early-stopping stops.",
)
@click.option("--device", show_default="auto", help="Where to compute: auto, cpu, cuda.")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), show_default="auto")
@click.option("--seed", type=click.IntRange(0, 2**32 - 2), help="Makes a run repeatable.")
@click.option("-q", "--quiet", is_flag=True, help="Show warnings alone.")
@click.pass_context
def train(context: click.Context, /, folder: Path, model: Path, **options: Any) -> None:
    """Train a network on the pictures in FOLDER, and write it to MODEL.

    The pictures count as clean and get fresh noise in every batch (--noise), or they are the clean side of
    pairs (--noisy). MODEL is whole after every epoch, and can be used while the training goes on. What was
    interrupted goes on with --resume; options that are left out then are those of MODEL.
    """
    given = {name for name in options if context.get_parameter_source(name) == ParameterSource.COMMANDLINE}
    _check_options(model, options, given)
    with in_words(note):
        run = _prepared(folder, model, options, given)
    if run.done >= run.total:
        click.echo(f"{model} has {run.done} epochs; nothing is left to do. More with --resume --epochs N.")
        return
    began, before = time.monotonic(), run.done
    with screen(run.done, run.total, options["quiet"]) as shown:
        keeper = _trained(run, folder, options, shown)
    if not options["quiet"]:
        _tell(run, keeper.figures, folder, run.done - before, time.monotonic() - began)


def _check_options(model: Path, options: dict[str, Any], given: set[str]) -> None:
    if options["noise"] and options["noisy"]:
        raise click.UsageError("--noise and --noisy exclude each other: pairs have their noise.")
    if options["resume"] and options["overwrite"]:
        raise click.UsageError("--resume and --overwrite exclude each other.")
    if bool(options["validation_noisy"]) != bool(options["validation"] and options["noisy"]):
        raise click.UsageError(
            "--noisy, --validation and --validation-noisy go together: all are folders of pairs."
        )
    if "validation_fraction" in given and options["validation"]:
        raise click.UsageError("--validation-fraction and --validation exclude each other.")
    alone = given & {"validation_fraction", "patience"}
    if alone and not (options["early_stopping"] or options["resume"]):
        raise click.UsageError(f"--{min(alone).replace('_', '-')} goes with --early-stopping.")
    if options["network_option"]:
        if options["network"] is None:
            options["network"] = "folded_unet"
        given.add("network")
    check_writable(model, "-o")
    if model.exists() and not (options["resume"] or options["overwrite"]):
        raise click.UsageError(
            f"{model} is there already. Go on with it by --resume, train anew by --overwrite, or take "
            "another name."
        )


def _prepared(folder: Path, model: Path, options: dict[str, Any], given: set[str]) -> Run:
    """Return the run that options stand for; nothing is trained or written here."""
    from sk_denoise.datasets import ImageFolder

    if options["resume"] and model.exists():
        denoiser, color = resumed(model, options, given)
    elif options["start_from"] is not None:
        denoiser, color = begun(options["start_from"], options, given)
    else:
        denoiser, color = fresh(options, given)
    pictures = ImageFolder(folder, noisy=options["noisy"], color=color)
    validation = None
    if options["validation"] is not None:
        validation = ImageFolder(options["validation"], noisy=options["validation_noisy"], color=color)
    return Run(
        denoiser, pictures, validation, model, _epochs(denoiser, len(pictures), validation is not None)
    )


def _epochs(denoiser: Any, n_pictures: int, has_validation: bool) -> int:
    """Return the epochs of a run in all, which have to be known to go on with it."""
    if denoiser.max_epochs != "auto":
        return int(denoiser.max_epochs)
    if denoiser.early_stopping and not has_validation:
        n_pictures -= min(max(1, round(denoiser.validation_fraction * n_pictures)), n_pictures - 1)
    patches = n_pictures * (
        PATCHES_OF_A_FILE if denoiser.patches_per_picture == "auto" else denoiser.patches_per_picture
    )
    steps = -(-patches // min(patches, BATCH if denoiser.batch_size == "auto" else denoiser.batch_size))
    return max(1, min(MOST_EPOCHS, math.ceil(STEPS / steps)))


def _trained(run: Run, folder: Path, options: dict[str, Any], shown: Screen) -> Keeper:
    """Train, and write the model after each epoch and at the end."""
    denoiser = run.denoiser
    whole = {
        name: getattr(denoiser, name) for name in ("learning_rate", "learning_rate_schedule", "warm_start")
    }
    keeper = Keeper(run.model, {**whole, "max_epochs": run.total}, shown)
    keeper.kept = run.done
    left = phases(run.done, run.total, whole["learning_rate_schedule"], whole["learning_rate"])

    def how_to_go_on() -> str:
        if not keeper.kept:
            return f"Interrupted in the first epoch; {run.model} was not written."
        return (
            f"Interrupted. {run.model} holds {keeper.kept} of {run.total} epochs. Go on with: "
            f"{_command(run, folder, options)}"
        )

    with in_words(shown.say, how_to_go_on):
        for phase in left:
            denoiser.set_params(
                max_epochs=phase.epochs,
                learning_rate=phase.rate,
                learning_rate_schedule=phase.schedule,
                warm_start=hasattr(denoiser, "n_iter_"),
                callbacks=[keeper],
            )
            before = run.done
            denoiser.fit(run.pictures, X_val=run.validation)
            if run.done - before < phase.epochs:  # it stopped early, and is complete
                keeper.settings["max_epochs"] = run.done
                break
        keeper.keep(denoiser)
    return keeper


def _command(run: Run, folder: Path, options: dict[str, Any]) -> str:
    """Return the command that goes on with a run."""
    words = ["sk-denoise", "train", str(folder), "-o", str(run.model), "--resume"]
    for name in ("noisy", "validation", "validation_noisy"):
        if options[name] is not None:
            words += [f"--{name.replace('_', '-')}", str(options[name])]
    return shlex.join(words)


def _tell(run: Run, figures: str, folder: Path, new: int, seconds: float) -> None:
    """Say what was learned from what, and what to do with it."""
    denoiser = run.denoiser
    noise = "with their noisy sides" if denoiser.noiser_ is None else f"under {words_of(denoiser.noiser_)}"
    here = "" if new == run.done else f" ({new} of them now)"
    model = shlex.quote(str(run.model))
    click.echo(f"Learned from {len(run.pictures)} pictures of {folder}, {run.pictures.color}, {noise}.")
    click.echo(f"{run.done} epochs{here} in {in_time(seconds)}; the last one: {figures}.")
    click.echo(f"{run.model} holds the model. Use it, and measure it:")
    click.echo(f"  sk-denoise denoise NOISY.png -o CLEAN.png --model {model}")
    click.echo(f"  sk-denoise evaluate {model} FOLDER --noise gaussian:0.1")
