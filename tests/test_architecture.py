"""The rooms of the house: imports go down only, some packages have one home, and nothing grows too long."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import outgrad

SOURCE = Path(outgrad.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

ROOMS = [
    "errors", "tree", "task", "late", "units", "_foreign", "_forks", "_threads", "_signals", "config",
    "labels", "data", "gradients", "graph", "engine", "tensor", "ops", "operations", "storage", "io",
    "run", "interop", "testing", "cli",
]  # fmt: skip
"""Lowest first: a room imports itself and what stands before it.

``operations`` and ``io`` are doors: they name again what ``ops`` and ``storage`` have, as metatensor does.
"""

HOMES = {
    "zarr": ("storage.zarr",),
    "numcodecs": ("storage.zarr",),
    "click": ("cli",),
    "rich": ("cli", "run"),
    "yaml": ("cli", "run"),
    "metatensor": ("interop",),
    "featomic": ("interop",),
    "ase": ("interop",),
    "xarray": ("interop",),
    "pandas": ("interop",),
    "hypothesis": ("testing",),
    "obstore": ("storage.object_store",),
    "distributed": ("run",),
    "dask_jobqueue": ("run",),
    "dask._task_spec": ("graph.dask_names",),
    "dask.highlevelgraph": ("graph",),
    "dask.delayed": ("graph",),
    "dask.array": ("graph",),
    "dask.graph_manipulation": ("graph",),
}
"""Packages that only some modules, and those inside them, may import."""

TECHNIQUES = {
    **dict.fromkeys(("plan",), ("dask", "outgrad.graph", "outgrad.gradients")),
    **dict.fromkeys(("chunks", "triangles", "copy_rows"), ("dask", "outgrad.graph", "outgrad.tensor")),
}
"""What files of these names in ``engine`` may not know, not even through others: plans are arithmetic of
integers, and what works on the arrays of chunks builds no graphs."""

DASKS_OWN = ("outgrad.config", "outgrad.units")
"""Settings are kept in Dask's configuration, and sizes are written in its units: no graph comes of that."""

APART = [("outgrad.storage.zarr", "outgrad.storage.mts"), ("outgrad.storage.mts", "outgrad.storage.zarr")]
"""Rooms that do not know each other, not even through others."""

FILE_LINES = 500
"""Besides docstrings: those of a public class are half of its file."""

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


def module(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path): path for path in FILES}


def is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@cache
def through(name: str) -> dict[str, str]:
    """All that a module of ours imports, also through others, each with the module that imports it."""
    found: dict[str, str] = {}
    waiting = [name]
    while waiting:
        user = waiting.pop()
        for imported in imports(MODULES[user]):
            known = imported if imported in MODULES else imported.rpartition(".")[0]
            if imported not in found:
                found[imported] = user
                if known in MODULES and known != "outgrad":
                    waiting.append(known)
    return found


def test_every_file_is_in_a_room() -> None:
    assert {room(path) for path in FILES} - {"__init__"} <= set(ROOMS)


def test_imports_go_down_only() -> None:
    up = [
        f"{ids(path)} imports {name}"
        for path in FILES
        if room(path) != "__init__"
        for name in imports(path)
        if name.startswith("outgrad.") and name.split(".")[1] not in ROOMS[: ROOMS.index(room(path)) + 1]
    ]
    assert up == []


def test_packages_stay_at_home() -> None:
    away = [
        f"{ids(path)} imports {name}"
        for path in FILES
        for name in imports(path)
        for package, homes in HOMES.items()
        if is_in(name, package) and not any(is_in(module(path), f"outgrad.{home}") for home in homes)
    ]
    assert away == []


def test_files_of_a_technique_know_no_other() -> None:
    found = [
        f"{ids(path)} reaches {name}, which {user} imports"
        for path in FILES
        if room(path) == "engine"
        for name, user in through(module(path)).items()
        for package in TECHNIQUES.get(path.stem, ())
        if is_in(name, package)
        and user not in ("outgrad.config", "outgrad.units")  # settings and sizes are Dask's
    ]
    assert found == []


def test_rooms_that_are_apart() -> None:
    found = [
        f"{ids(path)} reaches {name}, which {user} imports"
        for path in FILES
        for one, other in APART
        if is_in(module(path), one)
        for name, user in through(module(path)).items()
        if is_in(name, other)
    ]
    assert found == []


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


def code_lines(path: Path) -> int:
    """Lines of a file without docstrings."""
    docstrings = 0
    for node in ast.walk(tree(path)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            docstrings += (node.end_lineno or node.lineno) - node.lineno + 1
    return len(path.read_text(encoding="utf-8").splitlines()) - docstrings


def test_files_are_short() -> None:
    lengths = {ids(path): code_lines(path) for path in FILES}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_functions_are_short() -> None:
    lengths = dict(functions())
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}


def test_modules_say_what_they_are() -> None:
    assert [ids(path) for path in FILES if not ast.get_docstring(tree(path))] == []
    assert [ids(path) for path in FILES if "TODO" in path.read_text(encoding="utf-8")] == []


INVARIANTS = {
    "operands must be cut alike first",
    "longer headers were refused",
    "a file of a block has one block",
    "a map has one key for each block",
    "tables are written in the order of their rows",
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


def test_no_assert_guards_input() -> None:
    """``python -O`` leaves them out, and their errors say nothing to a user: raise one of outgrad.errors."""
    others = [
        f"{ids(path)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Assert) and not (is_narrowing(node.test) or is_invariant(node))
    ]
    assert others == []
