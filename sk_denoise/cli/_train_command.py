"""``sk-denoise train``: train a network on images or signals."""

from __future__ import annotations

import math
import shlex
import time
from pathlib import Path
from typing import Any

import click

from sk_denoise._registry import LOSSES, OBJECTIVES, networks_of
from sk_denoise.cli._console import (
    PROGRAM,
    RefusedInput,
    errors_as_failures,
    interruption_exit_code,
    pluralize,
    print_message,
    print_result,
    printable,
)
from sk_denoise.cli._methods import PRETRAINED_NAMES, ModelType, check_device
from sk_denoise.cli._options import (
    DecibelsType,
    NetworkOptionType,
    columns_option,
    conflicting_options,
    device_option,
    format_noiser,
    given_options,
    max_pixels_option,
    noise_help,
    noise_option,
    noisy_option,
    quiet_option,
    sampling_rate_option,
    seed_option,
)
from sk_denoise.cli._paths import (
    FOLDER,
    FOLDER_OR_FILE,
    SIGNALS,
    check_model_name,
    check_output_file,
    check_writable_folder,
    choose_kind,
    find_intensity_range,
    is_folder,
    open_image_folder,
    open_training_stack,
    path_exists,
    refuse_image_name,
)
from sk_denoise.cli._training_run import (
    AUGMENTATIONS,
    IMAGE_NETWORKS,
    Checkpointer,
    IntegerOrAutoType,
    TrainingRun,
    create_denoiser,
    format_duration,
    is_writing_process,
    open_display,
    resume_denoiser,
    start_from_weights,
    train_denoiser,
)

__all__ = ["train_command"]

# The meaning of "auto" in ImageDenoiser; a test compares the two.
AUTO_STEPS = 2_500
AUTO_MAX_EPOCHS = 500
AUTO_BATCH_SIZE = 32
AUTO_PATCHES_PER_IMAGE = 16
# Number of TIFF files that are checked for floats beyond [0, 1].
N_CHECKED_FILES = 5
COUNT = IntegerOrAutoType()
SIGNAL_NETWORKS = networks_of("SignalDenoiser")


