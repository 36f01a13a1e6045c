"""Load the training and validation images of the pretrained networks.

``SK_DENOISE_DATA`` names a folder with ``photos`` and ``bsds500``. ``photos/sources.csv`` lists the source
and the licence of each photo. Photos under a share-alike licence are not used for training.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawings import draw
from PIL import Image
from torch import Tensor

from sk_denoise.io import read_image

__all__ = [
    "CLEAN_GROUP",
    "Group",
    "berkeley_files",
    "gray_training_groups",
    "photo_rows",
    "read",
    "training_groups",
    "validation_groups",
]

# Whole sources are held out, because photos of one source may show the same scene.
HELD_OUT_SOURCES = (
    "gianni-rosato/gb82-image-set",
    "nextcloud/example-files",
    "openstax/osbooks-business-law",
)
# Every eighth of the 200 test photos by name; the first 24 of these.
HELD_OUT_BERKELEY = slice(None, None, 8)
N_DRAWINGS, N_VALIDATION_DRAWINGS = 600, 24
# Far from the seeds of the training drawings.
VALIDATION_SEED = 1_000_000
# Name of the group of images that get no noise.
CLEAN_GROUP = "clean"
# Side of drawings, and of the middle of validation photos.
SIDE = 256


@dataclass(frozen=True)
class Group:
    """Images of one kind, and their share of the patches of a batch."""

    name: str
    share: float
    images: Sequence[Tensor]


class Drawings(Sequence[Tensor]):
    """Sequence of drawings, which are drawn on first access."""

    def __init__(self, first_seed: int, n: int, color: str = "rgb") -> None:
        self._seeds = range(first_seed, first_seed + n)
        self._color = color
        self._drawn: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._seeds)

    def __getitem__(self, index: Any) -> Any:
        seed = self._seeds[index]
        if seed not in self._drawn:
            drawing = draw(seed, SIDE)
            if self._color == "gray":
                drawing = np.array(Image.fromarray(drawing).convert("L"))[..., None]
            self._drawn[seed] = _tensor(drawing)
        return self._drawn[seed]


def training_groups(*, with_clean: bool = False) -> list[Group]:
    """Return the colour training images: photos, Berkeley photos and drawings.

    ``with_clean`` adds Berkeley photos as they are, with the errors of their compression, for a network that
    must keep them.
    """
    photos = [read(path, "rgb") for path in photo_rows(held_out=False)]
    # The chroma of the Berkeley photos has half their resolution, so they are reduced by 2.
    as_they_are = [read(path, "rgb") for path in berkeley_files()[0]]
    berkeley = [reduced(image) for image in as_they_are]
    clean = [Group(CLEAN_GROUP, 0.06, as_they_are)] if with_clean else []
    return [
        Group("photos", 0.80, photos),
        Group("berkeley", 0.12, berkeley),
        Group("drawings", 0.08, Drawings(0, N_DRAWINGS)),
        *clean,
    ]


def gray_training_groups() -> list[Group]:
    """Return the gray training images: Berkeley photos, photos and drawings."""
    # Without colour, the Berkeley photos have their full resolution.
    return [
        Group("berkeley", 0.48, [read(path, "gray") for path in berkeley_files()[0]]),
        Group("photos", 0.44, [read(path, "gray") for path in photo_rows(held_out=False)]),
        Group("drawings", 0.08, Drawings(0, N_DRAWINGS, "gray")),
    ]


def validation_groups(color: str = "rgb") -> list[Group]:
    """Return held-out images, each cut to its middle, and gray Berkeley photos whole."""
    cut = (lambda image: image) if color == "gray" else middle
    return [
        Group("photos", 1, [middle(read(path, color)) for path in photo_rows(held_out=True)]),
        Group("berkeley", 1, [cut(read(path, color)) for path in berkeley_files()[1]]),
        Group("drawings", 1, Drawings(VALIDATION_SEED, N_VALIDATION_DRAWINGS, color)),
    ]


def photo_rows(*, held_out: bool) -> dict[Path, dict[str, str]]:
    """Return photos without share-alike licence, with their rows of ``sources.csv``."""
    folder = data_folder() / "photos"
    if not (folder / "sources.csv").exists():
        sys.exit(f"No photos in {folder}: set SK_DENOISE_DATA to the folder that holds photos.")
    with (folder / "sources.csv").open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if "BY-SA" not in row["licence"]]
    return {folder / row["file"]: row for row in rows if (row["repo"] in HELD_OUT_SOURCES) == held_out}


def berkeley_files() -> tuple[list[Path], list[Path]]:
    """Return the Berkeley photos for training and the held-out ones."""
    folder = data_folder() / "bsds500"
    train, test = (sorted((folder / part).glob("*.jpg")) for part in ("train", "test"))
    if not train or not test:
        sys.exit(f"No photos in {folder}: set SK_DENOISE_DATA to the folder that holds bsds500.")
    held_out = test[HELD_OUT_BERKELEY][:24]
    return train + [path for path in test if path not in held_out], held_out


def data_folder() -> Path:
    """Return the folder of the data."""
    return Path(os.environ.get("SK_DENOISE_DATA", ""))


def read(path: Path, color: str) -> Tensor:
    """Return an image as bytes, (channels, height, width)."""
    image = read_image(path, color=color)
    return _tensor(image if image.ndim == 3 else image[..., None])


def reduced(image: Tensor) -> Tensor:
    """Return an image of half the size."""
    pixels = Image.fromarray(image.movedim(0, 2).numpy())
    return _tensor(np.array(pixels.resize((pixels.width // 2, pixels.height // 2), Image.Resampling.LANCZOS)))


def middle(image: Tensor) -> Tensor:
    """Return the middle of an image, at most :data:`SIDE` on each side."""
    top, left = (max(0, (side - SIDE) // 2) for side in image.shape[1:])
    return image[:, top : top + SIDE, left : left + SIDE].contiguous()


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).movedim(2, 0).contiguous()
