"""Rows of the table: means, variances and standard deviations; sums by what stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import outgrad as og
from outgrad import Labels, TensorBlock
from tests.ops.case import FEW_TASKS, Array, Case, Exceptions, groups, sum_properties, sum_samples

FUNCTIONS: dict[str, Any] = {"mean": np.mean, "var": np.var, "std": np.std}


def reduced(kind: str, axis: int, names: Sequence[str]) -> Callable[[TensorBlock], Array]:
    """NumPy's mean, var or std of every group; integers become float64, float32 stays."""

    def oracle(block: TensorBlock) -> Array:
        labels: Labels = block.samples if axis == 0 else block.properties
        own = groups(labels, names)
        dtype = block.dtype if block.dtype.kind in "fc" else np.dtype("float64")
        wide = block.values.astype(np.result_type(dtype, np.float64))
        found = [
            FUNCTIONS[kind](np.compress([g == group for g in own], wide, axis), axis)
            for group in sorted({*own})
        ]
        shape = list(block.shape)
        shape[axis] = len(found)
        return np.stack(found, axis).astype(dtype) if found else np.zeros(shape, dtype)

    return oracle


def row(kind: str, axis: str, names: Sequence[str]) -> Case:
    call = getattr(og, f"{kind}_over_{axis}")
    return Case(
        f"{kind} of {' and '.join(names) or 'nothing'} over {axis}",
        f"{kind}_over_{axis}",
        lambda A: call(A, list(names)),
        reduced(kind, 0 if axis == "samples" else -1, names),
        linear=kind == "mean",
        complex=kind == "mean",
        few_tasks=FEW_TASKS if axis == "samples" else 0,
        exceptions=Exceptions(rtol=1e-13, order_matters=True, distinct_values=kind == "std"),
    )


CASES = [
    *(
        row(kind, axis, names)
        for kind in FUNCTIONS
        for axis, chosen in (
            ("samples", (["atom"], ["system"], ["system", "atom"], [])),
            ("properties", (["n"], ["l", "n"], [])),
        )
        for names in chosen
    ),
    Case(
        "sum by system",
        "sum_over_samples",
        lambda A: og.sum_over_samples(A, by="system"),
        sum_samples("atom"),
        few_tasks=FEW_TASKS,
        exceptions=Exceptions(same_as="sum over atoms"),
    ),
    Case(
        "sum by l",
        "sum_over_properties",
        lambda A: og.sum_over_properties(A, by=["l"]),
        sum_properties("n"),
        exceptions=Exceptions(same_as="sum over n"),
    ),
]
