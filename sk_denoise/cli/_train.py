"""``sk-denoise train``: teach a network on the images of a folder."""

from __future__ import annotations

import math
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sk_denoise._registry import LOSSES
from sk_denoise.cli._console import PROGRAM, Refusal, exit_code_of, explained, number_of, say, shown, tell
from sk_denoise.cli._files import (
    FOLDER,
    check_target,
    check_writable,
    is_there,
    open_folder,
    range_of,
    refuse_image_name,
    refuse_model_name,
)
from sk_denoise.cli._methods import IN_THE_BOX, ModelType, check_device
from sk_denoise.cli._noise import noise_help, noise_option, words_of
from sk_denoise.cli._options import (
    device_option,
    max_pixels_option,
    noisy_option,
    quiet_option,
    refuse_both,
    seed_option,
)
from sk_denoise.cli._training import (
    AUGMENTATIONS,
    NETWORKS,
    IntegerOrAuto,
    Keeper,
    NetworkOption,
    Screen,
    begun,
    fresh,
    in_time,
    resumed,
    screen,
)

__all__ = ["train"]

STEPS, MOST_EPOCHS, BATCH, PATCHES_OF_A_FILE = 2_500, 500, 32, 16  # what "auto" means, see ImageDenoiser
LOOKED_AT = 5  # images that tell whether floats are in [0, 1]
COUNT = IntegerOrAuto()


@dataclass
class Run:
    """A training run.

    Attributes
    ----------
    denoiser : ImageDenoiser
        What learns, or goes on learning.
    images, validation : ImageFolder
        What it learns from, and what it is measured on, if anything.
    model : Path
        Where it is written.
    total : int
        Epochs in all.
    """

    denoiser: Any
    images: Any
    validation: Any
    model: Path
    total: int

    @property
    def done(self) -> int:
        """Epochs so far."""
        return int(getattr(self.denoiser, "n_iter_", 0))


@click.command("train", short_help="Train a model on the images of a folder.", epilog=noise_help())
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
@noise_option(in_training=True)
@noisy_option
@click.option(
    "--start-from",
    type=ModelType(*IN_THE_BOX),
    metavar="|".join((*IN_THE_BOX, "FILE")),
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
    "--sigma-map",
    is_flag=True,
    help="Tell the network how strong the noise is, for white Gaussian noise; what uses it may then be given "
    "--sigma. By default it does without (blind).",
)
@click.option(
    "--color",
    type=click.Choice(["auto", "rgb", "gray"]),
    default="auto",
    show_default=True,
    help="What the network learns; auto is gray where all files of FOLDER are gray, and else rgb.",
)
@click.option(
    "--patch-size", type=click.IntRange(min=1), show_default="64", help="Sides of patches in pixels."
)
@click.option("--patches-per-image", type=COUNT, show_default="auto", help="In an epoch; auto is 16.")
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
@click.option("--loss", type=click.Choice(list(LOSSES)), show_default="mse")
@click.option("--validation", type=FOLDER, help="Measure each epoch on the images of this folder.")
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
    help="The share of the images that --early-stopping measures on, without --validation.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    show_default="10",
    help="Epochs without progress, after which --early-stopping stops.",
)
@max_pixels_option
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), show_default="auto")
@seed_option("Makes a run repeatable.", default=None)
@device_option
@quiet_option
@click.pass_context
def train(context: click.Context, /, folder: Path, model: Path, **options: Any) -> int:
    """Train a network on the images in FOLDER, and write it to MODEL.

    The images count as clean and get fresh noise in every batch (--noise), or they are the clean side of
    pairs (--noisy). MODEL is whole after every epoch, and can be used while the training goes on. What was
    interrupted goes on with --resume; options that are left out then are those of MODEL.
    """
    given = {name for name in options if context.get_parameter_source(name) == ParameterSource.COMMANDLINE}
    _check_options(model, options, given)
    with explained():
        run = _prepared(folder, model, options, given)
    check_writable(model.parent)
    if run.done >= run.total:
        done = number_of(run.done, "epoch")
        say(f"{shown(model)} has {done}; nothing is left to do. More with --resume --epochs N.")
        return 0
    began, before = time.monotonic(), run.done
    keeper = Keeper(run.model, run.done)
    try:
        with screen(run.done, run.total, options["quiet"]) as board, explained(board.say):
            _train(run, keeper, board)
    except KeyboardInterrupt as stop:
        tell(shown(_way_on(run, keeper, folder, options)))
        return exit_code_of(stop)
    if not options["quiet"]:
        _tell(run, keeper.figures, folder, run.done - before, time.monotonic() - began)
    return 0


