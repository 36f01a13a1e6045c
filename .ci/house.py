"""Measure how the house reads and hold its rules of words: ``make house``, and a part of ``make lint``.

Print a table of figures with their limits. The first lines of docstrings and a list of words are rules: each
line that breaks one is listed with its place, and the command then ends with 1.

    python .ci/house.py [--list]

``--list`` shows the places behind the figures that are no rules as well.
"""

from __future__ import annotations

import ast
import importlib
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sk_denoise"
# A first line that begins so is a riddle, or a clause where a noun belongs.
FREE_RELATIVE = re.compile(r"\b(what|whatever|who|whoever|whom|whose|whichever|wherever)\b", re.IGNORECASE)
LONGEST_SUMMARY = 80
# Words of ours, and those of the field. They are looked for in names, docstrings, comments and messages.
WORDS = {
    r"pictures?": "image",
    r"in the box": "pretrained",
    r"out of the box": "without training",
    r"self[- ]turns?": "self-ensemble",
    r"whoever": "user",
    r"whatever": "any, every",
    r"looks? on": "callback, hook",
    r"(is|are|was|were) told": "receives, is given",
    r"(is|are|was|were) asked": "is called",
    r"(?-i:is none)": "there is no",
    r"workshop": "AppService",
    r"shelf": "DiskCache",
}
OWN_WORDS = re.compile(r"(?<![A-Za-z])(" + "|".join(WORDS) + r")(?![A-Za-z])", re.IGNORECASE)
THIRD_PERSON = re.compile(r"^[A-Z][a-z]+s\b")
NOT_VERBS = {
    "This",
    "Class",
    "Access",
    "Process",
    "Express",
    "Pass",
    "Compress",
    "Press",
    "Cross",
    "Address",
    "Guess",
}
# Names with one meaning in many places: modules of packages, and functions that each image format implements.
CONVENTIONS = {"__init__", "__main__", "_base", "main", "read_header", "decode", "encode", "encoded_size"}
# scikit-learn's own longest one is 12. Noise of devices joins two families: added noise, and noise on images.
MAX_MRO = 13


@dataclass
class Reading:
    """Figures of the package, and the places behind them."""

    files: int = 0
    lines: int = 0
    private_modules: int = 0
    summaries: int = 0
    comment_lines: int = 0
    trailing_comments: int = 0
    images: int = 0
    pictures: int = 0
    riddles: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def documented(tree: ast.Module) -> Iterator[tuple[ast.AST, int, str]]:
    """Yield what has a docstring, its line and its text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield node, node.body[0].lineno, text


def check_summary(node: ast.AST, place: str, text: str, reading: Reading) -> None:
    """Hold rule 1: an imperative sentence of at most 80 characters, without a free relative clause."""
    summary = text.split("\n\n")[0]
    first = text.splitlines()[0]
    reading.summaries += 1
    if FREE_RELATIVE.search(summary):
        reading.riddles.append(f"{place}: free relative clause: {first}")
    if summary != first or len(first) > LONGEST_SUMMARY:
        reading.broken.append(f"{place}: summary of more than {LONGEST_SUMMARY} characters: {first}")
    if isinstance(node, ast.FunctionDef) and not is_property(node):
        verb = THIRD_PERSON.match(first)
        if verb and verb.group() not in NOT_VERBS:
            reading.broken.append(f"{place}: not an imperative: {first}")


def is_property(node: ast.FunctionDef) -> bool:
    """Return whether a function is an attribute to its users, which a noun describes."""
    return any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def read(path: Path, reading: Reading) -> None:
    """Add the figures of one module."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    place = path.relative_to(ROOT).as_posix()
    lines = text.splitlines()
    reading.files += 1
    reading.lines += len(lines)
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    reading.private_modules += any(part.startswith("_") and not part.startswith("__") for part in parts)
    reading.images += len(re.findall(r"image", text, re.IGNORECASE))
    reading.pictures += len(re.findall(r"picture", text, re.IGNORECASE))
    if parts[-1] not in CONVENTIONS:
        reading.names[f"module {parts[-1]}"].append(place)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            alone = lines[token.start[0] - 1].lstrip().startswith("#")
            reading.comment_lines += alone
            reading.trailing_comments += not alone
    for node, line, docstring in documented(tree):
        check_summary(node, f"{place}:{line}", docstring, reading)
    for number, line in enumerate(lines, 1):
        for word in OWN_WORDS.findall(line.replace("_", " ")):
            instead = next(new for old, new in WORDS.items() if re.fullmatch(old, word[0], re.IGNORECASE))
            reading.broken.append(f"{place}:{number}: {word[0]!r}: write {instead}")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            reading.functions.append((node.end_lineno or node.lineno) - node.lineno + 1)
    for node in tree.body:
        is_public_function = isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        if isinstance(node, ast.ClassDef) or (is_public_function and node.name not in CONVENTIONS):
            reading.names[node.name].append(f"{place}:{node.lineno}")


