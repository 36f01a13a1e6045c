"""Signals in text files of columns: CSV, TSV and their European kinds."""

from __future__ import annotations

import codecs
import itertools
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io._header import Recording, UnreadableError

__all__ = ["decode_columns", "encode_columns"]

# Longest line in bytes. A longer one is no row of channels, and would be split into millions of cells.
MAX_LINE = 2**20
# First lines from which delimiter, header and columns are found.
N_SNIFFED = 200
# Files of one row and many columns hold signals in rows.
MAX_CHANNELS_OF_SHORT_FILES = 16
COMMENTS = ("#", "%", "//")
# Delimiters with their decimal signs. None is any white space. The first of equally good ones is taken.
DIALECTS = (("\t", "."), ("\t", ","), (";", "."), (";", ","), (",", "."), (None, "."), (None, ","))
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
GAPS = frozenset(
    ("", "nan", "na", "n/a", "null", "none", "-", "inf", "-inf", "+inf", "#n/a", "#nv", "#wert!")
)
UNIT_IN_NAME = re.compile(r"(?P<name>.*?)\s*[\[(](?P<unit>[^\])]*)[\])]\s*")
TIME_NAME = re.compile(
    r"(elapsed[ _]|relative[ _])?(time|t|zeit|temps|tiempo|seconds?|secs?|sekunden)", re.IGNORECASE
)
# Seconds of a unit, in names such as "time (ms)" or "t_ms".
SECONDS = {
    "": 1.0, "s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6,
    "ns": 1e-9, "min": 60.0, "h": 3600.0,
}  # fmt: skip
# Written values differ from computed ones by at most this share of their standard deviation.
RELATIVE_RESOLUTION = 1e-4
MAX_DECIMALS = 17
# A column without a name is an axis if it rises or falls in all of at least so many rows.
MIN_AXIS_ROWS = 8
# Bytes of a number in a text. A larger file than this allows is refused.
MAX_BYTES_PER_VALUE = 32


@dataclass(frozen=True)
class TextTemplate:
    """Text of a file with the signal in some of its columns.

    Attributes
    ----------
    content : bytes
        The whole file.
    encoding : str
        Encoding of the content.
    file_encoding : str
        Encoding of the file, another one for UTF-16.
    delimiter : str or None
        Sign between cells; None is white space.
    decimal : str
        Decimal sign.
    first_row : int
        Number of lines before the first row of numbers.
    columns : tuple of int
        Columns of the signal.
    """

    content: bytes = field(repr=False)
    encoding: str
    file_encoding: str
    delimiter: str | None
    decimal: str
    first_row: int
    columns: tuple[int, ...]

    def iterate_lines(self) -> Iterator[str]:
        """Yield all lines with their ends."""
        with BytesIO(self.content) as stream:
            for line in stream:
                yield line.decode(self.encoding)

    def iterate_rows(self) -> Iterator[tuple[int, str]]:
        """Yield number and text of each line of numbers."""
        for number, line in enumerate(self.iterate_lines(), 1):
            if number > self.first_row and not _is_comment(line):
                yield number, line


# Reading -------------------------------------------------------------------------------------------------


def decode_columns(
    stream: BinaryIO, columns: Sequence[str | int] | None, sampling_rate: float | None, max_values: int
) -> Recording:
    """Return the numeric columns of a text file as channels."""
    content, encoding, file_encoding = _read_text(stream, max_values)
    template, names, units = _find_dialect(content, encoding, file_encoding)
    axis = _find_axis_candidate(template.columns, names)
    chosen = template.columns if columns is None else _choose_columns(columns, template.columns, names)
    # The axis is read with the channels, and is one of them if it does not rise or fall steadily.
    read = tuple(dict.fromkeys((*chosen, *(() if axis is None else (axis,)))))
    table = _read_numbers(template, read, max_values)
    rate = None
    if axis is not None and (columns is None or axis not in chosen):
        times = table[:, read.index(axis)]
        if _is_axis(times, names[axis]):
            chosen = tuple(column for column in chosen if column != axis)
            rate = _find_rate(times, names[axis], units[axis], _count_decimals(template, axis))
    values = np.ascontiguousarray(table[:, [read.index(column) for column in chosen]].T)
    _check_orientation(values, template)
    return Recording(
        values[0] if len(values) == 1 else values,
        rate if sampling_rate is None else sampling_rate,
        tuple(names[column] for column in chosen) if any(names) else (),
        tuple(units[column] for column in chosen) if any(units) else (),
        replace(template, columns=chosen),
    )