def _check_options(model: Path, options: dict[str, Any], given: set[str]) -> None:
    if options["noise"] and options["noisy"]:
        raise refuse_both("--noise", "--noisy")
    if options["resume"] and options["overwrite"]:
        raise refuse_both("--resume", "--overwrite")
    if bool(options["validation_noisy"]) != bool(options["validation"] and options["noisy"]):
        raise Refusal("--noisy, --validation and --validation-noisy go together: all are folders of pairs")
    if "validation_fraction" in given and options["validation"]:
        raise refuse_both("--validation-fraction", "--validation")
    alone = given & {"validation_fraction", "patience"}
    if alone and not (options["early_stopping"] or options["resume"]):
        raise Refusal(f"--{min(alone).replace('_', '-')} goes with --early-stopping")
    if options["network_option"]:
        if options["network"] is None:
            options["network"] = "folded_unet"
        given.add("network")
    keeps = not (options["resume"] or options["overwrite"])
    remedy = "--resume goes on with it, --overwrite trains anew"
    refuse_image_name(model)
    check_target(model, overwrite=not keeps, remedy=remedy)


def _prepared(folder: Path, model: Path, options: dict[str, Any], given: set[str]) -> Run:
    """Return the run that options stand for; nothing is trained or written here."""
    refuse_model_name(model)
    check_device(options["device"])
    if options["resume"] and is_there(model):
        denoiser, color = resumed(model, options, given)
    elif options["start_from"] is not None:
        denoiser, color = begun(options["start_from"], options, given)
    else:
        denoiser, color = fresh(options, given)
    most = options["max_pixels"]
    images = open_folder(folder, options["noisy"], color=color, max_pixels=most)
    if color == "auto" and not options["quiet"]:
        kind = "gray (--color rgb says otherwise)" if images.color == "gray" else "colour"
        tell(f"The network learns {kind}, as the images of {shown(folder)} are.")
    validation = None
    if options["validation"] is not None:
        validation = open_folder(
            options["validation"], options["validation_noisy"], color=images.color, max_pixels=most
        )
    for some in filter(None, (images, validation)):
        _refuse_numbers(some)
    total = _epochs(denoiser, len(images), validation is not None)
    return Run(denoiser, images, validation, model, total)


def _refuse_numbers(images: Any) -> None:
    """Refuse floats far beyond [0, 1], which files count as; the first few tell of all."""
    names = [index for index, path in enumerate(images.paths) if path.suffix.lower() in (".tif", ".tiff")]
    for index in names[:LOOKED_AT]:  # no other format holds floats
        try:
            sides = images.read(index)
        except ValueError:  # broken; the training leaves it out and says so
            continue
        for side in sides if isinstance(sides, tuple) else (sides,):
            intensity, remark = range_of(side)
            if remark and side.dtype.kind == "f":
                raise Refusal(
                    f"the numbers of {shown(images.paths[index])} reach from {intensity.black:g} to "
                    f"{intensity.white:g}, and floats count from 0 (black) to 1 (white) in training; divide "
                    "them by what is white"
                )


def _epochs(denoiser: Any, n_images: int, has_validation: bool) -> int:
    """Return the epochs of a run in all, which have to be known to go on with it."""
    if denoiser.max_epochs != "auto":
        return int(denoiser.max_epochs)
    if denoiser.early_stopping and not has_validation:
        n_images -= min(max(1, round(denoiser.validation_fraction * n_images)), n_images - 1)
    patches = n_images * (
        PATCHES_OF_A_FILE if denoiser.patches_per_image == "auto" else denoiser.patches_per_image
    )
    steps = -(-patches // min(patches, BATCH if denoiser.batch_size == "auto" else denoiser.batch_size))
    return max(1, min(MOST_EPOCHS, math.ceil(STEPS / steps)))


def _train(run: Run, keeper: Keeper, board: Screen) -> None:
    """Train, and write the model after each epoch and at the end."""
    denoiser = run.denoiser
    keeper.begin({"max_epochs": run.total, "warm_start": denoiser.warm_start}, board)
    denoiser.set_params(max_epochs=run.total, warm_start=hasattr(denoiser, "n_iter_"), callbacks=[keeper])
    denoiser.fit(run.images, X_val=run.validation)
    keeper.settings["max_epochs"] = run.done  # fewer where it stopped early, and is complete
    keeper.keep(denoiser)


def _way_on(run: Run, keeper: Keeper, folder: Path, options: dict[str, Any]) -> str:
    """Return what an interruption leaves, and how to go on."""
    if not keeper.kept:
        return f"Interrupted in the first epoch; {shown(run.model)} was not written."
    return (
        f"Interrupted: {shown(run.model)} holds {keeper.kept} of {run.total} epochs. Go on with: "
        f"{_command(run, folder, options)}"
    )


def _command(run: Run, folder: Path, options: dict[str, Any]) -> str:
    """Return the command that goes on with a run."""
    words = [PROGRAM, "train", str(folder), "-o", str(run.model), "--resume"]
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
    images = f"{number_of(len(run.images), 'image')} of {shown(folder)}"
    say(f"Learned from {images}, {run.images.color}, {noise}.")
    say(f"{number_of(run.done, 'epoch')}{here} in {in_time(seconds)}; the last one: {figures}.")
    say(f"{shown(run.model)} holds the model. Use it, and measure it:")
    say(f"  sk-denoise denoise NOISY.png -o CLEAN.png --model {model}")
    say(f"  sk-denoise evaluate {model} FOLDER --noise gaussian:0.1")
