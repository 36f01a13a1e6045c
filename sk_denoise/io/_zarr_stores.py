"""Images in Zarr stores, with OME-Zarr (ngff) metadata.

An image is read and written region by region. The documents that describe it (``zarr.json``, ``.zarray``,
``.zattrs``) are copied, so that chunks, shards, compressors, names of axes and attributes are those of the
source.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from zarr import Array
    from zarr.storage import StorePath

__all__ = [
    "RunFolder",
    "ZarrImage",
    "resolve_axes",
    "create_arrays",
    "delete_store",
    "has_keys",
    "is_shared",
    "locate_store",
    "place_name",
    "open_levels",
    "open_zarr",
    "overlap",
    "read_record",
    "write_documents",
    "write_record",
]

T = TypeVar("T")

# Documents that describe a group or an array, in the format 3 and 2.
DOCUMENTS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
# Folder for the state of a run, beside the arrays, and attribute of a complete target.
FOLDER, RECORD = ".sk_denoise", "sk_denoise"
# Names of axes, in lower case.
CHANNEL_NAMES = frozenset(("c", "ch", "channel", "channels", "band", "bands"))
SAMPLE_NAMES = frozenset(("s", "sample", "samples", "rgb", "rgba", "rgb_channel"))
# Axes of OME-Zarr 0.1 and 0.2, which have no names.
OLD_AXES = ("t", "c", "z", "y", "x")
# Size of a last axis up to which it looks like colours.
MAX_COLORS = 4
SCHEMES = ("file://", "local://")


@dataclass(frozen=True)
class ZarrImage:
    """An image in a Zarr store, with its smaller levels.

    Attributes
    ----------
    root : StorePath
        Group or array.
    names : tuple of str
        Path of the array of each level below the root; ``""`` if the root is the array.
    axes : tuple of str
        Name of each axis: "c" for channels, the last two are rows and columns.
    arrays : tuple of Array
        Array of each level, from large to small.
    scales : tuple of tuple of float
        Size of a pixel along each axis, for each level; empty if unknown.
    documents : dict of str to bytes
        Descriptions to copy, by their path below the root.
    left_out : tuple of str
        Members of the group that are not levels of the image.
    """

    root: StorePath
    names: tuple[str, ...]
    axes: tuple[str, ...]
    arrays: tuple[Array[Any], ...]
    scales: tuple[tuple[float, ...], ...] = ()
    documents: dict[str, bytes] = field(default_factory=dict, repr=False)
    left_out: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        return self.arrays[0].shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return np.dtype(self.arrays[0].dtype)

    def read(self, window: tuple[slice, ...]) -> NDArray[Any]:
        """Return a region in the byte order of the machine."""
        region = np.asarray(self.arrays[0][window])
        return np.ascontiguousarray(region, region.dtype.newbyteorder("="))

    def describe(self) -> dict[str, Any]:
        """Return shape, type and a digest of the metadata, to recognize the image again."""
        digest = hashlib.sha256()
        for name in self.names:
            for document in DOCUMENTS:
                digest.update(self.documents.get(_join(name, document), b""))
        return {
            "shape": list(self.shape),
            "type": str(self.dtype),
            "axes": list(self.axes),
            "metadata": digest.hexdigest(),
        }


def _join(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _sync(coroutine: Coroutine[Any, Any, T]) -> T:
    from zarr.core.sync import sync

    return sync(coroutine)


# Places --------------------------------------------------------------------------------------------------


def locate_store(place: Any, *, writable: bool = False) -> StorePath:
    """Return the store and the path behind a path, an URL, or an object of zarr.

    Parameters
    ----------
    place : path-like, str, Store, StorePath, Array or Group
        Folder, ``.zip`` file to read, URL for fsspec such as ``s3://bucket/image.zarr``, or object of zarr.
    writable : bool, default=False
        Whether to write there.

    Raises
    ------
    TypeError, ValueError
        If there is no store for it.
    """
    import zarr
    from zarr.abc.store import Store
    from zarr.storage import FsspecStore, LocalStore, StorePath, ZipStore

    if isinstance(place, zarr.Array | zarr.Group):
        place = place.store_path
    if isinstance(place, Store):
        # Archives have to be opened.
        _sync(place._ensure_open())
        place = StorePath(place)
    if isinstance(place, StorePath):
        if writable and place.store.read_only:
            raise ValueError(
                f"{place_name(place)} is read-only; open the store for writing, or give another target."
            )
        if writable and isinstance(place.store, ZipStore):
            raise ValueError(
                f"{place_name(place)} is a zip file, in which nothing can be replaced; give a folder "
                "or an URL."
            )
        return place
    if not isinstance(place, str | os.PathLike) or not isinstance(os.fspath(place), str):
        raise TypeError(
            "an image is given as a path, an URL, or a store, group or array of zarr, got "
            f"{type(place).__name__}."
        )
    text = os.fspath(place)
    if not text:
        raise ValueError("the path of an image is empty.")
    for scheme in SCHEMES:
        text = text.removeprefix(scheme)
    if "://" in text or "::" in text:
        return StorePath(FsspecStore.from_url(text, read_only=not writable))
    path = Path(text)
    if path.suffix.lower() == ".zip":
        if writable:
            raise ValueError(
                f"{path} is a zip file, in which nothing can be replaced; give a folder or an URL."
            )
        return StorePath(_sync(ZipStore.open(path, mode="r")))
    if path.is_file():
        raise NotADirectoryError(f"{path} is a file, and no folder with a Zarr array or group.")
    return StorePath(LocalStore(path, read_only=not writable))


def place_name(place: StorePath) -> str:
    """Return a place as users write it: a path or an URL."""
    from zarr.storage import LocalStore

    if isinstance(place.store, LocalStore):
        return str(place.store.root / place.path)
    return str(place)


def is_shared(place: StorePath) -> bool:
    """Return whether other processes reach the same store."""
    from zarr.storage import FsspecStore, MemoryStore

    store: Any = place.store
    while hasattr(store, "_store"):
        store = store._store
    if isinstance(store, FsspecStore):
        protocol = getattr(store.fs, "protocol", "")
        return "memory" not in ((protocol,) if isinstance(protocol, str) else protocol)
    return not isinstance(store, MemoryStore)


def overlap(first: StorePath, second: StorePath) -> bool:
    """Return whether two places are the same, or one lies in the other."""
    from zarr.storage import LocalStore

    places = []
    for place in (first, second):
        if isinstance(place.store, LocalStore):
            places.append(("", Path(os.path.realpath(place.store.root / place.path))))
        else:
            # Objects that share their data have one text.
            places.append((str(place.store).rstrip("/"), Path("/") / place.path))
    if places[0][0] != places[1][0]:
        return False
    one, other = places[0][1], places[1][1]
    return one == other or one in other.parents or other in one.parents


def has_keys(place: StorePath) -> bool:
    """Return whether anything is stored at a place."""
    from zarr.storage import LocalStore

    # A store opens with a new folder, which a refusal would leave behind.
    if isinstance(place.store, LocalStore) and not (place.store.root / place.path).exists():
        return False
    _forget_listings(place)

    async def first() -> bool:
        async for _ in place.store.list_dir(place.path):
            return True
        return False

    return _sync(first())


def _forget_listings(place: StorePath) -> None:
    """Drop the listings that fsspec has cached; other machines write too."""
    file_system = getattr(place.store, "fs", None)
    if file_system is not None:
        file_system.invalidate_cache()


def delete_store(place: StorePath) -> None:
    """Delete all that is stored at a place."""
    _sync(place.store.delete_dir(place.path))


def _get(place: StorePath, key: str) -> bytes | None:
    buffer = _sync((place / key).get())
    return None if buffer is None else buffer.to_bytes()


def _set(place: StorePath, key: str, data: bytes) -> None:
    from zarr.core.buffer import default_buffer_prototype

    _sync((place / key).set(default_buffer_prototype().buffer.from_bytes(data)))


# Reading -------------------------------------------------------------------------------------------------


def open_zarr(place: Any, axes: str | Sequence[str] | None = None) -> ZarrImage:
    """Open an array, or a group with OME-Zarr metadata.

    Parameters
    ----------
    place : path-like, str, Store, StorePath, Array or Group
        See `locate_store`.
    axes : str or sequence of str, optional
        A letter or name for each axis, in place of those of the metadata.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError
        If there is no such image, or its axes or type are not supported.
    """
    root = locate_store(place)
    documents = _read_documents(root, "")
    if not documents:
        raise FileNotFoundError(
            f"{place_name(root)} holds no Zarr array or group; give the path of a folder with a zarr.json, "
            ".zarray or "
            ".zgroup."
        )
    if _is_array(documents, root):
        array = _open_array(root, "")
        names: tuple[str, ...] = ("",)
        found = _array_axes(array)
        scales: tuple[tuple[float, ...], ...] = ()
        left_out: tuple[str, ...] = ()
        arrays: tuple[Array[Any], ...] = (array,)
    else:
        multiscale = _find_multiscale(root, _attributes(documents))
        names = tuple(_check_name(dataset, root) for dataset in multiscale["datasets"])
        arrays = tuple(_open_array(root, name) for name in names)
        for name in names:
            folders = [str(folder) for folder in PurePosixPath(name).parents if str(folder) != "."]
            for path in (*folders, name):
                documents.update(_read_documents(root, path))
        found = _multiscale_axes(multiscale, arrays[0].ndim)
        scales = _read_scales(multiscale, arrays[0].ndim)
        left_out = _other_members(root, names)
    for name, array in zip(names, arrays, strict=True):
        _check_array(array, name, arrays[0], root)
    checked = resolve_axes(axes if axes is not None else found, arrays[0].shape, place_name(root))
    return ZarrImage(root, names, checked, arrays, scales, documents, left_out)


def _read_documents(root: StorePath, path: str) -> dict[str, bytes]:
    found = {_join(path, name): _get(root, _join(path, name)) for name in DOCUMENTS}
    return {key: data for key, data in found.items() if data is not None}


def _parse(data: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{name} is damaged: it holds no JSON ({error}).") from error
    if not isinstance(document, dict):
        raise ValueError(f"{name} is damaged: it holds no JSON object.")
    return document


def _is_array(documents: dict[str, bytes], root: StorePath) -> bool:
    if "zarr.json" in documents:
        return bool(_parse(documents["zarr.json"], "zarr.json").get("node_type") == "array")
    return ".zarray" in documents


def _attributes(documents: dict[str, bytes], path: str = "") -> dict[str, Any]:
    key = _join(path, "zarr.json")
    if key in documents:
        attributes = _parse(documents[key], key).get("attributes", {})
    else:
        key = _join(path, ".zattrs")
        attributes = _parse(documents[key], key) if key in documents else {}
    return attributes if isinstance(attributes, dict) else {}


def _open_array(root: StorePath, name: str) -> Array[Any]:
    import zarr

    try:
        return zarr.open_array(root / name, mode="r")
    except (ValueError, KeyError, FileNotFoundError) as error:
        raise ValueError(f"{place_name(root / name)} is no Zarr array that can be read: {error}") from error


def _check_array(array: Array[Any], name: str, largest: Array[Any], root: StorePath) -> None:
    place = place_name(root / name)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise ValueError(
            f"{place} holds numbers of the type {array.dtype}; integers and floats of up to 64 bits can be "
            "denoised."
        )
    if array.ndim < 2:
        raise ValueError(
            f"{place} has {array.ndim} axes of shape {array.shape}, and an image has at least rows and "
            "columns. "
            "Signals are denoised by SignalDenoiser."
        )
    if array.ndim != largest.ndim or array.dtype != largest.dtype:
        raise ValueError(
            f"{place} has the type {array.dtype} and {array.ndim} axes, and the first level "
            f"{largest.dtype} and "
            f"{largest.ndim}; the levels of an image have one type and the same axes."
        )
    # Grids of chunks of different sizes have no attribute chunks.
    try:
        array.chunks  # noqa: B018
    except (NotImplementedError, AttributeError) as error:
        raise ValueError(
            f"{place} has chunks of different sizes; save it with chunks of one size."
        ) from error


def _find_multiscale(root: StorePath, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of the levels of an image."""
    ome = attributes.get("ome")
    found = (ome if isinstance(ome, dict) else attributes).get("multiscales")
    if not isinstance(found, list) or not found:
        members = ", ".join(_members(root)[:8])
        advice = (
            f"give the path of one of its members, such as {place_name(root)}/NAME: {members}"
            if members
            else "it is empty"
        )
        raise ValueError(
            f"{place_name(root)} is a group without an image (OME-Zarr metadata, multiscales); {advice}."
        )
    if len(found) > 1:
        firsts = [str(item["datasets"][0]["path"]) for item in found if item.get("datasets")]
        raise ValueError(
            f"{place_name(root)} holds {len(found)} images (multiscales); give the path of the array of one: "
            f"{', '.join(firsts)}."
        )
    multiscale = found[0]
    datasets = multiscale.get("datasets") if isinstance(multiscale, dict) else None
    if not isinstance(datasets, list) or not datasets:
        raise ValueError(f"{place_name(root)} has OME-Zarr metadata without a list of datasets.")
    return dict(multiscale)


