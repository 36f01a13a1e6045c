"""Service behind the page: job queues, disk cache and loaded models of all users."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sk_denoise import ImageDenoiser
from sk_denoise.app._download import DownloadLimits, download_image
from sk_denoise.app._jobs import JobQueue, ProgressCallback, QueuedJob
from sk_denoise.app._launch import Settings
from sk_denoise.app._processing import (
    AFTER_FILE,
    BEFORE_FILE,
    DISPLAY_FILES,
    RESIDUAL_FILE,
    STACK_FILE,
    DenoisingRequest,
    DenoisingResult,
    convert_for_file,
    denoise_stack_to_folder,
    denoise_to_folder,
    open_image_model,
)
from sk_denoise.app._urls import Resolver, resolve_public, sanitize_file_name
from sk_denoise.app._views import (
    amplify_residual,
    compute_residual,
    crop_square,
    encode_data_uri,
    to_display,
)
from sk_denoise.datasets import load_images
from sk_denoise.io import image_size, open_stack, output_suffix, write_image
from sk_denoise.restoration import MODELS, denoise_image, is_written_as_stack

__all__ = [
    "AppService",
    "CachedFolder",
    "DiskCache",
    "ExpiredError",
    "SAMPLES",
    "StoredImage",
    "StoredResult",
    "UploadedModel",
]

MAX_LOADED_MODELS = 4
N_DOWNLOAD_WORKERS = 4
# Container runtimes kill a process ten seconds after they stop it.
SHUTDOWN_SECONDS = 8.0
# Name of the file of an image or a model in its cached folder
SOURCE = "source"
# Pixels of all planes of a stack, relative to the largest image. A compressed file may claim any number.
STACK_SIZE = 16
# Arrays of different sizes or types in a file; each of them is opened for itself.
MAX_SERIES = 64
# More than any file claims.
MAX_CLAIMED_PIXELS = 2**62
# Sample images: the set of load_images, and the name of the test image in it
SAMPLES = {
    "A cat": ("rgb", "chelsea"),
    "A cup of coffee": ("rgb", "coffee"),
    "A photographer": ("gray", "camera"),
}


class ExpiredError(Exception):
    """The image or result was evicted from the cache."""


@dataclass(frozen=True)
class StoredImage:
    """Image of a user in the cache.

    Attributes
    ----------
    key : str
        Key of the image in the cache.
    name : str
        File name for the user.
    size : tuple (height, width)
        Size of the upright image in pixels.
    suffix : str
        File suffix of the image's format, or of one in place of a format that is read only.
    is_clean : bool
        Whether the image is free of noise, like the samples.
    axes : str
        Letters of the axes of a stack; empty for an image.
    n_planes : int
        Number of planes of a stack.
    """

    key: str
    name: str
    size: tuple[int, int]
    suffix: str
    is_clean: bool = False
    axes: str = ""
    n_planes: int = 1


class UploadedModel(NamedTuple):
    """Model of a user: its key in the cache and its file name."""

    key: str
    name: str


class StoredResult(NamedTuple):
    """Result in the cache: its key, the image, the request and the numbers."""

    key: str
    image: StoredImage
    request: DenoisingRequest
    details: DenoisingResult


class AppService:
    """Service of the app, independent of the page.

    Parameters
    ----------
    settings : Settings
        Limits of the app.
    resolve : callable, default=resolve_public
        Function that resolves and checks server names.

    Attributes
    ----------
    settings : Settings
        Limits of the app.
    queue : JobQueue
        Queue for denoising.
    downloads : JobQueue
        Queue for downloads.
    """

    def __init__(self, settings: Settings, resolve: Resolver = resolve_public) -> None:
        self.settings = settings
        self._resolve = resolve
        self._folder = tempfile.TemporaryDirectory(prefix="sk_denoise-", ignore_cleanup_errors=True)
        self._cache = DiskCache(Path(self._folder.name) / "cache", settings.disk_megabytes * 10**6)
        self.queue = JobQueue(settings.workers, settings.waiting, settings.patience, 60 * settings.minutes)
        self.downloads = JobQueue(N_DOWNLOAD_WORKERS, settings.waiting, settings.patience)
        self._load_model = lru_cache(maxsize=MAX_LOADED_MODELS)(self._load_model_uncached)
        # Encoding a file holds a whole image in memory, and checking a model holds its network.
        self._encoding = threading.Semaphore(settings.workers)
        self._model_check = threading.Lock()

    def warm_up(self) -> QueuedJob[None]:
        """Load the pretrained models, so that the first user does not wait for them."""

        def work(progress: ProgressCallback) -> None:
            for model in MODELS.values():
                sigma = None if model.is_blind else 0.1
                denoise_image(np.zeros((8, 8, model.channels), np.float32), sigma=sigma, model=model.name)

        return self.queue.submit(work)

    def store_image(self, name: str, data: bytes) -> StoredImage:
        """Store an uploaded image after a check of its header."""
        name = sanitize_file_name(name) or "image"

        def fill(folder: Path) -> dict[str, Any]:
            (folder / SOURCE).write_bytes(data)
            return self._check_header(folder / SOURCE, name)

        key = f"image-{hashlib.sha256(data).hexdigest()}"
        return StoredImage(key, name, **(self._cache.get(key) or self._cache.put(key, fill)).metadata)

    def store_sample(self, name: str) -> StoredImage:
        """Store a sample image."""
        color, sample = SAMPLES[name]

        def fill(folder: Path) -> dict[str, Any]:
            images = load_images("gray" if color == "gray" else "rgb")
            image = images.test[images.test_names.index(sample)]
            write_image(folder / "sample.png", np.rint(255 * image).astype(np.uint8))
            return self._check_header((folder / "sample.png").rename(folder / SOURCE), name)

        key = f"sample-{sample}"
        facts = (self._cache.get(key) or self._cache.put(key, fill)).metadata
        return StoredImage(key, sample + facts["suffix"], **facts, is_clean=True)

    def fetch_image(self, url: str) -> QueuedJob[StoredImage]:
        """Download an image from the web, in the queue for downloads."""
        limits = DownloadLimits(
            max_bytes=self.settings.upload_megabytes * 2**20, max_pixels=self.settings.max_pixels
        )

        def work(progress: ProgressCallback) -> StoredImage:
            with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
                path = Path(folder) / SOURCE
                downloaded = download_image(
                    url,
                    path,
                    limits=limits,
                    resolve=self._resolve,
                    callback=lambda done, total: progress(done, total or 0, "Fetching the image"),
                )
                return self.store_image(downloaded.name, path.read_bytes())

        return self.downloads.submit(work)

    def store_model(self, name: str, data: bytes) -> UploadedModel:
        """Store an uploaded model if it loads as a fitted ImageDenoiser."""
        name = sanitize_file_name(name) or "model"

        def fill(folder: Path) -> None:
            (folder / SOURCE).write_bytes(data)
            try:
                with self._model_check:
                    open_image_model(folder / SOURCE)
            except ValueError as error:
                raise ValueError(str(error).replace(str(folder / SOURCE), name)) from error

        key = f"model-{hashlib.sha256(data).hexdigest()}"
        if self._cache.get(key) is None:
            self._cache.put(key, fill)
        return UploadedModel(key, name)

    def denoise(self, image: StoredImage, request: DenoisingRequest) -> QueuedJob[StoredResult]:
        """Submit a job that denoises an image; equal requests share a cached result."""
        content = json.dumps([image.key, asdict(request)])
        key = f"result-{hashlib.sha256(content.encode()).hexdigest()}"

        def fill(folder: Path, progress: ProgressCallback) -> DenoisingResult:
            source = self._get_cached(image.key).path / SOURCE
            model = self._load_model(request.model) if request.model.startswith("model-") else None
            try:
                function = denoise_stack_to_folder if image.axes else denoise_to_folder
                return function(
                    source, request, folder, progress, model=model, max_pixels=self.settings.max_pixels
                )
            # Messages show the user's file name, not a path of the server.
            except ValueError as error:
                raise ValueError(str(error).replace(str(source), image.name)) from error
            # The image was evicted in the meantime.
            except FileNotFoundError:
                raise ExpiredError from None

        def work(progress: ProgressCallback) -> StoredResult:
            folder = self._cache.get(key) or self._cache.put(key, lambda folder: fill(folder, progress))
            return StoredResult(key, image, request, folder.metadata)

        return self.queue.submit(work)

    def encode_whole_views(self, result: StoredResult) -> tuple[str, str]:
        """Return the whole image before and after denoising, as data URIs."""
        before, after = (encode_data_uri(self._load_array(result, name)) for name in DISPLAY_FILES)
        return before, after

    def encode_enlarged_views(
        self, result: StoredResult, across: float, down: float, side: int, gain: float
    ) -> tuple[str, str, str]:
        """Return a square of the image before and after, and its residual, as data URIs."""
        display_range = result.details.display_range
        before, after = (
            crop_square(self._load_array(result, name), across, down, side)
            for name in (BEFORE_FILE, AFTER_FILE)
        )
        residual = amplify_residual(compute_residual(before, after, display_range), gain)
        return (
            encode_data_uri(to_display(before, display_range)),
            encode_data_uri(to_display(after, display_range)),
            encode_data_uri(residual),
        )

    def encode_residual_view(self, result: StoredResult, gain: float) -> str:
        """Return the residual of the whole image, as a data URI."""
        return encode_data_uri(amplify_residual(self._load_array(result, RESIDUAL_FILE), gain))

    def encode_file(self, result: StoredResult, suffix: str) -> bytes:
        """Encode the denoised image as a file with the depth and metadata of the original."""
        if result.image.axes:
            return self._read_stack_file(result)
        image = self._load_array(result, AFTER_FILE)
        source = self._get_cached(result.image.key).path / SOURCE
        with self._encoding, tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
            # TIFF stores floats; the other formats store integers.
            array = image if suffix == ".tif" else convert_for_file(image, result.details.file_range)
            path = Path(folder) / f"denoised{suffix}"
            write_image(path, array, like=source, allow_nan=True)
            return path.read_bytes()

    def _read_stack_file(self, result: StoredResult) -> bytes:
        try:
            with self._encoding:
                return (self._get_cached(result.key).path / STACK_FILE).read_bytes()
        # The result was evicted after the lookup.
        except FileNotFoundError:
            raise ExpiredError from None

    def close(self) -> None:
        """Cancel all jobs, and delete the cache."""
        # Downloads run no torch code, so the process can exit without them.
        self.downloads.close(0.0)
        self.queue.close(SHUTDOWN_SECONDS)
        self._folder.cleanup()

    def _check_header(self, path: Path, name: str) -> dict[str, Any]:
        """Return the facts of a `StoredImage`, or refuse a bad or too large file."""
        try:
            suffix = output_suffix(path)
            # A stack of one plane is an image, unless it has channels that images lack.
            if is_written_as_stack(path, "image.png"):
                return {"suffix": suffix, **self._check_stack(path, name)}
            size = image_size(path)
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), name)) from error
        self._check_size(size, name)
        return {"size": size, "suffix": suffix}

    def _check_size(self, size: tuple[int, ...], name: str) -> None:
        if size[0] * size[1] > self.settings.max_pixels:
            raise ValueError(
                f"{name} has {size[1]} x {size[0]} pixels; this app takes images of up to "
                f"{self.settings.megapixels} megapixels. Send a part of it, or a smaller copy."
            )

    def _check_stack(self, path: Path, name: str) -> dict[str, Any]:
        """Return size, axes and number of planes of a stack with all its series."""
        facts: dict[str, Any] = {}
        n_series, n_planes, n_pixels = 1, 0, 0
        for index in range(MAX_SERIES):
            # The limits are checked with messages of the app.
            with open_stack(path, series=index, max_pixels=MAX_CLAIMED_PIXELS) as stack:
                self._check_size(stack.plane_shape, name)
                n_channels = 1 if stack.plane_axes[-1] in "XS" else stack.plane_shape[-1]
                n_series = stack.n_series
                n_planes += len(stack) * n_channels
                n_pixels += len(stack) * n_channels * stack.plane_shape[0] * stack.plane_shape[1]
                facts = facts or {"size": stack.plane_shape[:2], "axes": stack.axes}
            if index + 1 == n_series:
                break
        if n_series > MAX_SERIES:
            raise ValueError(
                f"{name} holds {n_series} arrays of different sizes or types; this app takes up to "
                f"{MAX_SERIES}. Send a part of it."
            )
        if n_pixels > STACK_SIZE * self.settings.max_pixels:
            raise ValueError(
                f"{name} has {n_planes} planes with {n_pixels / 1e6:.0f} megapixels in all; this app takes "
                f"stacks of up to {STACK_SIZE * self.settings.megapixels}. Send a part of it."
            )
        return {**facts, "n_planes": n_planes}

    def _get_cached(self, key: str) -> CachedFolder:
        folder = self._cache.get(key)
        if folder is None:
            raise ExpiredError
        return folder

    def _load_array(self, result: StoredResult, name: str) -> Any:
        try:
            return np.load(self._get_cached(result.key).path / name, mmap_mode="r")
        # The result was evicted after the lookup.
        except FileNotFoundError:
            raise ExpiredError from None

    def _load_model_uncached(self, key: str) -> ImageDenoiser:
        return open_image_model(self._get_cached(key).path / SOURCE)


class CachedFolder(NamedTuple):
    """Folder in the cache, with its metadata and its size in bytes."""

    path: Path
    metadata: Any
    n_bytes: int


class DiskCache:
    """Cache of folders on disk that evicts the least recently used ones.

    Parameters
    ----------
    folder : Path
        Root of the cache, created if it is missing.
    max_bytes : int
        Largest total size of the cached folders. The newest folder is kept even if it alone is larger.
    """

    # Memory holds the metadata only, so that it does not grow with the number of open pages.

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._root, self._max_bytes = folder, max_bytes
        self._folders: OrderedDict[str, CachedFolder] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: str, fill: Callable[[Path], Any]) -> CachedFolder:
        """Store the folder that a function fills, with its return value as metadata."""
        # The folder gets its final name once it is complete, so that readers never see half of it.
        draft = self._root / f"{secrets.token_hex(8)}.draft"
        draft.mkdir()
        try:
            metadata = fill(draft)
            n_bytes = sum(path.stat().st_size for path in draft.iterdir())
            with self._lock:
                # Another thread may have stored the same key in the meantime.
                if key not in self._folders:
                    path = draft.rename(self._root / key)
                    self._folders[key] = CachedFolder(path, metadata, n_bytes)
                self._folders.move_to_end(key)
                self._evict()
                return self._folders[key]
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def get(self, key: str) -> CachedFolder | None:
        """Return the folder of a key and mark it as recently used; None if it was evicted."""
        with self._lock:
            if key in self._folders:
                self._folders.move_to_end(key)
            return self._folders.get(key)

    def _evict(self) -> None:
        free = self._max_bytes - sum(folder.n_bytes for folder in self._folders.values())
        while free < 0 and len(self._folders) > 1:
            _, evicted = self._folders.popitem(last=False)
            shutil.rmtree(evicted.path, ignore_errors=True)
            free += evicted.n_bytes