def public_names() -> set[str]:
    """Return the names that the package and its public subpackages offer."""
    packages = ["sk_denoise"]
    for path in PACKAGE.iterdir():
        if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists()):
            packages.append(f"sk_denoise.{path.stem}")
    return {name for package in packages for name in getattr(importlib.import_module(package), "__all__", [])}


def orders() -> dict[str, int]:
    """Return the number of classes in the method resolution order of every public class of ours."""
    package = importlib.import_module("sk_denoise")
    objects = {name: getattr(package, name) for name in package.__all__}
    return {name: len(kind.__mro__) for name, kind in objects.items() if isinstance(kind, type)}


def main() -> int:
    """Print the table, and the places where rules are broken."""
    sys.path.insert(0, str(ROOT))
    reading = Reading()
    for path in sorted(PACKAGE.rglob("*.py")):
        read(path, reading)
    doubles = {name: places for name, places in reading.names.items() if len(places) > 1}
    lengths = sorted(orders().items(), key=lambda item: item[1])
    public = len(public_names())
    riddles = len(reading.riddles) / reading.summaries
    comments = reading.comment_lines / reading.lines
    rows = [
        ("free relatives in summaries", f"{riddles:.1%}", "< 1 %", riddles < 0.01),
        (
            "image : picture",
            f"{reading.images} : {reading.pictures}",
            "> 20 : 1",
            reading.images > 20 * reading.pictures,
        ),
        (
            "private modules / public names",
            f"{reading.private_modules} / {public} = {reading.private_modules / public:.2f}",
            "< .8",
            reading.private_modules < 0.8 * public,
        ),
        ("files", str(reading.files), "about 160", reading.files <= 195),
        ("lines", str(reading.lines), "", True),
        (
            "classes in an MRO, median / most",
            f"{lengths[len(lengths) // 2][1]} / {lengths[-1][1]} ({lengths[-1][0]})",
            f"<= {MAX_MRO}",
            lengths[-1][1] <= MAX_MRO,
        ),
        ("comment lines", f"{comments:.1%}", ">= 2 %", comments >= 0.02),
        ("comments behind code", f"{reading.trailing_comments / reading.lines:.1%}", "", True),
        (
            "median function, lines",
            str(sorted(reading.functions)[len(reading.functions) // 2]),
            "",
            True,
        ),
        ("names with two meanings", str(len(doubles)), "0", not doubles),
    ]
    for name, figure, limit, holds in rows:
        print(f"{name:32} {figure:36} {limit:10} {'' if holds else 'no'}".rstrip())
    if "--list" in sys.argv:
        for name, places in sorted(doubles.items()):
            print(f"{name}: {', '.join(places)}")
        print(*(f"MRO {name} {length}" for name, length in lengths if length > MAX_MRO), sep="\n")
    print(*reading.riddles, *reading.broken, sep="\n")
    return 1 if reading.riddles or reading.broken or not all(row[3] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
