"""Which groups a reduction is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from outgrad.engine.content import Blocks
from outgrad.engine.reduce.blocks import Grouped, reduced
from outgrad.engine.reduce.chunks import SPREAD
from outgrad.engine.reduce.plan import group_rows
from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from outgrad.ops.operands import T, content, like, names_of

Names = str | Sequence[str]

PLACEHOLDER = "_"
"""The dimension of the only entry that is left when all dimensions are reduced."""


def reduce_groups(kind: str, call: str, tensor: T, axis: str, names: Names | None, by: Names | None) -> T:
    """Reduce the entries of ``axis`` that differ only in ``names``, or that agree in ``by``."""
    blocks = content(call, "tensor", tensor)
    _check_real(call, kind, blocks)
    argument = f"{axis[:-1] if axis == 'samples' else 'property'}_names"
    grouped = [_grouped(call, argument, axis, getattr(m, axis), names, by) for m in blocks.metadata]
    if not any(own.groups.size for own in grouped):
        grouped = [replace(own, labels=_without_placeholder(own.labels)) for own in grouped]

    return like(tensor, reduced(kind, blocks, axis, grouped))


def _check_real(call: str, kind: str, blocks: Blocks) -> None:
    """The square of a complex deviation is no variance, and its modulus has no complex derivative."""
    if kind in SPREAD and len(blocks) and blocks.dtype(0).kind == "c":
        raise ValidationError(
            f"{call}: the values are {blocks.dtype(0)}, but a variance needs real numbers; "
            "take the variances of the real and the imaginary part"
        )


def _grouped(
    call: str, argument: str, axis: str, labels: Labels, names: Names | None, by: Names | None
) -> Grouped:
    if (names is None) == (by is None):
        got = "neither" if by is None else "both"
        raise ValidationError(
            f"{call}: got {got} of {argument} (to reduce over) and by (to keep); give exactly one of them"
        )
    given = names_of(call, argument, names) if by is None else names_of(call, "by", by)
    unknown = [name for name in given if name not in labels.names]
    if unknown:
        raise ValidationError(
            f"{call}: {unknown} not found in the {axis}, whose dimensions are {labels.names}"
        )
    kept = [name for name in labels.names if (name in given) == (by is not None)]
    columns = tuple(labels.names.index(name) for name in kept)
    groups = group_rows(labels.values, columns)
    return Grouped(Labels(kept or [PLACEHOLDER], groups.rows, assume_unique=True), groups, columns)


def _without_placeholder(labels: Labels) -> Labels:
    """Nothing was reduced to one entry: without any, no dimension stands in for those that are gone."""
    return Labels([], np.empty((0, 0), np.int32)) if labels.names == [PLACEHOLDER] else labels
