"""Dask arrays that stay lazy, and labels of xarray that stay.

Neither dask nor xarray is imported before the user has passed an array of theirs.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import math
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sk_denoise._resources import one_thread
from sk_denoise._validation import is_dask_array, is_labelled, refuse_lazy, refuse_masked

__all__ = [
    "PartDenoiserClass",
    "Planes",
    "denoise_lazily",
    "holds_collection",
    "map_collection",
    "map_labelled",
    "map_planes",
    "part_denoiser",
    "set_part_denoiser",
    "widen",
]

Array = NDArray[Any]
# Rows, columns or entries of each chunk that a task reads, axis by axis.
Pieces = list[list[slice]]

# Packages whose objects are not arrays of numpy, or more than that.
COLLECTIONS = ("dask", "dask_cudf", "dask_expr", "xarray")
# Methods that treat each sample by itself.
SAMPLEWISE = ("predict", "transform", "inverse_transform")
# Sides in pixels of the blocks that a task denoises. Smaller chunks are joined, since their halo would cost
# more than they do, and each task costs the scheduler a millisecond. Larger ones are split.
MIN_SIDE, MAX_SIDE = 1024, 4096
# Windows of an image that are read, since some may hold NaN alone, and of which the noise is measured; their
# side in pixels. Steps between their places, as shares of the free rows and columns, fill the image evenly.
N_WINDOWS, N_MEASURED, WINDOW_SIDE, WINDOW_STEPS = 16, 8, 384, (0.7549, 0.5698)
# A pixel without a value gets that of the nearest pixel, which is at most this many times as far from it as
# any other pixel with a value.
GAP_REACH = 1 + math.sqrt(2)
# Bytes of a sample up to which its chunks are joined: of an image that could be denoised in blocks, whose
# noise level and range would then be those of some windows, and of other samples.
MAX_IMAGE_BYTES, MAX_SAMPLE_BYTES = 2**28, 2**30
# Side in pixels of the sample that shows the shape and the type of an output.
PROBE_SIDE = 256


class PartDenoiserClass(Protocol):
    """Class of denoisers of parts of an image.

    Its objects have the method ``window(inner, shape, has_gaps)``, which returns the rows and columns to read
    for a part, and ``denoise(part, kept)``.
    """

    def measure(self, samples: Sequence[Array], **options: Any) -> Any: ...

    def reach(self, model: Any, noise: object, n_channels: int = 1) -> tuple[int, int]: ...


_handed_in: dict[str, PartDenoiserClass] = {}


def set_part_denoiser(cls: PartDenoiserClass) -> None:
    """Hand in the class of denoisers of parts, which stands above this module."""
    _handed_in["class"] = cls


def part_denoiser() -> PartDenoiserClass:
    """Return the class that was handed in."""
    return _handed_in["class"]


# Doors ------------------------------------------------------------------------------------------------


def holds_collection(*values: Any) -> bool:
    """Return whether an argument, or a list in it, comes from dask or xarray."""
    firsts = (v[0] if isinstance(v, list | tuple) and v else v for v in values)
    return any(type(first).__module__.partition(".")[0] in COLLECTIONS for first in firsts)


def map_labelled(function: Callable[[Any], Any], X: Any) -> Any:
    """Apply a function to the array in a DataArray; the results get its labels.

    Parameters
    ----------
    function : callable
        Function from an array to one array or several.
    X : DataArray
        Its names, coordinates and attributes are kept for results of its shape. Others keep the first axis.
    """
    outputs = function(X.data)
    if isinstance(outputs, tuple):
        return tuple(_label(output, X) for output in outputs)
    return _label(outputs, X)


def _label(values: Any, X: Any) -> Any:
    if not hasattr(values, "shape"):
        return values
    if values.shape == X.shape:
        # The encoding describes how the old values were written to a file, with their type and scale.
        return X.copy(deep=False, data=values).drop_encoding()
    first = X.dims[0]
    coords = {name: coord for name, coord in X.coords.items() if coord.dims == (first,)}
    dims = [first, *(f"output_{axis}" for axis in range(1, values.ndim))]
    return type(X)(values, dims=dims, coords=coords, attrs=X.attrs, name=X.name)


def map_collection(
    method: Callable[..., Any], estimator: Any, X: Any, others: Sequence[Any], options: Mapping[str, Any]
) -> Any:
    """Apply a method of an estimator to a dask array or a DataArray.

    Parameters
    ----------
    method : callable
        Method, as a function whose first argument is the estimator.
    estimator : estimator
        If it treats each sample by itself, a dask array gives a dask array.
    X : dask array, DataArray or any array-like
        Samples.
    others, options
        Further arguments. Among them dask arrays are refused, and DataArrays are read.
    """
    names = list(inspect.signature(method).parameters)[2:]
    for name, value in [*zip(names, others, strict=False), *options.items()]:
        refuse_lazy(value, name)
    others = [_as_numpy(value) for value in others]
    options = {name: _as_numpy(value) for name, value in options.items()}
    name = method.__name__
    is_samplewise = name in SAMPLEWISE and getattr(estimator, "_is_samplewise", False)
    if not (is_samplewise and (is_dask_array(X) or is_labelled(X))):
        refuse_lazy(X)
        return method(estimator, _as_numpy(X), *others, **options)

    def apply(values: Any) -> Any:
        if is_dask_array(values):
            return _map_samples(name, estimator, values, others, options)
        return method(estimator, values, *others, **options)

    return map_labelled(apply, X) if is_labelled(X) else apply(X)


def _as_numpy(value: Any) -> Any:
    """Return objects of xarray as arrays, and others as they are."""
    if isinstance(value, list | tuple) and holds_collection(value):
        return [_as_numpy(part) for part in value]
    return np.asarray(value) if type(value).__module__.partition(".")[0] == "xarray" else value


# Graphs -----------------------------------------------------------------------------------------------


def _build_array(
    name: str, tasks: dict[Any, Any], sources: Sequence[Any], chunks: Any, dtype: np.dtype[Any]
) -> Any:
    """Return a dask array of tasks that depend on other collections."""
    from dask.array import Array as DaskArray
    from dask.highlevelgraph import HighLevelGraph

    graph = HighLevelGraph.from_collections(name, tasks, dependencies=list(sources))
    return DaskArray(graph, name, chunks, meta=np.empty((0,) * len(chunks), dtype))


def _token(prefix: str, *parts: Any) -> str:
    from dask.base import tokenize

    return f"{prefix}-{tokenize(*parts)}"


def _check_chunks(array: Any, name: str, known_axes: slice = slice(None)) -> None:
    """Refuse chunks of unknown sizes, and chunks that are not arrays of numpy."""
    if any(math.isnan(n) for axis in array.chunks[known_axes] for n in axis):
        raise ValueError(
            f"{name} is a dask array with chunks of unknown sizes, {array.chunks}: call "
            f"{name}.compute_chunk_sizes() first."
        )
    meta = array._meta
    if isinstance(meta, np.ma.MaskedArray):
        raise ValueError(
            f"{name} is a dask array of masked arrays, of which the hidden entries cannot be left out. Fill "
            f"them first: dask.array.ma.filled({name}, value); in images NaN marks pixels without a value."
        )
    if not isinstance(meta, np.ndarray):
        raise TypeError(
            f"{name} is a dask array of {type(meta).__module__}.{type(meta).__qualname__}; expected arrays "
            f"of numpy. Convert them, by {name}.map_blocks(function)."
        )


def _pieces(chunks: Sequence[Sequence[int]], window: Sequence[slice]) -> tuple[list[range], Pieces]:
    """Return the chunks around a window, and its part of each, axis by axis."""
    numbers, pieces = [], []
    for sizes, wanted in zip(chunks, window, strict=True):
        starts = [0, *itertools.accumulate(sizes)]
        parts = [
            (number, slice(max(wanted.start, start) - start, min(wanted.stop, stop) - start))
            for number, (start, stop) in enumerate(itertools.pairwise(starts))
            if max(wanted.start, start) < min(wanted.stop, stop)
        ]
        numbers.append(range(parts[0][0], parts[-1][0] + 1))
        # Chunks without any entry stand between others.
        inside = dict(parts)
        pieces.append([inside.get(number, slice(0, 0)) for number in numbers[-1]])
    return numbers, pieces


def _keys_of(array: Any, numbers: Sequence[range]) -> list[Any]:
    return [(array.name, *place) for place in itertools.product(*numbers)]


def _read_window(chunks: Sequence[Array], pieces: Pieces) -> Array:
    """Return a window of an array from the chunks that it lies in."""
    for chunk in chunks:
        refuse_masked(chunk, "chunk")
    if len(chunks) == 1:
        return np.ascontiguousarray(chunks[0][tuple(axis[0] for axis in pieces)])
    window = np.empty([sum(s.stop - s.start for s in axis) for axis in pieces], chunks[0].dtype)
    places = [
        [slice(start, stop) for start, stop in itertools.pairwise(ends)]
        for ends in ([0, *itertools.accumulate(s.stop - s.start for s in axis)] for axis in pieces)
    ]
    inside, outside = itertools.product(*pieces), itertools.product(*places)
    for chunk, source, place in zip(chunks, inside, outside, strict=True):
        window[place] = chunk[source]
    return window


def _threads(n_tasks: int) -> AbstractContextManager[None]:
    # A scheduler runs as many tasks at a time as there are processors.
    return one_thread() if n_tasks > 1 else nullcontext()


# Samples ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _SampleTask:
    """Task that applies a method to the samples of a chunk."""

    method: str
    others: tuple[Any, ...]
    options: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[np.dtype[Any], ...]
    n_tasks: int

    def __call__(self, estimator: Any, samples: Array) -> Any:
        refuse_masked(samples, "chunk")
        if not len(samples):
            outputs: Any = tuple(
                np.empty((0, *shape), dtype) for shape, dtype in zip(self.shapes, self.dtypes, strict=True)
            )
        else:
            with _threads(self.n_tasks):
                outputs = getattr(estimator, self.method)(samples, *self.others, **self.options)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        # Integers of 32 bits become double precision in chunks of large numbers only.
        typed = [np.asarray(o).astype(t, copy=False) for o, t in zip(outputs, self.dtypes, strict=True)]
        return typed[0] if len(typed) == 1 else tuple(typed)


def _map_samples(
    method: str, estimator: Any, X: Any, others: Sequence[Any], options: Mapping[str, Any]
) -> Any:
    """Apply a method to the samples of a dask array, chunk by chunk of the first axis."""
    _check_chunks(X, "X", slice(1, None))
    if X.ndim < 2 or X.dtype.kind not in "biuf":
        raise ValueError(
            f"X is a dask array of shape {X.shape} and type {X.dtype}; expected samples of numbers, of shape "
            "(n_samples, n_features) or (n_samples, height, width[, channels])."
        )
    refuse_split = getattr(estimator, "_refuse_split_samples", None)
    if refuse_split is not None and any(len(axis) > 1 for axis in X.chunks[1:]):
        refuse_split(X)
    outputs, is_several = _probe(method, estimator, X, others, options)
    # A later fit replaces the fitted attributes of the estimator, not those of its copy.
    frozen = copy.copy(estimator)
    is_split = X.ndim > 2 and any(len(axis) > 1 for axis in X.chunks[1:3])
    reach = getattr(estimator, "_part_reach", lambda: None)()
    if is_split and reach is not None and _sample_bytes(X) > MAX_IMAGE_BYTES and not others:
        _check_chunks(X, "X")
        planes = Planes.of(X, "NYXS"[: X.ndim], is_measured_alone=True)
        levels = [{"sigma": None}] * len(X) if not options else _levels_of_images(len(X), **options)
        halo, stride = reach
        return map_planes(planes, frozen._measure_parts, levels, halo, stride, outputs[0].dtype)
    X = _join_samples(X)
    token = _token(method, X.name, type(estimator).__name__, frozen, others, options)
    n_chunks = X.numblocks[0]
    by_sample = {n: v for n, v in options.items() if _is_of_samples(v, X)}
    plain = {n: v for n, v in options.items() if n not in by_sample}
    starts = [0, *itertools.accumulate(X.chunks[0])]
    shapes = tuple(output.shape[1:] for output in outputs)
    dtypes = tuple(output.dtype for output in outputs)
    tasks: dict[Any, Any] = {f"estimator-{token}": frozen}
    for number in range(n_chunks):
        rows = {n: np.asarray(v)[starts[number] : starts[number + 1]] for n, v in by_sample.items()}
        task = _SampleTask(method, tuple(others), {**plain, **rows}, shapes, dtypes, n_chunks)
        key = (X.name, number, *(0,) * (X.ndim - 1))
        tasks[f"outputs-{token}", number] = (task, f"estimator-{token}", key)
    arrays = []
    for place, output in enumerate(outputs):
        name = f"{token}-{place}"
        own = dict(tasks)
        for number in range(n_chunks):
            whole: Any = (f"outputs-{token}", number)
            key = (name, number, *(0,) * (output.ndim - 1))
            own[key] = (operator.getitem, whole, place) if is_several else whole
        chunks = (X.chunks[0], *((n,) for n in output.shape[1:]))
        arrays.append(_build_array(name, own, [X], chunks, output.dtype))
    return tuple(arrays) if is_several else arrays[0]


def _sample_bytes(X: Any) -> int:
    return math.prod(map(int, X.shape[1:])) * int(X.dtype.itemsize)


def _levels_of_images(n: int, sigma: Any) -> list[dict[str, Any]]:
    """Return the noise level of each of n images, or refuse maps."""
    if np.ndim(sigma) > 1:
        raise ValueError(
            f"Images in blocks take a number as sigma, or one for each image, got shape {np.shape(sigma)}."
        )
    levels = np.broadcast_to(np.asarray(sigma), (n,)).tolist()
    return [{"sigma": level} for level in levels]


def _is_of_samples(value: Any, X: Any) -> bool:
    """Return whether an argument has an entry for each sample."""
    return isinstance(value, np.ndarray | list) and np.shape(value)[:1] == X.shape[:1]


def _probe(
    method: str, estimator: Any, X: Any, others: Sequence[Any], options: Mapping[str, Any]
) -> tuple[list[Array], bool]:
    """Return arrays with the shapes and types of the outputs for one sample.

    One sample of zeros goes through the method, so that samples of a wrong shape are refused right here.
    Images of any size are cut to a few pixels.
    """
    any_size = getattr(estimator, "_takes_any_size", False)
    shape = tuple(min(n, PROBE_SIDE) if any_size else n for n in X.shape[1:])
    alone = {n: np.asarray(v)[:1] if _is_of_samples(v, X) else v for n, v in options.items()}
    alone = {n: v[:, : shape[0], : shape[1]] if np.ndim(v) == 3 else v for n, v in alone.items()}
    with warnings.catch_warnings():
        # Zeros are in no unit. Warnings of the data come with the data.
        warnings.simplefilter("ignore")
        outputs = getattr(estimator, method)(np.zeros((1, *shape), X.dtype), *others, **alone)
    is_several = isinstance(outputs, tuple)
    found = []
    for output in outputs if is_several else [outputs]:
        if not isinstance(output, np.ndarray):
            raise TypeError(
                f"{method} returns a {type(output).__name__} here, which is no array: dask arrays "
                'go in and out as arrays only. Call set_output(transform="default").'
            )
        dtype = output.dtype
        if X.dtype.kind in "iu" and X.dtype.itemsize >= 4 and dtype == np.float32:
            # Numbers that single precision would round may come in any chunk.
            dtype = np.dtype(np.float64)
        full = X.shape[1:] if output.shape[1:] == shape else output.shape[1:]
        found.append(np.broadcast_to(np.zeros((), dtype), (1, *full)))
    return found, is_several


def _join_samples(X: Any) -> Any:
    """Join the chunks of all axes but the first."""
    if all(len(axis) == 1 for axis in X.chunks[1:]):
        return X
    n_bytes = _sample_bytes(X)
    if n_bytes > MAX_SAMPLE_BYTES:
        raise ValueError(
            f"Each sample of X takes {n_bytes / 1e9:.3g} GB, and this method needs whole samples in memory. "
            "Denoise large images by denoise_image(X[0], model=...), in blocks; or join the chunks yourself: "
            "X.rechunk({0: 1, **dict.fromkeys(range(1, X.ndim), -1)})."
        )
    if any(math.isnan(n) for n in X.chunks[0]):
        return X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
    # Many samples in narrow chunks would make one chunk of all.
    return X.rechunk({0: "auto", **dict.fromkeys(range(1, X.ndim), -1)})


# Images -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Measurement:
    """Task that measures the noise of an image on some windows of it."""

    measure: Callable[..., Any]
    options: dict[str, Any]
    pieces: list[Pieces]
    n_leading: int

    def __call__(self, windows: Sequence[Sequence[Array]]) -> Any:
        samples = []
        for chunks, pieces in zip(windows, self.pieces, strict=True):
            window = _read_window(chunks, pieces)
            window = window.reshape(window.shape[self.n_leading :])
            if window.dtype.kind != "f" or not np.isnan(window).all():
                samples.append(window)
        if not samples:
            raise ValueError(
                f"image holds NaN alone in {len(windows)} windows spread over it, so that nothing can be "
                "measured. Denoise the part that holds values: image[rows, columns]."
            )
        return self.measure(samples[:N_MEASURED], **self.options)


@dataclass(frozen=True)
class _BlockTask:
    """Task that denoises a block of planes from the chunks around it.

    Attributes
    ----------
    pieces : list of lists of slice
        Parts of the chunks that are read.
    inner, outer : pair of slice
        Rows and columns of the block, and those that are read for it.
    size : pair of int
        Height and width of the image.
    n_leading, n_tasks : int
        Number of axes before the rows, and number of such tasks.
    """

    pieces: Pieces
    inner: tuple[slice, slice]
    outer: tuple[slice, slice]
    size: tuple[int, int]
    n_leading: int
    n_tasks: int

    def __call__(self, denoiser: Any, chunks: Sequence[Array]) -> Array:
        part = _read_window(chunks, self.pieces)
        leading = part.shape[: self.n_leading]
        planes = part.reshape(-1, *part.shape[self.n_leading :])
        with _threads(self.n_tasks):
            denoised = np.stack([self._denoise(denoiser, plane) for plane in planes])
        return denoised.reshape(*leading, *denoised.shape[1:])

    def _denoise(self, denoiser: Any, plane: Array) -> Array:
        """Denoise a plane, from as much of it as the measured noise needs."""
        part, place = self._cut(plane, denoiser.window(self.inner, self.size, has_gaps=False))
        if part.dtype.kind == "f" and np.isnan(part).any():
            part, place = self._cut(plane, denoiser.window(self.inner, self.size, has_gaps=True))
        rows, columns = (
            slice(i.start - start, i.stop - start) for i, start in zip(self.inner, place, strict=True)
        )
        return np.asarray(denoiser.denoise(part, (rows, columns)))

    def _cut(self, plane: Array, window: tuple[slice, slice]) -> tuple[Array, list[int]]:
        """Return a window of a plane that was read, and its first row and column."""
        starts = [max(w.start, o.start) for w, o in zip(window, self.outer, strict=True)]
        stops = [min(w.stop, o.stop) for w, o in zip(window, self.outer, strict=True)]
        rows, columns = (
            slice(start - o.start, stop - o.start)
            for start, stop, o in zip(starts, stops, self.outer, strict=True)
        )
        return np.ascontiguousarray(plane[rows, columns]), starts


@dataclass(frozen=True)
class Planes:
    """A dask array as planes: leading axes, rows, columns, and colours.

    Attributes
    ----------
    stack : dask array
        The array, with its axes in this order and one chunk of colours.
    n_leading : int
        Number of leading axes.
    channel_axis : int or None
        Leading axis of independent channels.
    inverse_order : tuple of int
        Axes of the stack in the order of the user's array.
    chunks : tuple of tuples of int
        Chunks of the user's array.
    """

    stack: Any
    n_leading: int
    channel_axis: int | None
    inverse_order: tuple[int, ...]
    chunks: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, image: Any, axes: str | None, *, is_measured_alone: bool = False) -> Planes:
        """Return the planes of an array with letters for its axes, or of one image.

        With ``is_measured_alone`` each plane of the only leading axis is measured by itself, as a channel is.
        """
        letters = "YXS"[: image.ndim] if axes is None else axes
        leading = [i for i, letter in enumerate(letters) if letter not in "YXS"]
        order = (*leading, *(letters.index(letter) for letter in "YXS" if letter in letters))
        stack = image.transpose(order)
        if "S" in letters:
            stack = stack.rechunk({stack.ndim - 1: -1})
        names = [letters[i] for i in leading]
        inverse = tuple(int(axis) for axis in np.argsort(order))
        channel_axis = names.index("C") if "C" in names else 0 if is_measured_alone else None
        return cls(stack, len(leading), channel_axis, inverse, image.chunks)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.stack.shape[self.n_leading : self.n_leading + 2]
        return height, width

    @property
    def n_channels(self) -> int:
        """Number of independent channels."""
        return 1 if self.channel_axis is None else int(self.stack.shape[self.channel_axis])

    def block_sizes(self) -> list[list[int]]:
        """Return the sides of blocks: rows and columns in large ones, channels one by one."""
        sizes = [list(chunks) for chunks in self.stack.chunks]
        if self.channel_axis is not None:
            sizes[self.channel_axis] = [1] * self.n_channels
        for axis in (self.n_leading, self.n_leading + 1):
            sizes[axis] = _join_chunks(sizes[axis])
        # An axis of size 0 stays.
        return [[n for n in axis if n] or [0] for axis in sizes]

    def windows(self, channel: int) -> Iterator[list[slice]]:
        """Yield windows of the planes of a channel, spread evenly over them."""
        leading = list(self.stack.shape[: self.n_leading])
        if self.channel_axis is not None:
            leading[self.channel_axis] = 1
        n_planes = math.prod(leading)
        fits = max(self.size) <= WINDOW_SIDE or (
            n_planes == 1 and math.prod(self.size) <= N_MEASURED * WINDOW_SIDE**2
        )
        side = max(self.size) if fits else WINDOW_SIDE
        n_windows = min(n_planes, N_MEASURED) if fits else N_WINDOWS
        for number in range(n_windows):
            index = round(number * (n_planes - 1) / max(1, n_windows - 1))
            place = [int(i) for i in np.unravel_index(index, leading)] if leading else []
            if self.channel_axis is not None:
                place[self.channel_axis] = channel
            window = [slice(i, i + 1) for i in place]
            for axis, step in enumerate(WINDOW_STEPS):
                chunks = self.stack.chunks[self.n_leading + axis]
                window.append(_place_window(chunks, side, (0.5 + number * step) % 1))
            window += [slice(0, n) for n in self.stack.shape[self.n_leading + 2 :]]
            yield window


def _place_window(chunks: Sequence[int], side: int, share: float) -> slice:
    """Return a window at a share of the free places, within one chunk if it fits."""
    total = sum(chunks)
    side = min(side, total)
    start = round(share * (total - side))
    ends = [0, *itertools.accumulate(chunks)]
    for first, last in itertools.pairwise(ends):
        if first <= start + side // 2 < last and last - first >= side:
            start = min(max(start, first), last - side)
    return slice(start, start + side)


def denoise_lazily(image: Any, axes: str | None, settings: Mapping[str, Any]) -> Any:
    """Return the denoised image as a dask array of the same shape, type and chunks.

    Parameters
    ----------
    image : dask array of shape (height, width) or (height, width, channels), or a stack
        Checked shape and type.
    axes : str or None
        Checked letters of a stack.
    settings : mapping
        Arguments of ``denoise_image``.
    """
    _check_chunks(image, "image")
    options = _check_settings(settings)
    planes = Planes.of(image, axes)
    sigmas = _channel_sigmas(options.pop("sigma"), planes)
    cls = part_denoiser()
    noise = options["noise"] if sigmas[0] is None else float(sigmas[0])
    colors = planes.stack.shape[planes.n_leading + 2 :]
    halo, stride = cls.reach(options["model"], noise, *colors)
    each = [{**options, "sigma": sigma} for sigma in sigmas]
    return map_planes(planes, cls.measure, each, halo, stride, image.dtype.newbyteorder("="))


def map_planes(
    planes: Planes,
    measure: Callable[..., Any],
    options: Sequence[Mapping[str, Any]],
    halo: int,
    stride: int,
    dtype: np.dtype[Any],
) -> Any:
    """Return a dask array of denoised planes, in the axes and chunks of the user.

    Parameters
    ----------
    planes : Planes
        The planes.
    measure : callable
        Function from samples of the planes of a channel, and its options, to a denoiser of parts.
    options : sequence of mapping
        Options of each channel.
    halo, stride : int
        Largest halo that the denoiser may need, and the grid on which parts begin.
    dtype : dtype
        Type of the output.
    """
    stack, n_leading = planes.stack, planes.n_leading
    if dtype.kind == "f":
        # Values in place of NaN come from farther away.
        halo = max(halo, min(math.ceil(GAP_REACH * halo), MIN_SIDE))
    token = _token("denoise", stack.name, measure, [sorted(each.items()) for each in options])
    tasks: dict[Any, Any] = {}
    for channel, each in enumerate(options):
        found = [_pieces(stack.chunks, window) for window in planes.windows(channel)]
        measurement = _Measurement(measure, dict(each), [pieces for _, pieces in found], n_leading)
        tasks[f"measure-{token}", channel] = (measurement, [_keys_of(stack, places) for places, _ in found])
    chunks = planes.block_sizes()
    n_tasks = math.prod(map(len, chunks))
    starts = [[0, *itertools.accumulate(sizes)] for sizes in chunks]
    for number in itertools.product(*(range(len(sizes)) for sizes in chunks)):
        block = [slice(starts[axis][n], starts[axis][n + 1]) for axis, n in enumerate(number)]
        inner = block[n_leading], block[n_leading + 1]
        outer = widen(inner, planes.size, halo, stride)
        places, pieces = _pieces(stack.chunks, [*block[:n_leading], *outer, *block[n_leading + 2 :]])
        channel = 0 if planes.channel_axis is None else number[planes.channel_axis]
        task = _BlockTask(pieces, inner, outer, planes.size, n_leading, n_tasks)
        tasks[(token, *number)] = (task, (f"measure-{token}", channel), _keys_of(stack, places))
    denoised = _build_array(token, tasks, [stack], tuple(map(tuple, chunks)), dtype)
    return denoised.transpose(planes.inverse_order).rechunk(planes.chunks)


def widen(inner: tuple[slice, slice], size: Sequence[int], halo: int, stride: int) -> tuple[slice, slice]:
    """Return the rows and columns to read for some of them.

    Parts begin on the grid of the network. They end on that of the mirrored image, which counts for a
    self-ensemble.
    """
    rows, columns = (
        slice(
            max(0, (part.start - halo) // stride * stride),
            length - max(0, (length - part.stop - halo) // stride * stride),
        )
        for part, length in zip(inner, size, strict=True)
    )
    return rows, columns


def _join_chunks(sizes: Sequence[int]) -> list[int]:
    """Return the sides of blocks, from chunks that are joined or split."""
    joined: list[int] = []
    for size in sizes:
        if joined and joined[-1] < MIN_SIDE:
            joined[-1] += size
        else:
            joined.append(size)
    if len(joined) > 1 and joined[-1] < MIN_SIDE // 2:
        joined[-2:] = [joined[-2] + joined[-1]]
    blocks = []
    for side in joined:
        n_parts = max(1, -(-side // MAX_SIDE))
        ends = [side * n // n_parts for n in range(n_parts + 1)]
        blocks += [stop - start for start, stop in itertools.pairwise(ends)]
    return blocks


def _check_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the denoiser of parts, or refuse those of whole images."""
    options = dict(settings)
    for name in ("sigma", "mask"):
        refuse_lazy(options[name], name)
    if options.pop("mask") is not None:
        raise ValueError(
            "A dask array takes no mask. Set the pixels without a value to NaN: "
            "dask.array.where(mask, image, numpy.nan)."
        )
    if options.pop("verbose") or options.pop("callback") is not None:
        raise ValueError(
            "A dask array is denoised when it is computed: use dask.diagnostics.ProgressBar() or "
            "distributed.progress(denoised) in place of verbose and callback."
        )
    options.pop("callback", None)
    if options.pop("tile_size") != "auto":
        raise ValueError(
            "A dask array is denoised in blocks of its chunks, so tile_size has no effect. Call "
            "image.rechunk(...) for other blocks."
        )
    if options["precision"] == "auto":
        # So the bits do not depend on the worker.
        options["precision"] = "float32"
    return options


def _channel_sigmas(sigma: Any, planes: Planes) -> list[Any]:
    """Return the noise level of each independent channel."""
    levels = np.asarray(sigma, dtype=object) if sigma is None else np.asarray(sigma)
    if levels.ndim > 1:
        raise ValueError(
            f"A dask array takes a number as sigma, or one for each channel, got a map of shape "
            f"{levels.shape}. Denoise parts that fit in memory with their part of the map."
        )
    if levels.ndim == 1 and planes.channel_axis is not None:
        if len(levels) != planes.n_channels:
            raise ValueError(
                f"sigma must be a number or {planes.n_channels} numbers, one for each channel, got "
                f"{len(levels)} numbers."
            )
        return list(levels.tolist())
    if levels.ndim == 1:
        raise ValueError(
            f"A dask array takes one number as sigma, got {len(levels)}. For independent channels with a "
            'level each, name them: axes="YXC".'
        )
    return [sigma] * planes.n_channels
