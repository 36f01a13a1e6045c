"""What all users of the app share: the queue, the room on disk, the models that are open."""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sk_denoise import ImageDenoiser
from sk_denoise.app._disk_cache import Entry, Shelf
from sk_denoise.app._download import Limits, download
from sk_denoise.app._jobs import Job, Queue, Tell
from sk_denoise.app._launch import Settings
from sk_denoise.app._processing import (
    AFTER,
    BEFORE,
    SCREENS,
    TAKEN,
    Answer,
    Order,
    denoise,
    numbers_for_file,
    open_model,
)
from sk_denoise.app._urls import Resolver, resolve_public, safe_name
from sk_denoise.app._views import as_gray, crop, data_uri, on_screen, taken_away
from sk_denoise.datasets import load_images
from sk_denoise.io import image_size, image_suffix, write_image
from sk_denoise.restoration import MODELS, denoise_image

__all__ = ["Gone", "Image", "Model", "Result", "SAMPLES", "Workshop"]

MODELS_OPEN = 4
DOWNLOADS_AT_ONCE = 4
SECONDS_TO_END = 8.0  # for the tiles in work; whoever stops containers waits for ten
SOURCE = "source"  # the file of an image or a model, on the shelf
SAMPLES = {
    "A cat": ("rgb", "chelsea"),
    "A cup of coffee": ("rgb", "coffee"),
    "A photographer": ("gray", "camera"),
}


class Gone(Exception):  # noqa: N818 - a state, told to the user
    """What was kept has made way for others."""


@dataclass(frozen=True)
class Image:
    """An image that somebody brought.

    Attributes
    ----------
    key : str
        Of its file on the shelf.
    name : str
        What the user calls it.
    size : tuple (height, width)
        Upright, in pixels.
    suffix : str
        What names of its format end in.
    is_clean : bool
        Whether it has no noise yet, as the samples.
    """

    key: str
    name: str
    size: tuple[int, int]
    suffix: str
    is_clean: bool = False


class Model(NamedTuple):
    """A model that somebody brought: the key of its file, and its name."""

    key: str
    name: str


class Result(NamedTuple):
    """What became of an image: the key on the shelf, and what is known."""

    key: str
    image: Image
    order: Order
    answer: Answer