@click.command("train", short_help="Train a model on a folder of images.", epilog=noise_help())
@click.argument("sources", metavar="FOLDER", type=FOLDER_OR_FILE, nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    "model",
    metavar="MODEL",
    required=True,
    type=click.Path(path_type=Path),
    help="File of the model, written after every epoch.",
)
@click.option(
    "--objective",
    type=click.Choice(["supervised", *OBJECTIVES]),
    show_default="supervised",
    help="Way to learn: supervised, from clean images or pairs; the others from noisy images alone: "
    + "; ".join(f"{name} {entry.description}" for name, entry in OBJECTIVES.items())
    + ". With recorrupt, --noise is the noise that is in the images; by default it is estimated.",
)
@noise_option(in_training=True)
@noisy_option
@click.option(
    "--start-from",
    type=ModelType(*PRETRAINED_NAMES),
    metavar="|".join((*PRETRAINED_NAMES, "FILE")),
    help="Start from the weights of a pretrained model or a file, in place of random ones.",
)
@click.option("--resume", is_flag=True, help="Continue with MODEL, if it exists, up to --epochs in total.")
@click.option("--overwrite", is_flag=True, help="Train from the beginning, and replace MODEL.")
@click.option(
    "--network",
    type=click.Choice([*IMAGE_NETWORKS, *SIGNAL_NETWORKS]),
    show_default="folded_unet, or signal_unet for signals",
    help="Architecture.",
)
@click.option(
    "--network-option",
    type=NetworkOptionType(),
    multiple=True,
    help="A parameter of the network, such as widths=32,48 and blocks=1,1 for a smaller folded_unet.",
)
@click.option(
    "--sigma-map",
    is_flag=True,
    help="Give the network a noise-level map, for white Gaussian noise; the model then takes --sigma. By "
    "default it denoises without the noise level (blind).",
)
@click.option(
    "--color",
    type=click.Choice(["auto", "rgb", "gray"]),
    default="auto",
    show_default=True,
    help="Color of the training images; auto is gray if all files of FOLDER are gray, otherwise rgb.",
)
@click.option(
    "--patch-size",
    type=click.IntRange(min=1),
    show_default="64",
    help="Side of a patch in pixels, or length of a window of signals. With --objective neighbours, it is "
    "cut from one of twice the side.",
)
@click.option(
    "--patches-per-image",
    type=COUNT,
    show_default="auto",
    help="Patches of each image in an epoch; auto is 16.",
)
@click.option(
    "--augment",
    type=click.Choice(list(AUGMENTATIONS)),
    show_default="none",
    help="Mirror or turn patches at random.",
)
@click.option("--batch-size", type=COUNT, show_default="auto", help="Patches in a batch; auto is 32.")
@click.option(
    "--epochs",
    type=COUNT,
    show_default="auto",
    help="Epochs in total; auto gives about 2,500 batches.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    show_default="0.002, and 0.0002 with --start-from",
    help="Learning rate.",
)
@click.option("--loss", type=click.Choice(list(LOSSES)), show_default="mse", help="Loss function.")
@click.option("--validation", type=FOLDER, help="Folder of images to validate each epoch on.")
@click.option(
    "--validation-noisy", type=FOLDER, help="With --noisy: noisy versions of the images of --validation."
)
@click.option(
    "--early-stopping",
    is_flag=True,
    help="Stop when the validation loss stops improving, and keep the best weights.",
)
@click.option(
    "--validation-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    show_default="0.1",
    help="Held-out fraction of the images for --early-stopping without --validation.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    show_default="10",
    help="Epochs without improvement until --early-stopping stops.",
)
@click.option(
    "--bank",
    type=FOLDER,
    help="For signals, in place of --noise: folder of recorded noise, which is mixed in at random places.",
)
@click.option(
    "--snr",
    type=DecibelsType(),
    metavar="LOW-HIGH",
    show_default="0-20",
    help="With --bank: signal-to-noise ratio in dB, drawn for each window.",
)
@click.option("--separate", is_flag=True, help="For signals: take each channel as a signal of its own.")
@columns_option
@sampling_rate_option
@max_pixels_option
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    show_default="auto",
    help="Precision of the training.",
)
@seed_option("Seed of weights, patches and noise.", default=None)
@device_option
@quiet_option
@click.pass_context
def train_command(context: click.Context, /, sources: tuple[Path, ...], model: Path, **options: Any) -> int:
    """Train a network on the images or signals in FOLDER, and write it to MODEL.

    The images are clean and get new noise in every batch (--noise), or they are the clean side of pairs
    (--noisy), or they are noisy and there are no clean ones (--objective). FOLDER may also be a file, such as
    a stack of planes. MODEL is a complete model after every epoch, and can be used during the training.
    --resume continues an interrupted training with the options of MODEL.

    Signals (CSV, TSV, TXT, NPY, WAV, EDF) may come from several folders and files. They must have one
    sampling rate and the same channels. AMOUNT of a noise is then a share of their standard deviation.
    """
    from sk_denoise.cli._signal_commands import refuse_signal_options, train_signals

    given = given_options(context)
    kind = choose_kind([str(source) for source in sources], for_training=True)
    if kind is SIGNALS:
        return train_signals(sources, model, options, given)
    refuse_signal_options(given)
    if len(sources) > 1:
        raise RefusedInput("images are read from one FOLDER; several files and folders are for signals")
    (folder,) = sources
    _check_options(model, options, given)
    with errors_as_failures():
        writes = is_writing_process(options)
        run = _prepare_run(folder, model, options, given)
    check_writable_folder(model.parent)
    if run.n_epochs >= run.total:
        if not writes:
            return 0
        epochs = pluralize(run.n_epochs, "epoch")
        print_result(
            f"{printable(model)} has {epochs}; training is complete. Train longer with --resume --epochs N."
        )
        return 0
    start_time, start_epoch = time.monotonic(), run.n_epochs
    settings = {"max_epochs": run.total, "warm_start": run.denoiser.warm_start}
    checkpointer = Checkpointer(run.model, start_epoch, settings)
    skipped: list[str] = []
    try:
        with (
            open_display(start_epoch, run.total, options["quiet"]) as display,
            errors_as_failures(display.write_line, skipped),
        ):
            train_denoiser(run, checkpointer, display)
    except KeyboardInterrupt as interruption:
        if writes:
            print_message(printable(_describe_interruption(run, checkpointer, folder, options)))
        return interruption_exit_code(interruption)
    if not options["quiet"]:
        seconds = time.monotonic() - start_time
        n_skipped = _count_skipped(run, skipped)
        _print_summary(run, checkpointer.metrics, folder, n_skipped, run.n_epochs - start_epoch, seconds)
    return 0


