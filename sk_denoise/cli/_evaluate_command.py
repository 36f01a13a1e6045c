"""``sk-denoise evaluate``: measure a model on a folder of images."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sk_denoise.cli._console import (
    CommandFailure,
    RefusedInput,
    describe_error,
    errors_as_failures,
    printable,
    warnings_as_lines,
)
from sk_denoise.cli._methods import (
    MAX_GREY_LEVEL,
    MODEL_NAMES,
    DenoisingOptions,
    ModelType,
    check_color,
    choose_denoising_options,
    keeps_raw_values,
    model_color,
)
from sk_denoise.cli._options import (
    NoiseSpec,
    columns_option,
    conflicting_options,
    device_option,
    ensemble_option,
    given_options,
    limit_option,
    max_pixels_option,
    noise_help,
    noise_option,
    noisy_option,
    outliers_option,
    quiet_option,
    refuse_repeated_noises,
    results_options,
    sampling_rate_option,
    seed_option,
    sigma_option,
    strength_option,
)
from sk_denoise.cli._paths import (
    FOLDER,
    MIN_SSIM_SIDE,
    SIGNALS,
    check_min_size,
    check_output_file,
    check_writable_folder,
    choose_kind,
    find_intensity_range,
    open_image_folder,
    read_image_within_limit,
    refuse_image_name,
)

if TYPE_CHECKING:
    from sk_denoise._intensity import IntensityRange
    from sk_denoise.cli._output import ImageProgress

__all__ = ["evaluate_command"]

MEASURES = ("psnr_noisy", "psnr", "ssim_noisy", "ssim")
# Measures without clean images; the last two are the ends of the interval.
EXPECTED_MEASURES = ("psnr_noisy", "psnr", "psnr_low", "psnr_high")
# The noise of noisy images whose noise is estimated.
ESTIMATED_NOISE = "estimated"
# Pixels from which one random direction is enough for a derivative.
LARGE, N_PROBES = 2**16, 4
# The noise of pairs in the table.
NOISE_OF_PAIRS = "as given"
MEASUREMENT = (
    "mean over images; PSNR in dB and SSIM refer to the range of the type (data range 1 for values in [0, 1])"
)
EXACT_MEASUREMENT = (
    "values are scaled from 0 (black) to 1 (white) of the type; noise and predictions are neither clipped "
    "nor rounded"
)
EXPECTED_MEASUREMENT = (
    "expected PSNR in dB, estimated without clean images (Stein's unbiased risk estimate); the PSNR lies "
    "between low and high with 90 % confidence, if the noise is independent between pixels and the model was "
    "not trained on the images; the last row has the mean squared error of all"
)
STORED_MEASUREMENT = "noisy images and predictions are rounded and clipped to the type of the file"


@dataclass(frozen=True)
class Evaluation:
    """Settings of an evaluation.

    Attributes
    ----------
    denoising : dict
        Arguments of :func:`sk_denoise.restoration.denoise_image`.
    sigma : float or None
        Noise standard deviation for the model, in grey levels of 255; None estimates it.
    noises : sequence of NoiseSpec
        Noises to add; empty for pairs.
    seed : int
        Seed of the noise.
    stored : bool
        Whether to round and clip noisy images and predictions to the type of the file.
    has_truth : bool
        Whether the images are clean, or noisy without clean ones.
    """

    denoising: DenoisingOptions
    sigma: float | None
    noises: Sequence[NoiseSpec]
    seed: int
    stored: bool
    has_truth: bool = True


@click.command("evaluate", short_help="Measure a model on a folder: PSNR and SSIM.", epilog=noise_help())
@click.argument("model", type=ModelType(*MODEL_NAMES))
@click.argument("folder", type=FOLDER)
@noise_option(multiple=True)
@noisy_option
@click.option(
    "--no-truth",
    is_flag=True,
    help="FOLDER holds noisy images without clean ones: show the PSNR to expect, with an interval. --noise "
    "is the noise that is in them then; by default it is estimated.",
)
@sigma_option
@strength_option
@outliers_option
@ensemble_option
@click.option(
    "--color",
    type=click.Choice(["rgb", "gray", "keep"]),
    help="Convert the images to rgb or gray. [default: as the model was trained; keep for auto]",
)
@click.option(
    "--stored", is_flag=True, help="Round and clip noisy images and predictions, as files hold them."
)
@click.option("--each", is_flag=True, help="Show each image, and then the means.")
@limit_option
@max_pixels_option
@seed_option("Seed of the noise.")
@columns_option
@sampling_rate_option
@results_options
@device_option
@quiet_option
@click.pass_context
def evaluate_command(context: click.Context, /, model: str | Path, folder: Path, **options: Any) -> int:
    """Measure how well MODEL denoises the images or signals in FOLDER.

    MODEL is a pretrained model (auto, gray, rgb or camera) or a file that sk-denoise train wrote. Images are
    read one by one, so the folder may have any size. PSNR and SSIM are computed for each image, before and
    after denoising. The data range is that of the image's type. Without clean images, --no-truth estimates
    the PSNR.

    Signals (CSV, TSV, TXT, NPY, WAV, EDF) are measured by PSNR, SNR gain, PRD, cosine, SSD and MAD. AMOUNT of
    a noise is then a share of the standard deviation of each channel.
    """
    from sk_denoise.cli._signal_commands import evaluate_signals, refuse_signal_options

    given = given_options(context)
    if choose_kind([str(folder)], for_training=True) is SIGNALS:
        _check_output(options)
        return evaluate_signals(model, folder, options, given)
    refuse_signal_options(given)
    _check_options(options)
    from sk_denoise.cli._output import ImageProgress, write_results

    with errors_as_failures():
        names = ("sigma", "device", "ensemble", "strength", "outliers")
        denoising = choose_denoising_options(model, **{name: options[name] for name in names})
        color = options["color"] or model_color(denoising["model"])
        check_color(color, denoising["model"])
        files = _find_files(folder, options)
        # Checked before the work, because the results are written last.
        if options["output"] is not None:
            check_writable_folder(options["output"].parent)
        evaluation = Evaluation(
            denoising,
            options["sigma"],
            options["noise"],
            options["seed"],
            options["stored"],
            has_truth=not options["no_truth"],
        )
        with ImageProgress(len(files), options["quiet"]) as progress:
            rows = list(_measure_images(evaluation, files, color, options["max_pixels"], progress))
        if not rows:
            raise CommandFailure(f"none of the images in {printable(folder)} could be used")
        details = STORED_MEASUREMENT if evaluation.stored else EXACT_MEASUREMENT
        summary = {
            "model": str(model),
            "images": len({row["image"] for row in rows}),
            "color": color,
            "measured": f"{EXPECTED_MEASUREMENT}." if options["no_truth"] else f"{MEASUREMENT}; {details}.",
        }
        # Results name an image by its place in the folder, in the same way on every system.
        for row in rows:
            row["image"] = row["image"].relative_to(folder).as_posix()
        means = [_pool_expected_rows(rows)] if options["no_truth"] else _average_rows(rows)
        results = [*(rows if options["each"] else []), *means]
        write_results(results, options["form"], options["output"], summary)
    return 0


def _check_options(options: dict[str, Any]) -> None:
    if options["no_truth"]:
        if options["noisy"] is not None:
            raise conflicting_options("--no-truth", "--noisy")
        if options["stored"]:
            raise conflicting_options("--no-truth", "--stored")
        if len(options["noise"]) > 1:
            raise RefusedInput("with --no-truth, --noise is the noise that is in the images; give one")
    elif bool(options["noise"]) == (options["noisy"] is not None):
        raise RefusedInput(
            "give either --noise, such as gaussian:0.1, or --noisy FOLDER with noisy versions of the images; "
            "or --no-truth, if FOLDER holds noisy images and there are no clean ones"
        )
    _check_output(options)


def _check_output(options: dict[str, Any]) -> None:
    refuse_repeated_noises(options["noise"])
    if options["output"] is not None:
        refuse_image_name(options["output"])
        check_output_file(options["output"], overwrite=options["overwrite"])


def _find_files(folder: Path, options: dict[str, Any]) -> list[tuple[Path, Path | None]]:
    """Return the image files, each with its noisy version if there is one."""
    images = open_image_folder(folder, options["noisy"], max_pixels=options["max_pixels"])
    noisy_paths: Sequence[Path | None] = images.noisy_paths or [None] * len(images)
    return list(zip(images.paths, noisy_paths, strict=True))[: options["limit"]]


def _measure_images(
    evaluation: Evaluation,
    files: Sequence[tuple[Path, Path | None]],
    color: str,
    max_pixels: int,
    progress: ImageProgress,
) -> Iterator[dict[str, Any]]:
    """Read images one by one, and yield a row of measures for each image and noise."""
    measure = _measure_noises if evaluation.has_truth else _expect_measures
    for clean_path, noisy_path in files:
        progress.start_image(clean_path)
        rows = []
        try:
            with warnings_as_lines(progress.write_note):
                clean = _read(clean_path, color, max_pixels)
                noisy = None if noisy_path is None else _read(noisy_path, color, max_pixels)
                _check_image(clean, noisy)
                rows = [
                    {"image": clean_path, "noise": noise, **measures}
                    for noise, measures in measure(evaluation, clean, noisy, progress)
                ]
        except (OSError, ValueError) as error:
            # Some messages of the library begin with the name of the file already.
            reason = describe_error(error).removeprefix(f"{printable(clean_path)}: ")
            progress.write_note(f"left out, {reason}")
        progress.finish_image()
        yield from rows


def _read(path: Path, color: Any, max_pixels: int) -> Any:
    return read_image_within_limit(path, max_pixels, color=color, alpha="drop")


def _check_image(clean: Any, noisy: Any) -> None:
    """Refuse a small image, or a noisy version of another type or size."""
    check_min_size(clean, MIN_SSIM_SIDE, "SSIM")
    if noisy is not None and (noisy.shape != clean.shape or noisy.dtype != clean.dtype):
        sides = (f"{side.dtype} of {' x '.join(map(str, side.shape))}" for side in (clean, noisy))
        raise ValueError("it is {}, its noisy version {}".format(*sides))


def _measure_noises(
    evaluation: Evaluation, clean: Any, noisy: Any, progress: ImageProgress
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each noise with the measures of an image under it."""
    import numpy as np

    intensity, remark = find_intensity_range(clean)
    if remark:
        progress.write_note(remark)
    # Files store floats without rounding and clipping.
    rounds = evaluation.stored and clean.dtype.kind == "u"
    target = clean if rounds else intensity.to_unit(clean)
    measure = partial(_measure_denoising, evaluation, intensity, progress, target)
    if noisy is not None:
        yield NOISE_OF_PAIRS, measure(noisy if rounds else intensity.to_unit(noisy))
    for noise in evaluation.noises:
        # A new noiser for each image: its noise does not depend on the images before it.
        noiser = noise.build_noiser(evaluation.seed)
        corrupted = np.asarray(noiser.fit_transform(intensity.to_unit(clean)[None]))[0]
        yield (
            noise.text,
            measure(intensity.from_unit(corrupted.clip(0, 1), clean.dtype) if rounds else corrupted),
        )


