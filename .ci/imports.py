"""Find circles of imports, those included that import-linter cannot see; run by `make lint`.

Read are import statements wherever they stand, also inside functions, the names that a stub beside an
`__init__.py` loads lazily, and strings that name a module of the package, such as "sk_denoise.noise:NOISERS".
Left out are imports for type checkers alone, which never run.

Importing a module of the package by its name hides who needs whom. Two places may do it: the registry, and
the table of commands, which names modules below it.

    python .ci/imports.py [folder of the package]
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import connected_components

ROOT = Path(__file__).parents[1]
IMPORTERS = {"import_module", "__import__", "resolve_name", "run_module"}
BY_NAME = {"_registry", "cli"}  # may import modules by name; the strings of the registry are data
LAZY = {"attach", "attach_stub", "load"}  # of lazy_loader, for the names of a package in its __init__.py
Edge = tuple[str, str]


@dataclass
class Graph:
    """Who imports whom, with the line where it stands, and what is against the rules."""

    package: str
    files: dict[str, Path]
    lines: dict[Edge, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def add(self, source: str, target: str, path: Path, line: int, *, by_name: bool = False) -> None:
        """Add an import of a module, or of a name in one; what is no part of the package is left out."""
        while target not in self.files and "." in target:
            target = target.rpartition(".")[0]
        if by_name and target == self.package:  # a text such as "package.estimator" names no module
            return
        if target in self.files and target != source:
            self.lines.setdefault((source, target), f"{path.name}:{line}")


def graph_of(folder: Path) -> Graph:
    """Return the imports of all modules in the folder of a package."""
    files = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = Graph(folder.name, files)
    for module, path in files.items():
        for source in (path, path.with_suffix(".pyi")):
            if source.exists():
                _read(graph, module, source)
    return graph


def _read(graph: Graph, module: str, path: Path) -> None:
    is_package = path.stem == "__init__"
    by_name = module.partition(".")[2] in BY_NAME
    for node in _that_run(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                graph.add(module, alias.name, path, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            start = _absolute(module, is_package, node)
            for alias in node.names:
                graph.add(module, f"{start}.{alias.name}", path, node.lineno)
                if alias.name in IMPORTERS and alias.asname:  # calls are known by their name
                    graph.wrong.append(f"{path}:{node.lineno}: give {alias.name} no other name")
        elif isinstance(node, ast.Call):
            _check_call(graph, node, f"{path}:{node.lineno}", is_package, by_name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            target = _target(node.value, graph.package, module if module.endswith(".cli") else None)
            if target and module != f"{graph.package}._registry":
                graph.add(module, target, path, node.lineno, by_name=True)


def _that_run(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run: no docstrings, and nothing under `if TYPE_CHECKING`."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING":
            waiting += node.orelse
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield node
            waiting += ast.iter_child_nodes(node)


def _absolute(module: str, is_package: bool, node: ast.ImportFrom) -> str:
    """Return the module that a statement imports from, without leading dots."""
    if node.level == 0:
        return node.module or ""
    parts = module.split(".")
    kept = parts[: len(parts) - node.level + is_package]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _target(text: str, package: str, beside: str | None) -> str | None:
    """Return the module that a string names, as "package.module:name" or "package.module" do."""
    if re.fullmatch(rf"{package}(\.\w+)+(:\w+)?", text):
        return text.partition(":")[0]
    if beside and re.fullmatch(r"\w+:\w+", text):  # the table of commands names modules beside it
        return f"{beside}.{text.partition(':')[0]}"
    return None


def _check_call(graph: Graph, node: ast.Call, place: str, is_package: bool, by_name: bool) -> None:
    """Note a call that imports a module of the package by its name where this is not allowed."""
    called = node.func
    name = getattr(called, "attr", getattr(called, "id", ""))
    if isinstance(called, ast.Attribute) and getattr(called.value, "id", "") == "lazy_loader":
        if name not in LAZY or not is_package:
            graph.wrong.append(f"{place}: lazy_loader is for the names of a package, in its __init__.py")
        return
    if name not in IMPORTERS or by_name:
        return
    first = node.args[0] if node.args else None  # another package, named right there, is an extra of ours
    is_others = (
        isinstance(first, ast.Constant)
        and isinstance(first.value, str)
        and not re.match(rf"\.|{graph.package}\b", first.value)
    )
    if not is_others:
        graph.wrong.append(
            f"{place}: {ast.unparse(node)} imports by a name that only "
            f"{' and '.join(sorted(f'{graph.package}.{part}' for part in BY_NAME))} may resolve; write an "
            "import statement, or let the module above hand in what is needed."
        )


def circles_of(edges: Iterator[Edge] | list[Edge]) -> list[list[str]]:
    """Return the sets of nodes that reach each other."""
    pairs = list(edges)
    names = sorted({name for pair in pairs for name in pair})
    number = {name: index for index, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), dtype=bool)
    for source, target in pairs:
        matrix[number[source], number[target]] = True
    count, labels = connected_components(matrix, directed=True, connection="strong")
    groups = [[name for name in names if labels[number[name]] == label] for label in range(count)]
    return [group for group in groups if len(group) > 1]


def _around(circle: list[str], lines: dict[Edge, str]) -> list[Edge]:
    """Return the imports of one way around, a shortest through the first module of a circle."""
    ways: list[list[str]] = [[circle[0]]]
    seen = set()
    while ways:
        way = ways.pop(0)
        for source, target in lines:
            if source == way[-1] and target == circle[0]:
                return list(zip(way, [*way[1:], circle[0]], strict=True))
            if source == way[-1] and target in circle and target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return []


def _packages(graph: Graph) -> dict[Edge, str]:
    """Return who imports whom among the parts of the package that stand at its top."""
    found: dict[Edge, str] = {}
    for (source, target), line in graph.lines.items():
        parts = tuple(".".join(name.split(".")[:2]) for name in (source, target))
        if parts[0] != parts[1]:
            found.setdefault((parts[0], parts[1]), line)
    return found


def problems_of(folder: Path) -> list[str]:
    """Return everything that is against the rules, in words."""
    graph = graph_of(folder)
    problems = list(graph.wrong)
    for kind, lines in (("modules", graph.lines), ("packages", _packages(graph))):
        for circle in circles_of(list(lines)):
            problems.append(f"{len(circle)} {kind} import each other: {', '.join(circle)}. One way around:")
            problems += [f"    {a} -> {b} ({lines[a, b]})" for a, b in _around(circle, lines)]
    return problems


def main(folder: Path) -> int:
    """Print what is against the rules, and return the exit code."""
    problems = problems_of(folder)
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{folder.name}: {'imports are against the rules' if problems else 'no circle of imports'}.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "sk_denoise"))
