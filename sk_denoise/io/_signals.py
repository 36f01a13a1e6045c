"""Reading and writing of signals in all formats."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sk_denoise.exceptions import UnreadableSignalError
from sk_denoise.io._atomic import check_path, replace_file, resolve_destination
from sk_denoise.io._formats import find_format_name
from sk_denoise.io._header import Recording, UnreadableError
from sk_denoise.io._signal_binaries import (
    decode_edf,
    decode_npy,
    decode_wav,
    encode_edf,
    encode_npy,
    encode_wav,
)
from sk_denoise.io._signal_text import decode_columns, encode_columns

__all__ = ["SIGNAL_SUFFIXES", "read_signal", "write_signal"]

TEXT_SUFFIXES = frozenset((".csv", ".tsv", ".txt"))
EDF_SUFFIXES = frozenset((".edf", ".bdf"))
SIGNAL_SUFFIXES = TEXT_SUFFIXES | EDF_SUFFIXES | {".npy", ".wav"}
# 268 million values are 100 minutes of stereo sound, and refuse damaged files with absurd sizes.
MAX_VALUES = 2**28


def read_signal(
    path: str | os.PathLike[str],
    *,
    columns: str | int | Sequence[str | int] | None = None,
    sampling_rate: float | None = None,
    max_values: int = MAX_VALUES,
) -> Recording:
    r"""Read a signal of one or several channels from a file.

    CSV, TSV, TXT, NPY and WAV are read, and EDF and BDF with the extra ``signals``. The suffix of the name
    decides on the format. These are the rules:

    - **Text** has a row for each sample. Delimiter (tab, semicolon, comma, white space), decimal sign (point
      or comma) and header are found. Lines that begin with ``#``, ``%`` or ``//`` are comments. Columns of
      numbers are channels. A column that is named time, or the first one if it rises or falls throughout, is
      an axis and no channel; evenly spaced times give the sampling rate. Names and units come from the
      header, such as ``ECG (mV)``. Gaps and NaN are refused with their place.
    - **NPY** holds an array ``(length,)`` or ``(channels, length)`` of numbers.
    - **WAV** has integers of 8, 16, 24 or 32 bits, or floats, in their own type: samples of 16 bits reach
      from -32768 to 32767. 24 bits come in int32, not scaled.
    - **EDF and BDF** give physical values in the unit of each signal. Signals of different sampling rates
      are refused; ``columns`` chooses those of one rate.

    Parameters
    ----------
    path : path-like
        Path of the file.
    columns : str, int or list of them, optional
        Channels to read, by name or by number from 0, in this order. All by default. For text and EDF.
    sampling_rate : float, optional
        Samples per second, in place of that of the file.
    max_values : int, default=2**28
        Largest number of values. Larger files are refused before their values take memory.

    Returns
    -------
    Recording
        Values, sampling rate, names, units, and what `write_signal` needs to write the same format.

    Raises
    ------
    UnreadableSignalError
        If the file is damaged, cut off, too large or of another kind, or has gaps. The message contains its
        name.
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    MissingExtraError
        If the package of the extra ``signals`` is missing for an EDF or BDF file.
    ValueError
        If the suffix or an option is unknown.

    Warns
    -----
    UserWarning
        If times are not evenly spaced, or channels seem to be on the wrong axis.

    See Also
    --------
    write_signal : Write a recording.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sk_denoise.io import read_signal
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "ecg.csv"
    ...     _ = path.write_text("Time (s);ECG (mV)\n0,000;0,1\n0,004;0,3\n0,008;0,2\n")
    ...     recording = read_signal(path)
    >>> recording.values, recording.sampling_rate, recording.channel_names, recording.units
    (array([0.1, 0.3, 0.2]), 250.0, ('ECG',), ('mV',))
    """
    _check_file(path)
    suffix = _check_suffix(path)
    if isinstance(columns, str | int):
        columns = [columns]
    if columns is not None and suffix not in TEXT_SUFFIXES | EDF_SUFFIXES:
        raise ValueError(
            f"{path}: columns are for text and EDF files; index the channels of its values instead."
        )
    if sampling_rate is not None and not 0 < sampling_rate < math.inf:
        raise ValueError(
            f"sampling_rate must be a positive number of samples per second, got {sampling_rate!r}."
        )
    with signal_errors(path), Path(path).open("rb") as stream:
        _refuse_images(stream)
        if suffix in TEXT_SUFFIXES:
            return decode_columns(stream, columns, sampling_rate, max_values)
        if suffix in EDF_SUFFIXES:
            recording = decode_edf(stream, columns, max_values, suffix)
        else:
            recording = (decode_wav if suffix == ".wav" else decode_npy)(stream, max_values)
        if recording.values.dtype.kind == "f" and not np.isfinite(recording.values).all():
            place = int(np.argmin(np.isfinite(np.atleast_2d(recording.values)).all(axis=0)))
            raise UnreadableError(f"it has a gap, NaN or infinity, at sample {place}; fill or cut it first")
    return recording if sampling_rate is None else replace(recording, sampling_rate=float(sampling_rate))


@contextmanager
def signal_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise errors of the content of a file as errors with its name."""
    try:
        yield
    except UnreadableError as error:
        raise UnreadableSignalError(f"{path}: {error}.") from error
    # The installation is broken, not the file.
    except (ImportError, OSError):
        raise
    except MemoryError as error:
        raise UnreadableSignalError(f"{path}: there is not enough memory for the signal.") from error
    # Packages raise errors of many types on damaged data.
    except Exception as error:
        raise UnreadableSignalError(
            f"{path}: its content is damaged or of a kind that is not read ({type(error).__name__}: "
            f"{error}); copy the file again from where it came, or export the signal as CSV."
        ) from error


