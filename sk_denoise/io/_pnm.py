"""PNM files: PBM, PGM and PPM, binary and as text, written in binary."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io._header import DAMAGED, TRUNCATED, Header, Metadata, UnreadableError, read_exactly

__all__ = ["decode", "encode", "read_header"]

# Letter P and digit; then numbers between spaces and comments, which end with one space before the pixels.
TOKEN = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*(\d+)")
HEADER_BYTES = 2**14
# Kinds by the digit: truth values, gray, colours, first as text and then in binary.
BITS, COLORS, IS_TEXT = (1, 4), (3, 6), (1, 2, 3)
MAX_WHITE = 65_535
# Bytes of text that are split at a time: a list of numbers takes many times their memory.
TEXT_BYTES = 2**20
MAX_DIGITS = 10


def _read_start(stream: BinaryIO) -> tuple[int, int, int, int, int]:
    """Return kind, width, height, largest value and the position of the pixels."""
    stream.seek(0)
    start = stream.read(HEADER_BYTES)
    kind, position = int(start[1:2]), 2
    numbers = []
    for _ in range(2 if kind in BITS else 3):
        match = TOKEN.match(start, position)
        if match is None or len(match[1]) > 10:
            raise UnreadableError(DAMAGED)
        numbers.append(int(match[1]))
        position = match.end()
    width, height, white = (*numbers, 1)[:3]
    if not 1 <= white <= MAX_WHITE:
        raise UnreadableError(DAMAGED)
    return kind, width, height, white, position + 1


def read_header(stream: BinaryIO) -> Header:
    """Read the size, and whether more images follow."""
    kind, width, height, white, position = _read_start(stream)
    frames = 1
    # Numbers stand between spaces, apart from those of bitmaps, so a few bytes cannot hold many.
    if kind in IS_TEXT:
        n_values = width * height * (3 if kind in COLORS else 1)
        if stream.seek(0, 2) - position < (n_values if kind in BITS else 2 * n_values - 1):
            raise UnreadableError(TRUNCATED)
    else:
        end = position + _row_bytes(kind, width, white) * height
        if end > stream.seek(0, 2):
            raise UnreadableError(TRUNCATED)
        stream.seek(end)
        frames += bool(re.match(rb"\s*P[1-6][\s#]", stream.read(16)))
    return Header(height, width, frames=frames)


def _row_bytes(kind: int, width: int, white: int) -> int:
    if kind in BITS:
        return -(-width // 8)
    return width * (3 if kind in COLORS else 1) * (2 if white > 255 else 1)


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Decode the pixels to gray or RGB of 8 or 16 bits."""
    kind, width, height, white, position = _read_start(stream)
    shape = (height, width, 3) if kind in COLORS else (height, width)
    stream.seek(position)
    if kind in IS_TEXT:
        values = _read_text(stream, kind, math.prod(shape), white).reshape(shape)
    elif kind in BITS:
        data = read_exactly(stream, height * _row_bytes(kind, width, white))
        rows = np.frombuffer(data, np.uint8).reshape(height, -1)
        values = np.unpackbits(rows, axis=1)[:, :width]
    else:
        dtype = np.dtype(np.uint8 if white <= 255 else ">u2")
        data = read_exactly(stream, math.prod(shape) * dtype.itemsize)
        values = np.frombuffer(data, dtype).reshape(shape)
    if kind in BITS:
        # Bitmaps have ink where the bit is set.
        bits: NDArray[np.uint8] = (1 - values.astype(np.uint8)) * np.uint8(255)
        return bits
    if white > 255:
        return values.astype(np.uint16)
    if white < 255:
        values = (values.astype(np.uint16) * 255 + white // 2) // white
    eight_bits: NDArray[np.uint8] = np.clip(values, 0, 255).astype(np.uint8)
    return eight_bits


def _read_text(stream: BinaryIO, kind: int, n_values: int, white: int) -> NDArray[Any]:
    values = np.empty(n_values, np.uint8 if white <= 255 else np.uint16)
    n_read = 0
    for block in _text_blocks(stream):
        if kind in BITS:
            # The digits of a bitmap may stand without spaces.
            digits = np.frombuffer(block, np.uint8)
            numbers = digits[(digits == ord("0")) | (digits == ord("1"))][: n_values - n_read] - ord("0")
        else:
            parts = block.split()[: n_values - n_read]
            if max(map(len, parts), default=0) > MAX_DIGITS:
                raise UnreadableError(DAMAGED)
            numbers = np.fromiter(map(int, parts), np.int64, len(parts))
        if numbers.min(initial=0) < 0 or numbers.max(initial=0) > white:
            raise UnreadableError(DAMAGED)
        values[n_read : n_read + len(numbers)] = numbers
        n_read += len(numbers)
        if n_read == n_values:
            return values
    raise UnreadableError(TRUNCATED)


def _text_blocks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield text without comments, cut between numbers."""
    rest, is_comment = b"", False
    while data := stream.read(TEXT_BYTES):
        # A comment may go on in the next block.
        if is_comment:
            end = re.search(rb"[\n\r]", data)
            if end is None:
                continue
            data, is_comment = data[end.start() :], False
        text = re.sub(rb"#[^\n\r]*", b"", rest + data)
        is_comment = b"#" in data and re.search(rb"#[^\n\r]*\Z", data) is not None
        cut = max(text.rfind(space) for space in (b" ", b"\n", b"\t", b"\r")) + 1
        # Bitmaps may have no spaces, and their digits may be cut anywhere.
        block, rest = (text[:cut], text[cut:]) if cut else (text, b"")
        yield block
    yield rest


def encode(image: NDArray[Any], metadata: Metadata, quality: int) -> bytes:
    """Encode gray or RGB; ``metadata`` and ``quality`` have no effect."""
    white = 255 if image.dtype == np.uint8 else MAX_WHITE
    height, width = image.shape[:2]
    start = f"P{5 if image.ndim == 2 else 6}\n{width} {height}\n{white}\n".encode()
    return start + image.astype(image.dtype.newbyteorder(">")).tobytes()
