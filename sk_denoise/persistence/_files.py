"""Save estimators to files and load them: the public functions and their messages."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import sklearn
import torch

from sk_denoise._package import __version__
from sk_denoise.io import IMAGE_SUFFIXES
from sk_denoise.io._atomic import check_path, replace_file, resolve_destination
from sk_denoise.persistence._container import (
    FileContents,
    open_file,
    pack_file,
    parse_json,
    read_contents,
)
from sk_denoise.persistence._limits import MAX_ENTRIES
from sk_denoise.persistence._objects import CODECS, is_savable, refusal_error
from sk_denoise.persistence._tree import Decoder, Encoder

__all__ = ["ESTIMATOR_SUFFIX", "GRAPH_SUFFIX", "check_suffix", "from_bytes", "load", "save", "to_bytes"]

FORMAT, VERSION = "sk_denoise.estimator", 1
# Errors name the versions that differ: most files that no longer load come from other versions.
VERSIONS = {
    "sk_denoise": __version__,
    "scikit-learn": sklearn.__version__,
    "torch": torch.__version__,
    "numpy": np.__version__,
}
ESTIMATOR_SUFFIX, GRAPH_SUFFIX = ".safetensors", ".onnx"
PICKLE_SUFFIXES = (".pkl", ".pickle", ".joblib")
# Suffixes that programs and people take for one format, and the plural of such files
KNOWN_SUFFIXES: dict[str, str] = {
    ESTIMATOR_SUFFIX: "files of save",
    GRAPH_SUFFIX: "ONNX graphs",
    ".skops": "files of skops",
    **dict.fromkeys(PICKLE_SUFFIXES, "pickled files"),
    **dict.fromkeys((".pt", ".pth", ".ckpt"), "files of torch"),
    **dict.fromkeys((".h5", ".hdf5", ".keras"), "files of Keras and HDF5"),
    **dict.fromkeys((".npy", ".npz"), "arrays of numpy"),
    **dict.fromkeys((".json", ".csv", ".txt", ".md", ".py", ".yaml", ".toml"), "texts"),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zip", ".tar"), "compressed files and archives"),
    **dict.fromkeys(IMAGE_SUFFIXES, "images"),
}


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Save a fitted or unfitted estimator to a file.

    The file holds parameters, fitted state, the state of the optimizer and the history: the loaded estimator
    predicts, scores and goes on learning as this one would. It is a safetensors file with a checksum and
    holds no code, so that loading one from a stranger runs nothing.

    The file appears complete or not at all. An older file of that name survives a failure, an interruption
    and a power cut; the new one gets its permissions.

    Parameters
    ----------
    estimator : estimator, network spec or augmenter of sk_denoise
        Also a :class:`~sklearn.pipeline.Pipeline` or :class:`~sklearn.frozen.FrozenEstimator` of such, with
        ``StandardScaler``, ``MinMaxScaler``, ``MaxAbsScaler``, ``RobustScaler`` or ``SimpleImputer`` of
        scikit-learn among the steps. Other steps are for ``skops.io.dump``; see the user guide, "files".
    path : path-like
        The file to write. The suffix is ".safetensors" or any other one that is not of another format.

    Raises
    ------
    TypeError
        If a part is code of yours, such as a network class, a function as loss, a noiser of your own or a
        callback, or an estimator of another library. The message names it, and nothing is written.
    ValueError
        If the suffix is that of another format ("m.pkl", "m.onnx"); if parameters are wrong, or were changed
        since the fit and the weights no longer belong to them.
    FileNotFoundError, IsADirectoryError, PermissionError
        If the folder does not exist, the path is a folder, or nothing may be written there.

    See Also
    --------
    load : The way back.
    export_onnx : For other programs than Python.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import DenoisingAutoencoder
    >>> from sk_denoise.persistence import load, save
    >>> X = load_digits().data / 16
    >>> dae = DenoisingAutoencoder(max_epochs=1, random_state=0).fit(X[:500])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(dae, Path(folder) / "digits.safetensors")
    ...     loaded = load(Path(folder) / "digits.safetensors")
    >>> bool((loaded.predict(X) == dae.predict(X)).all())
    True
    """
    target = resolve_destination(path)
    check_suffix(path, ESTIMATOR_SUFFIX)
    replace_file(target, _pack_estimator(estimator), durable=True)


def load(path: str | os.PathLike[str], *, max_entries: int = MAX_ENTRIES) -> Any:
    """Load an estimator from a file that :func:`save` wrote.

    Safe for files of strangers: nothing in them is run, and one that is cut off, altered or made to harm is
    refused before it takes more memory than a few times its size. An estimator that loads also works.

    Parameters
    ----------
    path : path-like
        The file.
    max_entries : int, default=2**26
        Limit of the entries of a layer of a network, for one sample. Larger ones are refused before they are
        made, because a file may claim any size.

    Returns
    -------
    estimator
        The estimator as it was saved. If its ``device`` is missing here, its network is on the CPU, with a
        warning.

    Raises
    ------
    TypeError
        If ``path`` is no path.
    ValueError
        If the file is damaged, altered, of another kind or of a newer version, or its parts do not belong
        together; the message names the reason.
    FileNotFoundError, IsADirectoryError, PermissionError
        If the file does not exist or cannot be read.

    See Also
    --------
    save : Makes such files, and has an example.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sk_denoise import WienerDenoiser
    >>> from sk_denoise.persistence import load, save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(WienerDenoiser(sigma=0.1), Path(folder) / "wiener.safetensors")
    ...     load(Path(folder) / "wiener.safetensors")
    WienerDenoiser(sigma=0.1)
    """
    # A bool is an integer to Python.
    limit: Any = max_entries
    if isinstance(limit, bool) or not isinstance(limit, Integral) or limit < 1:
        raise ValueError(f"max_entries must be an integer of at least 1, got {max_entries!r}.")
    check_path(path)
    return _load_estimator(lambda: open_file(path), path, int(max_entries))


