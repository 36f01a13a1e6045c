"""``sk-denoise evaluate``: how well a model denoises the pictures of a folder."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track

from sk_denoise.cli._noise import Noise, noise_help, noise_option
from sk_denoise.cli._results import FORMATS, check_writable, format_of, show_results
from sk_denoise.cli._told import has_terminal, in_words, note
from sk_denoise.cli._trained import NAMED, ModelType, channels_of, load_denoiser

__all__ = ["evaluate"]

LEVELS = 255.0
MEASURES = ("psnr_noisy", "psnr", "ssim_noisy", "ssim")
GIVEN = "as given"  # the noise of pairs
EXACT = (
    "pictures count as shares from black (0) to white (1) of their type; noise is neither clipped nor "
    "rounded, and no answer is"
)
STORED = "noisy pictures are rounded and clipped to the type of the file, and so are the answers"
MEASURED = "mean over pictures; PSNR in dB and SSIM refer to the range of the type (data range 1 of shares)"


@dataclass(frozen=True)
class Exam:
    """What is asked of a model.

    Attributes
    ----------
    model : ImageDenoiser or str
        As ``denoise_image`` takes it.
    sigma : float or None
        What the model is told of the noise, in grey levels of 255; None lets it estimate.
    noises : sequence of Noise
        None of them for pairs.
    seed : int
        Of the noise.
    stored : bool
        Whether noisy pictures and answers are as files hold them.
    device : str
        Where the model computes.
    """

    model: Any
    sigma: float | None
    noises: Sequence[Noise]
    seed: int
    stored: bool
    device: str


@click.command("evaluate", short_help="Measure a model on a folder: PSNR and SSIM.", epilog=noise_help())
@click.argument("model", type=ModelType(*NAMED))
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@noise_option(
    multiple=True,
    help="What is added to the pictures, which count as clean. Several times for several levels.",
)
@click.option(
    "--noisy",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="In place of --noise: a folder with the noisy side of each picture, under the same name.",
)
@click.option(
    "--sigma",
    type=click.FloatRange(min=0, min_open=True),
    help="What a model that is told the noise is told: its standard deviation in grey levels of 255. "
    "[default: estimated for each picture]",
)
@click.option(
    "--color",
    type=click.Choice(["keep", "gray", "rgb"]),
    help="What pictures are turned into. [default: what the model learned from; keep for auto]",
)
@click.option("--stored", is_flag=True, help="Round and clip noisy pictures and answers as files hold them.")
@click.option("--each", is_flag=True, help="Show each picture, and then the means.")
@click.option("--limit", type=click.IntRange(min=1), help="Take the first LIMIT pictures alone.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 2), default=0, show_default=True, help="Of the noise.")
@click.option("--device", default="auto", show_default=True, help="Where to compute: auto, cpu, cuda.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="[default: by the suffix of -o, or table]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write the results to a file, in place of one that is there.",
)
def evaluate(model: str | Path, folder: Path, **options: Any) -> None:
    """Measure how well MODEL denoises the pictures in FOLDER.

    MODEL is auto, gray or rgb for the weights in the box, or a file that sk-denoise train wrote. Pictures are
    read one by one, so a folder may be as large as it likes. PSNR and SSIM are those of each picture, before
    and after; their data range is that of the picture's type.
    """
    _check_options(options)
    with in_words(note):
        model_asked = load_denoiser(model) if isinstance(model, Path) else model
        exam = Exam(
            model_asked,
            options["sigma"],
            options["noise"],
            options["seed"],
            options["stored"],
            options["device"],
        )
        color = options["color"] or _own_color(model_asked)
        rows = list(_measured(exam, folder, options["noisy"], color, options["limit"]))
        if not rows:
            raise ValueError(f"None of the pictures in {folder} could be used.")
        shown = [*(rows if options["each"] else []), *_means(rows)]
        about = {
            "model": str(model),
            "pictures": len({row["picture"] for row in rows}),
            "color": color,
            "measured": f"{MEASURED}; {STORED if exam.stored else EXACT}.",
        }
        kind = format_of(options["form"], options["output"])
        show_results(shown, kind, options["output"], about=about)


def _check_options(options: dict[str, Any]) -> None:
    if bool(options["noise"]) == (options["noisy"] is not None):
        raise click.UsageError(
            "Say what the noise is: --noise such as gaussian:0.1, or --noisy FOLDER with the noisy side of "
            "each picture; one of the two."
        )
    if options["output"] is not None:
        check_writable(options["output"], "-o")


def _own_color(model: Any) -> str:
    """Return what pictures a model is made for."""
    if isinstance(model, str):
        return "keep" if model == "auto" else model
    channels = channels_of(model)
    if channels not in (1, 3):
        raise ValueError(f"The model takes pictures of {channels} channels; evaluate knows gray and colour.")
    return "gray" if channels == 1 else "rgb"


def _measured(
    exam: Exam, folder: Path, noisy: Path | None, color: str, limit: int | None
) -> Iterator[dict[str, Any]]:
    """Read pictures one by one, and yield what is measured on each."""
    from sk_denoise.datasets import ImageFolder

    pictures = ImageFolder(folder, noisy=noisy)  # finds the files; they are read in the colours wanted
    partners: Sequence[Path | None] = pictures.noisy_paths or [None] * len(pictures)
    pairs = list(zip(pictures.paths, partners, strict=True))[:limit]
    console = Console(stderr=True)
    hidden = not has_terminal()
    for path, partner in track(pairs, "measuring", console=console, disable=hidden, transient=True):
        try:
            clean, other = _read(path, color), None if partner is None else _read(partner, color)
            _check_pair(path, clean, other)
        except (OSError, ValueError) as error:
            note(f"{error} It is left out.")
            continue
        name = path.relative_to(folder).as_posix()
        for label, question, truth in _questions(exam, clean, other):
            yield {"picture": name, "noise": label, **_grades(exam, truth, question)}


def _read(path: Path, color: Any) -> Any:
    from sk_denoise.io import read_image

    return read_image(path, color=color, alpha="drop")


def _check_pair(path: Path, clean: Any, noisy: Any) -> None:
    if min(clean.shape[:2]) < 3:
        raise ValueError(f"{path} is smaller than the 3 x 3 pixels that SSIM needs.")
    if noisy is not None and (noisy.shape != clean.shape or noisy.dtype != clean.dtype):
        raise ValueError(
            f"{path} is {clean.dtype} of shape {clean.shape}, its noisy side {noisy.dtype} of {noisy.shape}."
        )


def _questions(exam: Exam, clean: Any, noisy: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield noises by name, with the noisy picture and the clean one."""
    import numpy as np

    truth = clean if exam.stored else _as_shares(clean)
    if noisy is not None:
        yield GIVEN, noisy if exam.stored else _as_shares(noisy), truth
    for noise in exam.noises:
        drawn = np.asarray(noise.noiser(exam.seed).fit_transform(_as_shares(clean)[None]))[0]
        yield noise.text, _as_stored(drawn, clean.dtype) if exam.stored else drawn, truth


