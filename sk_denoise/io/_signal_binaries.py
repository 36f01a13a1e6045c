"""Signals in binary files: WAV, NPY, and EDF and BDF of the extra ``signals``."""

from __future__ import annotations

import math
import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise._package import require_extra
from sk_denoise.io._header import TRUNCATED, Recording, UnreadableError, read_exactly

__all__ = ["decode_edf", "decode_npy", "decode_wav", "encode_edf", "encode_npy", "encode_wav"]

# WAV: codes of the sample formats that are read, and names of others.
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
OTHER_CODINGS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "ADPCM", 85: "MP3"}
SAMPLE_TYPES = {(PCM, 8): "u1", (PCM, 16): "<i2", (PCM, 32): "<i4", (FLOAT, 32): "<f4", (FLOAT, 64): "<f8"}
MAX_WAV_BYTES = 2**32 - 2**16
# Chunks with title, artist and time, which a denoised file keeps. Cues and peaks belong to the samples.
KEPT_CHUNKS, MAX_CHUNK = (b"LIST", b"bext", b"iXML"), 2**16
MAX_CHUNKS = 1000
# Samples that are rounded and written at once.
BLOCK = 2**20
# EDF: bytes of the fixed header, and of the header of a signal.
EDF_HEADER = 256


# WAV -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WavTemplate:
    """Format of the samples of a WAV file, and the chunks to keep.

    Attributes
    ----------
    coding : int
        PCM or FLOAT.
    bits : int
        Bits of a sample.
    chunks : tuple of (bytes, bytes)
        Names and contents of further chunks.
    """

    coding: int
    bits: int
    chunks: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def limits(self) -> tuple[int, int] | None:
        """Smallest and largest sample, None for floats."""
        if self.coding == FLOAT:
            return None
        return (0, 255) if self.bits == 8 else (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1)


def decode_wav(stream: BinaryIO, max_values: int) -> Recording:
    """Return the samples of a WAV file in their own type, 24 bits in int32."""
    start = read_exactly(stream, 12)
    if start[:4] == b"RF64":
        raise UnreadableError(
            "it is a WAV file of more than 4 GB (RF64), which is not read; cut it into parts"
        )
    if start[:4] != b"RIFF" or start[8:] != b"WAVE":
        raise UnreadableError("it is no WAV file; give it the suffix of its format")
    size = stream.seek(0, 2)
    position, form, kept = 12, b"", []
    for _ in range(MAX_CHUNKS):
        stream.seek(position)
        name, length = struct.unpack("<4sI", read_exactly(stream, 8))
        position += 8
        if name == b"data":
            break
        if name == b"fmt ":
            form = read_exactly(stream, min(length, 40))
        elif name in KEPT_CHUNKS and length <= MAX_CHUNK:
            kept.append((name, read_exactly(stream, length)))
        # Chunks have an even number of bytes.
        position += length + length % 2
    else:
        raise UnreadableError(f"it has more than {MAX_CHUNKS} chunks and no samples")
    if len(form) < 16:
        raise UnreadableError("its samples have no format; copy the file again from where it came")
    if position + length > size:
        raise UnreadableError(
            f"its header claims {length} bytes of samples, and {size - position} follow: the file is cut "
            "off, or was written into a pipe; copy or convert it again"
        )
    coding, n_channels, rate, _, width, bits = struct.unpack("<HHIIHH", form[:16])
    if coding == EXTENSIBLE and len(form) >= 26:
        (coding,) = struct.unpack("<H", form[24:26])
    if (coding, bits) not in SAMPLE_TYPES and (coding, bits) != (PCM, 24):
        kind = OTHER_CODINGS.get(coding, f"samples of coding {coding} and {bits} bits")
        raise UnreadableError(f"{kind} is not read; convert the file to PCM of 16 or 24 bits, or to floats")
    if not n_channels >= 1 or width != n_channels * bits // 8 or not rate:
        raise UnreadableError("its header is damaged; copy the file again from where it came")
    n_samples = length // width
    _check_size(n_samples * n_channels, max_values)
    stream.seek(position)
    samples = _decode_samples(read_exactly(stream, n_samples * width), coding, bits)
    values = np.ascontiguousarray(samples.reshape(n_samples, n_channels).T)
    return Recording(
        values[0] if n_channels == 1 else values,
        float(rate),
        template=WavTemplate(coding, bits, tuple(kept)),
    )