def to_bytes(estimator: Any) -> bytes:
    """Return an estimator as the bytes of a file that :func:`save` would write."""
    return b"".join(_pack_estimator(estimator))


def from_bytes(data: bytes) -> Any:
    """Return the estimator in the bytes of a file, with the checks of :func:`load`."""
    return _load_estimator(lambda: io.BytesIO(data), "The estimator", MAX_ENTRIES)


def _pack_estimator(estimator: Any) -> list[bytes | memoryview]:
    """Return the pieces of the file of an estimator."""
    kind = type(estimator).__name__
    if not is_savable(estimator):
        raise refusal_error(estimator, kind)
    encoder = Encoder(CODECS, refusal_error)
    tree = encoder.encode(estimator, kind)
    metadata = {"format": FORMAT, "format_version": str(VERSION), **VERSIONS}
    metadata["estimator"] = json.dumps(tree, separators=(",", ":"), allow_nan=False)
    return pack_file(metadata, encoder.arrays)


def _load_estimator(open_stream: Callable[[], BinaryIO], name: Any, max_entries: int) -> Any:
    """Return the estimator in a stream; errors name the stream and the reason."""
    contents = None
    try:
        with open_stream() as stream:
            contents = read_contents(stream, FORMAT, VERSION)
        return _decode_contents(Decoder(CODECS, contents.arrays, max_entries), contents)
    # These name the file themselves, and callers tell a missing file from a bad one.
    except OSError:
        raise
    # Parameters from a hostile file may make any code of ours, scikit-learn or torch raise any error.
    except Exception as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise ValueError(f"{name} cannot be loaded: {reason}.{_describe_versions(contents)}") from error


def _decode_contents(decoder: Decoder, contents: FileContents) -> Any:
    estimator = decoder.decode(parse_json(contents.metadata.get("estimator", ""), "its estimator"))
    if not is_savable(estimator):
        raise ValueError(f"it holds a {type(estimator).__name__} where an estimator was expected")
    # An array that nothing takes would hide data, or show that the tree was cut.
    if decoder.arrays:
        raise ValueError(f"it holds the array {min(decoder.arrays)[:50]!r}, which nothing refers to")
    return estimator


def _describe_versions(contents: FileContents | None) -> str:
    """Return a sentence with the versions that differ from those of the file."""
    if contents is None:
        return ""
    others = {name: str(contents.metadata.get(name))[:20] for name in VERSIONS}
    differing = [
        f"{name} {others[name]} (here {VERSIONS[name]})"
        for name in VERSIONS
        if others[name] != VERSIONS[name]
    ]
    return f" It was saved with {', '.join(differing)}." if differing else ""


# Names of files -----------------------------------------------------------------------------------------


def check_suffix(path: str | os.PathLike[str], suffix: str) -> None:
    """Refuse a file name with the suffix of another format; an unknown suffix passes.

    Parameters
    ----------
    path : path-like
        The file to be written.
    suffix : {".safetensors", ".onnx"}
        The suffix of the format that is written.

    Raises
    ------
    ValueError
        For the suffix of another format; the message proposes a name, and a writer of the other format.
    """
    name = Path(path)
    given = name.suffix.lower()
    if given == suffix or given not in KNOWN_SUFFIXES:
        return
    is_estimator = suffix == ESTIMATOR_SUFFIX
    written = "save writes a safetensors file" if is_estimator else "export_onnx writes an ONNX graph"
    # A name such as "model.pkl.gz" has two of them.
    while name.suffix.lower() in KNOWN_SUFFIXES:
        name = name.with_suffix("")
    raise ValueError(
        f"{path} ends as {KNOWN_SUFFIXES[given]} do, in {given}, and {written}. Call it "
        f"{name.name + suffix!r}{_describe_writer(given)}."
    )


def _describe_writer(suffix: str) -> str:
    """Return an advice for writing files of this suffix, if there is one."""
    if suffix in PICKLE_SUFFIXES:
        return ", or write a pickle by joblib.dump, which runs the code in it when it is loaded"
    writers = {
        ESTIMATOR_SUFFIX: "save the estimator by sk_denoise.persistence.save",
        GRAPH_SUFFIX: "write a graph by sk_denoise.persistence.export_onnx",
        ".skops": "write such a file by skops.io.dump",
    }
    return f", or {writers[suffix]}" if suffix in writers else ""
