"""Denoising of images that are larger than memory, block by block."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from sk_denoise._intensity import IntensityRange
from sk_denoise._noise_model import NoiseModel
from sk_denoise._package import __version__, require_extra
from sk_denoise._validation import Noiser, warn_user
from sk_denoise.estimators import ImageDenoiser
from sk_denoise.io._tiled_tiff import TiledTiff, is_tiff_name, write_tiled
from sk_denoise.io._zarr_stores import (
    RunFolder,
    ZarrImage,
    create_arrays,
    delete_store,
    has_keys,
    is_shared,
    locate_store,
    open_levels,
    open_zarr,
    overlap,
    place_name,
    read_record,
    resolve_axes,
    write_documents,
    write_record,
)
from sk_denoise.restoration._block_run import BlockGrid, Engine, choose_block, choose_engine, run_blocks
from sk_denoise.restoration._part_denoiser import PartDenoiser
from sk_denoise.restoration._pretrained import select_network

if TYPE_CHECKING:
    from zarr.storage import StorePath

__all__ = ["ZarrReport", "denoise_zarr", "sample_zarr"]

Image = NDArray[Any]
Window = tuple[slice, ...]
Source = ZarrImage | TiledTiff

# Windows from which the noise of a channel is measured, their side in pixels, and places that are tried:
# large
# images have empty parts.
N_SAMPLES, SAMPLE_SIDE, MAX_PLACES = 16, 640, 128
# Memory of a worker for a block, and bytes that a pixel takes while it is denoised, besides its own type: for
# white noise, and for noise of counts or correlated noise, whose steps hold several copies in single
# precision.
BLOCK_BYTES, WHITE_BYTES, OTHER_BYTES = 600 * 2**20, 28, 84
# Largest side of a chunk of a target whose source is no Zarr.
CHUNK_SIDE = 1024
# Side in pixels of the part that is denoised before the work, so that invalid options end it at once.
TRIAL_SIDE = 64


@dataclass(frozen=True)
class ZarrReport:
    """Result of :func:`denoise_zarr`.

    Attributes
    ----------
    noise : tuple of NoiseModel
        Noise of each channel, with the statistics that all blocks share: :func:`denoise_image` gives the same
        bits with it.
    n_blocks : int
        Number of blocks of the image and of its smaller levels.
    n_done_before : int
        Number of blocks that an earlier call has written.
    n_done : int
        Number of blocks that this call has written.
    seconds : float
        Time of this call.

    Examples
    --------
    >>> from sk_denoise.restoration import ZarrReport
    >>> print(ZarrReport((), n_blocks=12, n_done_before=8, n_done=4, seconds=61.2))
    12 blocks, 8 of them done before, 61.2 seconds
    """

    noise: tuple[NoiseModel, ...]
    n_blocks: int
    n_done_before: int
    n_done: int
    seconds: float

    def __str__(self) -> str:
        before = f", {self.n_done_before} of them done before" if self.n_done_before else ""
        blocks = "1 block" if self.n_blocks == 1 else f"{self.n_blocks} blocks"
        return f"{blocks}{before}, {self.seconds:.1f} seconds"


def denoise_zarr(
    src: Any,
    dst: Any,
    *,
    model: str | ImageDenoiser = "auto",
    noise: str | NoiseModel | Noiser | Sequence[NoiseModel] = "auto",
    sigma: ArrayLike | None = None,
    strength: float = 1.0,
    outliers: Literal["keep", "replace"] = "keep",
    ensemble: bool = False,
    precision: Literal["auto", "float32", "bfloat16"] = "float32",
    device: str | torch.device = "auto",
    axes: str | Sequence[str] | None = None,
    client: Any = None,
    n_jobs: int | None = None,
    resume: bool = True,
    overwrite: bool = False,
    block_pixels: int | None = None,
    verbose: bool = False,
    callback: Callable[[int, int], object] | None = None,
) -> ZarrReport:
    """Denoise an image that is larger than memory, block by block, with many workers.

    The image is a Zarr array (format 2 or 3), an OME-Zarr group, or a large TIFF of tiles. The target is of
    the same kind: chunks, shards, compressor, names of axes and attributes are those of the source. The
    smaller levels of a pyramid are computed from the denoised image. Each block is read with a halo, so that
    the result is that of :func:`denoise_image` for the whole plane with the same noise model.

    A block is a task of an engine: this process, joblib, or a cluster of dask.distributed. Blocks that are
    done are marked in the target. After any end, even ``kill -9``, the same call does those that are missing,
    on any engine or machine.

    Parameters
    ----------
    src : path-like, str, or store, group or array of zarr
        Folder, ``.zip`` file, URL for fsspec such as ``s3://bucket/image.zarr``, or a TIFF of gray values.
        Rows and columns (y, x) are the last two axes.
    dst : path-like, str, or store of zarr
        Where to write: a new place, or that of an earlier call. A name that ends in ``.tif`` gives a BigTIFF.
    model, strength, outliers, ensemble, device
        As in :func:`denoise_image`.
    noise : {"auto", "white", "counts", "camera"}, NoiseModel, noiser or sequence of NoiseModel,
    default="auto"
        Kind of the noise. It is estimated once for each channel, from 16 random windows of the whole image,
        and stored with the blocks. A sequence has a model for each channel.
    sigma : float or array-like of shape (n_channels,), optional
        Level of white noise in the unit of the image, for all channels or for each.
    precision : {"auto", "float32", "bfloat16"}, default="float32"
        Precision of the layers. Only "float32" gives the same bits on all processors of a cluster.
    axes : str or sequence of str, optional
        A letter or name for each axis, such as "tcyx", in place of those of the metadata. An axis "c" holds
        independent channels; all other axes before y and x count planes.
    client : distributed.Client, optional
        Client of a cluster. Its workers must reach source and target.
    n_jobs : int, optional
        Number of workers for joblib, -1 for one a core. The cores are shared among them. None takes that of
        ``joblib.parallel_config``, whose backend is used too, or works in this process.
    resume : bool, default=True
        Whether to continue an earlier call with the same source and options. If it was complete, nothing is
        done. False refuses an existing target.
    overwrite : bool, default=False
        Whether to delete an earlier result that cannot or shall not be continued. Other data is never
        deleted, except for a TIFF under the name of the target.
    block_pixels : int, optional
        Number of pixels of a block, rounded to whole chunks or shards. By default a worker stays below 1.5
        GB. A call that resumes keeps the blocks of the first one.
    verbose : bool, default=False
        Whether to show a progress bar of the blocks.
    callback : callable, optional
        Function that is called as ``callback(done, total)`` with the number of blocks, before the first one
        and after each. An exception from it ends the work and is passed on; a new call resumes.

    Returns
    -------
    ZarrReport
        Noise models, number of blocks, and seconds.

    Raises
    ------
    MissingExtraError
        If the packages of the extra ``zarr`` are missing, or of ``dask`` for a client.
    FileNotFoundError
        If there is no image.
    FileExistsError
        If something else is at the target, or an earlier call with other options.
    RuntimeError
        If blocks fail three times, with their place and the cause. All others are done first.
    ValueError, TypeError
        If the image or an option is not supported.

    Warns
    -----
    UserWarning
        If members of the group, such as labels, are not copied, or if chunks are so large that a worker needs
        more memory.

    See Also
    --------
    denoise_file : Denoise an image file, or a stack plane by plane.
    denoise_image : Denoise an array.

    Notes
    -----
    A complete target has an attribute ``sk_denoise`` with the options and the noise. Until then, settings and
    markers are in its folder ``.sk_denoise``. Blocks are the same bits each time, so two calls at once for
    one target do the work twice, and no harm.

    A smaller level is the local mean of the level before it, without NaN.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import zarr
    >>> from sk_denoise.restoration import denoise_zarr
    >>> noisy = np.random.default_rng(0).normal(1000, 50, (256, 256)).astype(np.uint16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = zarr.create_array(f"{folder}/noisy.zarr", data=noisy, chunks=(64, 64))
    ...     report = denoise_zarr(f"{folder}/noisy.zarr", f"{folder}/clean.zarr", block_pixels=128 * 128)
    ...     clean = zarr.open_array(f"{folder}/clean.zarr", mode="r")
    ...     clean.chunks, report.n_blocks, bool(clean[:].std() < 10)
    ((64, 64), 4, True)
    """
    start = time.perf_counter()
    require_extra("denoise_zarr", "zarr")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function of two numbers, (done, total), got {callback!r}.")
    if block_pixels is not None and (isinstance(block_pixels, bool) or int(block_pixels) < 1):
        raise ValueError(f"block_pixels must be a number of pixels of at least 1, got {block_pixels!r}.")
    engine = choose_engine(client, n_jobs)
    options = {
        "model": model,
        "noise": noise,
        "sigma": sigma,
        "strength": strength,
        "outliers": outliers,
        "ensemble": ensemble,
        "precision": precision,
        "device": device,
    }
    run = _Run.open(src, dst, axes, options)
    run.check_engine(engine)
    state = run.begin(resume=resume, overwrite=overwrite, block_pixels=block_pixels)
    total = sum(map(len, state.grids))
    n_before = total if state.is_complete else len(state.folder.find_marks())
    if not state.is_complete:
        with tqdm(disable=not verbose, unit="block", total=total, initial=n_before) as bar:
            run.work(state, engine, _BlockProgress(bar, n_before, total, callback))
        run.finish(state)
    elif callback is not None:
        callback(total, total)
    return ZarrReport(tuple(state.noise), total, n_before, total - n_before, time.perf_counter() - start)


def sample_zarr(src: Any, axes: str | Sequence[str] | None = None) -> list[list[Image]]:
    """Read windows from random places of an image that is larger than memory.

    They are those from which :func:`denoise_zarr` estimates the noise.

    Parameters
    ----------
    src, axes
        As in :func:`denoise_zarr`.

    Returns
    -------
    list of list of ndarray of shape (height, width)
        For each channel up to 16 windows of at most 640 x 640 pixels. Constant windows are left out, unless
        there are no others.

    Raises
    ------
    MissingExtraError
        If the packages of the extra ``zarr`` are missing.
    FileNotFoundError, ValueError, TypeError
        If there is no image, or it is not supported.
    RuntimeError
        If no window can be read.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import zarr
    >>> from sk_denoise.restoration import sample_zarr
    >>> noisy = np.random.default_rng(0).normal(1000, 50, (2, 700, 700))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = zarr.create_array(f"{folder}/a.zarr", data=noisy, chunks=(1, 350, 350))
    ...     windows = sample_zarr(f"{folder}/a.zarr", axes="cyx")
    >>> len(windows), len(windows[0]), windows[0][0].shape
    (2, 16, (640, 640))
    """
    require_extra("sample_zarr", "zarr")
    return [channel.windows for channel in _sample(_open_source(src, axes))]


class _BlockProgress:
    """Number of blocks that are done, for the progress bar and the callback."""

    def __init__(
        self, bar: Any, done: int, total: int, callback: Callable[[int, int], object] | None
    ) -> None:
        self._bar, self._done, self._total, self._callback = bar, done, total, callback
        self._notify()

    def __call__(self) -> None:
        self._bar.update()
        # A marker that cannot be read again after a crash is counted twice.
        self._done = min(self._done + 1, self._total)
        self._notify()

    def _notify(self) -> None:
        if self._callback is not None:
            self._callback(self._done, self._total)


# Blocks --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _DenoiseBlock:
    """Task that denoises a block by its number, writes it and marks it."""

    source: Source
    array: Any
    folder: RunFolder
    grid: BlockGrid
    denoisers: tuple[PartDenoiser, ...]
    channel_axis: int | None

    def __call__(self, number: int) -> None:
        window = self.grid.window(number)
        leading, inner = window[:-2], window[-2:]
        starts = [part.start for part in leading]
        sizes = [part.stop - part.start for part in leading]
        channels = [
            0 if self.channel_axis is None else starts[self.channel_axis] + place[self.channel_axis]
            for place in np.ndindex(*sizes)
        ]
        outers, around, noisy = self._read(leading, inner, set(channels))
        if noisy.dtype.kind == "f" and np.isnan(noisy).any():
            # Values that stand for NaN come from farther away.
            outers, around, noisy = self._read(leading, inner, set(channels), has_gaps=True)
        denoised = np.empty([part.stop - part.start for part in window], noisy.dtype)
        for channel, place in zip(channels, np.ndindex(*sizes), strict=True):
            outer = outers[channel]
            part = noisy[place][_shifted(outer, around)]
            denoised[place] = self.denoisers[channel].denoise(
                np.ascontiguousarray(part), _shifted(inner, outer)
            )
        self.array[window] = denoised
        self.folder.mark(0, number)

    def _read(
        self, leading: Window, inner: Window, channels: set[int], has_gaps: bool = False
    ) -> tuple[dict[int, Window], Window, Image]:
        """Return the window of each channel, the one around them, and its pixels."""
        shape, part = self.grid.shape[-2:], (inner[0], inner[1])
        outers = {
            channel: self.denoisers[channel].window(part, shape, has_gaps=has_gaps) for channel in channels
        }
        rows, columns = (
            slice(
                min(outer[axis].start for outer in outers.values()),
                max(outer[axis].stop for outer in outers.values()),
            )
            for axis in range(2)
        )
        # Chunks that span several planes are read once.
        return dict(outers), (rows, columns), self.source.read((*leading, rows, columns))


def _shifted(window: Window, origin: Window) -> tuple[slice, slice]:
    """Return a window of rows and columns relative to another one."""
    rows, columns = (
        slice(part.start - first.start, part.stop - first.start)
        for part, first in zip(window, origin, strict=True)
    )
    return rows, columns


@dataclass(frozen=True)
class _ShrinkBlock:
    """Task that computes a block of a smaller level, writes it and marks it."""

    larger: Any
    array: Any
    folder: RunFolder
    grid: BlockGrid
    level: int
    factors: tuple[int | None, ...]

    def __call__(self, number: int) -> None:
        window = self.grid.window(number)
        edges = [
            _edges(part, factor, n, m)
            for part, factor, n, m in zip(
                window, self.factors, self.larger.shape, self.grid.shape, strict=True
            )
        ]
        # A level may have more pixels along an axis than the one before it.
        around = tuple(slice(int(edge[0]), int(max(edge[-1], edge[0] + 1))) for edge in edges)
        region = np.asarray(self.larger[around])
        self.array[window] = _local_mean(region.astype(region.dtype.newbyteorder("=")), edges)
        self.folder.mark(self.level, number)


def _find_factor(n: int, m: int, ratio: float | None) -> int | None:
    """Return the whole number of pixels in one of a smaller level, or None."""
    if m < 1:
        return None
    candidates = [round(ratio)] if ratio is not None and abs(ratio - round(ratio)) < 1e-3 else []
    # Programs drop the last pixels, or make a pixel of fewer.
    candidates += [round(n / m), n // m, -(-n // m)]
    return next((f for f in candidates if f >= 1 and m in (n // f, -(-n // f))), None)


def _edges(part: slice, factor: int | None, n: int, m: int) -> NDArray[np.int64]:
    """Return the first pixel of a larger level for each pixel, and the end."""
    numbers = np.arange(part.start, part.stop + 1, dtype=np.int64)
    edges: NDArray[np.int64] = numbers * n // m if factor is None else np.minimum(numbers * factor, n)
    return edges


def _local_mean(region: Image, edges: Sequence[NDArray[np.int64]]) -> Image:
    """Return the mean between edges along all axes, without NaN."""
    is_float = region.dtype.kind == "f"
    valid = np.isfinite(region) if is_float else None
    if valid is not None and valid.all():
        valid = None
    total = region if valid is None else np.where(valid, region, 0)
    counts: Any = valid
    n_pixels: Any = 1.0
    for axis, edge in enumerate(edges):
        starts = edge[:-1] - edge[0]
        total = _sum_between(total, starts, axis)
        if counts is not None:
            counts = _sum_between(counts, starts, axis)
        shape = [1] * region.ndim
        shape[axis] = len(starts)
        n_pixels = n_pixels * np.maximum(np.diff(edge), 1).reshape(shape)
    if counts is not None:
        with np.errstate(invalid="ignore"):
            mean = np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
    else:
        mean = total / n_pixels
    return mean.astype(region.dtype) if is_float else np.rint(mean).astype(region.dtype)


def _sum_between(array: Image, starts: NDArray[np.int64], axis: int) -> Image:
    # The sums of the next axis need no more bits than a float of 64 has.
    result: Image = np.add.reduceat(
        array, np.minimum(starts, array.shape[axis] - 1), axis=axis, dtype=np.float64
    )
    return result


# Runs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _State:
    """A run that has begun.

    Attributes
    ----------
    folder : RunFolder
        Markers.
    grids : list of BlockGrid
        Blocks of each level.
    denoisers : tuple of PartDenoiser
        Denoiser of each channel; empty if the target is complete.
    noise : sequence of NoiseModel
        Noise of each channel.
    settings : dict
        Settings of the run, without state.
    is_complete : bool
        Whether all is done.
    """

    folder: RunFolder
    grids: list[BlockGrid]
    denoisers: tuple[PartDenoiser, ...]
    noise: Sequence[NoiseModel]
    settings: dict[str, Any]
    is_complete: bool = False


@dataclass(frozen=True)
class _Run:
    """Source and target of a run, and its options.

    Attributes
    ----------
    source : ZarrImage or TiledTiff
        Image to read.
    image : ZarrImage
        Description of the arrays of the target.
    place : StorePath
        Group or array of the target.
    file : Path or None
        TIFF to write from the target at the end.
    options : dict
        Options of `denoise_image`.
    """

    source: Source
    image: ZarrImage
    place: StorePath
    file: Path | None
    options: dict[str, Any]

    @classmethod
    def open(cls, src: Any, dst: Any, axes: str | Sequence[str] | None, options: dict[str, Any]) -> _Run:
        file = Path(dst) if is_tiff_name(dst) else None
        if file is not None and not file.parent.is_dir():
            raise FileNotFoundError(f"{file} cannot be written: there is no folder {file.parent}; create it.")
        # The pixels of a TIFF are collected beside it, under a hidden name, so that it can be resumed.
        place = locate_store(dst if file is None else file.with_name(f".{file.name}.zarr"), writable=True)
        source = _open_source(src, axes)
        if isinstance(source, TiledTiff):
            if file is not None and os.path.realpath(src) == os.path.realpath(file):
                raise ValueError(f"{src} is the source and the target; give another target.")
            return cls(source, _describe_target(source, place), place, file, options)
        if overlap(source.root, place):
            raise ValueError(
                f"the target {place_name(place)} is the source, or one lies in the other; give "
                "another target."
            )
        if source.left_out:
            warn_user(
                f"{place_name(source.root)} has members that are no levels of the image, and are not copied: "
                f"{', '.join(source.left_out)}."
            )
        return cls(source, source, place, file, options)

    def check_engine(self, engine: Engine) -> None:
        """Refuse a store in memory for workers that are other processes."""
        stores = [self.place] if isinstance(self.source, TiledTiff) else [self.source.root, self.place]
        for store in stores:
            if not engine.is_local and not is_shared(store):
                raise ValueError(
                    f"{place_name(store)} is in the memory of this process, and the workers of {engine.name} "
                    "are "
                    "others; leave "
                    "out client and n_jobs, or give a path or an URL."
                )

    def begin(self, *, resume: bool, overwrite: bool, block_pixels: int | None) -> _State:
        """Read the state of the target, or create it."""
        n_channels = _n_channels(self.source)
        given, samples = self._split_options(n_channels), _sample(self.source)
        settings = {
            "version": __version__,
            "source": {**self.source.describe(), "samples": _digests(samples)},
            "options": self._describe_options(given),
        }
        folder, exists = RunFolder(self.place), has_keys(self.place)
        record = read_record(self.place) if exists else None
        old = folder.read_settings() if exists else None
        found = record or old
        if found is not None:
            difference = _compare(found.get("settings", {}), settings)
            if resume and not difference:
                if record is not None:
                    return self._complete(folder, record, settings)
                if old is not None:
                    return self._continue(folder, old, given, settings, overwrite)
            if not overwrite:
                reason = difference or "resume=False"
                raise FileExistsError(
                    f"{self.file or place_name(self.place)} has an earlier result of denoise_zarr, "
                    "which is not "
                    f"continued: {reason}. "
                    "Pass overwrite=True to start again, or give another target."
                )
            delete_store(self.place)
        elif exists:
            raise FileExistsError(
                f"{place_name(self.place)} exists and is no result of denoise_zarr; it is left as it "
                "is. Give "
                "another "
                "target."
            )
        self._check_file(overwrite)
        denoisers = self._measure(samples, given)
        for channel, denoiser in zip(samples, denoisers, strict=True):
            _try(channel, denoiser)
        grids = self._plan(block_pixels, denoisers)
        blocks = [list(grid.block) for grid in grids]
        stored = [_encode(denoiser, own) for denoiser, own in zip(denoisers, given, strict=True)]
        try:
            folder.write_settings({"settings": settings, "blocks": blocks, "denoisers": stored})
            write_documents(self.place, self.image)
        except OSError as error:
            # The number decides on the class, such as PermissionError.
            name = place_name(self.place)
            raise OSError(error.errno, f"{name} cannot be written: {error.strerror or error}") from error
        return _State(folder, grids, denoisers, [denoiser.noise for denoiser in denoisers], settings)

    def _complete(self, folder: RunFolder, record: dict[str, Any], settings: dict[str, Any]) -> _State:
        grids = self._stored_grids(record)
        noise = [_decode(item, {}) for item in record.get("noise", [])]
        # A run that was ended after its last block may have left them.
        folder.delete()
        is_complete = self.file is None or self.file.exists()
        state = _State(folder, grids, (), noise, settings, is_complete=True)
        if not is_complete:
            self._write_file()
        elif self.file is not None:
            delete_store(self.place)
        return state

    def _continue(
        self,
        folder: RunFolder,
        old: dict[str, Any],
        given: list[dict[str, Any]],
        settings: dict[str, Any],
        overwrite: bool,
    ) -> _State:
        self._check_file(overwrite)
        try:
            denoisers = tuple(_decode(item, own) for item, own in zip(old["denoisers"], given, strict=True))
            grids = self._stored_grids(old)
        except (KeyError, TypeError, ValueError) as error:
            raise FileExistsError(
                f"the settings in {place_name(self.place)}/.sk_denoise are damaged ({error}); pass "
                "overwrite=True to "
                "start again."
            ) from error
        # A run that was ended right at its start has not written all of them.
        write_documents(self.place, self.image)
        return _State(folder, grids, denoisers, [denoiser.noise for denoiser in denoisers], settings)

    def _check_file(self, overwrite: bool) -> None:
        if self.file is not None and self.file.exists() and not overwrite:
            raise FileExistsError(
                f"{self.file} exists; pass overwrite=True to replace it, or give another target."
            )

    def _stored_grids(self, stored: dict[str, Any]) -> list[BlockGrid]:
        blocks = [tuple(map(int, block)) for block in stored["blocks"]]
        return [BlockGrid(a.shape, block) for a, block in zip(self.image.arrays, blocks, strict=True)]

    def _split_options(self, n_channels: int) -> list[dict[str, Any]]:
        """Return the options of each channel."""
        noise, sigma = self.options["noise"], self.options["sigma"]
        noises = list(noise) if isinstance(noise, list | tuple) else [noise] * n_channels
        if sigma is None:
            sigmas: list[Any] = [None] * n_channels
        else:
            levels = np.asarray(sigma, np.float64)
            if levels.ndim > 1 or not np.isfinite(levels).all() or (levels < 0).any():
                raise ValueError(
                    f"sigma must be a number of at least 0, or one for each of the {n_channels} channels, "
                    f"got {sigma!r}."
                )
            sigmas = levels.tolist() if levels.ndim else [float(levels)] * n_channels
        for name, values in (("noise", noises), ("sigma", sigmas)):
            if len(values) != n_channels:
                raise ValueError(
                    f"{name} has {len(values)} entries, and the image {n_channels} channels; give one for "
                    "each."
                )
        return [{**self.options, "noise": n, "sigma": s} for n, s in zip(noises, sigmas, strict=True)]

    def _describe_options(self, given: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the options that decide on the result, as values of JSON."""
        names = ("strength", "outliers", "ensemble", "precision")
        return {
            "model": _fingerprint(self.options["model"]),
            "noise": [_describe_noise(own["noise"]) for own in given],
            "sigma": [own["sigma"] for own in given],
            **{name: self.options[name] for name in names},
        }

    def _measure(self, samples: list[_Samples], given: list[dict[str, Any]]) -> tuple[PartDenoiser, ...]:
        empty = [np.zeros((1, 1), self.source.dtype)]
        return tuple(
            PartDenoiser.measure(channel.windows or empty, **own)
            for channel, own in zip(samples, given, strict=True)
        )

    def _plan(self, block_pixels: int | None, denoisers: tuple[PartDenoiser, ...]) -> list[BlockGrid]:
        """Return the blocks of each level."""
        is_white = all(denoiser.noise.kind in ("none", "white") for denoiser in denoisers)
        n_bytes = (WHITE_BYTES if is_white else OTHER_BYTES) + 2 * self.source.dtype.itemsize
        n_pixels = block_pixels or BLOCK_BYTES // n_bytes
        grids = []
        for level, array in enumerate(self.image.arrays):
            ratio = 1.0
            if level:
                larger = self.image.arrays[level - 1].shape
                ratio = max(1.0, math.prod(larger) / max(1, array.size))
            unit = getattr(array, "shards", None) or array.chunks
            block = choose_block(array.shape, unit, max(1, int(n_pixels / ratio)))
            grids.append(BlockGrid(array.shape, block))
        n_needed = math.prod(min(b, n) for b, n in zip(grids[0].block, grids[0].shape, strict=True))
        if n_needed > 2 * n_pixels and block_pixels is None:
            gigabytes = n_needed * n_bytes / 1e9
            warn_user(
                f"The chunks or shards of {place_name(self.image.root)} hold {n_needed:.2g} pixels, and a "
                "worker "
                "writes whole ones: "
                f"it needs about {gigabytes:.1f} GB. Save the source with smaller chunks if that is too much."
            )
        return grids

    def work(self, state: _State, engine: Engine, progress: _BlockProgress) -> None:
        """Run the blocks that are missing, level by level."""
        arrays = open_levels(self.place, self.image.names)
        # Workers need no descriptions.
        source = replace(self.source, documents={}) if isinstance(self.source, ZarrImage) else self.source
        axes = self.source.axes
        channel_axis = axes.index("c") if "c" in axes else None
        for level, (array, grid) in enumerate(zip(arrays, state.grids, strict=True)):
            task: Callable[[int], None]
            if level == 0:
                task = _DenoiseBlock(source, array, state.folder, grid, state.denoisers, channel_axis)
            else:
                factors = self._factors(level)
                task = _ShrinkBlock(arrays[level - 1], array, state.folder, grid, level, factors)

            def find_missing(level: int = level, n_blocks: int = len(grid)) -> list[int]:
                done = {number for marked, number in state.folder.find_marks() if marked == level}
                return [number for number in range(n_blocks) if number not in done]

            def name(number: int, level: int = level, grid: BlockGrid = grid) -> str:
                where = _describe_window(grid.window(number), axes)
                return f"block {number + 1} of {len(grid)}{f' of level {level}' if level else ''}, {where}"

            run_blocks(engine, task, find_missing, name, progress)

    def _factors(self, level: int) -> tuple[int | None, ...]:
        larger, smaller = self.image.arrays[level - 1].shape, self.image.arrays[level].shape
        ratios: list[float | None] = [None] * len(larger)
        if self.image.scales:
            pairs = zip(self.image.scales[level], self.image.scales[level - 1], strict=True)
            ratios = [below / above if above else None for below, above in pairs]
        return tuple(_find_factor(n, m, r) for n, m, r in zip(larger, smaller, ratios, strict=True))

    def finish(self, state: _State) -> None:
        """Mark the target as complete, and write the TIFF if it is one."""
        record = {
            "settings": state.settings,
            "blocks": [list(grid.block) for grid in state.grids],
            "noise": [_encode(_without_points(noise), {}) for noise in state.noise],
        }
        write_record(self.place, record)
        state.folder.delete()
        if self.file is not None:
            self._write_file()

    def _write_file(self) -> None:
        assert self.file is not None
        arrays = open_levels(self.place, self.image.names)

        def read(level: int, window: Window) -> Image:
            return np.asarray(arrays[level][window])

        source = self.source if isinstance(self.source, TiledTiff) else None
        write_tiled(self.file, source, [a.shape for a in arrays], self.source.dtype, read, self.source.axes)
        delete_store(self.place)


def _open_source(src: Any, axes: str | Sequence[str] | None) -> Source:
    """Open a Zarr image, or a TIFF."""
    if not is_tiff_name(src) or Path(src).is_dir():
        return open_zarr(src, axes)
    source = TiledTiff.open(src)
    return replace(source, axes=resolve_axes(axes or source.axes, source.shape, str(src)))


def _describe_target(source: TiledTiff, place: StorePath) -> ZarrImage:
    """Return the description of the arrays for the pixels of a TIFF."""
    if source.is_tiled:
        sides = [tile * max(1, CHUNK_SIDE // tile) for tile in source.tile]
    else:
        sides = [CHUNK_SIDE, CHUNK_SIDE]
    chunks = (*(1 for _ in source.shape[:-2]), *sides)
    return create_arrays(place, source.level_shapes, source.dtype, chunks, source.axes)


def _n_channels(source: Source) -> int:
    return source.shape[source.axes.index("c")] if "c" in source.axes else 1


@dataclass(frozen=True)
class _Samples:
    """Windows from random places of a channel.

    Attributes
    ----------
    windows : list of ndarray of shape (height, width)
        Windows with values that vary, or constant ones if there are no others.
    digests : dict of str to str
        Digest of each window that was read, by the number of the place.
    """

    windows: list[Image]
    digests: dict[str, str]


def _sample(source: Source) -> list[_Samples]:
    """Return windows from random places of each channel."""
    return [_sample_channel(source, channel) for channel in range(_n_channels(source))]


def _sample_channel(source: Source, channel: int) -> _Samples:
    shape = source.shape
    varied: list[Image] = []
    constant: list[Image] = []
    digests: dict[str, str] = {}
    if 0 in shape:
        return _Samples([], {})
    rng = np.random.default_rng(channel)
    failure: Exception | None = None
    seen: set[tuple[int, ...]] = set()
    for number in range(MAX_PLACES):
        place = [int(rng.integers(n)) for n in shape[:-2]]
        if "c" in source.axes:
            place[source.axes.index("c")] = channel
        sides = [min(n, SAMPLE_SIDE) for n in shape[-2:]]
        corner = [int(rng.integers(n - side + 1)) for n, side in zip(shape[-2:], sides, strict=True)]
        if (*place, *corner) in seen:
            continue
        seen.add((*place, *corner))
        leading = tuple(slice(i, i + 1) for i in place)
        inner = tuple(slice(i, i + side) for i, side in zip(corner, sides, strict=True))
        try:
            window = _read_named(source, (*leading, *inner)).reshape(sides)
        except RuntimeError as error:
            # A part that cannot be read is named by its block, after all others are done.
            failure = error
            continue
        digests[f"{channel}.{number}"] = hashlib.sha256(window.tobytes()).hexdigest()[:16]
        # Parts without values or beyond the sample have no noise, and say nothing about the rest.
        is_constant = bool((window == window.flat[0]).all() or np.isnan(window).all())
        (constant if is_constant else varied).append(window)
        if len(varied) == N_SAMPLES:
            break
        del constant[1:]
    if failure is not None and not digests:
        raise failure
    return _Samples(varied or constant, digests)


def _try(samples: _Samples, denoiser: PartDenoiser) -> None:
    """Denoise a small part, so that invalid options are refused at once."""
    for sample in samples.windows[:1]:
        part = sample[:TRIAL_SIDE, :TRIAL_SIDE]
        denoiser.denoise(np.ascontiguousarray(part), (slice(0, part.shape[0]), slice(0, part.shape[1])))


def _read_named(source: Source, window: Window) -> Image:
    """Read a region, and name it in errors."""
    try:
        return source.read(window)
    # Codecs and stores have errors of their own.
    except Exception as error:
        place = _describe_window(window, source.axes)
        raise RuntimeError(
            f"the source cannot be read at {place}: {type(error).__name__}: {error}"
        ) from error


def _describe_window(window: Window, axes: tuple[str, ...]) -> str:
    """Return the place of a region in words."""
    parts = [
        f"{axis} {part.start}" if part.stop - part.start == 1 else f"{axis} {part.start} to {part.stop - 1}"
        for axis, part in zip(axes[:-2], window[:-2], strict=True)
    ]
    rows, columns = window[-2:]
    parts += [f"rows {rows.start} to {rows.stop - 1}", f"columns {columns.start} to {columns.stop - 1}"]
    return ", ".join(parts)


# Settings ------------------------------------------------------------------------------------------------

# Classes whose fields are stored: a file of settings is data, and makes nothing else.
STORED_CLASSES = {kind.__name__: kind for kind in (NoiseModel, IntensityRange, PartDenoiser)}


def _encode(value: Any, given: dict[str, Any]) -> Any:
    """Return a value as one of JSON; objects that the user gives again are named."""
    if value is None or isinstance(value, bool | int | float | str):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, np.generic):
        return value.item()
    for name, own in given.items():
        if value is own and not isinstance(value, NoiseModel):
            return {"given": name}
    if isinstance(value, list | tuple):
        return {"list" if isinstance(value, list) else "tuple": [_encode(item, given) for item in value]}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "type": str(value.dtype)}
    if isinstance(value, dict):
        return {"dict": {str(key): _encode(item, given) for key, item in value.items()}}
    if isinstance(value, torch.device):
        return str(value)
    if is_dataclass(value) and type(value).__name__ in STORED_CLASSES:
        own_fields = {f.name: _encode(getattr(value, f.name), given) for f in fields(value) if f.init}
        return {"class": type(value).__name__, "fields": own_fields}
    raise TypeError(f"settings cannot hold a {type(value).__name__}.")


def _decode(value: Any, given: dict[str, Any]) -> Any:
    """Return the value that `_encode` has stored."""
    if not isinstance(value, dict):
        return value
    if "given" in value:
        return given[value["given"]]
    for kind, make in (("list", list), ("tuple", tuple)):
        if kind in value:
            return make(_decode(item, given) for item in value[kind])
    if "array" in value:
        return np.array(value["array"], value["type"])
    if "dict" in value:
        return {key: _decode(item, given) for key, item in value["dict"].items()}
    stored = {key: _decode(item, given) for key, item in value["fields"].items()}
    return STORED_CLASSES[value["class"]](**stored)


def _without_points(noise: NoiseModel) -> NoiseModel:
    return replace(noise, points=None)


def _describe_noise(noise: Any) -> Any:
    """Return a noise of the user as a text."""
    if isinstance(noise, NoiseModel):
        return json.dumps(_encode(_without_points(noise), {}))
    return noise if isinstance(noise, str) else repr(noise)


def _fingerprint(model: str | ImageDenoiser) -> str:
    """Return a text that is equal for equal networks."""
    if isinstance(model, str):
        return model
    # select_network refuses other objects.
    module = select_network(model, np.zeros((1, 1))).module
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    for name in ("intensity_range_", "noise_levels_", "patch_shape_"):
        digest.update(repr(getattr(model, name, None)).encode())
    return f"{type(model).__name__} {digest.hexdigest()}"


def _digests(samples: list[_Samples]) -> dict[str, str]:
    return {place: digest for channel in samples for place, digest in channel.digests.items()}


def _compare(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Return the first difference of two settings in words, or nothing."""
    if old.get("version") != new["version"]:
        return f"it was begun with sk-denoise {old.get('version')}, and this is {new['version']}"
    for name, value in new["options"].items():
        before = old.get("options", {}).get(name)
        if before != json.loads(json.dumps(value)):
            if name == "model":
                return "it was begun with another model"
            return f"{name} was {_brief(before)} and is {_brief(value)}"
    before, after = old.get("source", {}), new["source"]
    texts = {"metadata": "the metadata of the source have", "axes": "the axes of the source have"}
    for name in ("shape", "type", "axes", "metadata"):
        if before.get(name) != after[name]:
            return f"{texts.get(name, f'the {name} of the source has')} changed"
    # A place that could not be read before, or cannot be now, is no difference.
    common = before.get("samples", {}).keys() & after["samples"].keys()
    if any(before["samples"][place] != after["samples"][place] for place in common):
        return "the pixels of the source have changed"
    return ""


def _brief(value: Any) -> str:
    # One value stands for equal ones of all channels.
    if isinstance(value, list) and value and all(item == value[0] for item in value):
        value = value[0]
    text = "estimated" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
