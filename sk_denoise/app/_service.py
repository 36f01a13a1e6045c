"""Service behind the page: job queues, disk cache and processes of all users."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple

import numpy as np

from sk_denoise.app import _tasks
from sk_denoise.app._download import DownloadLimits
from sk_denoise.app._jobs import ExpectedError, JobQueue, JobTimeoutError, ProgressCallback, QueuedJob
from sk_denoise.app._processing import (
    AFTER_FILE,
    BEFORE_FILE,
    DISPLAY_FILES,
    RESIDUAL_FILE,
    STACK_FILE,
    DenoisingRequest,
    DenoisingResult,
    check_model,
    denoise_in_worker,
    warm_up,
)
from sk_denoise.app._urls import DownloadError, Resolver, resolve_public, sanitize_file_name
from sk_denoise.app._views import (
    amplify_residual,
    compute_residual,
    crop_square,
    encode_data_uri,
    to_display,
)
from sk_denoise.app._workers import WorkerPool
from sk_denoise.datasets import load_images
from sk_denoise.io import write_image

if TYPE_CHECKING:
    from sk_denoise.app._launch import Settings

__all__ = [
    "AppService",
    "CachedFolder",
    "DiskCache",
    "ExpiredError",
    "OwnedFolder",
    "SAMPLES",
    "StoredImage",
    "StoredResult",
    "UploadedModel",
    "close_shared_service",
    "get_shared_service",
]

# Processes that fetch images from the web, and that check the headers of files
N_DOWNLOAD_WORKERS, N_READERS = 2, 2
# Seconds for the check of a header and of a model
HEADER_SECONDS, MODEL_SECONDS = 30.0, 60.0
# Seconds after which processes that are rarely needed end
IDLE_SECONDS = 60.0
# Seconds between two looks for closed pages
KEEPER_INTERVAL = 5.0
# Container runtimes kill a process ten seconds after they stop it.
SHUTDOWN_SECONDS = 8.0
# Header of the files of arrays
ARRAY_HEADER = re.compile(
    r"\{'descr': '(?P<type>[<>|=]?\w+)', 'fortran_order': (?P<order>\w+), 'shape': \((?P<shape>[\d, ]*)\), \}"
)
# Folders of apps in the folder for temporary files, and the file in each that its app locks
FOLDER_PREFIX, LOCK_FILE = "sk_denoise-app-", "lock"
# Seconds until a folder without a lock counts as abandoned; an app that starts locks its own within one.
LOCK_SECONDS = 60.0
# Name of the file of an image or a model in its cached folder
SOURCE = "source"
# Sample images: the set of load_images, and the name of the test image in it
SAMPLES = {
    "A cat": ("rgb", "chelsea"),
    "A cup of coffee": ("rgb", "coffee"),
    "A photographer": ("gray", "camera"),
}


class ExpiredError(ExpectedError):
    """The image or result was deleted from the cache."""


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

    Files of users are read, and images are computed, in worker processes.

    Parameters
    ----------
    settings : Settings
        Limits of the app.
    resolve : callable, default=resolve_public
        Function that resolves and checks server names.
    is_open : callable, optional
        Function from the key of a page to whether it is open. The images of a page that has been closed for
        ``settings.patience`` seconds are deleted. By default, all pages are open.

    Attributes
    ----------
    settings : Settings
        Limits of the app.
    queue : JobQueue
        Queue for denoising.
    downloads : JobQueue
        Queue for downloads.
    """

    def __init__(
        self,
        settings: Settings,
        resolve: Resolver = resolve_public,
        is_open: Callable[[str], bool] | None = None,
    ) -> None:
        self.settings = settings
        self._resolve, self._is_open = resolve, is_open
        self._folder = OwnedFolder()
        self._cache = DiskCache(self._folder.path / "cache", settings.disk_megabytes * 10**6)
        self._scratch = self._folder.path / "work"
        self._scratch.mkdir()
        self._workers = self._make_pool(settings.workers, warm_up, is_eager=True)
        self._readers = self._make_pool(N_READERS)
        self._fetchers = self._make_pool(N_DOWNLOAD_WORKERS)
        # Encoding a file holds a whole image in memory.
        self._writers = self._make_pool(settings.workers)
        # Models are checked here while all workers have images.
        self._checkers = self._make_pool(1)
        self.queue = JobQueue(settings.workers, settings.waiting, settings.patience, 60 * settings.minutes)
        self.downloads = JobQueue(N_DOWNLOAD_WORKERS, settings.waiting, settings.patience)
        self._pages: dict[str, _Page] = {}
        self._pages_lock = threading.Lock()
        self._is_closed = threading.Event()
        self._keeper = threading.Thread(target=self._keep_house, name="sk_denoise_keeper", daemon=True)
        self._keeper.start()

    def store_image(self, name: str, data: bytes, page: str = "") -> StoredImage:
        """Store an uploaded image after a check of its header.

        Parameters
        ----------
        name : str
            Name of the file.
        data : bytes
            Content of the file.
        page : str, default=""
            Key of the page that the image belongs to; without one it is kept until the disk is full.
        """
        name = sanitize_file_name(name) or "image"

        def fill(folder: Path) -> dict[str, Any]:
            (folder / SOURCE).write_bytes(data)
            try:
                return self._readers.run(
                    _tasks.check_header,
                    folder / SOURCE,
                    name,
                    self.settings.max_pixels,
                    seconds=HEADER_SECONDS,
                )
            except JobTimeoutError:
                raise _slow_file_error(name, HEADER_SECONDS) from None

        key = f"image-{hashlib.sha256(data).hexdigest()}"
        self._claim(page, key)
        return StoredImage(key, name, **(self._cache.get(key) or self._cache.put(key, fill)).metadata)

    def store_sample(self, name: str, page: str = "") -> StoredImage:
        """Store a sample image."""
        color, sample = SAMPLES[name]

        def fill(folder: Path) -> dict[str, Any]:
            images = load_images("gray" if color == "gray" else "rgb")
            image = images.test[images.test_names.index(sample)]
            write_image(folder / "sample.png", np.rint(255 * image).astype(np.uint8))
            path = (folder / "sample.png").rename(folder / SOURCE)
            return _tasks.check_header(path, name, self.settings.max_pixels)

        key = f"sample-{sample}"
        self._claim(page, key)
        facts = (self._cache.get(key) or self._cache.put(key, fill)).metadata
        return StoredImage(key, sample + facts["suffix"], **facts, is_clean=True)

    def fetch_image(self, url: str, page: str = "") -> QueuedJob[StoredImage]:
        """Download an image from the web, in the queue for downloads."""
        limits = DownloadLimits(
            max_bytes=self.settings.upload_megabytes * 2**20, max_pixels=self.settings.max_pixels
        )

        def work(progress: ProgressCallback) -> StoredImage:
            with tempfile.TemporaryDirectory(dir=self._scratch, ignore_cleanup_errors=True) as folder:
                path = Path(folder) / SOURCE
                try:
                    downloaded = self._fetchers.run(
                        _tasks.fetch_file,
                        url,
                        path,
                        limits,
                        self._resolve,
                        progress=progress,
                        seconds=limits.seconds + HEADER_SECONDS,
                    )
                except JobTimeoutError:
                    raise DownloadError(
                        f"The image was not fetched and read within {limits.seconds + HEADER_SECONDS:.0f} "
                        "seconds. Download it yourself and upload the file."
                    ) from None
                return self.store_image(downloaded.name, path.read_bytes(), page)

        return self.downloads.submit(work)

    def store_model(self, name: str, data: bytes, page: str = "") -> UploadedModel:
        """Store an uploaded model if it loads as a fitted ImageDenoiser."""
        name = sanitize_file_name(name) or "model"

        def fill(folder: Path) -> None:
            (folder / SOURCE).write_bytes(data)
            # A process with torch takes seconds to start.
            pool = self._workers if self._workers.is_idle else self._checkers
            try:
                pool.run(check_model, folder / SOURCE, seconds=MODEL_SECONDS)
            except JobTimeoutError:
                raise _slow_file_error(name, MODEL_SECONDS) from None
            except ValueError as error:
                raise ValueError(str(error).replace(str(folder / SOURCE), name)) from error

        key = f"model-{hashlib.sha256(data).hexdigest()}"
        self._claim(page, key)
        if self._cache.get(key) is None:
            self._cache.put(key, fill)
        return UploadedModel(key, name)

    def denoise(
        self, image: StoredImage, request: DenoisingRequest, page: str = ""
    ) -> QueuedJob[StoredResult]:
        """Submit a job that denoises an image; equal requests share a cached result."""
        content = json.dumps([image.key, asdict(request)])
        key = f"result-{hashlib.sha256(content.encode()).hexdigest()}"

        def fill(folder: Path, progress: ProgressCallback) -> DenoisingResult:
            source = self._get_cached(image.key).path / SOURCE
            is_uploaded = request.model.startswith("model-")
            try:
                return self._workers.run(
                    denoise_in_worker,
                    source,
                    request,
                    folder,
                    is_stack=bool(image.axes),
                    model=self._get_cached(request.model).path / SOURCE if is_uploaded else None,
                    max_pixels=self.settings.max_pixels,
                    progress=progress,
                )
            # Messages show the user's file name, not a path of the server.
            except ValueError as error:
                raise ValueError(str(error).replace(str(source), image.name)) from error
            # The image was evicted in the meantime.
            except FileNotFoundError:
                raise ExpiredError from None

        def work(progress: ProgressCallback) -> StoredResult:
            folder = self._cache.get(key) or self._cache.put(key, lambda folder: fill(folder, progress))
            # The page may have been closed, and its images deleted, since the last progress report.
            self._drop_if_unclaimed(page, key)
            return StoredResult(key, image, request, folder.metadata)

        self._claim(page, key)
        return self.queue.submit(work)

    @property
    def process_ids(self) -> list[int]:
        """Numbers of the worker processes."""
        return [number for pool in self._pools for number in pool.process_ids]

    def delete_images_of_closed_pages(self) -> None:
        """Delete the images, models and results of pages that were closed some time ago."""
        if self._is_open is None:
            return
        now = time.monotonic()
        with self._pages_lock:
            released: set[str] = set()
            for key, page in list(self._pages.items()):
                if self._is_open(key):
                    page.closed_at = None
                elif page.closed_at is None:
                    page.closed_at = now
                # A page that loses its connection for a moment returns.
                elif now - page.closed_at >= self.settings.patience:
                    released |= self._pages.pop(key).files
            # Pages with the same image share it.
            for file in released - {file for page in self._pages.values() for file in page.files}:
                self._cache.remove(file)

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
        array = self._get_cached(result.key).path / AFTER_FILE
        source = self._get_cached(result.image.key).path / SOURCE
        with tempfile.TemporaryDirectory(dir=self._scratch, ignore_cleanup_errors=True) as folder:
            path = Path(folder) / f"denoised{suffix}"
            try:
                self._writers.run(
                    _tasks.encode_file,
                    array,
                    source,
                    path,
                    result.details.file_range,
                    seconds=60 * self.settings.minutes,
                )
            # The image or the result was evicted in the meantime.
            except FileNotFoundError:
                raise ExpiredError from None
            return path.read_bytes()

    def _read_stack_file(self, result: StoredResult) -> bytes:
        try:
            return (self._get_cached(result.key).path / STACK_FILE).read_bytes()
        # The result was evicted after the lookup.
        except FileNotFoundError:
            raise ExpiredError from None

    def close(self) -> None:
        """Cancel all jobs, end all processes, and delete the cache."""
        self._is_closed.set()
        for pool in self._pools:
            pool.close()
        for jobs in (self.queue, self.downloads):
            jobs.close(SHUTDOWN_SECONDS)
        self._keeper.join(SHUTDOWN_SECONDS)
        self._folder.remove()

    @property
    def _pools(self) -> tuple[WorkerPool, ...]:
        return self._workers, self._readers, self._fetchers, self._writers, self._checkers

    def _make_pool(
        self, n_workers: int, prepare: Callable[[], None] = _tasks.prepare, *, is_eager: bool = False
    ) -> WorkerPool:
        max_bytes = self.settings.memory_megabytes * 10**6
        return WorkerPool(n_workers, prepare, max_bytes, self._scratch, is_eager=is_eager)

    def _keep_house(self) -> None:
        while not self._is_closed.wait(KEEPER_INTERVAL):
            self.delete_images_of_closed_pages()
            for pool in (self._fetchers, self._writers, self._checkers):
                pool.end_idle(IDLE_SECONDS)

    def _claim(self, page: str, file: str) -> None:
        """Note that a page shows a file of the cache, which is deleted after the page."""
        if page:
            with self._pages_lock:
                self._pages.setdefault(page, _Page()).files.add(file)

    def _drop_if_unclaimed(self, page: str, file: str) -> None:
        with self._pages_lock:
            if page and not any(file in other.files for other in self._pages.values()):
                self._cache.remove(file)

    def _get_cached(self, key: str) -> CachedFolder:
        folder = self._cache.get(key)
        if folder is None:
            raise ExpiredError
        return folder

    def _load_array(self, result: StoredResult, name: str) -> Any:
        try:
            return _open_array(self._get_cached(result.key).path / name)
        # The result was evicted after the lookup.
        except FileNotFoundError:
            raise ExpiredError from None