def _check_name(dataset: Any, root: StorePath) -> str:
    name = dataset.get("path") if isinstance(dataset, dict) else None
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or "/" in parts or ".." in parts:
        raise ValueError(
            f"{place_name(root)} has OME-Zarr metadata with the path {name!r} of a level; it must be below "
            "the group."
        )
    return "/".join(parts)


def _members(root: StorePath) -> list[str]:
    async def names() -> list[str]:
        return [name async for name in root.store.list_dir(root.path)]

    # Some web servers list nothing.
    try:
        found = _sync(names())
    except (NotImplementedError, OSError):
        return []
    return sorted(name.rstrip("/") for name in found if name not in (*DOCUMENTS, ".zmetadata", FOLDER))


def _other_members(root: StorePath, names: Sequence[str]) -> tuple[str, ...]:
    known = {name.split("/")[0] for name in names}
    return tuple(name for name in _members(root) if name not in known and not name.startswith("."))


def _array_axes(array: Array[Any]) -> tuple[str, ...] | None:
    """Return the names of the axes of an array, as zarr 3 or xarray have written them."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, list | tuple) or len(names) != array.ndim or None in names:
        return None
    return tuple(map(str, names))


def _multiscale_axes(multiscale: dict[str, Any], ndim: int) -> tuple[str, ...] | None:
    axes = multiscale.get("axes")
    if not isinstance(axes, list) or len(axes) != ndim:
        return OLD_AXES if axes is None and ndim == len(OLD_AXES) else None
    names = []
    for axis in axes:
        name = str(axis.get("name", "")) if isinstance(axis, dict) else str(axis)
        is_channel = isinstance(axis, dict) and axis.get("type") == "channel"
        names.append("c" if is_channel else name)
    return tuple(names)


def _read_scales(multiscale: dict[str, Any], ndim: int) -> tuple[tuple[float, ...], ...]:
    scales = []
    for dataset in multiscale["datasets"]:
        found = [
            item.get("scale")
            for item in dataset.get("coordinateTransformations") or ()
            if isinstance(item, dict) and item.get("type") == "scale"
        ]
        if len(found) != 1 or not isinstance(found[0], list) or len(found[0]) != ndim:
            return ()
        scales.append(tuple(float(number) for number in found[0]))
    return tuple(scales)


def resolve_axes(axes: str | Sequence[str] | None, shape: tuple[int, ...], place: str) -> tuple[str, ...]:
    """Return the names of the axes, with "c" for channels.

    Parameters
    ----------
    axes : str, sequence of str or None
        A letter or name for each axis; None for planes of rows and columns.
    shape : tuple of int
        Size of each axis.
    place : str
        Name of the image for messages.

    Raises
    ------
    ValueError
        If rows and columns are not the last two axes.
    """
    if axes is None:
        if len(shape) > 2 and shape[-1] <= MAX_COLORS < min(shape[-3:-1]):
            raise ValueError(
                f"{place} has the shape {shape}, whose last axis looks like colours. Rows and columns must "
                "be the "
                'last two axes: save it as (..., c, y, x). If it is no colour, pass axes, such as "zyx".'
            )
        return (*(f"plane {i}" for i in range(len(shape) - 2)), "y", "x")
    names = tuple(str(name).lower() for name in axes)
    if len(names) != len(shape):
        raise ValueError(f"axes must have a letter or name for each of the {len(shape)} axes, got {axes!r}.")
    names = tuple("c" if name in CHANNEL_NAMES else name for name in names)
    last = names[-2:]
    is_misplaced = any(name in names and name != expected for name, expected in zip("yx", last, strict=True))
    if is_misplaced or "c" in last or SAMPLE_NAMES & set(names):
        raise ValueError(
            f"{place} has the axes {', '.join(names)}; rows and columns (y, x) must be the last two, and "
            "colours "
            "channels before them: save it as (..., c, y, x)."
        )
    if names.count("c") > 1:
        raise ValueError(f"{place} has {names.count('c')} axes of channels; one is supported.")
    return names


# Writing -------------------------------------------------------------------------------------------------


def write_documents(place: StorePath, image: ZarrImage) -> None:
    """Write the descriptions of an image and its levels, without pixels."""
    for key, data in image.documents.items():
        _set(place, key, _clean_root(data) if key in DOCUMENTS else data)


def _clean_root(data: bytes) -> bytes:
    """Return the description of a root for a copy."""
    document = _parse(data, "the description of the source")
    # Consolidated metadata would name labels and others that are not copied.
    n_keys = len(document)
    document.pop("consolidated_metadata", None)
    attributes = document.get("attributes", document)
    is_copy = isinstance(attributes, dict) and attributes.pop(RECORD, None) is not None
    if len(document) == n_keys and not is_copy:
        return data
    return json.dumps(document, indent=2).encode()


def open_levels(place: StorePath, names: Sequence[str]) -> list[Array[Any]]:
    """Open the arrays of a target for writing."""
    import zarr

    return [zarr.open_array(place / name, mode="r+") for name in names]


def create_arrays(
    place: StorePath,
    shapes: Sequence[tuple[int, ...]],
    dtype: np.dtype[Any],
    chunks: tuple[int, ...],
    axes: tuple[str, ...],
) -> ZarrImage:
    """Return the description of an image that has no Zarr source.

    Parameters
    ----------
    place : StorePath
        Place of the target.
    shapes : sequence of tuple of int
        Shape of each level.
    dtype : dtype
        Type of the numbers.
    chunks : tuple of int
        Shape of a chunk.
    axes : tuple of str
        Name of each axis.
    """
    import zarr
    from zarr.storage import MemoryStore, StorePath

    memory = StorePath(MemoryStore())
    group = zarr.open_group(memory, mode="w", zarr_format=3)
    names = tuple(str(level) for level in range(len(shapes)))
    for name, shape in zip(names, shapes, strict=True):
        group.create_array(
            name,
            shape=shape,
            dtype=dtype,
            chunks=tuple(min(c, max(1, n)) for c, n in zip(chunks, shape, strict=True)),
            dimension_names=axes,
        )
    kinds = {"c": "channel", "t": "time"}
    scales = [[max(1, round(n / m)) if m else 1 for n, m in zip(shapes[0], s, strict=True)] for s in shapes]
    transforms = [[{"type": "scale", "scale": [float(factor) for factor in scale]}] for scale in scales]
    ome: Any = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes],
                "datasets": [
                    {"path": name, "coordinateTransformations": transform}
                    for name, transform in zip(names, transforms, strict=True)
                ],
            }
        ],
    }
    group.attrs["ome"] = ome
    documents = {key: data for name in ("", *names) for key, data in _read_documents(memory, name).items()}
    arrays = tuple(group[name] for name in names)
    return ZarrImage(place, names, axes, arrays, (), documents)  # type: ignore[arg-type]


def read_record(place: StorePath) -> dict[str, Any] | None:
    """Return the record of the run that made a complete target."""
    documents = _read_documents(place, "")
    record = _attributes(documents).get(RECORD) if documents else None
    return record if isinstance(record, dict) else None


def write_record(place: StorePath, record: dict[str, Any]) -> None:
    """Mark a target as complete, by an attribute."""
    documents = _read_documents(place, "")
    key = "zarr.json" if "zarr.json" in documents else ".zattrs"
    document = _parse(documents.get(key, b"{}"), key)
    attributes = document.setdefault("attributes", {}) if key == "zarr.json" else document
    attributes[RECORD] = record
    _set(place, key, json.dumps(document, indent=2).encode())


class RunFolder:
    """Settings of a run, and a marker for each block that is done.

    Parameters
    ----------
    place : StorePath
        Group or array of the target.
    """

    def __init__(self, place: StorePath) -> None:
        self._place = place / FOLDER

    def read_settings(self) -> dict[str, Any] | None:
        """Return the settings of a run that has begun."""
        data = _get(self._place, "settings.json")
        return None if data is None else _parse(data, "settings.json")

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Store the settings of a run."""
        _set(self._place, "settings.json", json.dumps(settings, indent=1).encode())

    def mark(self, level: int, number: int) -> None:
        """Mark a block as written."""
        _set(self._place, f"done/{level}.{number}", b"1")

    def find_marks(self) -> set[tuple[int, int]]:
        """Return level and number of all blocks that are marked."""
        _forget_listings(self._place)

        async def names() -> list[str]:
            store, path = self._place.store, f"{self._place.path}/done"
            return [name async for name in store.list_dir(path)]

        pairs = [name.rstrip("/").split("/")[-1].split(".") for name in _sync(names())]
        # Unfinished files of a writer that was killed have other names.
        return {(int(p[0]), int(p[1])) for p in pairs if len(p) == 2 and p[0].isdigit() and p[1].isdigit()}

    def delete(self) -> None:
        """Delete settings and markers."""
        _sync(self._place.store.delete_dir(self._place.path))
