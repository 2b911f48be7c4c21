"""The rooms of the house: imports go down only, some packages have one home, and nothing grows too long."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

import pytest

import outgrad

SOURCE = Path(outgrad.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

ROOMS = [
    *(
        "errors",
        "_types",
        "_foreign",
        "_forks",
        "_threads",
        "_signals",
        "config",
        "labels",
        "kernels",
        "plan",
        "rules",
        "lazy",
        "tensor",
        "ops",
        "operations",
        "storage",
        "io",
        "run",
    ),
    *("interop", "testing", "cli"),
]
"""Lowest first: a room imports itself and what stands before it.

``operations`` and ``io`` are doors: they name again what ``ops`` and ``storage`` have, as metatensor does.
"""

HOMES = {
    "zarr": {"storage"},
    "numcodecs": {"storage"},
    "click": {"cli"},
    "rich": {"cli", "run"},
    "yaml": {"cli", "run"},
    "metatensor": {"interop"},
    "featomic": {"interop"},
    "ase": {"interop"},
    "hypothesis": {"testing"},
    "distributed": {"run"},
    "dask_jobqueue": {"run"},
    "dask.highlevelgraph": {"lazy"},
    "dask._task_spec": {"lazy"},
    "dask.delayed": {"lazy"},
    "dask.array": {"lazy"},
    "dask.graph_manipulation": {"lazy"},
}
"""Packages that only some rooms may import: only ``lazy`` builds graphs, only ``storage`` knows Zarr."""

NO_DASK = ("labels", "kernels", "plan", "rules")
FILE_LINES = 400
FUNCTION_LINES = 50


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules, and of what is taken out of them."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide where a room ends"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def ids(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def test_every_file_is_in_a_room() -> None:
    assert {room(path) for path in FILES} - {"__init__"} <= set(ROOMS)


@pytest.mark.parametrize("path", [path for path in FILES if room(path) != "__init__"], ids=ids)
def test_imports_go_down_only(path: Path) -> None:
    allowed = ROOMS[: ROOMS.index(room(path)) + 1]
    for name in imports(path):
        if name.split(".")[0] == "outgrad":
            found = name.split(".")[1]
            assert found in allowed, f"{ids(path)} imports {name}, which is not below it"


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_packages_stay_at_home(path: Path) -> None:
    for name in imports(path):
        for package, homes in HOMES.items():
            if name == package or name.startswith(f"{package}."):
                assert room(path) in homes, f"{ids(path)} imports {name}; only {sorted(homes)} may"


@pytest.mark.parametrize("path", [path for path in FILES if room(path) in NO_DASK], ids=ids)
def test_the_lower_rooms_know_no_dask(path: Path) -> None:
    assert not [name for name in imports(path) if name.split(".")[0] == "dask"]


def test_nothing_imports_the_strategies() -> None:
    """They need hypothesis, which is optional."""
    users = [ids(path) for path in FILES for name in imports(path) if "testing.strategies" in name]
    assert users == []


def own_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its decorators and docstring."""
    assert node.end_lineno is not None
    lines = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) is not None:
        text = node.body[0]
        assert text.end_lineno is not None
        lines -= text.end_lineno - text.lineno + 1
    return lines


def functions() -> Iterator[tuple[str, int]]:
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{ids(path)}:{node.lineno} {node.name}", own_lines(node)


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES


def test_functions_are_short() -> None:
    lengths = dict(functions())
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}
    ordered = sorted(lengths.values())
    assert median(ordered) <= 9
    assert ordered[int(0.9 * len(ordered))] <= 25


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_modules_say_what_they_are(path: Path) -> None:
    assert ast.get_docstring(tree(path)), f"{ids(path)} needs a docstring"
    assert "TODO" not in path.read_text(encoding="utf-8")


INVARIANTS = {
    "operands must be cut alike first",
    "longer headers were refused",
    "a file of a block has one block",
    "a map has one key for each block",
    "tables are written in the order of their places",
    "rows of a sink have the shape of its array",
}
"""What asserts may state beside types: what other code of ours has made so, whatever comes from outside."""


def is_narrowing(test: ast.expr) -> bool:
    """``x is not None``, ``isinstance(…)`` and ``not isinstance(…)``, which tell mypy a type."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return is_narrowing(test.operand)
    if isinstance(test, ast.Compare):
        return isinstance(test.ops[0], ast.IsNot) and ast.unparse(test.comparators[0]) == "None"
    return isinstance(test, ast.Call) and ast.unparse(test.func) == "isinstance"


def is_invariant(node: ast.Assert) -> bool:
    return isinstance(node.msg, ast.Constant) and node.msg.value in INVARIANTS


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_no_assert_guards_input(path: Path) -> None:
    """``python -O`` leaves them out, and their errors say nothing to a user."""
    asserts = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Assert)]
    others = [node.lineno for node in asserts if not (is_narrowing(node.test) or is_invariant(node))]
    assert others == [], "raise an error of outgrad.errors that says what was found and what to do"
