"""``sk-denoise evaluate``: how well a model denoises the images of a folder."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sk_denoise.cli._console import Failure, Refusal, explained, in_lines, reason_of, shown
from sk_denoise.cli._files import (
    FOLDER,
    SSIM_NEEDS,
    check_size,
    check_target,
    check_writable,
    keeps_numbers,
    open_folder,
    range_of,
    read_image,
    refuse_image_name,
)
from sk_denoise.cli._methods import NAMED, ModelType, Settings, choose_model, color_of, refuse_color
from sk_denoise.cli._noise import Noise, check_noises, noise_help, noise_option
from sk_denoise.cli._options import (
    device_option,
    ensemble_option,
    limit_option,
    max_pixels_option,
    noisy_option,
    quiet_option,
    results_options,
    seed_option,
    sigma_option,
)

if TYPE_CHECKING:
    from sk_denoise._intensity import IntensityRange
    from sk_denoise.cli._output import ImageProgress

__all__ = ["evaluate"]

LEVELS = 255.0
MEASURES = ("psnr_noisy", "psnr", "ssim_noisy", "ssim")
GIVEN = "as given"  # the noise of pairs
EXACT = (
    "images count as shares from black (0) to white (1) of their type; noise is neither clipped nor "
    "rounded, and no answer is"
)
STORED = "noisy images are rounded and clipped to the type of the file, and so are the answers"
MEASURED = "mean over images; PSNR in dB and SSIM refer to the range of the type (data range 1 of shares)"


@dataclass(frozen=True)
class Exam:
    """What is asked of a model.

    Attributes
    ----------
    settings : dict
        Of ``denoise_image``: the model, and where it computes.
    sigma : float or None
        What the model is told of the noise, in grey levels of 255; None lets it estimate.
    noises : sequence of Noise
        None of them for pairs.
    seed : int
        Of the noise.
    stored : bool
        Whether noisy images and answers are as files hold them.
    """

    settings: Settings
    sigma: float | None
    noises: Sequence[Noise]
    seed: int
    stored: bool


@click.command("evaluate", short_help="Measure a model on a folder: PSNR and SSIM.", epilog=noise_help())
@click.argument("model", type=ModelType(*NAMED))
@click.argument("folder", type=FOLDER)
@noise_option(multiple=True)
@noisy_option
@sigma_option
@ensemble_option
@click.option(
    "--color",
    type=click.Choice(["rgb", "gray", "keep"]),
    help="What images are turned into. [default: what the model learned from; keep for auto]",
)
@click.option("--stored", is_flag=True, help="Round and clip noisy images and answers as files hold them.")
@click.option("--each", is_flag=True, help="Show each image, and then the means.")
@limit_option
@max_pixels_option
@seed_option("Of the noise.")
@results_options
@device_option
@quiet_option
def evaluate(model: str | Path, folder: Path, **options: Any) -> int:
    """Measure how well MODEL denoises the images in FOLDER.

    MODEL is auto, gray or rgb for the weights in the box, or a file that sk-denoise train wrote. Images are
    read one by one, so a folder may be as large as it likes. PSNR and SSIM are those of each image, before
    and after; their data range is that of the image's type.
    """
    _check_options(options)
    from sk_denoise.cli._output import ImageProgress, hand_over

    with explained():
        names = ("sigma", "device", "ensemble")
        settings = choose_model(model, **{name: options[name] for name in names})
        color = options["color"] or color_of(settings["model"])
        refuse_color(color, settings["model"])
        pairs = _pairs(folder, options)
        if options["output"] is not None:
            check_writable(options["output"].parent)
        exam = Exam(settings, options["sigma"], options["noise"], options["seed"], options["stored"])
        with ImageProgress(len(pairs), options["quiet"]) as progress:
            rows = list(_measured(exam, pairs, color, options["max_pixels"], progress))
        if not rows:
            raise Failure(f"none of the images in {shown(folder)} could be used")
        about = {
            "model": str(model),
            "images": len({row["image"] for row in rows}),
            "color": color,
            "measured": f"{MEASURED}; {STORED if exam.stored else EXACT}.",
        }
        for row in rows:
            row["image"] = row["image"].relative_to(folder).as_posix()
        results = [*(rows if options["each"] else []), *_means(rows)]
        hand_over(results, options["form"], options["output"], about)
    return 0


def _check_options(options: dict[str, Any]) -> None:
    if bool(options["noise"]) == (options["noisy"] is not None):
        raise Refusal(
            "say what the noise is: --noise such as gaussian:0.1, or --noisy FOLDER with the noisy side of "
            "each image; one of the two"
        )
    check_noises(options["noise"])
    if options["output"] is not None:
        refuse_image_name(options["output"])
        check_target(options["output"], overwrite=options["overwrite"])


def _pairs(folder: Path, options: dict[str, Any]) -> list[tuple[Path, Path | None]]:
    """Return the files, each with its noisy side if there is one."""
    images = open_folder(folder, options["noisy"], max_pixels=options["max_pixels"])
    partners: Sequence[Path | None] = images.noisy_paths or [None] * len(images)
    return list(zip(images.paths, partners, strict=True))[: options["limit"]]


def _measured(
    exam: Exam,
    pairs: Sequence[tuple[Path, Path | None]],
    color: str,
    max_pixels: int,
    progress: ImageProgress,
) -> Iterator[dict[str, Any]]:
    """Read images one by one, and yield what is measured on each."""
    for path, partner in pairs:
        progress.begin(path)
        rows = []
        try:
            with in_lines(progress.tell):
                clean = _read(path, color, max_pixels)
                noisy = None if partner is None else _read(partner, color, max_pixels)
                _check_pair(clean, noisy)
                rows = [
                    {"image": path, "noise": label, **grades}
                    for label, grades in _questions(exam, clean, noisy, progress)
                ]
        except (OSError, ValueError) as error:
            progress.tell(f"left out, {reason_of(error).removeprefix(f'{shown(path)}: ')}")
        progress.end()
        yield from rows


def _read(path: Path, color: Any, max_pixels: int) -> Any:
    return read_image(path, max_pixels, color=color, alpha="drop")


def _check_pair(clean: Any, noisy: Any) -> None:
    check_size(clean, SSIM_NEEDS, "SSIM")
    if noisy is not None and (noisy.shape != clean.shape or noisy.dtype != clean.dtype):
        sides = (f"{side.dtype} of {' x '.join(map(str, side.shape))}" for side in (clean, noisy))
        raise ValueError("it is {}, its noisy side {}".format(*sides))


def _questions(
    exam: Exam, clean: Any, noisy: Any, progress: ImageProgress
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield noises by name, with what is measured under each."""
    import numpy as np

    intensity, remark = range_of(clean)
    if remark:
        progress.tell(remark)
    rounds = exam.stored and clean.dtype.kind == "u"
    grades = partial(_grades, exam, intensity, progress, clean if rounds else intensity.to_unit(clean))
    if noisy is not None:
        yield GIVEN, grades(noisy if rounds else intensity.to_unit(noisy))
    for noise in exam.noises:
        drawn = np.asarray(noise.noiser(exam.seed).fit_transform(intensity.to_unit(clean)[None]))[0]
        yield noise.text, grades(intensity.from_unit(drawn.clip(0, 1), clean.dtype) if rounds else drawn)


