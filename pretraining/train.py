"""Train the pretrained networks, in chunks that may be killed at any moment.

    SK_DENOISE_DATA=folder python pretraining/train.py rgb --minutes 50 [--steps 13000] [--device cuda]
    SK_DENOISE_DATA=folder python pretraining/train.py rgb --export

``RECIPES`` holds the differences between gray and colour: the levels of the network, the distribution of
noise levels, and the loss. The images come from ``data.py`` and ``drawings.py``. The noise is Gaussian, its
sigma of up to 55 of 255 is an input of the network, and patches are flipped and rotated. Muon optimizes the
kernels of convolutions (K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024),
and Adam the other weights. The learning rate falls along a cosine over the steps of the run, and the exported
weights are an exponential moving average. Muon needs torch 2.9.

A killed run continues from its last state to the same bits, with the same number of threads: all random
numbers of a step depend on the seed and the number of the step alone, and the state is written to a temporary
file, which is then moved. SIGTERM saves the current state. State and log are in ``pretraining/runs``, outside
the repository, or in the folder of ``--runs``. Without a state, a run begins with the exported weights, with
new moments and a new cosine; without exported weights for colour, with the gray ones. A level of the network
that is missing in these weights begins at zero, so the output does not change. ``--export`` writes the
averaged weights to the package, in half precision, with a card of their PSNR.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import math
import os
import re
import signal
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import (
    CLEAN_GROUP,
    HELD_OUT_SOURCES,
    N_DRAWINGS,
    N_VALIDATION_DRAWINGS,
    Group,
    berkeley_files,
    gray_training_groups,
    photo_rows,
    training_groups,
    validation_groups,
)
from degradations import DEGRADATIONS, VALIDATION_KINDS
from real_noise import KINDS, add_real_noise
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sk_denoise._random import stream
from sk_denoise.networks.folded_unet import FoldedUNet
from sk_denoise.training import has_bfloat16_units

RUNS = Path(__file__).parent / "runs"
BOX = Path(__file__).parents[1] / "sk_denoise" / "restoration" / "weights"
SEED, PATCH, BATCH, MAX_SIGMA = 0, 64, 32, 55 / 255
# Noise level that a blind run begins at, before it learns to find the level itself.
BLIND_SIGMA = 8 / 255
# Late in a run, after this share of it, patches are larger and fewer, with as many pixels.
LATE_PATCH, LATE_BATCH, LATE = 96, 14, 2 / 3
WARM_UP, MEMORY = 500, 0.999
# About twice the usual norm.
MAX_GRADIENT_NORM = {"squared": 0.01, "balanced": 20.0}
# Muon orthogonalizes matrices, so it suits those with enough rows.
THINNEST = 32
LOG_EVERY, VALIDATE_EVERY = 100, 1000


@dataclass(frozen=True)
class Recipe:
    """The network, the noise levels and the loss of a run.

    ``widths`` and ``blocks`` are those of :class:`FoldedUNet`. Sigma is ``MAX_SIGMA * u**power`` with u
    uniform in [0, 1]: a power above 1 draws weak noise more often. The ``balanced`` loss divides the squared
    error by its usual value at that sigma, so weak noise has the weight of strong noise. With
    ``late_patches``, the last third of a run takes larger patches. ``levels`` are those of the validation. A
    ``blind`` network has no input for the level, and learns the noise of ``real_noise.py``.
    """

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    power: float
    loss: str
    late_patches: bool
    levels: tuple[int, ...]
    blind: bool = False
    degradation: str = ""


RECIPES = {
    "gray": Recipe((64, 96, 128), (2, 3, 1), 1.2, "balanced", True, (1, 2, 5, 10, 15, 25, 50)),
    "rgb": Recipe((64, 96, 128), (2, 3, 1), 1.5, "balanced", True, (1, 2, 5, 10, 15, 25, 50)),
    "camera": Recipe((64, 96, 128), (2, 3, 1), 1.0, "balanced", True, (), blind=True),
    "enlarge": Recipe((64, 64), (3, 1), 1.0, "balanced", True, (), blind=True, degradation="enlarge"),
    "jpeg": Recipe((48, 72, 96), (2, 3, 1), 1.0, "balanced", True, (), blind=True, degradation="jpeg"),
}
# During a run, with every fourth image: a full validation takes a minute.
LEVELS_ON_THE_WAY = (2, 5, 15, 50)


CARD = """# {color}