def _count_skipped(run: TrainingRun, messages: list[str]) -> int:
    """Return the number of training images that were left out."""
    training = {" ".join(str(path).split()) for path in run.images.paths}
    validation = {" ".join(str(path).split()) for path in getattr(run.validation, "paths", ())} - training
    return sum(not any(text.startswith(path) for path in validation) for text in messages)


def _check_options(model: Path, options: dict[str, Any], given: set[str]) -> None:
    if options["noise"] and options["noisy"]:
        raise conflicting_options("--noise", "--noisy")
    objective = options["objective"] or "supervised"
    if objective != "supervised" and options["noisy"]:
        raise RefusedInput(
            f"--objective {objective} learns from noisy images alone, and --noisy has a clean image for each "
            "of them; leave --objective out"
        )
    if options["noise"] and objective in OBJECTIVES and objective != "recorrupt" and not options["sigma_map"]:
        raise RefusedInput(
            f"--objective {objective} needs no --noise, since it learns without the noise level; leave "
            "--noise out, or use --objective recorrupt"
        )
    if options["resume"] and options["overwrite"]:
        raise conflicting_options("--resume", "--overwrite")
    if bool(options["validation_noisy"]) != bool(options["validation"] and options["noisy"]):
        raise RefusedInput(
            "--noisy, --validation and --validation-noisy go together: all are folders of pairs"
        )
    if "validation_fraction" in given and options["validation"]:
        raise conflicting_options("--validation-fraction", "--validation")
    needs_stopping = given & {"validation_fraction", "patience"}
    # A resumed model may have early stopping already.
    if needs_stopping and not (options["early_stopping"] or options["resume"]):
        raise RefusedInput(f"--{min(needs_stopping).replace('_', '-')} goes with --early-stopping")
    # A parameter of the default network makes the network an option of this run.
    if options["network_option"]:
        if options["network"] is None:
            options["network"] = "folded_unet"
        given.add("network")
    refuse_image_name(model)
    check_output_file(
        model,
        overwrite=options["resume"] or options["overwrite"],
        remedy="--resume continues it, --overwrite trains from the beginning",
    )


def _prepare_run(folder: Path, model: Path, options: dict[str, Any], given: set[str]) -> TrainingRun:
    """Return the run for the options; nothing is trained or written yet."""
    check_model_name(model)
    check_device(options["device"])
    if options["resume"] and path_exists(model):
        denoiser, color = resume_denoiser(model, options, given)
    elif options["start_from"] is not None:
        denoiser, color = start_from_weights(options["start_from"], options, given)
    else:
        denoiser, color = create_denoiser(options, given)
    max_pixels = options["max_pixels"]
    images: Any
    if is_folder(folder):
        images = open_image_folder(folder, options["noisy"], color=color, max_pixels=max_pixels)
    elif options["noisy"] is not None:
        raise RefusedInput(f"--noisy goes with a folder, and {printable(folder)} is a file")
    else:
        images = open_training_stack(folder, color=color, max_pixels=max_pixels)
    if color == "auto" and not options["quiet"]:
        description = "gray (--color rgb for colour)" if images.color == "gray" else "colour"
        print_message(f"Training in {description}, as the images in {printable(folder)} are.")
    validation = None
    if options["validation"] is not None:
        validation = open_image_folder(
            options["validation"], options["validation_noisy"], color=images.color, max_pixels=max_pixels
        )
    for image_folder in filter(None, (images, validation)):
        _refuse_large_floats(image_folder)
    total = _count_epochs(denoiser, len(images), validation is not None)
    return TrainingRun(denoiser, images, validation, model, total)


