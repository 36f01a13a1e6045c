"""``sk-denoise models``: list and describe models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sk_denoise.cli._console import pluralize, print_result
from sk_denoise.cli._methods import MAX_GREY_LEVEL, PRETRAINED_NAMES, ModelType, load_estimator

if TYPE_CHECKING:
    from sk_denoise import ImageDenoiser

__all__ = ["models_command"]

# Model cards hold the PSNR of a benchmark in this form: "31.36 dB at 15".
PSNR_AT_LEVEL = re.compile(r"([\d.]+) dB at (\d+)")


@click.command("models", short_help="List the pretrained models, or describe one model or model file.")
@click.argument("model", type=ModelType(*PRETRAINED_NAMES), required=False, metavar="[NAME|FILE]")
def models_command(model: str | Path | None) -> int:
    """List the pretrained models, or describe one model or model file.

    NAME prints the card of a pretrained model. FILE describes an estimator that sk_denoise.persistence.save
    wrote. Without either, a table lists the models: the noise that they remove, the strongest noise in their
    training (they remove stronger noise too), and their PSNR on held-out photos under noise of several
    standard deviations, all in grey levels of 255.
    """
    if model is None:
        # Only the table needs rich.
        from sk_denoise.cli._output import print_table

        print_table(_build_rows())
    elif isinstance(model, Path):
        print_result(_describe_estimator(load_estimator(model)))
    else:
        from sk_denoise.restoration import MODELS

        print_result(MODELS[model].card.rstrip())
    return 0


def _build_rows() -> list[dict[str, Any]]:
    """Return a row of the table for each pretrained model."""
    from sk_denoise.restoration import MODELS

    psnr = {name: _parse_psnr(model.card) for name, model in MODELS.items()}
    levels = sorted({level for values in psnr.values() for level in values})
    return [
        {
            "model": name,
            "channels": model.channels,
            "noise": "camera, JPEG" if model.is_blind else "white, counts",
            "trained up to": f"{MAX_GREY_LEVEL * model.max_sigma:g} of 255",
            **{f"dB at {level}": psnr[name].get(level) for level in levels},
        }
        for name, model in MODELS.items()
    ]


def _parse_psnr(card: str) -> dict[int, float]:
    """Return the PSNR in a model card, by noise level in grey levels."""
    return {int(level): float(decibels) for decibels, level in PSNR_AT_LEVEL.findall(card)}


def _describe_estimator(estimator: Any) -> str:
    """Return an estimator's parameters, training and network as text."""
    from sklearn.exceptions import NotFittedError

    from sk_denoise import ImageDenoiser

    parts = [repr(estimator)]
    if isinstance(estimator, ImageDenoiser) and hasattr(estimator, "patch_shape_"):
        parts.append(_describe_training(estimator))
    # Filters have no network.
    if hasattr(estimator, "summary"):
        try:
            parts.append(repr(estimator.summary()))
        except NotFittedError:
            parts.append("It is not fitted.")
    return "\n\n".join(parts)


def _describe_training(denoiser: ImageDenoiser) -> str:
    """Return the patches and the noise levels of a training as text."""
    shape = denoiser.patch_shape_
    epochs = pluralize(denoiser.n_iter_, "epoch")
    lines = [f"Fitted to patches of {' x '.join(map(str, shape))}, in {epochs}."]
    if denoiser.noise_levels_ is None:
        lines.append("The network does not use the noise level (blind), so it takes no --sigma.")
    else:
        intensity = denoiser.intensity_range_
        unit = "the unit of its images" if intensity is None else "grey levels of 255"
        gain = 1.0 if intensity is None else MAX_GREY_LEVEL / intensity.span
        low, high = (f"{gain * level:.3g}" for level in denoiser.noise_levels_)
        lines.append(f"The network uses the noise level: trained from {low} to {high}, in {unit}.")
    return "\n".join(lines)