def _expect_measures(
    evaluation: Evaluation, image: Any, _: None, progress: ImageProgress
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the noise of a noisy image with the measures to expect."""
    from sk_denoise.metrics import estimate_quality
    from sk_denoise.restoration import denoise_image

    intensity, remark = find_intensity_range(image)
    if remark:
        progress.write_note(remark)
    is_raw = keeps_raw_values(evaluation.denoising["model"])
    # Floats, since a result that is rounded to integers has no derivative.
    noisy = image.astype("float64") if is_raw else intensity.to_unit(image).astype("float64")
    span = intensity.span if is_raw else 1.0
    sigma = None if evaluation.sigma is None else evaluation.sigma / MAX_GREY_LEVEL * span
    given = evaluation.noises[0] if evaluation.noises else None
    # Half precision would round small changes.
    options = {"sigma": sigma, "precision": "float32", **evaluation.denoising}
    quality = estimate_quality(
        lambda images: [denoise_image(x, **options) for x in images],
        [noisy],
        noise="auto" if given is None else given.build_noiser(),
        data_range=span,
        n_probes=1 if noisy.size >= LARGE else N_PROBES,
    )
    values = (quality.noisy_psnr, quality.psnr, *quality.interval)
    yield (
        ESTIMATED_NOISE if given is None else given.text,
        dict(zip(EXPECTED_MEASURES, map(float, values), strict=True)),
    )


def _measure_denoising(
    evaluation: Evaluation, intensity: IntensityRange, progress: ImageProgress, target: Any, noisy: Any
) -> dict[str, float]:
    """Return the measures of a noisy image and of its prediction."""
    from sk_denoise.metrics import psnr, ssim
    from sk_denoise.restoration import denoise_image

    data_range = intensity.span if target.dtype.kind == "u" else 1.0
    # A model that was trained on raw values gets raw values.
    is_raw = target.dtype.kind == "f" and keeps_raw_values(evaluation.denoising["model"])
    model_input, span = (intensity.from_unit(noisy), intensity.span) if is_raw else (noisy, data_range)
    sigma = None if evaluation.sigma is None else evaluation.sigma / MAX_GREY_LEVEL * span
    prediction = denoise_image(
        model_input, sigma=sigma, callback=progress.update_tiles, **evaluation.denoising
    )
    if is_raw:
        prediction = intensity.to_unit(prediction)
    values = (
        metric(target[None], image[None], data_range=data_range)
        for metric in (psnr, ssim)
        for image in (noisy, prediction)
    )
    return dict(zip(MEASURES, values, strict=True))


def _average_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean over images for each noise."""
    by_noise: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_noise[row["noise"]].append(row)
    # fsum is exact, so the mean does not depend on the order of the images.
    return [
        {
            "image": f"mean of {len(group)}",
            "noise": noise,
            **{name: math.fsum(row[name] for row in group) / len(group) for name in MEASURES},
        }
        for noise, group in by_noise.items()
    ]


def _pool_expected_rows(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the expected PSNR of all images together, with its interval."""
    n = len(rows)
    errors = {name: [10 ** (-row[name] / 10) for row in rows] for name in EXPECTED_MEASURES}
    noisy, mean, high, low = (
        math.fsum(errors[name]) / n for name in ("psnr_noisy", "psnr", "psnr_low", "psnr_high")
    )
    # Errors of a given level are independent between images, and those of an estimated one are alike.
    shrink = 1.0 if rows[0]["noise"] == ESTIMATED_NOISE else 1 / math.sqrt(n)
    ends = (noisy, mean, mean + shrink * (high - mean), mean - shrink * (mean - low))
    values = (-10 * math.log10(end) for end in ends)
    return {
        "image": f"mean of {n}",
        "noise": rows[0]["noise"],
        **dict(zip(EXPECTED_MEASURES, values, strict=True)),
    }
