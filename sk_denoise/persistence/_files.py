"""Save and load estimators: the doors, and what their messages say."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from numbers import Integral
from typing import Any, BinaryIO

import numpy as np
import sklearn
import torch

from sk_denoise._version import __version__
from sk_denoise.io._atomic import check_path, replace_file, resolve_destination
from sk_denoise.persistence._container import Contents, contents_of, open_file, pack, parse_json
from sk_denoise.persistence._limits import MOST_ENTRIES
from sk_denoise.persistence._names import OWN, check_name
from sk_denoise.persistence._objects import CODECS, is_ours, refusal_of
from sk_denoise.persistence._tree import Decoder, Encoder

__all__ = ["from_bytes", "load", "save", "to_bytes"]

FORMAT, VERSION = "sk_denoise.estimator", 1
VERSIONS = {
    "sk_denoise": __version__,
    "scikit-learn": sklearn.__version__,
    "torch": torch.__version__,
    "numpy": np.__version__,
}


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Save an estimator to a file, fitted or not.

    The file holds parameters, what was learned, the state of the optimizer and the history: what is loaded
    predicts, scores and goes on learning as this estimator would. It is a safetensors file with a checksum
    and holds no code, so that loading one runs nothing, whoever made it.

    The file appears complete or not at all: one that was there survives a failure, an interruption and a
    power cut, and leaves its permissions to the new one.

    Parameters
    ----------
    estimator : estimator, network spec or augmenter of sk_denoise
        Also a :class:`~sklearn.pipeline.Pipeline` or :class:`~sklearn.frozen.FrozenEstimator` of such, with
        ``StandardScaler``, ``MinMaxScaler``, ``MaxAbsScaler``, ``RobustScaler`` or ``SimpleImputer`` of
        scikit-learn among the steps. Other steps are for ``skops.io.dump``; see the user guide, "files".
    path : path-like
        The file to write, called ".safetensors" at the end, or as you like, but not as files of another
        format are called.

    Raises
    ------
    TypeError
        Where something is code of yours, such as a network class, a function as loss, a noiser of your own or
        a callback, or an estimator of another library. The message names it, and nothing is written.
    ValueError
        Where the name ends as those of another format do ("m.pkl", "m.onnx"); where parameters are wrong, or
        were changed since the fit and the weights no longer belong to them.
    FileNotFoundError, IsADirectoryError, PermissionError
        Where the folder is not there, a folder is where the file should be, or nothing may be written there.

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
    check_name(path, OWN)
    replace_file(target, _pieces_of(estimator), durable=True)


def load(path: str | os.PathLike[str], *, max_entries: int = MOST_ENTRIES) -> Any:
    """Load an estimator from a file that :func:`save` wrote.

    Safe for files of anybody: nothing in them is run, and one that is cut off, altered or made to harm is
    refused before it takes more memory than a few times its size. What loads is an estimator that works.

    Parameters
    ----------
    path : path-like
        The file.
    max_entries : int, default=2**26
        The most numbers that a layer of a network may hold for one sample. Larger ones are refused before
        they are made, because a file may claim any size.

    Returns
    -------
    estimator
        As it was when it was saved. Where its ``device`` is not there, its network is on the CPU, and a
        warning says so.

    Raises
    ------
    TypeError
        Where the path is none.
    ValueError
        Where the file is damaged, altered, of another kind or of a newer version, or does not hold together;
        the message says which.
    FileNotFoundError, IsADirectoryError, PermissionError
        Where there is no such file, or it cannot be read.

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
    limit: Any = max_entries
    if isinstance(limit, bool) or not isinstance(limit, Integral) or limit < 1:
        raise ValueError(f"max_entries must be an integer of at least 1, got {max_entries!r}.")
    check_path(path)
    return _loaded(lambda: open_file(path), path, int(max_entries))


def to_bytes(estimator: Any) -> bytes:
    """Return an estimator as the bytes of a file that :func:`save` would write."""
    return b"".join(_pieces_of(estimator))


def from_bytes(data: bytes) -> Any:
    """Return the estimator in the bytes of a file, which are checked as those that :func:`load` reads."""
    return _loaded(lambda: io.BytesIO(data), "The estimator", MOST_ENTRIES)


def _pieces_of(estimator: Any) -> list[bytes | memoryview]:
    """Return the pieces of the file that holds an estimator."""
    kind = type(estimator).__name__
    if not is_ours(estimator):
        raise refusal_of(estimator, kind)
    encoder = Encoder(CODECS, refusal_of)
    tree = encoder.encode(estimator, kind)
    metadata = {"format": FORMAT, "format_version": str(VERSION), **VERSIONS}
    metadata["estimator"] = json.dumps(tree, separators=(",", ":"), allow_nan=False)
    return pack(metadata, encoder.arrays)


def _loaded(opened: Callable[[], BinaryIO], name: Any, max_entries: int) -> Any:
    """Return the estimator in a file that was opened, or say why it cannot be loaded."""
    contents = None
    try:
        with opened() as stream:
            contents = contents_of(stream, FORMAT, VERSION)
        return _read(Decoder(CODECS, contents.arrays, max_entries), contents)
    except OSError:
        raise
    except Exception as error:  # what a hostile file makes of parameters may raise whatever it likes
        reason = str(error).rstrip(".") or type(error).__name__
        raise ValueError(f"{name} cannot be loaded: {reason}.{_skew(contents)}") from error


def _read(decoder: Decoder, contents: Contents) -> Any:
    estimator = decoder.decode(parse_json(contents.metadata.get("estimator", ""), "its estimator"))
    if not is_ours(estimator):
        raise ValueError(f"it holds a {type(estimator).__name__} where an estimator was expected")
    if decoder.arrays:
        raise ValueError(f"it holds the array {min(decoder.arrays)[:50]!r}, which belongs to nothing")
    return estimator


def _skew(contents: Contents | None) -> str:
    """Return in words which versions differ from those of the file."""
    if contents is None:
        return ""
    others = {name: str(contents.metadata.get(name))[:20] for name in VERSIONS}
    differing = [
        f"{name} {others[name]} (here {VERSIONS[name]})"
        for name in VERSIONS
        if others[name] != VERSIONS[name]
    ]
    return f" It was saved with {', '.join(differing)}." if differing else ""