@dataclass
class _Page:
    """Files of an open page, and the time at which it was found closed."""

    files: set[str] = field(default_factory=set)
    closed_at: float | None = None


def _open_array(path: Path) -> np.memmap[Any, Any]:
    """Open an array that a worker process has saved."""
    # np.load parses the header as Python code, and Python 3.11 cannot parse in two threads at once.
    with path.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        length = int.from_bytes(stream.read(2 if version == (1, 0) else 4), "little")
        header, offset = stream.read(length).decode("latin-1"), stream.tell()
    match = ARRAY_HEADER.fullmatch(header.strip())
    assert match is not None
    shape = tuple(int(side) for side in match["shape"].replace(",", " ").split())
    order: Literal["C", "F"] = "F" if match["order"] == "True" else "C"
    return np.memmap(path, match["type"], mode="r", offset=offset, shape=shape, order=order)


def _slow_file_error(name: str, seconds: float) -> ValueError:
    return ValueError(
        f"{name} was not read within {seconds:.0f} seconds. The file is damaged or unusual: open it in "
        "another program, save it as PNG or TIFF, and send that."
    )


_SHARED: list[AppService] = []
_SHARING = threading.Lock()


def get_shared_service(settings: Settings, is_open: Callable[[str], bool] | None = None) -> AppService:
    """Return the service of this process, which all pages share.

    The first call makes it. It is not among Streamlit's cached resources, since any visitor can clear those.
    """
    with _SHARING:
        if not _SHARED:
            _SHARED.append(AppService(settings, is_open=is_open))
            atexit.register(close_shared_service)
        return _SHARED[0]


