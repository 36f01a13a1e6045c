"""``sk-denoise denoise``: denoise image files."""

from __future__ import annotations

import errno
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sk_denoise.cli._console import (
    RefusedInput,
    describe_error,
    interruption_exit_code,
    pluralize,
    print_message,
    print_result,
    printable,
    warnings_as_lines,
)
from sk_denoise.cli._methods import (
    MAX_GREY_LEVEL,
    MODEL_NAMES,
    SIGNAL_METHODS,
    DenoisingOptions,
    ModelType,
    choose_denoising_options,
    takes_no_level,
)
from sk_denoise.cli._options import (
    NetworkOptionType,
    columns_option,
    conflicting_options,
    device_option,
    ensemble_option,
    given_options,
    max_pixels_option,
    noise_kind_option,
    outliers_option,
    quiet_option,
    sampling_rate_option,
    sigma_option,
    strength_option,
)
from sk_denoise.cli._paths import (
    SIGNALS,
    check_writable_folder,
    choose_kind,
    find_intensity_range,
    is_block_run,
    is_zarr_name,
    path_exists,
    plan_jobs,
    read_image_within_limit,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sk_denoise._intensity import IntensityRange
    from sk_denoise.cli._output import ImageProgress
    from sk_denoise.cli._paths import FileJob, JobPlan
    from sk_denoise.io import ImageStack
    from sk_denoise.restoration import NoiseModel

__all__ = ["denoise_command"]

# Errors of the disk that every further image would meet too.
FATAL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# Options of the command that describe the denoising.
DENOISING = ("sigma", "device", "ensemble", "noise", "strength", "outliers")
# Options of the command that are for files, and their names.
FILE_OPTIONS = {
    "skip_existing": "--skip-existing",
    "quality": "--quality",
    "max_pixels": "--max-pixels",
}
# Arguments of denoise_zarr in its messages, and the options of the command.
BLOCK_OPTIONS = {
    "Pass overwrite=True": "Give --overwrite",
    "pass overwrite=True": "give --overwrite",
    "resume=False": "--no-resume",
    "leave out client and n_jobs": "leave out --jobs",
    "n_jobs must": "--jobs must",
    "The same call": "The same command",
    "result of denoise_zarr": "result of sk-denoise",
}
# Planes of a stack whose intensity range is measured.
N_SAMPLED_PLANES = 8
# Options of the library in its messages.
LIBRARY_CHOICE = re.compile(r"""\b(model|noise|outliers)=["'](\w+)["']""")
LIBRARY_LEVEL = re.compile(r"\bsigma=(\d+(?:\.\d+)?(?:e[+-]?\d+)?)")


@click.command("denoise", short_help="Denoise images: files, folders, patterns.")
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="OUT", help="File or folder to write.")
@noise_kind_option
@sigma_option
@strength_option
@outliers_option
@click.option(
    "--model",
    type=ModelType(*MODEL_NAMES),
    default="auto",
    metavar="|".join((*MODEL_NAMES, "FILE")),
    show_default=True,
    help='Pretrained model, "auto" for the one that fits the image, or a file with a fitted ImageDenoiser.',
)
@ensemble_option
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@click.option("--skip-existing", is_flag=True, help="Keep existing files, and denoise the rest.")
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    default=95,
    metavar="1-100",
    show_default=True,
    help="Quality of JPEG files.",
)
@max_pixels_option
@click.option(
    "--jobs",
    type=int,
    metavar="N",
    help="For Zarr images, and TIFF files larger than memory: number of processes, -1 for one a core. "
    "[default: 1]",
)
@click.option(
    "--no-resume",
    is_flag=True,
    help="For Zarr images and --jobs: do not continue an earlier run; with --overwrite start again.",
)
@click.option(
    "--method",
    type=click.Choice(list(SIGNAL_METHODS)),
    metavar="NAME",
    show_default="wavelet",
    help="For signals without --model: filter that estimates the noise of each channel: "
    + ", ".join(SIGNAL_METHODS)
    + ".",
)
@click.option(
    "--method-option",
    type=NetworkOptionType(),
    multiple=True,
    help="A parameter of the filter, such as strength=2.",
)
@columns_option
@sampling_rate_option
@device_option
@quiet_option
@click.pass_context
def denoise_command(
    context: click.Context,
    /,
    inputs: tuple[str, ...],
    output: str,
    overwrite: bool,
    skip_existing: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Denoise images, stacks and signals: PNG, JPEG, TIFF, CSV, WAV and others.

    IN is a file, a folder with all its subfolders, or a pattern in quotes, such as 'photos/**/*.png'. OUT is
    a file if IN is one file and OUT has the suffix of its kind; otherwise it is a folder, in which files
    keep their place below the folder IN. Format, depth, alpha, EXIF data, colour profile and resolution are
    kept. GIF, AVIF and DICOM become PNG or TIFF.

    Kind and level of the noise are estimated, and a line shows them for each image. An image without visible
    noise stays as it is.

    Stacks (TIFF of many pages, ImageJ, OME-TIFF, animated GIF, DICOM of many frames) are denoised plane by
    plane with one noise model for each channel, in little memory, into TIFF files with the same axes and
    pixel size.

    A Zarr array or OME-Zarr image, a folder or URL that ends in .zarr, is denoised block by block into
    another one. So is one TIFF with --jobs. The same command continues after an interruption.

    Images are PNG, JPEG, TIFF, BMP, WebP, JPEG 2000 and PNM. Signals (CSV, TSV, TXT, NPY, WAV; EDF and BDF
    with the extra "signals") are denoised by a filter, or by a model of sk-denoise train. Time column, other
    columns, type and sampling rate are kept.

    \b
    Exit codes:
      0    all files are written
      1    some files are not written; they are listed with the reason
      2    wrong usage; nothing was done
      130  interrupted (143 by SIGTERM); all written images are complete
    """  # noqa: D301, click reads \b
    from sk_denoise.cli._signal_commands import build_signal_denoising, refuse_signal_options

    given = given_options(context)
    if overwrite and skip_existing:
        raise conflicting_options("--overwrite", "--skip-existing")
    jobs, is_resumed = options.pop("jobs"), not options.pop("no_resume")
    if is_block_run(inputs, output) or {"jobs", "no_resume"} & given:
        refuse_signal_options(given)
        return denoise_blocks(
            check_block_run(inputs, output, given),
            output,
            quiet=quiet,
            sigma=options["sigma"],
            denoising=choose_denoising_options(
                options["model"], **{name: options[name] for name in DENOISING}
            ),
            n_jobs=jobs,
            resume=is_resumed,
            overwrite=overwrite,
        )
    kind = choose_kind(inputs, Path(output))
    plan = plan_jobs(inputs, output, overwrite=overwrite, skip_existing=skip_existing, kind=kind)
    denoising: DenoisingOptions = {}
    denoise_signal = None
    if kind is SIGNALS:
        denoise_signal = build_signal_denoising(options, given)
    else:
        refuse_signal_options(given)
    # No model is loaded if there is nothing to denoise, for example because all outputs exist.
    if plan.jobs:
        if denoise_signal is None:
            denoising = choose_denoising_options(
                options["model"], **{name: options[name] for name in DENOISING}
            )
        check_writable_folder(plan.folder)
    run = DenoisingRun(
        plan,
        denoising,
        overwrite=overwrite,
        quality=options["quality"],
        max_pixels=options["max_pixels"],
        sigma=options["sigma"],
        denoise_signal=denoise_signal,
    )
    return run.execute(quiet)


class DenoisingRun:
    """Denoise the images of a plan one after the other, and report the results.

    Parameters
    ----------
    plan : JobPlan
        Files to read and write.
    denoising : dict
        Arguments of :func:`sk_denoise.restoration.denoise_image`.
    overwrite : bool
        Whether existing files may be replaced.
    quality : int
        Quality of JPEG files.
    max_pixels : int
        Largest number of pixels of an image.
    sigma : float or None
        Noise standard deviation in grey levels of 255; None estimates it.
    denoise_signal : callable, optional
        Function that denoises a file of signals, in place of images.
    """

    def __init__(
        self,
        plan: JobPlan,
        denoising: DenoisingOptions,
        *,
        overwrite: bool,
        quality: int,
        max_pixels: int,
        sigma: float | None,
        denoise_signal: Callable[[FileJob, ImageProgress], tuple[str, float]] | None = None,
    ) -> None:
        self.denoise_file = denoise_signal or self._denoise
        self.plan, self.denoising, self.overwrite = plan, denoising, overwrite
        self.quality, self.max_pixels, self.sigma = quality, max_pixels, sigma
        self.n_written = 0
        self.failures: list[tuple[Path, str]] = list(plan.unreadable)

    def execute(self, quiet: bool) -> int:
        """Denoise all images, print a summary, and return the exit code."""
        from sk_denoise.cli._output import ImageProgress

        try:
            with ImageProgress(len(self.plan.jobs), quiet) as progress:
                for job in self.plan.jobs:
                    if not self._process(job, progress):
                        break
        except KeyboardInterrupt as interruption:
            self._print_failures()
            n_jobs = len(self.plan.jobs)
            print_message(f"Interrupted: {self._count_outputs()} of {n_jobs} written. {self._resume_hint()}")
            return interruption_exit_code(interruption)
        self._print_failures()
        if not quiet:
            print_result(self._summarize())
        return 1 if self.failures else 0

    def _process(self, job: FileJob, progress: ImageProgress) -> bool:
        """Denoise an image, and return whether the next one may succeed."""
        progress.start_image(job.source)
        notes: list[str] = []
        try:
            with warnings_as_lines(notes.append):
                noise, span = self.denoise_file(job, progress)
        # Any error concerns this image alone; the others are still denoised.
        except Exception as error:
            self.failures.append((job.source, _describe_failure(error, job)))
            progress.finish_image(f"{job.source}: failed, {self.failures[-1][1]}")
            return not (isinstance(error, OSError) and error.errno in FATAL_ERRORS)
        self.n_written += 1
        # Planes of a stack may repeat a note.
        for note in dict.fromkeys(notes):
            progress.write_note(_in_command_words(note.removeprefix(f"{job.source}: "), span))
        progress.finish_image(f"{job.source} -> {job.target}{noise}")
        return True

    def _denoise(self, job: FileJob, progress: ImageProgress) -> tuple[str, float]:
        """Denoise a file, and return its noise as text and the span from black to white."""
        from sk_denoise.io import write_image
        from sk_denoise.restoration import denoise_image, is_written_as_stack

        if is_written_as_stack(job.source, job.target):
            return self._denoise_stack(job, progress)
        image = read_image_within_limit(job.source, self.max_pixels, allow_nan=True)
        _check_format(job, image)
        intensity, remark = find_intensity_range(image)
        if remark:
            progress.write_note(remark)
        options, noise = self._resolve_noise(image, intensity)
        denoised = denoise_image(image, callback=progress.update_tiles, **options)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_image(job.target, denoised, like=job.source, quality=self.quality, allow_nan=True)
        if takes_no_level(self.denoising["model"]):
            return f", {_describe_change(image, denoised, intensity.span)}", intensity.span
        return _describe_noise(noise, _is_unchanged(image, denoised)), intensity.span

    def _resolve_noise(
        self, image: NDArray[Any], intensity: IntensityRange
    ) -> tuple[DenoisingOptions, NoiseModel | None]:
        """Return the options for an image, and its noise if that is estimated."""
        from sk_denoise.restoration import NoiseModel, estimate_noise, estimate_sigma

        options = dict(self.denoising)
        if self.sigma is not None:
            return {**options, "sigma": self.sigma * intensity.span / MAX_GREY_LEVEL}, None
        if takes_no_level(options["model"]):
            return options, None
        if not isinstance(options["model"], str):
            # The network limits the estimate to the noise of its training, and gives a warning.
            return options, NoiseModel("white", estimate_sigma(image), intensity_range=intensity)
        noise = estimate_noise(image, kind=options["noise"], outliers=options["outliers"])
        # The noise is estimated once, for the line and for the work.
        return {**options, "noise": noise}, noise

    def _denoise_stack(self, job: FileJob, progress: ImageProgress) -> tuple[str, float]:
        """Denoise a stack, and return its size and noise as text, and the span."""
        from sk_denoise.io import open_stack
        from sk_denoise.restoration import denoise_file

        options = dict(self.denoising)
        with open_stack(job.source, max_pixels=self.max_pixels) as stack:
            n_planes, n_series = len(stack), stack.n_series
            intensity, remark = _find_stack_range(stack)
            if remark:
                progress.write_note(remark)
            planes = pluralize(n_planes, "plane")
            text = f", {planes} ({stack.axes})" if n_series == 1 else f", {n_series} series"
        if self.sigma is not None:
            options["sigma"] = self.sigma * intensity.span / MAX_GREY_LEVEL
        job.target.parent.mkdir(parents=True, exist_ok=True)
        models = denoise_file(
            job.source, job.target, max_pixels=self.max_pixels, callback=progress.update_tiles, **options
        )
        if len(models) == 1:
            text += _describe_noise(models[0])
        elif models:
            # Series of one type share their models, so that a model may belong to several of them.
            label = "channel" if n_series == 1 else "model"
            channels = (f"{label} {i}, {_in_short(model)}" for i, model in enumerate(models, 1))
            text += f", {'; '.join(channels)}"
        elif takes_no_level(self.denoising["model"]):
            text += ", removed without a noise level"
        return text, intensity.span

    def _print_failures(self) -> None:
        if self.failures:
            print_message("Not denoised:")
        for path, reason in self.failures:
            print_message(f"  {printable(path)}: {reason}")

    def _summarize(self) -> str:
        parts = [f"{self.n_written} written", f"{len(self.failures)} failed"]
        n_untried = len(self.plan.jobs) + len(self.plan.unreadable) - self.n_written - len(self.failures)
        parts += [f"{self.plan.n_kept} kept"] if self.plan.n_kept else []
        parts += [f"{n_untried} not tried"] if n_untried else []
        return ", ".join(parts)

    def _count_outputs(self) -> int:
        """Return the number of written images."""
        if self.overwrite:
            return self.n_written
        # A signal may come after an image is written and before it is counted, so the files are counted.
        return sum(path_exists(job.target) for job in self.plan.jobs)

    def _resume_hint(self) -> str:
        if self.plan.in_place:
            return "Leave these out when you continue: they would be denoised twice."
        if self.overwrite:
            return "The same command starts again from the beginning."
        return "Continue with the same command and --skip-existing."


def check_block_run(inputs: tuple[str, ...], output: str, given: set[str]) -> str:
    """Return the only input of a run block by block.

    Raises
    ------
    RefusedInput
        If there are several inputs, or options for files.
    """
    if len(inputs) != 1:
        raise RefusedInput(
            f"a Zarr image, or a TIFF with --jobs, is denoised alone; got {len(inputs)} inputs"
        )
    for name in FILE_OPTIONS.keys() & given:
        raise RefusedInput(f"{FILE_OPTIONS[name]} is for image files, and not for Zarr images or with --jobs")
    source = Path(inputs[0])
    if not is_zarr_name(inputs[0]) and source.suffix.lower() not in (".tif", ".tiff"):
        raise RefusedInput(
            f"--jobs and --no-resume are for Zarr images and one TIFF, and {printable(source)} is neither; "
            "leave them out"
        )
    if "://" not in inputs[0] and not path_exists(source):
        raise RefusedInput(f"there is no file or folder '{printable(inputs[0])}'")
    return inputs[0]


def denoise_blocks(
    source: str,
    output: str,
    *,
    quiet: bool,
    sigma: float | None,
    denoising: DenoisingOptions,
    n_jobs: int | None,
    resume: bool,
    overwrite: bool,
) -> int:
    """Denoise an image that is larger than memory, and return the exit code.

    Parameters
    ----------
    source, output : str
        Zarr image or TIFF, and the target.
    quiet : bool
        Whether to print errors and notes only.
    sigma : float or None
        Noise level in grey levels of 255; None estimates it.
    denoising : dict
        Arguments of :func:`sk_denoise.restoration.denoise_zarr`.
    n_jobs : int or None
        Number of processes.
    resume, overwrite : bool
        Whether to continue, or to replace an earlier result.
    """
    from sk_denoise.cli._output import ImageProgress
    from sk_denoise.restoration import denoise_zarr, sample_zarr

    counts: list[int] = []
    notes: list[str] = []
    try:
        with ImageProgress(1, quiet) as progress, warnings_as_lines(notes.append):
            progress.start_image(Path(source))

            def update(done: int, total: int) -> None:
                counts[:] = done, total
                progress.update_tiles(done, total)

            options = dict(denoising)
            if sigma is not None:
                windows = [window for channel in sample_zarr(source) for window in channel]
                span = max((find_intensity_range(window)[0].span for window in windows), default=1.0)
                options["sigma"] = sigma * span / MAX_GREY_LEVEL
            report = denoise_zarr(
                source, output, n_jobs=n_jobs, resume=resume, overwrite=overwrite, callback=update, **options
            )
            for note in dict.fromkeys(notes):
                progress.write_note(note.removeprefix(f"{source}: "))
            # A level that was given, or that a network takes none of, is no result.
            is_estimated = sigma is None and not takes_no_level(denoising["model"])
            models = list(report.noise) if is_estimated else []
            label = "channel" if len(models) > 1 else ""
            levels = "; ".join(
                f"{label} {i}, {_in_short(model)}" if label else _in_short(model)
                for i, model in enumerate(models, 1)
            )
            before = f", {report.n_done_before} of them before" if report.n_done_before else ""
            blocks = pluralize(report.n_blocks, "block")
            progress.finish_image(f"{source} -> {output}, {blocks}{before}{f', {levels}' if levels else ''}")
    except KeyboardInterrupt as interruption:
        done = f"{counts[0]} of {counts[1]} blocks are written" if counts else "nothing is written"
        print_message(f"Interrupted: {done}. The same command continues.")
        return interruption_exit_code(interruption)
    except Exception as error:
        reason = describe_error(error)
        for argument, option in BLOCK_OPTIONS.items():
            reason = reason.replace(argument, option)
        # Before the first block it was the input or an option.
        if not counts and isinstance(error, ValueError | TypeError | FileExistsError | FileNotFoundError):
            raise RefusedInput(reason.rstrip(".")) from error
        print_message(f"Not denoised:\n  {printable(source)}: {reason}")
        return 1
    if not quiet:
        print_result("1 written, 0 failed" if report.n_done else "0 written, 0 failed, 1 complete before")
    return 0


def _describe_noise(noise: NoiseModel | None, is_unchanged: bool | None = None) -> str:
    """Return the estimated noise as the end of a line, or nothing."""
    if noise is None:
        return ""
    if noise.kind != "none" or is_unchanged is None:
        return f", {_in_short(noise)}"
    return f", {noise}{': unchanged' if is_unchanged else '; stripes or outliers are removed'}"


def _in_short(noise: NoiseModel) -> str:
    """Return kind and level of a noise model in words."""
    # The correlation length is for experts.
    return str(replace(noise, correlation_length=0.0))


def _is_unchanged(image: NDArray[Any], denoised: NDArray[Any]) -> bool:
    import numpy as np

    return np.array_equal(image, denoised, equal_nan=image.dtype.kind == "f")


def _describe_change(image: NDArray[Any], denoised: NDArray[Any], span: float) -> str:
    """Return how much a model removed that estimates no level."""
    import numpy as np

    from sk_denoise._intensity import without_alpha

    change = without_alpha(image).astype(np.float32) - without_alpha(denoised)
    level = MAX_GREY_LEVEL * float(np.sqrt(np.nanmean(np.square(change)))) / span
    return f"about {level:.1f} of {MAX_GREY_LEVEL} removed"


def _find_stack_range(stack: ImageStack) -> tuple[IntensityRange, str]:
    """Return the intensity range of the brightest of some planes, and a remark."""
    present = [index for index in range(len(stack)) if index not in stack.missing]
    # Without planes, denoise_file reports the reason.
    present = present or [0]
    planes = [stack[index] for index in present[:: -(-len(present) // N_SAMPLED_PLANES)]]
    # Channels of data are no colours, and the last one is not alpha.
    planes = [plane.max(axis=-1) if stack.plane_axes[-1] not in "XS" else plane for plane in planes]
    return max((find_intensity_range(plane) for plane in planes), key=lambda found: found[0].white)


def _in_command_words(text: str, span: float) -> str:
    """Return a warning of the library with options of the command line.

    Parameters
    ----------
    text : str
        The warning.
    span : float
        Difference of black and white, to convert noise levels to grey levels of 255.
    """
    text = LIBRARY_CHOICE.sub(r"--\1 \2", text)
    text = LIBRARY_LEVEL.sub(lambda match: f"--sigma {MAX_GREY_LEVEL * float(match[1]) / span:.2g}", text)
    return re.sub(r"\b([Pp])ass (?=--)", lambda match: "Try " if match[1] == "P" else "try ", text)


def _check_format(job: FileJob, image: NDArray[Any]) -> None:
    """Check before the work that the output format can hold the image.

    Raises
    ------
    ValueError
        If the format cannot hold the image, for example JPEG 16 bits.
    """
    from sk_denoise.io import write_image

    if job.source.suffix.lower() == job.target.suffix.lower():
        return
    # The rules of the formats belong to write_image, so one pixel is written.
    with tempfile.TemporaryDirectory() as folder:
        pixel = Path(folder) / f"pixel{job.target.suffix}"
        try:
            write_image(pixel, image[:1, :1], allow_nan=True)
        except ValueError as error:
            raise ValueError(str(error).replace(str(pixel), str(job.target))) from error


def _describe_failure(error: Exception, job: FileJob) -> str:
    """Return the reason of a failure, with options as on the command line."""
    reason = LIBRARY_CHOICE.sub(r"--\1 \2", describe_error(error))
    reason = reason.replace("pass max_pixels= if", "pass --max-pixels if")
    # The name of the file stands before the reason already.
    return reason.removeprefix(f"{printable(' '.join(str(job.source).split()))}: ")
