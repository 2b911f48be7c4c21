"""Break ``src/outgrad`` in many small ways, one at a time, and report which breaks no test notices.

python tools/mutations.py                   # all mutations; exit status 1 if one survives
python tools/mutations.py weighted rowwise  # those whose file or text has one of these words
python tools/mutations.py --list            # what is mutated, and by which tests it should be found

Each mutation replaces a text that occurs once in its file, in a copy of the package. The tests that should
find it run until the first failure; with ``--everything``, what they miss is tried with many more tests.
They have to pass without mutations, or a survivor would look found.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "outgrad"

VALUES = ("tests/ops/test_values.py",)
GRADIENTS = ("tests/ops/test_gradients.py", "tests/ops/test_nested.py")
NESTED = GRADIENTS[::-1]
CHUNKING = ("tests/ops/test_chunking.py",)
EVERYTHING = ("tests/ops", "tests/data", "tests/gradients", "tests/engine", "tests/tensor", "tests/graph")


class Mutation(NamedTuple):
    """A text of a file and what replaces it."""

    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    @property
    def words(self) -> str:
        return f"{self.file}: {' '.join(self.before.split())}  →  {' '.join(self.after.split())}"

    def apply(self, source: Path) -> None:
        path = source / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.before) != 1:
            raise SystemExit(
                f"{self.words}\n  occurs {text.count(self.before)} times; say what to mutate now"
            )
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")


def of(file: str, tests: Iterable[str], *changes: tuple[str, str]) -> list[Mutation]:
    return [Mutation(file, before, after, tuple(tests)) for before, after in changes]


MUTATIONS = [
    *of(
        "gradients/elementwise.py",
        GRADIENTS,
        ("[Term(), Term(-1)]", "[Term(), Term(1)]"),
        ("[DIVIDE([x, y]), inverse])], -1.0", "[DIVIDE([x, y]), inverse])], 1.0"),
        ("PRODUCT([DIVIDE([x, y]), inverse])", "DIVIDE([x, y])"),
        ("[POWER([x], n - 1)], n)", "[POWER([x], n - 1)], 1)"),
        ("return [Term(0.0)]", "return [Term(1.0)]"),
        ("Term() if n == 1", "Term(0.0) if n == 1"),
        ("INVERSE([x], -c)", "INVERSE([x], c)"),
        ("PRODUCT([INVERSE([x], -c), INVERSE([x], 1.0)])", "INVERSE([x], -c)"),
        ("np.log(c).item()", "1.0"),
        ("np.conj(np.sign(x.values))", "np.sign(x.values)"),
        ("columns=np.real", "columns=np.imag"),
        ("x.values < low", "x.values > low"),
        ("inside[x.values > high] = 0", "inside[x.values > high] = 1"),
        ("[ROOT([x])])], 0.5", "[ROOT([x])])], 2.0"),
        ("[PRODUCT([inverse, inverse])], -1.0", "[PRODUCT([inverse, inverse])], 1.0"),
        (
            "lambda x, y: x + y, lambda x, y: [Term(), Term()]",
            "lambda x, y: x + y, lambda x, y: [Term(), Term(0.0)]",
        ),
        ("lambda x, c: c - x, lambda x, c: [Term(-1)]", "lambda x, c: c - x, lambda x, c: [Term(1)]"),
        ("lambda x, c: x + c, lambda x, c: [Term()]", "lambda x, c: x + c, lambda x, c: [Term(c)]"),
        ("lambda x, c: [Term(c)]", "lambda x, c: [Term()]"),
    ),
    *of(
        "gradients/elementwise.py",
        ("tests/ops/test_dtypes.py", *GRADIENTS),
        ("lambda x, n: x**n", "lambda x, n: x * n"),
    ),
    *of(
        "gradients/functions.py",
        GRADIENTS,
        ("INVERSE([x], 1.0)", "INVERSE([x], 2.0)"),
        ("[SQRT([x])], 0.5", "[SQRT([x])], 1.0"),
        ("[TANH([x])])], 1.0", "[TANH([x])])], 0.0"),
        ("COS([x])", "SIN([x])"),
        ("[SIN([x])], -1.0", "[SIN([x])], 1.0"),
        ("SCALE([x], 2.0", "SCALE([x], 1.0"),
        ("a * (y - i) + b", "a * (y - i)"),
        ("factorial(n) / factorial(n - j)", "factorial(n)"),
        ("log ** (n - j)", "log**n"),
        ("((m + 1, n), (m, n + 1))", "((m + 1, n), (m + 1, n))"),
        ("[x], functions, order + 1)", "[x], functions, 1)"),
    ),
    *of(
        "gradients/functions.py",
        ("tests/gradients", *VALUES),
        ("coefficient, term, out=zero.copy(), where=coefficient != 0", "coefficient, term"),
    ),
    *of(
        "gradients/rule.py",
        NESTED,
        ("[Term(y), Term(x)]", "[Term(y), Term()]"),
        ("if not any(other.gradients for other in pattern):", "if True:"),
        ("if any(g.gradients or term.columns is not None", "if any(term.columns is not None"),
        ("node.values[taken[path][0]]", "node.values[taken[()][0]]"),
        ("Chunk(node.values * factor, gradients, node.table)", "Chunk(node.values * factor, node.gradients)"),
        ("rows if above is None else above[rows]", "rows"),
        ("Chunk(below.values, below.gradients, renumber(below.rows, rows_in_sum))", "below"),
        ("if path not in known)", "if path in ())"),
        ("axis = array.ndim - base + 1", "axis = 1"),
        ("np.array_equal(table, first)", "table.shape == first.shape"),
    ),
    *of(
        "gradients/rule.py",
        ("tests/ops/test_dtypes.py",),
        ("if gradient.values.dtype != values.dtype:", "if False:"),
    ),
    *of(
        "gradients/weighted_sum.py",
        ("tests/gradients/test_push.py", *GRADIENTS, *CHUNKING),
        ("np.negative(np.zeros((), dtype))", "np.zeros((), dtype)"),
        ("out[piece] += out[piece]", "out[piece] += 0"),
        ("out[term.positions[piece]] +=", "out[term.positions[piece]] ="),
        ("np.add(first.gradient[piece]", "np.subtract(first.gradient[piece]"),
        ("gathered = weight[row]", "gathered = weight[: len(row)]"),
        ("for term in terms[1:]:", "for term in terms[2:]:"),
        ("np.multiply(weight, gradient, out=out)", "np.add(weight, gradient, out=out)"),
    ),
    *of(
        "gradients/scatter.py",
        ("tests/gradients/test_scatter.py", *VALUES),
        ("return np.result_type(dtype, np.float64)", "return dtype"),
        ("else array[..., order]", "else array"),
        ("size == len(array) and np.array_equal(target, np.arange(size))", "size == len(array)"),
        ("np.cumsum(np.bincount(target, minlength=size))", "np.arange(1, size + 1)"),
    ),
    *of(
        "gradients/axes.py",
        (*VALUES, *GRADIENTS),
        ("np.take(values, order, axis=axis)", "np.take(values, np.argsort(order), axis=axis)"),
        ("start=1)", "start=0)"),
    ),
    *of(
        "gradients/axes.py",
        ("tests/ops/test_dimensions.py", "tests/ops/test_dtypes.py"),
        ("for component in order)", "for component in sorted(order))"),
        ("astype(accumulator(array.dtype))", "astype(array.dtype)"),
    ),
    *of(
        "gradients/axes.py",
        ("tests/ops/test_keys.py",),
        ("np.moveaxis(array, axis, -2)", "np.moveaxis(array, -2, axis)"),
    ),
    *of(
        "gradients/rowwise.py",
        ("tests/ops/test_functions.py", *GRADIENTS),
        ("derivative = Chunk(moving.values, moving.gradients)", "derivative = Chunk(moving.values)"),
        ("others[number - 1] = derivative", "others[0] = derivative"),
        ("array.flags.writeable = False", "array.flags.writeable = True"),
        ("start in range(0, shape[0]", "start in range(step, shape[0]"),
    ),
    *of(
        "data/rows.py",
        ("tests/data/test_rows.py", *CHUNKING),
        ("if all(is_sorted_rows(table) for table in tables):", "if True:"),
        ("[moved[in_union] for in_union in positions]", "[order[in_union] for in_union in positions]"),
        ("(count == total) | ~mask", "(count == total)"),
        ("return np.where(differs[parents], np.arange(len(union)), order)", "return order"),
        (
            "np.ones(len(total), bool) if parents_known is None",
            "np.zeros(len(total), bool) if parents_known is None",
        ),
        ("where[table[:, 0]].astype", "table[:, 0].astype"),
        ("if (np.diff(parents) < 0).any():", "if False:"),
        ("(np.cumsum(counts) - counts)[index]", "np.cumsum(counts)[index]"),
    ),
    *of(
        "data/chunk.py",
        CHUNKING,
        ("-rows[path[:-1]][0])", "0)"),
        ("for parent in parents), initial=0)", "for parent in parents), initial=1)"),
    ),
    *of(
        "data/recut.py",
        ("tests/data/test_recut.py", *CHUNKING),
        ("ranges.append((low - lower, high - lower))", "ranges.append((low, high))"),
        ('start, side="right")', 'start, side="left")'),
        ('max(int(np.searchsorted(before.edges, stop, side="left")), first + 1)', "first + 1"),
    ),
    *of(
        "data/positions.py",
        ("tests/ops/test_order.py", "tests/ops/test_keys.py", *CHUNKING),
        (
            "last - first == len(index) - 1 and (index[1:] > index[:-1]).all()",
            "last - first == len(index) - 1",
        ),
        ("places[chosen] = np.arange(len(chosen))", "places[chosen] = 0"),
    ),
    *of(
        "engine/shuffle/chunks.py",
        ("tests/engine/test_place.py", *VALUES, *CHUNKING),
        ("out[:, 0] += self.rows.start", "out[:, 0] += 0"),
        ("stays = parents >= 0", "stays = parents > 0"),
        (
            "np.take(values if source is None else values[source], picks, axis=-1)",
            "np.take(values, picks, axis=-1)",
        ),
        ("(table[1:, 0] < table[:-1, 0]).any()", "(table[1:, 0] < table[:-1, 0]).all()"),
        ("-table[:, :0:-1].T", "table[:, :0:-1].T"),
        ("np.full(shape, fill, frame.dtype)", "np.zeros(shape, frame.dtype)"),
        (
            "Patch(patch.chunk.gradients[name], rows, patch.columns, kept)",
            "Patch(patch.chunk.gradients[name], rows, None, kept)",
        ),
    ),
    *of(
        "engine/shuffle/plan.py",
        ("tests/engine/test_moves.py", *CHUNKING),
        ("placed[chosen] - target_edges[t]", "placed[chosen]"),
        ("(kept[chosen] - source_edges[s])", "(kept[chosen])"),
        ("or (np.diff(placed) <= 0).any()", ""),
        ("inherited.append(start + np.concatenate", "inherited.append(np.concatenate"),
    ),
    *of(
        "engine/shuffle/two_steps.py",
        ("tests/engine/test_moves.py", *CHUNKING),
        ("second_step[positions[kept]] = rows[kept]", "second_step[positions[kept]] = positions[kept]"),
    ),
    *of(
        "engine/shuffle/copy_rows.py",
        ("tests/engine/test_copy_rows.py",),
        ("slice(rows.start + piece.start", "slice(rows.start"),
        ("out[target] = values[source[piece]]", "out[target] = values[source[: len(source[piece])]]"),
    ),
    *of(
        "engine/reduce/chunks.py",
        ("tests/engine/test_moments.py", *GRADIENTS, *CHUNKING),
        ("2 * delta)", "delta)"),
        ("second.values + partial_count * delta**2", "second.values"),
        ("POWER([out], 2)", "POWER([out], 1)"),
        ("above[gradient.rows[:, 0]], chunk, count)", "np.ones(len(gradient.rows)), chunk, count)"),
        ("centred if nested or not final else", "centred if not final else"),
        ("return start + divided(distances, self.counts, self.axis).values", "return start"),
        ("(shift - start[groups])", "shift"),
    ),
    *of(
        "engine/reduce/plan.py",
        ("tests/engine/test_groups.py", *CHUNKING),
        ("int(in_chunk.min()) != groups[-1]", "int(in_chunk.min()) > groups[-1]"),
    ),
    *of(
        "engine/dot/chunks.py",
        ("tests/ops/test_linear.py", *GRADIENTS),
        ("u_parents[:, None] * count + v_parents", "u_parents[:, None] + v_parents"),
        ("np.tile(right.rows[:, 1:], (u_count, 1))", "np.repeat(right.rows[:, 1:], u_count, axis=0)"),
        ("for of_x, count in axes:", "for of_x, count in reversed(axes):"),
        ("if (np.diff(parents) < 0).any():", "if False:"),
    ),
    *of(
        "engine/divide/chunks.py",
        ("tests/engine/test_place.py", "tests/ops/test_split.py"),
        ("table[:, 0] -= np.repeat", "table[:, 0] -= 0 * np.repeat"),
        ("starts[counts > 0] = index[edges[:-1][counts > 0]]", "starts[counts > 0] = index[0]"),
    ),
    *of(
        "engine/divide/plan.py",
        ("tests/ops/test_split.py",),
        ("rows[np.lexsort((rows, selection))]", "rows"),
    ),
    *of(
        "engine/solve/chunks.py",
        ("tests/ops/test_linear.py",),
        ("renumber(gradient.rows, moves)", "gradient.rows"),
        ("max(united.equations, system.unknowns)", "1e14"),
        ("piece[positions[inside] - start", "piece[positions[inside] - 0"),
    ),
    *of(
        "engine/solve/triangles.py",
        ("tests/engine/test_factor.py", "tests/ops/test_linear.py"),
        ("cutoff * singular[:1]", "cutoff"),
        ("residual if residual > rounding else 0.0", "residual"),
        ("u[:, :rank].conj().T", "u[:, :rank].T"),
        ("equations += len(piece)", "equations = len(piece)"),
    ),
    *of(
        "engine/attach/chunks.py",
        ("tests/tensor/test_add_gradient.py", "tests/tensor/test_collection.py", *CHUNKING),
        ("if p in keep", "if p not in keep"),
        ("out.append(Chunk(gradient.values, gradient.gradients))", "out.append(Chunk(gradient.values))"),
    ),
    *of(
        "engine/compare/chunks.py",
        ("tests/data/test_pieces.py", "tests/ops/test_compare.py"),
        ("np.allclose(first, second, relative, absolute", "np.allclose(first, second, absolute, relative"),
        ("first.shape == second.shape and np.allclose", "np.allclose"),
    ),
    *of(
        "engine/shift.py",
        ("tests/ops/test_shift.py",),
        ("out[:, column] += np.int32(number)", "out[:, column] -= np.int32(number)"),
    ),
]


def run(mutation: Mutation, tests: Iterable[str]) -> str | None:
    """The first test that fails; None if all pass."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "src" / "outgrad"
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        mutation.apply(copy)
        options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=no", "--durations=0", "--hypothesis-seed=0"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(copy.parent), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
    if done.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return (
        failed[1]
        if failed
        else f"pytest ended with {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("words", nargs="*", help="only mutations whose file or text has one of these words")
    parser.add_argument("--everything", action="store_true", help="try survivors with many more tests")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many run at the same time")
    parser.add_argument("--list", action="store_true", help="print the mutations and run nothing")
    options = parser.parse_args()
    chosen = [m for m in MUTATIONS if not options.words or any(word in m.words for word in options.words)]
    if options.list:
        print(*(f"{mutation.words}\n    {' '.join(mutation.tests)}" for mutation in chosen), sep="\n")
        return

    def first_failure(mutation: Mutation) -> str | None:
        failed = run(mutation, mutation.tests)
        return run(mutation, EVERYTHING) if failed is None and options.everything else failed

    survivors = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for mutation, failed in zip(chosen, pool.map(first_failure, chosen), strict=True):
            print(f"{'SURVIVED' if failed is None else 'found   '} {mutation.words}", flush=True)
            if failed is None:
                survivors.append(mutation)
            else:
                print(f"             {failed}", flush=True)
    print(f"{len(survivors)} of {len(chosen)} mutations survive")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