def _check_size(n_values: int, max_values: int) -> None:
    if n_values < 1:
        raise UnreadableError("it holds no sample; copy it again from where it came")
    if n_values > max_values:
        raise UnreadableError(
            f"it claims {n_values} values, more than the limit of {max_values}; pass max_values= if they are "
            "right"
        )


def _decode_samples(data: bytes, coding: int, bits: int) -> NDArray[Any]:
    if bits != 24:
        return np.frombuffer(data, SAMPLE_TYPES[coding, bits])
    # The three bytes become the upper ones of 32 bits, and the shift keeps the sign.
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return wide.view("<i4")[:, 0] >> 8


def encode_wav(recording: Recording) -> Iterator[bytes]:
    """Yield a WAV file in blocks; warn of values that are clipped."""
    rate = recording.sampling_rate
    if rate is None or not float(rate).is_integer() or not 1 <= rate < 2**32:
        raise ValueError(
            f"WAV needs a sampling rate of whole samples per second, got {rate}; pass a recording with a "
            "sampling_rate, or write CSV or NPY."
        )
    values = np.atleast_2d(recording.values)
    template = recording.template if isinstance(recording.template, WavTemplate) else _choose_format(values)
    width = len(values) * template.bits // 8
    length = values.shape[1] * width
    if length > MAX_WAV_BYTES or len(values) > 2**16 - 1:
        raise ValueError(f"WAV holds at most 4 GB, got {length} bytes; cut the recording, or write NPY.")
    _warn_of_clipping(values, template.limits)
    form = struct.pack(
        "<HHIIHH", template.coding, len(values), int(rate), int(rate) * width, width, template.bits
    )
    chunks = [(b"fmt ", form), *template.chunks]
    total = sum(8 + len(content) + len(content) % 2 for _, content in chunks) + 12 + length + length % 2
    yield struct.pack("<4sI4s", b"RIFF", total, b"WAVE")
    for name, content in chunks:
        yield struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)
    yield struct.pack("<4sI", b"data", length)
    for start in range(0, values.shape[1], BLOCK):
        yield _encode_samples(values[:, start : start + BLOCK].T, template)
    yield b"\0" * (length % 2)


def _choose_format(values: NDArray[Any]) -> WavTemplate:
    """Return the format of samples for an array."""
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 4 and values.dtype.name != "uint32":
        bits = {"int8": 16, "uint8": 8, "int16": 16, "uint16": 32, "int32": 32}[values.dtype.name]
        return WavTemplate(PCM, bits)
    return WavTemplate(FLOAT, 64 if values.dtype == np.float64 else 32)


def _warn_of_clipping(values: NDArray[Any], limits: tuple[float, float] | None) -> None:
    """Warn of values that lie beyond the limits of the file."""
    if limits is None:
        return
    # Half a step beyond the limit is rounded to it.
    n_clipped = int(np.count_nonzero((values < limits[0] - 0.5) | (values >= limits[1] + 0.5)))
    if n_clipped:
        warnings.warn(
            f"{n_clipped} of {values.size} values are beyond the range of the file, {limits[0]} to "
            f"{limits[1]}, and are clipped.",
            UserWarning,
            stacklevel=2,
        )


def _encode_samples(samples: NDArray[Any], template: WavTemplate) -> bytes:
    if template.limits is None:
        return samples.astype(SAMPLE_TYPES[FLOAT, template.bits]).tobytes()
    # Single precision cannot hold the limits of 32 bits.
    whole = np.clip(np.rint(samples.astype(np.float64)), *template.limits)
    if template.bits != 24:
        return whole.astype(SAMPLE_TYPES[PCM, template.bits]).tobytes()
    return np.ascontiguousarray(whole).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