def _read_text(stream: BinaryIO, max_values: int) -> tuple[bytes, str, str]:
    """Return the content of a text file, its encoding, and that of the file."""
    size = stream.seek(0, 2)
    stream.seek(0)
    if size > MAX_BYTES_PER_VALUE * max_values:
        raise UnreadableError(
            f"it has {size} bytes, too many for the limit of {max_values} values; pass max_values= if they "
            "are right"
        )
    start = stream.read(MAX_LINE + 1)
    if not start.strip():
        raise UnreadableError("the file is empty; copy it again from where it came")
    is_utf16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in start[:4096] and not is_utf16:
        raise UnreadableError("it is no text; give it the suffix of its format, or export it as CSV")
    # The line is refused before the rest of the file takes memory.
    if len(start) > MAX_LINE and b"\n" not in start:
        raise UnreadableError(
            f"its first line has more than {MAX_LINE} bytes; a row holds one value of each channel"
        )
    content = start + stream.read()
    if is_utf16:
        return content.decode("utf-16").encode(), "utf-8", "utf-16"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        # Windows-1252, in which spreadsheets write the signs of micro and degree; bytes without a sign stay.
        return content, "latin-1", "latin-1"
    return content, "utf-8", "utf-8"


def _find_dialect(
    content: bytes, encoding: str, file_encoding: str
) -> tuple[TextTemplate, list[str], list[str]]:
    """Return the template with all numeric columns, and names and units of columns."""
    text = content if len(content) < MAX_LINE else content[:MAX_LINE].rpartition(b"\n")[0]
    lines = text.decode(encoding, "replace").removeprefix("\ufeff").splitlines()[:N_SNIFFED]
    rows = [line for line in lines if line.strip() and not _is_comment(line)]
    scores = [_score_dialect(rows, *dialect) for dialect in DIALECTS]
    if not max(scores):
        raise UnreadableError(
            "no column of numbers is found in its first lines; a signal file has a row for each sample and a "
            "column for each channel"
        )
    delimiter, decimal = DIALECTS[scores.index(max(scores))]
    n_cells = len(_split(rows[-1], delimiter))
    cells = [_split(line, delimiter) for line in lines]
    full = [
        row for row, line in zip(cells, lines, strict=True) if len(row) == n_cells and not _is_comment(line)
    ]
    tail = full[-max(1, len(full) // 2) :]
    numeric = [
        i
        for i in range(n_cells)
        if any(_is_number(row[i], decimal) for row in full)
        and all(_is_number(row[i], decimal) or _is_gap(row[i]) for row in tail)
    ]
    if not numeric:
        raise UnreadableError("no column holds numbers alone; export the signal as numbers")
    first_row = next(
        number
        for number, (line, row) in enumerate(zip(lines, cells, strict=True))
        if not _is_comment(line) and _is_row_of_numbers(row, numeric, n_cells, decimal)
    )
    header = [
        [cell.lstrip("".join(COMMENTS) + " ") for cell in _split(line.lstrip("#%/ "), delimiter)]
        for line in lines[:first_row]
    ]
    template = TextTemplate(content, encoding, file_encoding, delimiter, decimal, first_row, tuple(numeric))
    return template, *_name_columns([row for row in header if len(row) == n_cells], n_cells)


def _score_dialect(rows: Sequence[str], delimiter: str | None, decimal: str) -> int:
    """Return the number of numeric cells in the last rows, 0 for ragged ones."""
    tail = [_split(row, delimiter) for row in rows[-max(1, len(rows) // 2) :]]
    if not tail or len({len(row) for row in tail}) > 1:
        return 0
    # Two whole numbers, the second of which begins with 0, are one number with a decimal comma.
    if delimiter == "," and len(tail[0]) == 2 and any(re.fullmatch(r"0\d+", row[1]) for row in tail):
        return 0
    numbers = sum(_is_number(cell, decimal) for row in tail for cell in row)
    has_delimiter = delimiter is None or len(tail[0]) > 1
    return numbers if has_delimiter else 0


def _is_row_of_numbers(row: Sequence[str], numeric: Sequence[int], n_cells: int, decimal: str) -> bool:
    if len(row) != n_cells:
        return False
    numbers = [_is_number(row[i], decimal) for i in numeric]
    return any(numbers) and all(
        is_number or _is_gap(row[i]) for is_number, i in zip(numbers, numeric, strict=True)
    )


def _is_comment(line: str) -> bool:
    return line.lstrip("\ufeff \t").startswith(COMMENTS)


def _is_number(cell: str, decimal: str) -> bool:
    if decimal == "," and "." in cell:
        return False
    return NUMBER.fullmatch(cell.replace(decimal, ".")) is not None


def _is_gap(cell: str) -> bool:
    return cell.lower() in GAPS


def _find_cells(line: str, delimiter: str | None) -> list[tuple[int, int]]:
    """Return start and end of each cell, without quotes and spaces around it."""
    if delimiter is None:
        return [match.span() for match in re.finditer(r"\S+", line)]
    text = line.rstrip("\r\n")
    # Delimiters within quotes are text, and do not count.
    bare = re.sub(r'"[^"]*"', lambda match: "x" * len(match[0]), text) if '"' in text else text
    spans, start = [], 0
    for cell in bare.split(delimiter):
        end = start + len(cell)
        content = text[start:end]
        left = len(content) - len(content.lstrip(' "'))
        spans.append((start + left, max(start + left, start + len(content.rstrip(' "')))))
        start = end + 1
    return spans


def _split(line: str, delimiter: str | None) -> list[str]:
    return [line[start:end] for start, end in _find_cells(line, delimiter)]


def _name_columns(header: Sequence[Sequence[str]], n_cells: int) -> tuple[list[str], list[str]]:
    """Return names and units of columns from the rows above the numbers."""
    # Some instruments write a row of units below that of the names.
    has_units = len(header) > 1 and all(len(cell.strip("[]()")) <= 6 for cell in header[-1])
    names = list(header[-2 if has_units else -1]) if header else [""] * n_cells
    units = [cell.strip("[]()") for cell in header[-1]] if has_units else [""] * n_cells
    for i, name in enumerate(names):
        match = UNIT_IN_NAME.fullmatch(name)
        if match and not units[i]:
            names[i], units[i] = match["name"], match["unit"]
        elif name.rpartition("_")[2] in SECONDS and TIME_NAME.fullmatch(name.rpartition("_")[0]):
            names[i], _, units[i] = name.rpartition("_")
    return names, units


def _choose_columns(
    columns: Sequence[str | int], numeric: Sequence[int], names: Sequence[str]
) -> tuple[int, ...]:
    """Return the indices of columns that are given by name or by number from 0."""
    known = ", ".join(f"{i} {names[i]!r}" if names[i] else str(i) for i in numeric)
    chosen = []
    for column in columns:
        text = str(column)
        matches = [i for i in numeric if names[i] == text] if not isinstance(column, int) else []
        if not matches and re.fullmatch(r"\d+", text) and int(text) in numeric:
            matches = [int(text)]
        if len(matches) != 1:
            problem = f"{len(matches)} columns are called" if matches else "there is no column of numbers"
            raise UnreadableError(f"{problem} {column!r}; known are {known}")
        chosen += matches
    if len(set(chosen)) < len(chosen) or not chosen:
        raise UnreadableError(
            f"columns must name each channel once, got {list(columns)!r}; known are {known}"
        )
    return tuple(chosen)


def _read_numbers(template: TextTemplate, columns: tuple[int, ...], max_values: int) -> NDArray[np.float64]:
    """Return the numbers of columns, one row for each line."""
    n_lines = template.content.count(b"\n") + 1
    if n_lines * len(columns) > max_values:
        raise UnreadableError(
            f"it has {n_lines} lines and {len(columns)} columns, more than the limit of {max_values} values; "
            "pass max_values= if they are right"
        )

    def iterate_texts() -> Iterator[str]:
        for number, line in template.iterate_rows():
            if len(line) > MAX_LINE:
                raise UnreadableError(f"line {number} has more than {MAX_LINE} letters")
            # The reader of numpy takes no spaces before a quote, and no decimal comma.
            if '"' in line and template.delimiter is not None:
                cells = _split(line, template.delimiter)
                line = template.delimiter.join(cell.replace(template.delimiter, "") for cell in cells)
            yield line.replace(",", ".") if template.decimal == "," else line

    try:
        table = np.loadtxt(
            iterate_texts(),
            delimiter=template.delimiter,
            comments=None,
            usecols=columns,
            ndmin=2,
        )
    except ValueError as error:
        raise UnreadableError(_locate_problem(template, columns) or str(error)) from error
    if not np.isfinite(table).all():
        raise UnreadableError(_locate_problem(template, columns))
    return table


def _locate_problem(template: TextTemplate, columns: Sequence[int]) -> str:
    """Return place and kind of the first cell that is no number."""
    for number, line in template.iterate_rows():
        if not line.strip():
            continue
        cells = _split(line, template.delimiter)
        for column in columns:
            if column >= len(cells):
                return f"line {number} has {len(cells)} cells, and column {column + 1} is missing"
            cell = cells[column]
            if _is_gap(cell):
                return (
                    f"line {number} has a gap in column {column + 1} ({cell!r}); fill gaps first, by "
                    "numpy.interp for example, or cut the signal there"
                )
            if not _is_number(cell, template.decimal):
                return f"line {number} has {cell!r:.40} in column {column + 1}, where a number was expected"
    return ""


# Axes ----------------------------------------------------------------------------------------------------


def _find_axis_candidate(numeric: Sequence[int], names: Sequence[str]) -> int | None:
    """Return the column that may hold times or another axis."""
    if len(numeric) < 2:
        return None
    return next((i for i in numeric if TIME_NAME.fullmatch(names[i])), numeric[0])


def _is_axis(values: NDArray[np.float64], name: str) -> bool:
    """Return whether numbers rise or fall throughout."""
    steps = np.diff(values)
    # Times of few decimals may repeat.
    if TIME_NAME.fullmatch(name):
        return bool(len(steps)) and bool((steps >= 0).all()) and values[-1] > values[0]
    return len(values) >= MIN_AXIS_ROWS and bool((steps > 0).all() or (steps < 0).all())


def _find_rate(times: NDArray[np.float64], name: str, unit: str, decimals: int) -> float | None:
    """Return the samples per second of a column of times, None without one."""
    duration = times[-1] - times[0]
    step = duration / (len(times) - 1)
    is_time = TIME_NAME.fullmatch(name) is not None
    # Rows are numbered, or the axis is that of a spectrum.
    if (not is_time and (name or step == 1)) or duration <= 0 or (unit and unit.lower() not in SECONDS):
        return None
    # Times are rounded: they deviate from a line, and their steps from the mean, by a last digit at most.
    deviations = times - (times[0] + step * np.arange(len(times))), np.diff(times) - step
    if max(np.abs(part).max() for part in deviations) > max(step / 1000, 1.01 * 10.0**-decimals):
        if is_time:
            smallest, largest = (end(np.diff(times)) for end in (np.min, np.max))
            warnings.warn(
                f"The steps of the column {name!r} range from {smallest:.4g} to {largest:.4g}: the samples "
                "are not evenly spaced, and the sampling rate is unknown. Resample the signal, by "
                "numpy.interp for example.",
                UserWarning,
                stacklevel=2,
            )
        return None
    rate = 1 / (step * SECONDS[unit.lower()])
    # Times are rounded, and most rates are whole numbers.
    error = max(10.0**-decimals / duration, 1e-9) * rate
    return float(round(rate)) if rate >= 1 and abs(rate - round(rate)) <= error else float(rate)


def _check_orientation(values: NDArray[np.float64], template: TextTemplate) -> None:
    n_channels, length = values.shape
    if length == 1:
        raise UnreadableError(
            f"it has a single row of {n_channels} values; a row holds one value of each channel, "
            "so transpose the file"
        )
    if n_channels > max(length, MAX_CHANNELS_OF_SHORT_FILES):
        warnings.warn(
            f"The file has {n_channels} columns and {length} rows, which are read as channels and "
            "samples. If each row is a signal, transpose the file.",
            UserWarning,
            stacklevel=2,
        )


# Writing -------------------------------------------------------------------------------------------------


def encode_columns(recording: Recording, suffix: str) -> Iterator[bytes]:
    """Yield the lines of a text file with a recording."""
    template = recording.template
    is_tabbed = suffix == ".tsv"
    if isinstance(template, TextTemplate) and (template.delimiter == "\t" or not is_tabbed):
        return _fill_template(recording, template)
    return _write_columns(recording, "\t" if suffix in (".tsv", ".txt") else ",")


def _fill_template(recording: Recording, template: TextTemplate) -> Iterator[bytes]:
    """Yield the lines of a file with other numbers in the columns of the signal."""
    channels = np.atleast_2d(recording.values)
    formats = [
        _find_format(template, column, channel)
        for column, channel in zip(template.columns, channels, strict=True)
    ]
    order = sorted(range(len(channels)), key=template.columns.__getitem__)
    samples = iter(channels.T)
    values: list[float] = []

    def format_cell(i: int, cell: str) -> str:
        # An unchanged number keeps its text.
        if float(cell.replace(template.decimal, ".")) == values[i]:
            return cell
        return (formats[i] % values[i]).replace(".", template.decimal)

    for number, line in enumerate(template.iterate_lines(), 1):
        if number > template.first_row and line.strip() and not _is_comment(line):
            values = next(samples).tolist()
            if template.delimiter is None or '"' in line:
                line = _replace_cells(line, template, order, format_cell)
            else:
                # The same for lines without quotes, at a third of the time.
                cells = line.split(template.delimiter)
                for i in order:
                    cell = cells[template.columns[i]]
                    bare = cell.strip()
                    cells[template.columns[i]] = cell.replace(bare, format_cell(i, bare), 1)
                line = template.delimiter.join(cells)
        yield _encode_line(line, template.file_encoding, is_first=number == 1)


def _replace_cells(
    line: str, template: TextTemplate, order: Sequence[int], format_cell: Callable[[int, str], str]
) -> str:
    """Return a line with other numbers, and all its quotes and spaces."""
    spans = _find_cells(line, template.delimiter)
    pieces, position = [], 0
    for i in order:
        start, end = spans[template.columns[i]]
        pieces += [line[position:start], format_cell(i, line[start:end])]
        position = end
    return "".join([*pieces, line[position:]])


def _encode_line(line: str, encoding: str, is_first: bool) -> bytes:
    if encoding == "utf-16":
        # Only the first line has the mark of the order of bytes, which decoding has removed.
        return (codecs.BOM_UTF16_LE if is_first else b"") + line.encode("utf-16-le")
    return line.encode(encoding)


def _find_format(template: TextTemplate, column: int, values: NDArray[Any]) -> str:
    """Return the format of new numbers: that of the column, with enough decimals."""
    cells = list(_first_cells(template, column))
    spread = float(np.std(values)) or float(np.abs(values).max()) or 1.0
    needed = math.ceil(-math.log10(RELATIVE_RESOLUTION * spread))
    if any("e" in cell.lower() for cell in cells):
        return "%.9e" if spread else "%e"
    return f"%.{min(MAX_DECIMALS, max(0, needed, _count_decimals(template, column)))}f"


def _count_decimals(template: TextTemplate, column: int) -> int:
    """Return the largest number of decimals in the first rows of a column."""
    return max(
        (
            len(cell.lower().partition("e")[0].partition(template.decimal)[2])
            - int(cell.lower().partition("e")[2] or 0)
            for cell in _first_cells(template, column)
        ),
        default=0,
    )


def _first_cells(template: TextTemplate, column: int) -> Iterator[str]:
    for _, line in itertools.islice(template.iterate_rows(), N_SNIFFED):
        if line.strip():
            yield _split(line, template.delimiter)[column]


def _write_columns(recording: Recording, delimiter: str) -> Iterator[bytes]:
    """Yield a new file with a time column if the sampling rate is known."""
    channels = np.atleast_2d(recording.values)
    names = list(recording.channel_names) or [f"channel_{i + 1}" for i in range(len(channels))]
    units = [f" [{unit}]" if unit else "" for unit in recording.units or [""] * len(channels)]
    rate = recording.sampling_rate
    header = [f"{name}{unit}" for name, unit in zip(names, units, strict=True)]
    yield (delimiter.join([*(["time [s]"] if rate else []), *map(_quote, header)]) + "\n").encode()
    for i, row in enumerate(channels.T.tolist()):
        time = [f"{i / rate:.9g}"] if rate else []
        yield (delimiter.join([*time, *map(repr, row)]) + "\n").encode()


def _quote(name: str) -> str:
    return '"{}"'.format(name.replace('"', "'")) if re.search(r'[,;\t"]', name) else name