def _check_file(path: str | os.PathLike[str]) -> None:
    """Refuse a path that is not a regular file."""
    check_path(path)
    # This comes before opening, because to open a pipe waits for a writer.
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a signal; give the path of a file.")
    if file.exists() and not file.is_file():
        raise UnreadableSignalError(f"{path}: it is no regular file; give the path of a signal.")
    if not file.exists():
        raise FileNotFoundError(f"There is no file {path}.")


def _check_suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in SIGNAL_SUFFIXES:
        known = ", ".join(sorted(SIGNAL_SUFFIXES))
        raise ValueError(f"The name of {path} must end in one of {known}, got {suffix!r}.")
    return suffix


def _refuse_images(stream: BinaryIO) -> None:
    """Refuse an image under the name of a signal."""
    name = find_format_name(stream)
    if name:
        raise UnreadableError(
            f"it is an image ({name}); give it the suffix of its format, and use read_image"
        )
    stream.seek(0)


def write_signal(path: str | os.PathLike[str], recording: Recording) -> None:
    """Write a recording to a CSV, TSV, TXT, NPY, WAV, EDF or BDF file.

    A recording that `read_signal` returned keeps what its file holds besides, if the format stays: text files
    keep header, comments, delimiter, decimal sign, line ends and all other columns; WAV keeps bits and title;
    NPY keeps its type; EDF keeps patient, annotations, ranges and other signals. Text gets as many decimals
    as the values need. Integers are rounded.

    The file is written completely or not at all: after a failure an existing file is unchanged.

    Parameters
    ----------
    path : path-like
        Path of the file. Its suffix decides on the format.
    recording : Recording
        The signal; finite values.

    Raises
    ------
    ValueError
        If the suffix is unknown, values are not finite, or the format cannot hold the recording: WAV and EDF
        need a sampling rate.
    TypeError
        If ``recording`` is an array.
    FileNotFoundError, IsADirectoryError
        If the folder does not exist, or ``path`` is a folder.
    MissingExtraError
        If the package of the extra ``signals`` is missing for an EDF or BDF file.

    Warns
    -----
    UserWarning
        If values are clipped to the range of the file.

    See Also
    --------
    read_signal : Read a recording.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sk_denoise.io import Recording, read_signal, write_signal
    >>> tone = np.sin(np.arange(800) / 5).astype(np.float32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_signal(Path(folder) / "tone.wav", Recording(tone, 8000.0))
    ...     read = read_signal(Path(folder) / "tone.wav")
    >>> bool((read.values == tone).all()), read.sampling_rate
    (True, 8000.0)
    """
    if not isinstance(recording, Recording):
        raise TypeError(
            f"recording must be a Recording, got {type(recording).__name__}; for an array, write "
            "Recording(values, sampling_rate)."
        )
    check_path(path)
    suffix = _check_suffix(path)
    values = np.asarray(recording.values)
    if values.ndim not in (1, 2) or not values.size or values.dtype.kind not in "iuf":
        raise ValueError(
            "values must be numbers of shape (length,) or (channels, length), got "
            f"{values.dtype} of shape {values.shape}."
        )
    for name in ("channel_names", "units"):
        if len(getattr(recording, name)) not in (0, recording.n_channels):
            raise ValueError(f"{name} must have one entry for each of {recording.n_channels} channels.")
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: the signal holds NaN or infinite values; replace them by numbers.")
    destination = resolve_destination(path)
    pieces: Iterable[bytes]
    if suffix in TEXT_SUFFIXES:
        pieces = encode_columns(recording, suffix)
    elif suffix in EDF_SUFFIXES:
        pieces = encode_edf(recording, suffix)
    else:
        pieces = encode_wav(recording) if suffix == ".wav" else encode_npy(recording)
    replace_file(destination, pieces)