def _grades(
    exam: Exam, intensity: IntensityRange, progress: ImageProgress, truth: Any, noisy: Any
) -> dict[str, float]:
    """Return how good a noisy image is, and the answer to it."""
    from sk_denoise.metrics import psnr, ssim
    from sk_denoise.restoration import denoise_image

    white = intensity.span if truth.dtype.kind == "u" else 1.0
    in_numbers = truth.dtype.kind == "f" and keeps_numbers(exam.settings["model"])
    question, span = (intensity.from_unit(noisy), intensity.span) if in_numbers else (noisy, white)
    told = None if exam.sigma is None else exam.sigma / LEVELS * span
    answer = denoise_image(question, sigma=told, callback=progress.count, **exam.settings)
    if in_numbers:
        answer = intensity.to_unit(answer)
    values = (
        measure(truth[None], image[None], data_range=white)
        for measure in (psnr, ssim)
        for image in (noisy, answer)
    )
    return dict(zip(MEASURES, values, strict=True))


def _means(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    by_noise: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_noise[row["noise"]].append(row)
    return [
        {
            "image": f"mean of {len(some)}",
            "noise": noise,
            **{name: math.fsum(row[name] for row in some) / len(some) for name in MEASURES},
        }
        for noise, some in by_noise.items()
    ]