def _refuse_large_floats(images: Any) -> None:
    """Refuse floats far beyond [0, 1], the range of floats in training.

    Raises
    ------
    RefusedInput
        If one of the first TIFF files has such values.
    """
    # No other format holds floats.
    indices = [index for index, path in enumerate(images.paths) if path.suffix.lower() in (".tif", ".tiff")]
    for index in indices[:N_CHECKED_FILES]:
        # The training warns about broken files and leaves them out.
        try:
            sides = images.read(index)
        except ValueError:
            continue
        for side in sides if isinstance(sides, tuple) else (sides,):
            intensity, remark = find_intensity_range(side)
            if remark and side.dtype.kind == "f":
                raise RefusedInput(
                    f"the values of {printable(images.paths[index])} range from {intensity.black:g} to "
                    f"{intensity.white:g}, and floats in training range from 0 (black) to 1 (white); divide "
                    "them by the value of white"
                )


def _count_epochs(denoiser: Any, n_images: int, has_validation: bool) -> int:
    """Return the number of epochs of the whole run."""
    # A resumed run needs the number, so "auto" is resolved here and not in the fit.
    if denoiser.max_epochs != "auto":
        return int(denoiser.max_epochs)
    if denoiser.early_stopping and not has_validation:
        n_images -= min(max(1, round(denoiser.validation_fraction * n_images)), n_images - 1)
    patches = n_images * (
        AUTO_PATCHES_PER_IMAGE if denoiser.patches_per_image == "auto" else denoiser.patches_per_image
    )
    batch_size = AUTO_BATCH_SIZE if denoiser.batch_size == "auto" else denoiser.batch_size
    # Negated floor division rounds up.
    steps = -(-patches // min(patches, batch_size))
    return max(1, min(AUTO_MAX_EPOCHS, math.ceil(AUTO_STEPS / steps)))


def _describe_interruption(
    run: TrainingRun, checkpointer: Checkpointer, folder: Path, options: dict[str, Any]
) -> str:
    """Return the state of the model file, and the command that continues."""
    if not checkpointer.n_saved:
        return f"Interrupted in the first epoch; {printable(run.model)} was not written."
    return (
        f"Interrupted: {printable(run.model)} holds {checkpointer.n_saved} of {run.total} epochs. "
        f"Continue with: {_resume_command(run, folder, options)}"
    )


def _resume_command(run: TrainingRun, folder: Path, options: dict[str, Any]) -> str:
    """Return the command that continues a run."""
    words = [PROGRAM, "train", str(folder), "-o", str(run.model), "--resume"]
    # The model file holds all other options.
    for name in ("noisy", "validation", "validation_noisy"):
        if options[name] is not None:
            words += [f"--{name.replace('_', '-')}", str(options[name])]
    return shlex.join(words)


def _print_summary(
    run: TrainingRun, metrics: str, folder: Path, n_skipped: int, n_new: int, seconds: float
) -> None:
    """Print the data and the duration of the training, and the next commands."""
    denoiser = run.denoiser
    n_images, source = len(run.images) - n_skipped, f"in {printable(folder)}, {run.images.color}"
    is_noisy = denoiser.target_source_ == "noisy"
    if is_noisy:
        data = f"{pluralize(n_images, 'noisy image')} {source}, by {_objective_name(denoiser)}"
        if denoiser.noise_model_ is not None:
            data += f"; {denoiser.noise_model_}"
    elif denoiser.noiser_ is None:
        data = f"{pluralize(n_images, 'image pair')} {source}"
    else:
        data = f"{pluralize(n_images, 'image')} {source}, with noise {format_noiser(denoiser.noiser_)}"
    new_epochs = "" if n_new == run.n_epochs else f" ({n_new} of them now)"
    epochs = f"{pluralize(run.n_epochs, 'epoch')}{new_epochs}"
    model = shlex.quote(str(run.model))
    left_out = f"; {n_skipped} of {len(run.images)} were left out" if n_skipped else ""
    print_result(f"Trained on {data}{left_out}.")
    print_result(f"{epochs} in {format_duration(seconds)}; last epoch: {metrics}.")
    print_result(f"The model is in {printable(run.model)}. Use it and measure it:")
    print_result(f"  sk-denoise denoise NOISY.png -o CLEAN.png --model {model}")
    truth = "NOISY_FOLDER --no-truth" if is_noisy else "FOLDER --noise gaussian:0.1"
    print_result(f"  sk-denoise evaluate {model} {truth}")


def _objective_name(denoiser: Any) -> str:
    """Return the objective of an estimator as text."""
    return denoiser.objective if isinstance(denoiser.objective, str) else repr(denoiser.objective)