# NPY -----------------------------------------------------------------------------------------------------


def decode_npy(stream: BinaryIO, max_values: int) -> Recording:
    """Return the array of an NPY file; its header is compared with its size."""
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read_header(stream)
    except (ValueError, KeyError, SyntaxError, TypeError) as error:
        raise UnreadableError(
            f"it is no array of NumPy, or its header is damaged ({error}); save it by numpy.save"
        ) from error
    if dtype.hasobject:
        raise UnreadableError(
            "it holds pickled Python objects, which are not loaded; save an array of numbers"
        )
    if dtype.kind not in "iuf":
        raise UnreadableError(f"it holds values of type {dtype}, and signals are integers or floats")
    if len(shape) not in (1, 2):
        raise UnreadableError(
            f"it has the shape {shape}; a recording is (length,) or (channels, length). Save signals of a "
            "larger array as files of their own"
        )
    n_values = math.prod(shape)
    position = stream.tell()
    if n_values * dtype.itemsize > stream.seek(0, 2) - position:
        raise UnreadableError(f"its header claims {n_values} values of {dtype}; {TRUNCATED}")
    _check_size(n_values, max_values)
    stream.seek(0)
    values = np.lib.format.read_array(stream, allow_pickle=False)
    if values.ndim == 2 and len(values) > values.shape[1]:
        warnings.warn(
            f"The array has {len(values)} channels of {values.shape[1]} samples: time is the last axis. "
            "If the channels are columns, save the array transposed.",
            UserWarning,
            stacklevel=2,
        )
    return Recording(np.ascontiguousarray(values, values.dtype.newbyteorder("=")), template=values.dtype)


def encode_npy(recording: Recording) -> Iterator[bytes]:
    """Yield an NPY file in the type of its source."""
    values = recording.values
    dtype = recording.template
    if isinstance(dtype, np.dtype):
        if dtype.kind != "f":
            limits = np.iinfo(dtype)
            _warn_of_clipping(values, (int(limits.min), int(limits.max)))
            # The largest integers of 64 bits have no float, so the limits are those of the floats below.
            if values.dtype.kind == "f":
                values = np.rint(values).clip(limits.min, np.nextafter(float(limits.max) + 1, 0))
        values = values.astype(dtype)
    stream = BytesIO()
    np.lib.format.write_array(stream, values, allow_pickle=False)
    yield stream.getvalue()


# EDF and BDF ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EdfTemplate:
    """File of EDF or BDF, and the indices of its signals that are read.

    Attributes
    ----------
    file : edfio.Edf or edfio.Bdf
        The file with patient, annotations and all signals.
    indices : tuple of int
        Indices of the channels in its signals.
    """

    file: Any
    indices: tuple[int, ...]


def decode_edf(
    stream: BinaryIO, columns: Sequence[str | int] | None, max_values: int, suffix: str
) -> Recording:
    """Return the signals of an EDF or BDF file in their physical unit."""
    require_extra("Reading an EDF or BDF file", "signals")
    import edfio

    _check_edf_header(stream, max_values)
    stream.seek(0)
    read = edfio.read_bdf if suffix == ".bdf" else edfio.read_edf
    file = read(stream.read())
    signals = file.signals
    indices = _choose_signals(signals, columns)
    rates = {signals[i].sampling_frequency for i in indices}
    if len(rates) > 1:
        groups = "; ".join(
            f"{rate:g} Hz: "
            + ", ".join(signals[i].label for i in indices if signals[i].sampling_frequency == rate)
            for rate in sorted(rates)
        )
        raise UnreadableError(
            f"its signals have different sampling rates ({groups}); choose those of one rate with columns"
        )
    values = np.stack([signals[i].data for i in indices])
    return Recording(
        values[0] if len(values) == 1 else values,
        # Samples of a record over its duration are rounded.
        float(f"{rates.pop():.9g}"),
        tuple(signals[i].label for i in indices),
        tuple(signals[i].physical_dimension for i in indices),
        EdfTemplate(file, indices),
    )