class Workshop:
    """The part of the app that does not know the page.

    Parameters
    ----------
    settings : Settings
        Limits.
    resolve : callable
        What checks and resolves the names of servers, for tests.
    """

    def __init__(self, settings: Settings, resolve: Resolver = resolve_public) -> None:
        self.settings = settings
        self._resolve = resolve
        self._folder = tempfile.TemporaryDirectory(prefix="sk_denoise-", ignore_cleanup_errors=True)
        self._shelf = Shelf(Path(self._folder.name) / "shelf", settings.disk_megabytes * 10**6)
        self.queue = Queue(settings.workers, settings.waiting, settings.patience, 60 * settings.minutes)
        self.downloads = Queue(DOWNLOADS_AT_ONCE, settings.waiting, settings.patience)
        self._open_model = lru_cache(maxsize=MODELS_OPEN)(self._opened)
        self._encoding = threading.Semaphore(settings.workers)
        self._opening = threading.Lock()

    def warm_up(self) -> Job[None]:
        """Load the models in the box, so that the first user need not wait for them."""

        def work(tell: Tell) -> None:
            for model in MODELS.values():
                denoise_image(np.zeros((8, 8, model.channels), np.float32), sigma=0.1, model=model.name)

        return self.queue.submit(work)

    def take(self, name: str, data: bytes) -> Image:
        """Keep an image that was uploaded, once its header is known to be good."""
        name = safe_name(name) or "image"

        def fill(folder: Path) -> tuple[tuple[int, int], str]:
            (folder / SOURCE).write_bytes(data)
            return self._checked(folder / SOURCE, name)

        key = f"image-{hashlib.sha256(data).hexdigest()}"
        size, suffix = (self._shelf.get(key) or self._shelf.put(key, fill)).about
        return Image(key, name, size, suffix)

    def sample(self, name: str) -> Image:
        """Keep a sample image."""
        color, called = SAMPLES[name]

        def fill(folder: Path) -> tuple[tuple[int, int], str]:
            images = load_images("gray" if color == "gray" else "rgb")
            image = images.test[images.test_names.index(called)]
            write_image(folder / "sample.png", np.rint(255 * image).astype(np.uint8))
            return self._checked((folder / "sample.png").rename(folder / SOURCE), name)

        key = f"sample-{called}"
        size, suffix = (self._shelf.get(key) or self._shelf.put(key, fill)).about
        return Image(key, called + suffix, size, suffix, is_clean=True)

    def fetch(self, url: str) -> Job[Image]:
        """Get an image from the web, in the queue of downloads."""
        limits = Limits(
            most_bytes=self.settings.upload_megabytes * 2**20, most_pixels=self.settings.most_pixels
        )

        def work(tell: Tell) -> Image:
            with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
                got = download(
                    url,
                    Path(folder) / SOURCE,
                    limits=limits,
                    resolve=self._resolve,
                    callback=lambda done, total: tell(done, total or 0, "Fetching the image"),
                )
                return self.take(got.name, (Path(folder) / SOURCE).read_bytes())

        return self.downloads.submit(work)

    def take_model(self, name: str, data: bytes) -> Model:
        """Keep a model that was uploaded, once it is known to load; one is opened at a time."""
        name = safe_name(name) or "model"

        def fill(folder: Path) -> None:
            (folder / SOURCE).write_bytes(data)
            try:
                with self._opening:
                    open_model(folder / SOURCE)
            except ValueError as error:
                raise ValueError(str(error).replace(str(folder / SOURCE), name)) from error

        key = f"model-{hashlib.sha256(data).hexdigest()}"
        if self._shelf.get(key) is None:
            self._shelf.put(key, fill)
        return Model(key, name)

    def denoise(self, image: Image, order: Order) -> Job[Result]:
        """Denoise an image, when its turn comes."""
        asked = json.dumps([image.key, asdict(order)])
        key = f"answer-{hashlib.sha256(asked.encode()).hexdigest()}"

        def fill(folder: Path, tell: Tell) -> Answer:
            source = self._kept(image.key).folder / SOURCE
            model = self._open_model(order.model) if order.model.startswith("model-") else None
            try:
                return denoise(
                    source, order, folder, tell, model=model, most_pixels=self.settings.most_pixels
                )
            except ValueError as error:
                raise ValueError(str(error).replace(str(source), image.name)) from error
            except FileNotFoundError:  # it made way this very moment
                raise Gone from None

        def work(tell: Tell) -> Result:
            entry = self._shelf.get(key) or self._shelf.put(key, lambda folder: fill(folder, tell))
            return Result(key, image, order, entry.about)

        return self.queue.submit(work)

    def whole(self, result: Result) -> tuple[str, str]:
        """Return the image before and after, for the screen."""
        before, after = (data_uri(self._array(result, name)) for name in SCREENS)
        return before, after

    def part(
        self, result: Result, across: float, down: float, side: int, gain: float
    ) -> tuple[str, str, str]:
        """Return a part before and after, pixel by pixel, and what was taken away from it."""
        shown = result.answer.shown
        before, after = (crop(self._array(result, name), across, down, side) for name in (BEFORE, AFTER))
        taken = as_gray(taken_away(before, after, shown), gain)
        return data_uri(on_screen(before, shown)), data_uri(on_screen(after, shown)), data_uri(taken)

    def taken(self, result: Result, gain: float) -> str:
        """Return what was taken away, for the screen."""
        return data_uri(as_gray(self._array(result, TAKEN), gain))

    def file(self, result: Result, suffix: str) -> bytes:
        """Return the image without its noise as a file, in the depth of the one that came."""
        image = self._array(result, AFTER)
        source = self._kept(result.image.key).folder / SOURCE
        with self._encoding, tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
            numbers = image if suffix == ".tif" else numbers_for_file(image, result.answer.file_range)
            write_image(Path(folder) / f"denoised{suffix}", numbers, like=source)
            return (Path(folder) / f"denoised{suffix}").read_bytes()

    def close(self) -> None:
        """Give up all work, and remove what was kept."""
        self.downloads.close(0.0)  # they run no torch, and end when their servers answer
        self.queue.close(SECONDS_TO_END)
        self._folder.cleanup()

    def _checked(self, path: Path, name: str) -> tuple[tuple[int, int], str]:
        """Return size and suffix of an image; refuse what cannot be read or is too large, by its header."""
        try:
            size, suffix = image_size(path), image_suffix(path)
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), name)) from error
        if size[0] * size[1] > self.settings.most_pixels:
            raise ValueError(
                f"{name} has {size[1]} x {size[0]} pixels; this app takes images of up to "
                f"{self.settings.megapixels} megapixels. Send a part of it, or a smaller copy."
            )
        return size, suffix

    def _kept(self, key: str) -> Entry:
        entry = self._shelf.get(key)
        if entry is None:
            raise Gone
        return entry

    def _array(self, result: Result, name: str) -> Any:
        try:
            return np.load(self._kept(result.key).folder / name, mmap_mode="r")
        except FileNotFoundError:  # it made way this very moment
            raise Gone from None

    def _opened(self, key: str) -> ImageDenoiser:
        return open_model(self._kept(key).folder / SOURCE)
