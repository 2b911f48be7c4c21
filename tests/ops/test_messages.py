"""Messages contain the words of metatensor's, by which scripts tell errors apart; both are asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import outgrad

metatensor = pytest.importorskip("metatensor")
pytest.importorskip("metatensor.operations")


class Case(NamedTuple):
    """A call, and words that are in the messages of both."""

    words: str
    call: Callable[[Any], Any]


def block(
    lib: Any,
    samples: Any = ((0,), (1,)),
    properties: Any = ((0,), (1,)),
    components: Any = (),
    parameters: Any = ("positions",),
    rows: Any = ((0, 0), (1, 0)),
    extra: tuple[str, ...] = (),
    values: float = 1.0,
) -> Any:
    """A block with gradients."""
    sizes = [len(each) for each in components]
    columns = lib.Labels(["n"], np.array(properties))
    axes = [lib.Labels([f"c_{n}"], np.array(each)) for n, each in enumerate(components)]
    array = np.full((len(samples), *sizes, len(properties)), values)
    made = lib.TensorBlock(array, lib.Labels(["system"], np.array(samples)), axes, columns)
    for parameter in parameters:
        own = [lib.Labels([name], np.array([[0], [1]])) for name in extra]
        shape = (len(rows), *(2 for _ in extra), *sizes, len(properties))
        table = lib.Labels(["sample", "atom"], np.array(rows))
        made.add_gradient(parameter, lib.TensorBlock(np.ones(shape), table, [*own, *axes], columns))
    return made


def tensor(lib: Any, *blocks: Any, names: Any = ("key",), keys: Any = None) -> Any:
    blocks = blocks or (block(lib),)
    values = np.array([[number] for number in range(len(blocks))] if keys is None else keys)
    return lib.TensorMap(lib.Labels(list(names), values), list(blocks))


def two(lib: Any, name: str, **options: Any) -> Any:
    """The operation on a map and one that differs in ``options``."""
    return getattr(lib, name)(tensor(lib), tensor(lib, block(lib, **options)))


KEYS = {
    "keys names, got": {"names": ("other",)},
    "number of blocks, got": {"keys": ((0,), (1,))},
    "keys": {"keys": ((7,),)},
}


def other_keys(lib: Any, options: Any) -> Any:
    return tensor(lib, *(block(lib) for _ in options.get("keys", [0])), **options)


BINARY = ("add", "subtract", "multiply", "divide")
COMPARE = ("equal_raise", "allclose_raise")
SAME = ": inputs to '{}' should have the same "
GRADIENT = "should have the same gradients: gradient 'positions'"
ORDER = "are not the same or not in the same order"

CASES: list[Case] = []
for name in (*BINARY, "dot", *COMPARE, "equal_metadata_raise"):
    called = {"subtract": "", "equal_metadata_raise": ""}.get(
        name, f"inputs to '{name.removesuffix('_raise')}' "
    )
    CASES += [
        Case(
            f"{called}should have the same {words}",
            lambda lib, name=name, options=options: getattr(lib, name)(tensor(lib), other_keys(lib, options)),
        )
        for words, options in KEYS.items()
    ]

LABELS = {
    "properties": {"properties": ((1,), (0,))},
    "components": {"components": (((0,), (1,)),)},
}
MORE = {"components": (((0,),), ((0,),))}
for name in BINARY:
    called = "" if name == "subtract" else f"inputs to '{name}' "
    CASES += [
        Case(
            f"{called}should have the same samples",
            lambda lib, name=name: two(lib, name, samples=((5,), (6,))),
        ),
        Case(
            f"{called}should have the same properties, but they {ORDER}",
            lambda lib, name=name: two(lib, name, **LABELS["properties"]),
        ),
        Case(
            f"{called}have a different number of components",
            lambda lib, name=name: two(lib, name, **LABELS["components"]),
        ),
        Case(
            f"{called}should have the same components, but they {ORDER}",
            lambda lib, name=name: getattr(lib, name)(
                tensor(lib, block(lib, components=(((0,), (1,)),))),
                tensor(lib, block(lib, components=(((1,), (0,)),))),
            ),
        ),
        Case(
            f"{called}should have the same gradient parameters",
            lambda lib, name=name: two(lib, name, parameters=("cell",)),
        ),
        Case(
            f"{called}should have the same gradients: ",
            lambda lib, name=name: two(lib, name, extra=("xyz",)),
        ),
    ]

for name in COMPARE:
    kind = name.removesuffix("_raise")
    # Functions for one block name themselves here; metatensor's name the function for maps.
    FORMS = {"map": ("blocks for key (key=0) are different: ", f"inputs to '{kind}' "), "block": ("", "")}
    CASES += [
        Case(
            f"{words}{text}",
            lambda lib, name=name, options=options, form=form: compared(lib, name, form, options),
        )
        for form, (words, inputs) in FORMS.items()
        for text, options in {
            f"values are not {kind}": {"values": 2.0},
            "values shapes are different": {"samples": ((0,), (1,), (2,))},
            f"{inputs}should have the same samples, but they {ORDER}": {"samples": ((1,), (0,))},
            f"{inputs}should have the same properties, but they {ORDER}": {"properties": ((1,), (0,))},
            f"{inputs}should have the same gradient parameters": {"parameters": ("cell",)},
            f"{inputs}{GRADIENT} samples {ORDER}": {"rows": ((0, 0), (1, 1))},
            f"{inputs}{GRADIENT} have different number of components": {"extra": ("xyz",)},
        }.items()
    ]
    CASES.append(
        Case(
            "the tensor maps have different keys: ",
            lambda lib, name=name: getattr(lib, name)(tensor(lib), other_keys(lib, {"keys": ((7,),)})),
        )
    )


def compared(lib: Any, name: str, form: str, options: Any) -> Any:
    one, other = block(lib), block(lib, **options)
    if form == "map":
        return getattr(lib, name)(tensor(lib, one), tensor(lib, other))
    return getattr(lib, name.replace("_raise", "_block_raise"))(one, other)


def gradient_values(lib: Any, name: str) -> Any:
    one, other = block(lib), block(lib)
    other.gradient("positions").values[:] = 3
    return getattr(lib, name)(tensor(lib, one), tensor(lib, other))


CASES += [
    Case("gradient 'positions' values are not equal", lambda lib: gradient_values(lib, "equal_raise")),
    Case("gradient 'positions' values are not allclose", lambda lib: gradient_values(lib, "allclose_raise")),
    Case(
        f"should have the same samples, but they {ORDER}",
        lambda lib: two(lib, "equal_metadata_raise", samples=((1,), (0,))),
    ),
    Case(
        f"{GRADIENT} samples {ORDER}",
        lambda lib: two(lib, "equal_metadata_raise", rows=((0, 0), (1, 1))),
    ),
]


def plain(lib: Any, **options: Any) -> Any:
    return tensor(lib, block(lib, parameters=(), **options))


AXIS = "is not a valid axis. Choose from 'keys', 'samples'"


def joined(lib: Any, *args: Any, **options: Any) -> Any:
    return lib.join([tensor(lib), tensor(lib, keys=((7,),))], *args, **options)


def labels(lib: Any, *columns: str) -> Any:
    return lib.Labels(list(columns), np.zeros((1, len(columns)), dtype=np.int32))


OTHER_SAMPLES: dict[str, Any] = {"samples": ((5,), (6,))}
CASES += [
    # linear algebra
    Case(
        "should have the same properties",
        lambda lib: lib.dot(plain(lib), plain(lib, properties=((5,), (6,)))),
    ),
    Case("should have the same samples", lambda lib: lib.solve(plain(lib), plain(lib, **OTHER_SAMPLES))),
    Case(
        "should have the same samples", lambda lib: lib.lstsq(plain(lib), plain(lib, **OTHER_SAMPLES), 1e-9)
    ),
    Case(
        "the values in each block of X should be",
        lambda lib: lib.solve(*[plain(lib, properties=((0,),))] * 2),
    ),
    # selections
    Case("'other'", lambda lib: lib.slice(tensor(lib), "samples", labels(lib, "other"))),
    Case("must be a list", lambda lib: lib.split(tensor(lib), "samples", labels(lib, "system"))),
    Case("axis must be either 'samples' or 'properties'", lambda lib: lib.split(tensor(lib), "keys", [])),
    # joins
    Case("must be a list or a tuple", lambda lib: lib.join(tensor(lib), "samples")),
    Case("provide at least one", lambda lib: lib.join([], "samples")),
    Case("provide at least one", lambda lib: lib.join_blocks([], "samples")),
    Case("inputs to 'join' should have the same keys", lambda lib: joined(lib, "samples")),
    Case("different_keys", lambda lib: joined(lib, "samples", different_keys="outer")),
    # creation, sorting, dimensions
    Case("requested gradient 'cell'", lambda lib: lib.zeros_like(tensor(lib), "cell")),
    Case(
        "only one label dimension can be extracted as one-hot encoding",
        lambda lib: lib.one_hot(labels(lib, "a"), labels(lib, "a", "b")),
    ),
    Case("was not found in the dimension", lambda lib: lib.one_hot(labels(lib, "a"), lib.Labels.empty("a"))),
    Case("not 'other'", lambda lib: lib.sort_block(block(lib), "other")),
    Case(AXIS, lambda lib: lib.append_dimension(tensor(lib), "other", "name", 3)),
    Case(AXIS, lambda lib: lib.rename_dimension(tensor(lib), "other", "name", "new")),
    Case(
        "'other' not found in the dimensions of",
        lambda lib: lib.unique_metadata(tensor(lib), "samples", "other"),
    ),
    Case(
        "must be either 'samples' or 'properties'",
        lambda lib: lib.unique_metadata(tensor(lib), "keys", "system"),
    ),
]


def message(case: Case, lib: Any) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011  which error it is, another test says
        case.call(lib)
    return str(caught.value)


@pytest.mark.parametrize("case", CASES, ids=[f"{number} {case.words}" for number, case in enumerate(CASES)])
def test_both_say_it(case: Case) -> None:
    theirs, ours = message(case, metatensor), message(case, outgrad)
    assert case.words in theirs
    assert case.words in ours


@pytest.mark.parametrize("name", [*BINARY, "dot", *COMPARE, "equal_metadata_raise"])
def test_different_keys_are_a_not_equal_error(name: str) -> None:
    for lib, error in ((metatensor, metatensor.operations.NotEqualError), (outgrad, outgrad.NotEqualError)):
        with pytest.raises(error):
            getattr(lib, name)(tensor(lib), other_keys(lib, {"keys": ((7,),)}))