def _check_edf_header(stream: BinaryIO, max_values: int) -> None:
    """Compare the sizes in the header with that of the file."""
    stream.seek(0)
    header = read_exactly(stream, EDF_HEADER)
    try:
        n_signals, n_records = int(header[252:256]), int(header[236:244])
        if not 1 <= n_signals <= 9999 or n_records < 1:
            raise ValueError(f"{n_signals} signals, {n_records} records")
        fields = read_exactly(stream, EDF_HEADER * n_signals)
        counts = [
            int(fields[216 * n_signals + 8 * i : 216 * n_signals + 8 * i + 8]) for i in range(n_signals)
        ]
    except ValueError as error:
        raise UnreadableError(f"it is no EDF or BDF file, or its header is damaged ({error})") from error
    if b"+D" in header[192:236]:
        raise UnreadableError(
            "it has interruptions (EDF+D), which a signal cannot have; export parts without"
        )
    n_values = n_records * sum(counts)
    n_bytes = n_values * (3 if header[:1] == b"\xff" else 2)
    if min(counts) < 1 or n_bytes > stream.seek(0, 2) - EDF_HEADER * (n_signals + 1):
        raise UnreadableError(f"its header claims {n_values} values; {TRUNCATED}")
    _check_size(n_values, max_values)


def _choose_signals(signals: Sequence[Any], columns: Sequence[str | int] | None) -> tuple[int, ...]:
    """Return the indices of signals that are given by label or by number from 0."""
    if not signals:
        raise UnreadableError("it holds annotations alone, and no signal")
    if columns is None:
        return tuple(range(len(signals)))
    indices = []
    for column in columns:
        matches = [i for i, signal in enumerate(signals) if signal.label == str(column)]
        if not matches and re.fullmatch(r"\d+", str(column)) and int(column) < len(signals):
            matches = [int(column)]
        if len(matches) != 1 or matches[0] in indices:
            known = ", ".join(signal.label for signal in signals)
            raise UnreadableError(f"columns must name each signal once, got {column!r}; known are {known}")
        indices += matches
    return tuple(indices)


def encode_edf(recording: Recording, suffix: str) -> Iterator[bytes]:
    """Yield an EDF or BDF file; warn of values that are clipped."""
    require_extra("Writing an EDF or BDF file", "signals")
    import edfio

    # The two formats have the same classes under other names.
    kinds: Any = (edfio.Bdf, edfio.BdfSignal) if suffix == ".bdf" else (edfio.Edf, edfio.EdfSignal)
    kind, signal_kind = kinds
    values = np.atleast_2d(recording.values).astype(np.float64)
    template = recording.template
    if isinstance(template, EdfTemplate) and isinstance(template.file, kind):
        file = template.file.copy()
        for i, channel in zip(template.indices, values, strict=True):
            limits = file.signals[i].physical_range
            low, high = min(limits), max(limits)
            step = (high - low) / (file.signals[i].digital_max - file.signals[i].digital_min)
            if (channel < low - step / 2).any() or (channel > high + step / 2).any():
                _warn_of_clipping(channel, (low, high))
            file.signals[i].update_data(channel.clip(low, high), keep_physical_range=True)
        yield file.to_bytes()
        return
    if recording.sampling_rate is None:
        raise ValueError("EDF needs a sampling rate; pass a recording with a sampling_rate.")
    names = recording.channel_names or [f"channel {i + 1}" for i in range(len(values))]
    units = recording.units or [""] * len(values)
    signals = [
        signal_kind(channel, recording.sampling_rate, label=name[:16], physical_dimension=unit[:8])
        for channel, name, unit in zip(values, names, units, strict=True)
    ]
    yield kind(signals, data_record_duration=_record_duration(recording)).to_bytes()


def _record_duration(recording: Recording) -> float:
    """Return the seconds of a record, of which the signal has a whole number."""
    # Records of a second are usual. Others have the most samples within a second that divide the length.
    assert recording.sampling_rate is not None
    most = max(1, math.floor(recording.sampling_rate))
    size = next(size for size in range(most, 0, -1) if recording.length % size == 0)
    return size / recording.sampling_rate