A `FoldedUNet` of {n:,} weights (`sk_denoise/networks/folded_unet.py`), for {noise} on photos{purpose}.

{data}
- **Recipe**: `python pretraining/train.py {color}`, {recipe}
- **Reached**: mean PSNR in dB on held-out images ({protocol}:

{table}

- **Weak points**: {weak}
- **Format**: safetensors, half precision. **Licence**: BSD 3-Clause, as the package.
"""
TEXTS: dict[str, dict[str, str]] = {
    "gray": {
        "purpose": " and drawings",
        "data": """\
- **Data**, by their share of the patches: 48 % from the Berkeley segmentation data (BSDS500, terms for
  research: its 200 training photos and 176 of its 200 test photos); 44 % from {n_photos:,} photos of free
  licences without share-alike (CC BY, CC0, public domain, Unsplash and others; `rgb_photo_credits.csv` names
  the source, licence and credit of each); 8 % from {n_drawings} generated drawings
  (`pretraining/drawings.py`): text, line art, plots, screens, flat shapes, gradients. All are in gray. No
  photo is in BSD68, CBSD68, Kodak24, McMaster, Urban100 or Set12, and none is part of this package.
- **Held out**: {n_held_out} photos, all those of {sources};
  {n_drawings_held_out} drawings of other seeds; and of the Berkeley photos {berkeley}.""",
        "recipe": """\
{before:,} steps of an earlier recipe (Berkeley photos alone, two levels, squared error), then a third
  level of the network beginning at zero: {more:,} more steps of 32 patches of 64 x 64, in the last third of
  the steps 14 of 96 x 96, flipped and turned; sigma 55 u^1.2 of 255 with u uniform, an input of the network
  as a map; squared error divided by what is usual at that sigma; Muon for the kernels, Adam for the rest,
  along a cosine; bfloat16 in the layers where the processor is faster in it; an exponential moving average
  of the weights.""",
        "weak": """\
noise that is not white, as that of cameras; sigma below 2, where the JPEG errors of the training
  photos count.""",
    },
    "rgb": {
        "purpose": " and drawings",
        "data": """\
- **Data**, by their share of the patches: 80 % from {n_photos:,} photos of free licences without
  share-alike (CC BY, CC0, public domain, Unsplash and others; `rgb_photo_credits.csv` names the source,
  licence and credit of each), whose colour has full resolution; 12 % from the Berkeley segmentation data
  (BSDS500, terms for research: its 200 training photos and 176 of its 200 test photos), reduced by 2
  because their chroma has half the resolution of their brightness; 8 % from {n_drawings} generated drawings
  (`pretraining/drawings.py`): text, line art, plots, screens, flat shapes, stripes of hues, gradients. No
  photo is in BSD68, CBSD68, Kodak24, McMaster, Urban100 or Set12, and none is part of this package.
- **Held out**: {n_held_out} photos, all those of {sources};
  {n_drawings_held_out} drawings of other seeds; and of the Berkeley photos {berkeley}.""",
        "recipe": """\
{before:,} steps of an earlier recipe (Berkeley photos alone, two levels), then a third
  level of the network beginning at zero: {more:,} more steps of 32 patches of 64 x 64, in the last third of
  the steps 14 of 96 x 96, flipped and turned; sigma 55 u^1.5 of 255 with u uniform, an input of the network
  as a map; squared error divided by what is usual at that sigma; Muon for the kernels, Adam for the rest,
  along a cosine; bfloat16 in the layers where the processor is faster in it; an exponential moving average
  of the weights.""",
        "weak": """\
noise that is not white, as that of cameras; sigma below 2, where the JPEG errors of the training
  photos count; photos whose chroma has half the resolution, under strong noise (0.1 dB below weights
  that were trained on these alone).""",
    },
    "enlarge": {
        "purpose": "",
        "data": """\
- **Data**, by their share of the patches: 80 % from {n_photos:,} photos of free licences without
  share-alike (`rgb_photo_credits.csv` names the source, licence and credit of each); 12 % from the Berkeley
  segmentation data (BSDS500, terms for research), reduced by 2; 8 % from {n_drawings} generated drawings. No
  photo is in Set5, Set14, BSD68, CBSD68, Kodak24, McMaster, Urban100 or Set12, and none is part of this
  package.
- **Degradation** (`pretraining/degradations.py`): reduced by 2 with an antialiased cubic kernel, rounded to
  8 bits; 20 % are gray. The network gets the image enlarged by cubic interpolation.
- **Held out**: {n_held_out} photos, all those of {sources};
  {n_drawings_held_out} drawings of other seeds; and of the Berkeley photos {berkeley}.""",
        "recipe": """\
from random weights: {more:,} steps of 32 patches of 64 x 64, in the last third 14 of 96 x 96; squared error
  divided by what is usual at the deviation of the interpolated patch; Muon for the kernels, Adam for the
  rest, along a cosine; bfloat16 in the layers where the processor is faster in it; an exponential moving
  average of the weights.""",
        "weak": """\
images with noise or blocks of JPEG, which it makes sharper too; images that were reduced by another kernel
  or without antialiasing; a short training: more steps would still gain.""",
    },
    "camera": {
        "purpose": "",
        "data": """\
- **Data**, by their share of the patches: 75 % from {n_photos:,} photos of free licences without
  share-alike (`rgb_photo_credits.csv` names the source, licence and credit of each); 11 % from the Berkeley
  segmentation data (BSDS500, terms for research), reduced by 2; 6 % from the same photos as they are, without
  noise; 8 % from {n_drawings} generated drawings. No photo is in PolyU, CC15, SIDD, DND, BSD68, CBSD68,
  Kodak24, McMaster, Urban100 or Set12, and none is part of this package.
- **Noise** (`pretraining/real_noise.py`): 46 % noise of cameras, that is sensor noise after demosaicking,
  colour conversion, a tone curve, smoothing, sharpening and scaling, with drawn parameters
  (`sk_denoise.CameraNoiser`); 16 % white; 8 % grain; 6 % counts; 24 % clean or nearly so. Half of all are
  compressed as JPEG, of quality 75 to 99 (from 60 for white noise, grain and counts); 15 % are gray.
- **Held out**: {n_held_out} photos, all those of {sources};
  {n_drawings_held_out} drawings of other seeds; and of the Berkeley photos {berkeley}.""",
        "recipe": """\
from the colour weights at a fixed level of 8 of 255: {more:,} steps of 32 patches of 64 x 64, in the last
  third 14 of 96 x 96; no level as input; squared error divided by what is usual at the deviation of the
  patch's noise; Muon for the kernels, Adam for the rest, along a cosine; bfloat16 in the layers where the
  processor is faster in it; an exponential moving average of the weights.""",
        "weak": """\
fine texture that looks like noise of a camera is smoothed; noise that is smooth over more than about eight
  pixels stays; white noise of a known level is removed better by `rgb` and `gray`; strong compression (JPEG
  quality below 60); no training on recordings of real cameras.""",
    },
}
# Steps of the weights with which the present recipes began.
ON_BERKELEY_ALONE = {"gray": 50_000, "rgb": 14_622, "camera": 0, "enlarge": 0, "jpeg": 0}
# What a network without a noise level is for.
PURPOSES = {
    "camera": "the noise of cameras and of JPEG",
    "enlarge": "twice the height and width",
    "jpeg": "the errors of JPEG",
}
# Levels of a card from here on, of 255, are shown by ``sk-denoise models``.
STRONG = 15
CREDITS = ("file", "licence", "repo", "commit", "path", "credit")


def _from_box(file: Path) -> tuple[dict[str, Tensor], int]:
    """Return the weights of an exported file, and their number of steps."""
    with safe_open(file, "pt") as box:
        weights = {name: box.get_tensor(name).float() for name in box.keys()}  # noqa: SIM118 - not a dict
        return weights, int(box.metadata()["step"])


def images_of(color: str) -> tuple[list[Group], list[Group]]:
    """Return training images and held-out images."""
    if color == "rgb":
        return training_groups(), validation_groups()
    if color in DEGRADATIONS:
        pairs = noisy_groups(validation_groups(), VALIDATION_KINDS[color], DEGRADATIONS[color])
        return training_groups(), pairs
    if color == "camera":
        return training_groups(with_clean=True), noisy_groups(validation_groups())
    return gray_training_groups(), validation_groups("gray")


def noisy_groups(
    groups: Sequence[Group], kinds: Iterable[str] = KINDS, degrade: Callable[..., Any] = add_real_noise
) -> list[Group]:
    """Return pairs of noisy and clean validation images, by group and kind of noise."""
    pairs = []
    for group in groups:
        for kind in kinds:
            generators = [torch.Generator().manual_seed(number) for number in range(len(group.images))]
            images = [
                torch.stack(degrade(image.float() / 255, generator, kind))
                for image, generator in zip(group.images, generators, strict=True)
            ]
            pairs.append(Group(f"{group.name}, {kind}", 1, images))
    return pairs


def batch(groups: Sequence[Group], step: int, recipe: Recipe, late: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return noisy patches, their noise levels and clean patches of a step."""
    side, n = (LATE_PATCH, LATE_BATCH) if late else (PATCH, BATCH)
    generator = stream(SEED, "batch", step)
    owners = [(group, number) for group in groups for number in range(len(group.images))]
    shares = torch.tensor([group.share / len(group.images) for group, _ in owners])
    which = torch.multinomial(shares, n, replacement=True, generator=generator).tolist()
    places = torch.rand(n, 2, generator=generator)
    turns = torch.randint(8, (n,), generator=generator).tolist()
    patches = []
    for number, (row, column), turn in zip(which, places.tolist(), turns, strict=True):
        group, index = owners[number]
        image = group.images[index]
        top, left = (int(p * (s - side + 1)) for p, s in zip((row, column), image.shape[1:], strict=True))
        patch = image[:, top : top + side, left : left + side]
        patch = patch.flip(2) if turn >= 4 else patch
        patches.append(torch.rot90(patch, turn % 4, (1, 2)))
    clean = torch.stack(patches).float().div_(255)
    if recipe.blind:
        kinds = ["clean" if owners[number][0].name == CLEAN_GROUP else None for number in which]
        degrade = DEGRADATIONS.get(recipe.degradation, add_real_noise)
        pairs = [degrade(patch, generator, kind) for patch, kind in zip(clean, kinds, strict=True)]
        noisy, clean = (torch.stack(side) for side in zip(*pairs, strict=True))
        return noisy, (noisy - clean).square().mean((1, 2, 3), keepdim=True).sqrt(), clean
    sigma = MAX_SIGMA * torch.rand(n, 1, 1, 1, generator=generator) ** recipe.power
    return clean + sigma * torch.randn(clean.shape, generator=generator), sigma, clean


def usual_error(sigma: Tensor) -> Tensor:
    """Return the usual mean squared error of denoised photos at a noise level."""
    # Below this level, the compression errors of the photos are larger.
    sigma = sigma.clamp(min=1 / 255)
    # A fit to 45 dB at 2 of 255, 33 dB at 15 and 28 dB at 50.
    return sigma**2 / (1 + 110 * sigma)


def _with_level(noisy: Tensor, sigma: Tensor) -> Tensor:
    """Return images with their noise level as a last channel."""
    images = torch.cat([noisy, sigma.expand(-1, 1, *noisy.shape[2:])], dim=1)
    return _channels_last(images)


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def rate_at(step: int, steps: int, peak: float, warm_up: int = WARM_UP) -> float:
    """Return the learning rate of a step: a warm-up, and then a cosine to zero."""
    return peak * min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


class Optimizer:
    """Muon for the kernels of convolutions, and Adam for all other weights."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.kernels = [w for w in network.parameters() if w.ndim == 4 and len(w) >= THINNEST]
        of_muon = {id(kernel) for kernel in self.kernels}
        rest = [weight for weight in network.parameters() if id(weight) not in of_muon]
        # Views of the kernels, which are channels last in memory: a step on a matrix changes the network.
        self.matrices = [torch.nn.Parameter(_matrix(kernel.detach())) for kernel in self.kernels]
        self.muon = torch.optim.Muon(self.matrices, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
        self.adam = torch.optim.Adam(rest, fused=True)

    def step(self, rate: float) -> None:
        """Update the weights by their gradients."""
        for matrix, kernel in zip(self.matrices, self.kernels, strict=True):
            assert kernel.grad is not None
            matrix.grad = _matrix(kernel.grad)
        for optimizer in (self.muon, self.adam):
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the moments of both optimizers."""
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the moments of both optimizers."""
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


def _matrix(kernel: Tensor) -> Tensor:
    """Return a channels-last kernel as a matrix, (output channels, all else)."""
    return kernel.permute(0, 2, 3, 1).flatten(1)


def _wrapped(line: str) -> str:
    """Return an item of a Markdown list, wrapped."""
    fill = textwrap.fill(line, 100, subsequent_indent="  ", break_on_hyphens=False)
    return fill if line.startswith("- ") else line


class Run:
    """State of a run, with its training, validation and export."""

    def __init__(
        self,
        color: str,
        recipe: Recipe,
        runs: Path,
        *,
        steps: int,
        rate: float,
        warm_up: int = WARM_UP,
        device: str = "cpu",
        fresh: bool = False,
    ) -> None:
        self.color, self.recipe, self.device = color, recipe, torch.device(device)
        self.steps, self.rate, self.warm_up = steps, rate, warm_up
        self.half = self.device.type != "cpu" or has_bfloat16_units(self.device)
        self.file = runs / f"{color}.pt"
        # Steps of the weights, and of the weights at the beginning of the run.
        self.step = self.begun = 0
        network = FoldedUNet(
            1 if color == "gray" else 3,
            noise_map=not recipe.blind,
            widths=recipe.widths,
            blocks=recipe.blocks,
        )
        self.network = network.to(device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network)
        self.optimizer = Optimizer(self.network)
        if self.file.exists():
            self._load(torch.load(self.file, weights_only=True, map_location=device))
        elif not fresh and (BOX / f"{color}.safetensors").exists():
            self._take_up(BOX / f"{color}.safetensors")
        elif not fresh and recipe.blind and not recipe.degradation:
            self._begin_in_colour(BOX / "rgb.safetensors")
        elif not fresh and not recipe.degradation and (BOX / "gray.safetensors").exists():
            self._begin_in_gray(BOX / "gray.safetensors")

    def _load(self, state: dict[str, Any]) -> None:
        self.step, self.begun = state["step"], state["begun"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _take_up(self, file: Path) -> None:
        """Continue from exported weights."""
        weights, self.begun = _from_box(file)
        self.step = self.begun
        self._begin_with(weights)

    def _begin_in_gray(self, file: Path) -> None:
        """Begin a colour run with gray weights."""
        # The sum of the channels, divided by the root of 3, has the noise level of a gray image.
        weights, _ = _from_box(file)
        # 2 x 2 pixels of a channel, and the noise level.
        pixels, level = weights["head.weight"].split([4, 1], dim=1)
        weights["head.weight"] = torch.cat([pixels / math.sqrt(3)] * 3 + [level], dim=1)
        for name in ("tail.weight", "tail.bias"):
            weights[name] = torch.cat([weights[name] / math.sqrt(3)] * 3)
        self._begin_with(weights)

    def _begin_in_colour(self, file: Path) -> None:
        """Begin a blind run with colour weights, at a fixed noise level."""
        weights, _ = _from_box(file)
        pixels, level = weights["head.weight"].split([12, 1], dim=1)
        weights["head.weight"] = pixels.contiguous()
        weights["head.bias"] = weights["head.bias"] + BLIND_SIGMA * level.sum((1, 2, 3))
        self._begin_with(weights)

    def _begin_with(self, weights: dict[str, Tensor]) -> None:
        """Begin with these weights."""
        # A third level that is missing in them begins at zero.
        if self.network.bottom is not None and not any(name.startswith("bottom") for name in weights):
            bottom = {f"bottom.{name}": w.clone() for name, w in self.network.bottom.state_dict().items()}
            last = len(self.network.bottom) - 1
            bottom[f"bottom.{last}.weight"].zero_()
            weights = weights | bottom
        self.network.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def export(self, reached: dict[str, dict[str, float]]) -> None:
        """Write the averaged weights and their card to the package."""
        BOX.mkdir(exist_ok=True)
        weights = {name: w.half().contiguous() for name, w in self.average.state_dict().items()}
        sizes = {"widths": json.dumps(self.recipe.widths), "blocks": json.dumps(self.recipe.blocks)}
        save_file(weights, BOX / f"{self.color}.safetensors", {"step": str(self.step)} | sizes)
        facts = {
            "berkeley": ", ".join(path.stem for path in berkeley_files()[1]),
            "step": self.step,
            "before": ON_BERKELEY_ALONE[self.color],
            "more": self.step - ON_BERKELEY_ALONE[self.color],
        }
        rows = photo_rows(held_out=False).values()
        facts |= {"n_photos": len(rows), "n_held_out": len(photo_rows(held_out=True))}
        facts |= {"n_drawings": N_DRAWINGS, "n_drawings_held_out": N_VALIDATION_DRAWINGS}
        facts["sources"] = ", ".join(HELD_OUT_SOURCES)
        if self.color == "rgb":
            with (BOX / "rgb_photo_credits.csv").open("w", newline="", encoding="utf-8") as lines:
                writer = csv.DictWriter(lines, CREDITS, extrasaction="ignore", lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
        texts = {name: text.format(**facts) for name, text in TEXTS[self.color].items()}
        card = CARD.format(
            color=self.color,
            n=sum(weight.numel() for weight in weights.values()),
            noise=PURPOSES.get(self.color, "white Gaussian noise"),
            protocol=self._protocol(reached),
            table="{table}",
            **texts,
        )
        card = "\n".join(_wrapped(line) for line in re.sub(r"\n  +", " ", card).split("\n"))
        (BOX / f"{self.color}.md").write_text(card.format(table=self._table(reached)), encoding="utf-8")
        # By default, other users could not read the file.
        (BOX / f"{self.color}.safetensors").chmod(0o644)

    def _protocol(self, reached: dict[str, dict[str, float]]) -> str:
        """Return how the PSNR of the card is measured."""
        if self.recipe.degradation:
            return "degraded as in training, output rounded to 8 bits)"
        if self.recipe.blind:
            return "noise as in training, from other seeds, output rounded to 8 bits)"
        on_berkeley = [
            f"{reached['berkeley'][str(n)]:.2f} dB at {n}" for n in self.recipe.levels if n >= STRONG
        ]
        return (
            "noise not clipped, output rounded to 8 bits), by sigma of\n  255; on the Berkeley photos, "
            + ", ".join(on_berkeley)
        )

    def _table(self, reached: dict[str, dict[str, float]]) -> str:
        """Return the table of the card."""
        columns = ["noisy", "output"] if self.recipe.blind else [str(level) for level in self.recipe.levels]
        table = [
            ["images, noise" if self.recipe.blind else "sigma", *columns],
            ["---"] + len(columns) * ["---:"],
        ]
        table += [[name, *(f"{row[column]:.2f}" for column in columns)] for name, row in reached.items()]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in table)

    def save(self) -> None:
        """Write the state to its file."""
        # The earlier file is replaced only by a complete one.
        state = {"step": self.step, "begun": self.begun} | {
            name: getattr(self, name).state_dict() for name in ("network", "average", "optimizer")
        }
        self.file.parent.mkdir(exist_ok=True, parents=True)
        unfinished = self.file.with_suffix(".unfinished")
        with unfinished.open("wb") as stream_:
            torch.save(state, stream_)
            stream_.flush()
            os.fsync(stream_.fileno())
        unfinished.replace(self.file)

    def learn(self, groups: Sequence[Group]) -> float:
        """Make one step, and return its loss."""
        recipe, done = self.recipe, self.step - self.begun
        late = recipe.late_patches and done >= LATE * self.steps
        sides = batch(groups, self.step, recipe, late)
        noisy, sigma, clean = (side.to(self.device) for side in sides)
        self.network.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            output = self.network(_channels_last(noisy) if recipe.blind else _with_level(noisy, sigma))
        error = (output.float() - clean).square()
        loss = (error / usual_error(sigma)).mean() if recipe.loss == "balanced" else error.mean()
        loss.backward()
        self.slope = torch.nn.utils.clip_grad_norm_(
            self.network.parameters(), MAX_GRADIENT_NORM[recipe.loss]
        ).item()
        self.optimizer.step(rate_at(done, self.steps, self.rate, self.warm_up))
        self.step += 1
        # A short memory at first, so that the initial weights soon have no effect.
        memory = min(MEMORY, (1 + done) / (10 + done))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - memory)
        return loss.item()

    @torch.no_grad()
    def validate(
        self, groups: Sequence[Group], levels: Sequence[int], *, every: int = 1
    ) -> dict[str, dict[str, float]]:
        """Return the mean PSNR of the averaged weights by group and level, in dB."""
        if self.recipe.blind:
            return self._validate_pairs(groups, every)
        reached: dict[str, dict[str, float]] = {}
        for group in groups:
            reached[group.name] = {}
            for level in levels:
                decibels = [self._psnr(group.images[n], level) for n in range(0, len(group.images), every)]
                reached[group.name][str(level)] = round(float(np.mean(decibels)), 3)
        return reached

    def _validate_pairs(self, groups: Sequence[Group], every: int) -> dict[str, dict[str, float]]:
        """Return the mean PSNR of the noisy images and of the output, in dB."""
        reached: dict[str, dict[str, float]] = {}
        for group in groups:
            decibels = []
            for number in range(0, len(group.images), every):
                noisy, clean = group.images[number]
                output = self.average(_channels_last(noisy[None].to(self.device))).cpu()[0]
                output = (255 * output).round().clamp(0, 255) / 255
                decibels.append((_decibels(noisy, clean), _decibels(output, clean)))
            means = np.mean(decibels, axis=0)
            reached[group.name] = {"noisy": round(float(means[0]), 3), "output": round(float(means[1]), 3)}
        return reached

    def _psnr(self, image: Tensor, level: int) -> float:
        clean = image[None].float() / 255
        noise = np.random.RandomState(0).normal(0, level / 255, clean.shape)
        noisy = (clean + torch.from_numpy(noise).float()).to(self.device)
        sigma = torch.full((1, 1, 1, 1), level / 255, device=self.device)
        output = self.average(_with_level(noisy, sigma)).cpu()
        output = (255 * output).round().clamp(0, 255) / 255
        return _decibels(output, clean)


def _decibels(output: Tensor, clean: Tensor) -> float:
    """Return the PSNR of an image in [0, 1]."""
    # An image without any error counts as a tenth of a grey level off, so that the mean is finite.
    return -10 * math.log10(max((output - clean).square().mean().item(), (0.1 / 255) ** 2))


def main() -> None:
    """Train for a number of minutes, from the end of the last chunk."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("color", choices=list(RECIPES))
    parser.add_argument("--minutes", type=float, default=50)
    parser.add_argument("--steps", type=int, default=48_000, help="of the run, over all chunks")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak of the learning rate")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="steps until the peak")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of states and logs")
    parser.add_argument("--save-every", type=int, default=100, metavar="STEPS")
    parser.add_argument("--validate-every", type=int, default=VALIDATE_EVERY, metavar="STEPS")
    parser.add_argument("--fresh", action="store_true", help="do not begin with the exported weights")
    parser.add_argument("--export", action="store_true", help="write the weights of the run to the package")
    other = parser.add_argument_group("changes of the recipe, for comparisons")
    other.add_argument("--widths", type=int, nargs="+")
    other.add_argument("--blocks", type=int, nargs="+")
    other.add_argument("--loss", choices=list(MAX_GRADIENT_NORM))
    other.add_argument("--power", type=float)
    options = parser.parse_args()

    changes = {name: getattr(options, name) for name in ("widths", "blocks", "loss", "power")}
    recipe = replace(RECIPES[options.color], **{k: v for k, v in changes.items() if v is not None})
    training, held_out = images_of(options.color)
    run = Run(
        options.color,
        recipe,
        options.runs,
        steps=options.steps,
        rate=options.rate,
        warm_up=options.warm_up,
        device=options.device,
        fresh=options.fresh,
    )
    if options.export:
        run.export(run.validate(held_out, recipe.levels))
        return
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    log = options.runs / f"{options.color}.jsonl"
    options.runs.mkdir(exist_ok=True, parents=True)
    start, losses, slopes = time.time(), [], []
    while run.step < run.begun + run.steps and time.time() - start < 60 * options.minutes and not stopped:
        losses.append(run.learn(training))
        slopes.append(run.slope)
        entry: dict[str, Any] = {}
        if run.step % LOG_EVERY == 0:
            entry = {"step": run.step, "loss": float(np.mean(losses)), "slope": float(np.median(slopes))}
            entry["minutes"] = (time.time() - start) / 60
            losses, slopes = [], []
        if (run.step - run.begun) % options.validate_every == 0:
            levels = recipe.levels if recipe.blind else LEVELS_ON_THE_WAY
            entry |= {"step": run.step, "held_out": run.validate(held_out, levels, every=4)}
        if run.step % options.save_every == 0:
            run.save()
        if entry:
            with log.open("a") as lines:
                lines.write(json.dumps(entry) + "\n")
            print(entry, flush=True)
    run.save()
    print(f"step {run.step} of {run.begun + run.steps}")


if __name__ == "__main__":
    main()
