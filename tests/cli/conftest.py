"""Noisy images and folders, and functions that run commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageCms

from sk_denoise.cli import main
from sk_denoise.datasets import load_images
from sk_denoise.io import read_image, write_image

SIDE = 32
SIZES = {"a": (40, 48), "b": (32, 36), "c": (24, 40)}
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


class ImageMaker:
    """Noisy images of a gradient from dark to bright."""

    side = SIDE
    profile = PROFILE

    def noisy(self, *channels: int, sigma: float = 10, seed: int = 0, side: int = SIDE) -> np.ndarray:
        """Return an 8-bit image."""
        gradient = np.linspace(60, 190, side).reshape(side, 1, *(1 for _ in channels))
        noise = np.random.default_rng(seed).normal(0, sigma, (side, side, *channels))
        return (gradient + noise).round().clip(0, 255).astype(np.uint8)

    def png(self, path: Path, **options: float) -> Path:
        """Write a gray PNG, and create its folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, self.noisy(**options))
        return path

    def photo(self, path: Path, **options: float) -> Path:
        """Write a colour JPEG with EXIF data, a colour profile and a resolution."""
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[271] = "Maker"
        image = Image.fromarray(self.noisy(3, **options))
        image.save(path, "JPEG", quality=95, exif=exif, icc_profile=PROFILE, dpi=(300, 300))
        return path


@pytest.fixture
def make() -> ImageMaker:
    return ImageMaker()


class CommandResult(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys):
    """Return a function that runs a command."""

    def run(*arguments: object) -> CommandResult:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return run


@pytest.fixture
def expect(run):
    """Return a function that runs a command and checks its exit code."""

    def expect(*arguments: object, code: int = 0) -> CommandResult:
        result = run(*arguments)
        assert result.code == code, result
        return result

    return expect


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Create a folder of three small photographs of different sizes."""
    place = tmp_path_factory.mktemp("photos")
    for (name, (height, width)), photo in zip(SIZES.items(), load_images("gray").test, strict=False):
        part = photo[60 : 60 + height, 60 : 60 + width]
        write_image(place / f"{name}.png", (255 * part).round().astype("uint8"))
    return place


@pytest.fixture(scope="module")
def noisy_folder(folder, tmp_path_factory):
    """Create a folder with noisy versions of the photographs."""
    place = tmp_path_factory.mktemp("noisy")
    for path in folder.iterdir():
        clean = read_image(path)
        noisy = clean + np.random.default_rng(0).normal(0, 20, clean.shape)
        write_image(place / path.name, noisy.clip(0, 255).astype("uint8"))
    return place


@pytest.fixture
def start():
    """Return a function that starts the command line in a process until the end of the test."""
    processes = []

    def start(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "sk_denoise", *map(str, arguments)]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        processes.append(subprocess.Popen(command, **pipes))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdout, process.stderr)):
            pipe.close()
