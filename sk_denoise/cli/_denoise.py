"""``sk-denoise denoise``."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sk_denoise.cli._console import exit_code_of, in_lines, reason_of, say, shown, tell
from sk_denoise.cli._files import check_writable, is_there, range_of, read_image
from sk_denoise.cli._methods import NAMED, ModelType, Settings, choose_model
from sk_denoise.cli._options import (
    device_option,
    ensemble_option,
    max_pixels_option,
    quiet_option,
    refuse_both,
    sigma_option,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sk_denoise.cli._files import Job, Plan
    from sk_denoise.cli._output import ImageProgress

__all__ = ["denoise"]

HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # what the next image would meet too


@click.command(short_help="Denoise images: files, folders, patterns.")
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="OUT", help="The file or folder to write.")
@sigma_option
@click.option(
    "--model",
    type=ModelType(*NAMED),
    default="auto",
    metavar="|".join((*NAMED, "FILE")),
    show_default=True,
    help='A model in the box, "auto" for the one that fits, or a file with a fitted ImageDenoiser.',
)
@ensemble_option
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@click.option("--skip-existing", is_flag=True, help="Keep files that are there, and do the rest.")
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    default=95,
    metavar="1-100",
    show_default=True,
    help="Of JPEG files.",
)
@max_pixels_option
@device_option
@quiet_option
def denoise(
    inputs: tuple[str, ...],
    output: str,
    sigma: float | None,
    model: str | Path,
    ensemble: bool,
    overwrite: bool,
    skip_existing: bool,
    quality: int,
    max_pixels: int,
    device: str,
    quiet: bool,
) -> int:
    """Denoise images: PNG, JPEG, TIFF, BMP and WebP files.

    IN is a file, a folder, which is looked through, or a pattern in quotes, such as 'photos/**/*.png'. OUT is
    a file, where IN is one file and OUT ends as an image does; else a folder, in which images keep
    their place below the folder IN. Format, depth, alpha, EXIF data, colour profile and resolution are kept.

    \b
    Exit codes:
      0    all are written
      1    some are not; they are named with the reason
      2    wrong usage; nothing was done
      130  interrupted (143 by SIGTERM); what was written is whole
    """  # noqa: D301, click reads \b
    from sk_denoise.cli._files import plan_jobs

    if overwrite and skip_existing:
        raise refuse_both("--overwrite", "--skip-existing")
    plan = plan_jobs(inputs, output, overwrite=overwrite, skip_existing=skip_existing)
    run = Run(plan, overwrite, {"quality": quality, "max_pixels": max_pixels, "sigma": sigma})
    if plan.jobs:
        settings = choose_model(model, sigma=sigma, device=device, ensemble=ensemble)
        check_writable(plan.folder)
        run.settings |= settings
    return run.through(quiet)


class Run:
    """The way through a plan, image by image, and what came of it."""

    def __init__(self, plan: Plan, overwrite: bool, settings: Settings) -> None:
        self.plan, self.overwrite, self.settings = plan, overwrite, settings
        self.written = 0
        self.failures: list[tuple[Path, str]] = list(plan.unreadable)

    def through(self, quiet: bool) -> int:
        """Denoise all images, say what came of them, and return the exit code."""
        from sk_denoise.cli._output import ImageProgress

        try:
            with ImageProgress(len(self.plan.jobs), quiet) as progress:
                for job in self.plan.jobs:
                    if not self._do(job, progress):
                        break
        except KeyboardInterrupt as stop:
            self._name_failures()
            tell(f"Interrupted: {self._whole()} of {len(self.plan.jobs)} written. {self._way_on()}")
            return exit_code_of(stop)
        self._name_failures()
        if not quiet:
            say(self._summary())
        return 1 if self.failures else 0

    def _do(self, job: Job, progress: ImageProgress) -> bool:
        """Denoise an image, and return whether it makes sense to go on."""
        progress.begin(job.source)
        remarks: list[str] = []
        try:
            with in_lines(remarks.append):
                told = restore(job, self.settings, progress)
        except Exception as error:
            self.failures.append((job.source, _reason(error, job)))
            progress.end(f"{job.source}: failed, {self.failures[-1][1]}")
            return not (isinstance(error, OSError) and error.errno in HOPELESS)
        self.written += 1
        for remark in remarks:
            progress.tell(remark)
        progress.end(f"{job.source} -> {job.target}{told}")
        return True

    def _name_failures(self) -> None:
        if self.failures:
            tell("Not denoised:")
        for path, reason in self.failures:
            tell(f"  {shown(path)}: {reason}")

    def _summary(self) -> str:
        parts = [f"{self.written} written", f"{len(self.failures)} failed"]
        untried = len(self.plan.jobs) + len(self.plan.unreadable) - self.written - len(self.failures)
        parts += [f"{self.plan.kept} kept"] if self.plan.kept else []
        parts += [f"{untried} not tried"] if untried else []
        return ", ".join(parts)

    def _whole(self) -> int:
        """Return how many outputs there are; a signal may come between an image and its being counted."""
        if self.overwrite:
            return self.written
        return sum(is_there(job.target) for job in self.plan.jobs)

    def _way_on(self) -> str:
        if self.plan.in_place:
            return "Leave these out when you go on: they would be denoised twice."
        if self.overwrite:
            return "The same command begins anew."
        return "The same command with --skip-existing goes on."


def restore(job: Job, settings: Settings, progress: ImageProgress) -> str:
    """Denoise an image from file to file, and return what there is to say of it."""
    from sk_denoise.io import write_image
    from sk_denoise.restoration import denoise_image

    options = dict(settings)
    quality, most, level = (options.pop(name) for name in ("quality", "max_pixels", "sigma"))
    image = read_image(job.source, most)
    _check_format(job, image)
    intensity, remark = range_of(image)
    if remark:
        progress.tell(remark)
    told = ""
    if level is not None:
        options["sigma"] = level * intensity.span / 255
    elif getattr(options["model"], "noise_levels_", True):  # else it is told nothing
        told = _estimated(image, intensity.span)
    denoised = denoise_image(image, callback=progress.count, **options)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    write_image(job.target, denoised, like=job.source, quality=quality)
    return told


def _estimated(image: NDArray[Any], white: float) -> str:
    from sk_denoise.restoration import estimate_sigma

    return f", sigma {255 * estimate_sigma(image) / white:.1f} (estimated)"


def _check_format(job: Job, image: NDArray[Any]) -> None:
    """Refuse an image that another format cannot hold before the work, by writing a pixel of it."""
    from sk_denoise.io import write_image

    if job.source.suffix.lower() == job.target.suffix.lower():
        return
    with tempfile.TemporaryDirectory() as folder:
        pixel = Path(folder) / f"pixel{job.target.suffix}"
        try:
            write_image(pixel, image[:1, :1])
        except ValueError as error:
            raise ValueError(str(error).replace(str(pixel), str(job.target))) from error


def _reason(error: Exception, job: Job) -> str:
    """Return why an image was not denoised, in words of the command line."""
    reason = reason_of(error).replace('model="auto"', "--model auto")
    return reason.removeprefix(f"{shown(' '.join(str(job.source).split()))}: ")
