"""Print what a reader of ``src/outgrad`` meets: import chains, homonyms, branches, recursions.

python tools/house.py                    # of this checkout
python tools/house.py CHECKOUT [--list]  # of another one; with --list, where each is found
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TASKS = "dask._task_spec"
TRACED = """
import sys
import numpy as np
import outgrad as og
from outgrad.testing import Parameter, random_block

samples, n = og.Labels.range("system", 64), og.Labels.range("n", 4)
generator = np.random.default_rng(0)
blocks = [random_block(generator, samples, [], n, {"positions": Parameter()}) for _ in range(2)]
rho = og.TensorMap(og.Labels.range("key", 2), blocks).chunk(16)
og.multiply(rho, rho).compute(scheduler="synchronous")

seen = set()


def note(frame, event, argument):
    if event == "call":
        seen.add(frame.f_code.co_filename)


sys.setprofile(note)
og.multiply(rho, rho).compute(scheduler="synchronous")
sys.setprofile(None)
print("\\n".join(sorted(path for path in seen if "/outgrad/" in path)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkout", type=Path, nargs="?", default=Path(__file__).resolve().parents[1])
    parser.add_argument("--list", action="store_true", help="print where each is found")
    options = parser.parse_args()
    source = Source(options.checkout / "src" / "outgrad")
    private = source.private_functions()
    once = [place for place, uses in private.items() if uses == 1]
    traced = files_of_a_lazy_multiply(options.checkout)
    chain = source.deepest_chain()
    numbers: list[tuple[str, object, list[str]]] = [
        ("files", len(source.files), []),
        ("test functions", len(test_functions(options.checkout / "tests")), []),
        ("lines", sum(len(text.splitlines()) for text in source.texts.values()), []),
        ("comments per 1,000 lines of code", f"{source.comments():.0f}", []),
        ("deepest import chain", len(chain), chain),
        ("top-level names in several files", *counted(source.homonyms())),
        ("recursions over gradients", *counted(source.recursions())),
        ("branches between eager and lazy", *counted(source.branches())),
        (f"files that import {TASKS}", *counted(source.importers(TASKS))),
        ("files that a lazy multiply runs through", *counted(traced)),
        (
            "private functions with one caller",
            f"{len(once)} of {len(private)} ({len(once) / len(private):.0%})",
            once,
        ),
    ]
    for name, value, places in numbers:
        print(f"{name:42} {value}")
        if options.list and places:
            print(*(f"    {place}" for place in places), sep="\n")


def test_functions(folder: Path) -> list[str]:
    """Functions and methods named ``test_…``, whatever number of parameters each runs with."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("test_*.py"))]
    return [
        node.name
        for parsed in trees
        for node in ast.walk(parsed)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    ]


def counted(places: list[str]) -> tuple[int, list[str]]:
    return len(places), places


class Source:
    """The files of the package, parsed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = sorted(root.rglob("*.py"))
        self.texts = {path: path.read_text(encoding="utf-8") for path in self.files}
        self.trees = {path: ast.parse(text) for path, text in self.texts.items()}
        self.modules = {self.module(path): path for path in self.files}

    def module(self, path: Path) -> str:
        parts = path.relative_to(self.root.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def place(self, path: Path, node: ast.AST) -> str:
        return f"{path.relative_to(self.root)}:{getattr(node, 'lineno', 0)}"

    def comments(self) -> float:
        """Lines that are comments alone or end in one, without those for linters."""
        found = 0
        code = 0
        for path, text in self.texts.items():
            docstrings = docstring_lines(self.trees[path])
            for number, line in enumerate(text.splitlines(), 1):
                if line.strip() and number not in docstrings:
                    code += 1
                    comment = re.search(r"(?:^\s*|\s\s)#\s*(.*)", line)
                    found += bool(comment and not re.match(r"noqa|type:|fmt:|----", comment[1]))
        return found * 1000 / code

    # ---- imports ----
    def imported(self, path: Path) -> Iterator[str]:
        """Modules that a file imports when it is imported."""
        for node in runs_at_import(self.trees[path]):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    yield whole if whole in self.modules else node.module

    def importers(self, package: str) -> list[str]:
        return [
            str(path.relative_to(self.root))
            for path in self.files
            if any(name == package or name.startswith(package + ".") for name in self.imported(path))
        ]

    def deepest_chain(self) -> list[str]:
        """The longest way down from one module to the next that it imports; there are no circles."""
        sys.setrecursionlimit(10_000)

        @cache
        def below(module: str) -> tuple[str, ...]:
            path = self.modules[module]
            ways = [
                below(name) for name in set(self.imported(path)) if name in self.modules and name != module
            ]
            longest = max(ways, key=len, default=())
            return (module, *longest)

        return list(max(map(below, self.modules), key=len))

    # ---- names ----
    def homonyms(self) -> list[str]:
        """Functions, classes and aliases of the top level that are defined in more than one file."""
        homes: defaultdict[str, set[str]] = defaultdict(set)
        for path, parsed in self.trees.items():
            for name in defined(parsed):
                homes[name].add(str(path.relative_to(self.root)))
        return [
            f"{name}: {', '.join(sorted(files))}" for name, files in sorted(homes.items()) if len(files) > 1
        ]

    def private_functions(self) -> dict[str, int]:
        """How often the name of each private function occurs in its file, besides its definition."""
        found = {}
        for path, parsed in self.trees.items():
            names: Counter[str] = Counter()
            for node in ast.walk(parsed):
                if isinstance(node, ast.Name):
                    names[node.id] += 1
                elif isinstance(node, ast.Attribute):
                    names[node.attr] += 1
            for node in ast.walk(parsed):
                is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
                if is_function and re.match(r"_[a-z]", node.name):
                    found[f"{self.place(path, node)} {node.name}"] = names[node.name]
        return found

    # ---- shapes of code ----
    def recursions(self) -> list[str]:
        """Functions that go through ``.gradients`` and call themselves, beside those that do it for all."""
        found = []
        for path, parsed in self.trees.items():
            for node in ast.walk(parsed) if path.name != "tree.py" else ():
                if not isinstance(node, ast.FunctionDef):
                    continue
                walked = [each for each in ast.walk(node) if isinstance(each, ast.Attribute)]
                names = {each.func for each in ast.walk(node) if isinstance(each, ast.Call)}
                called = {getattr(each, "id", getattr(each, "attr", None)) for each in names}
                called |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
                if any(each.attr == "gradients" for each in walked) and node.name in called:
                    found.append(f"{self.place(path, node)} {node.name}")
        return found

    def branches(self) -> list[str]:
        """Conditions that ask whether something is lazy."""
        found = []
        for path, parsed in self.trees.items():
            for node in ast.walk(parsed):
                if isinstance(node, (ast.If, ast.IfExp, ast.Assert, ast.While)):
                    tests = [node.test]
                elif isinstance(node, ast.comprehension):
                    tests = node.ifs
                else:
                    continue
                if any(asks_for_lazy(test) for test in tests):
                    found.append(f"{self.place(path, node)} {ast.unparse(tests[0])}")
        return found


def asks_for_lazy(test: ast.expr) -> bool:
    for node in ast.walk(test):
        name = getattr(node, "attr", getattr(node, "id", ""))
        if isinstance(node, (ast.Attribute, ast.Name)) and re.fullmatch(
            r"_?(is_)?(lazy|Lazy|LazyBlocks|InMemory|to_compute)", name
        ):
            return True
    return False


def runs_at_import(parsed: ast.Module) -> Iterator[ast.stmt]:
    """Statements of the top level, also those under ``try`` and ``if``; not under ``if TYPE_CHECKING``."""
    waiting: list[ast.stmt] = list(parsed.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            waiting.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))
            waiting.extend(line for handler in getattr(node, "handlers", []) for line in handler.body)
        yield node


def defined(parsed: ast.Module) -> Iterator[str]:
    for node in parsed.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            if is_a_name(node.name):
                yield node.name
        elif isinstance(node, ast.Assign):
            yield from (
                target.id for target in node.targets if isinstance(target, ast.Name) and is_a_name(target.id)
            )
        elif (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and is_a_name(node.target.id)
        ):
            yield node.target.id


def is_a_name(name: str) -> bool:
    return not (name.startswith("__") and name.endswith("__"))


def docstring_lines(parsed: ast.Module) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(parsed):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            found.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


def files_of_a_lazy_multiply(checkout: Path) -> list[str]:
    """Files of the package in which something is called, from ``og.multiply`` to its result."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    done = subprocess.run(
        [sys.executable, "-c", TRACED], env=environment, capture_output=True, text=True, check=True
    )
    return [line.split("/outgrad/")[-1] for line in done.stdout.splitlines()]


if __name__ == "__main__":
    main()