def close_shared_service() -> None:
    """Close the service of this process, if there is one."""
    with _SHARING:
        for service in _SHARED:
            service.close()
        _SHARED.clear()


class OwnedFolder:
    """Temporary folder of a running app; those of apps that are gone are deleted.

    A lock on a file in the folder shows that its app lives. The system releases the lock at any end of the
    process, also by SIGKILL. The number of a process could be that of another one, later or in another
    container.
    """

    def __init__(self) -> None:
        delete_abandoned_folders()
        # An app that starts at the same moment may take the folder for an abandoned one before it is locked.
        for _ in range(3):
            self.path = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
            self._lock = _lock_file(self.path / LOCK_FILE)
            if self._lock is not None and (self.path / LOCK_FILE).exists():
                return
            self.remove()
        # Some network drives have no locks.
        self.path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Delete the folder."""
        # Windows deletes no open file, so the folder goes in two steps.
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
        shutil.rmtree(self.path, ignore_errors=True)


def delete_abandoned_folders() -> None:
    """Delete the temporary folders of apps that have ended without doing so."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        try:
            status = folder.lstat()
        # Another app may delete it at this moment.
        except OSError:
            continue
        # The folder for temporary files is open to all users of the machine.
        if folder.is_symlink() or not folder.is_dir() or status.st_uid != _user_id(status.st_uid):
            continue
        if not (folder / LOCK_FILE).exists() and time.time() - status.st_mtime < LOCK_SECONDS:
            continue
        lock = _lock_file(folder / LOCK_FILE)
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            lock.close()
            shutil.rmtree(folder, ignore_errors=True)


def _user_id(default: int) -> int:
    return os.getuid() if hasattr(os, "getuid") else default


def _lock_file(path: Path) -> BinaryIO | None:
    """Open and lock a file; None if it is locked, or the drive has no locks."""
    try:
        stream = path.open("ab")
    except OSError:
        return None
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        return None
    return stream


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

    def remove(self, key: str) -> None:
        """Delete the folder of a key, if it is there."""
        with self._lock:
            folder = self._folders.pop(key, None)
            if folder is not None:
                shutil.rmtree(folder.path, ignore_errors=True)

    def _evict(self) -> None:
        free = self._max_bytes - sum(folder.n_bytes for folder in self._folders.values())
        while free < 0 and len(self._folders) > 1:
            _, evicted = self._folders.popitem(last=False)
            shutil.rmtree(evicted.path, ignore_errors=True)
            free += evicted.n_bytes