def _grades(exam: Exam, truth: Any, noisy: Any) -> dict[str, float]:
    """Return how good a noisy picture is, and the answer to it."""
    from sk_denoise.metrics import psnr, ssim
    from sk_denoise.restoration import denoise_image

    white = _white_of(truth)
    told = None if exam.sigma is None else exam.sigma / LEVELS * white
    answer = denoise_image(noisy, sigma=told, model=exam.model, device=exam.device)
    values = (
        measure(truth[None], picture[None], data_range=white)
        for measure in (psnr, ssim)
        for picture in (noisy, answer)
    )
    return dict(zip(MEASURES, values, strict=True))


def _means(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    by_noise: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_noise[row["noise"]].append(row)
    return [
        {
            "picture": f"mean of {len(some)}",
            "noise": noise,
            **{name: math.fsum(row[name] for row in some) / len(some) for name in MEASURES},
        }
        for noise, some in by_noise.items()
    ]


def _white_of(picture: Any) -> float:
    import numpy as np

    return float(np.iinfo(picture.dtype).max) if picture.dtype.kind == "u" else 1.0


def _as_shares(picture: Any) -> Any:
    import numpy as np

    return picture.astype(np.float32) / np.float32(_white_of(picture))


def _as_stored(shares: Any, dtype: Any) -> Any:
    import numpy as np

    if dtype.kind != "u":
        return shares.astype(dtype)
    white = np.iinfo(dtype).max
    return np.clip(np.rint(shares * np.float32(white)), 0, white).astype(dtype)
