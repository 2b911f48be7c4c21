"""Selecting samples and properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from outgrad._foreign import as_plain, kind_of
from outgrad.data.metadata import BlockMetadata
from outgrad.data.positions import Index
from outgrad.engine.choose import with_rows
from outgrad.engine.content import Blocks
from outgrad.engine.map.blocks import run_rule
from outgrad.errors import ValidationError
from outgrad.gradients.elementwise import TAKE_COLUMNS
from outgrad.labels.entry import LabelsEntry
from outgrad.labels.labels import Labels
from outgrad.ops.operands import T, content, like
from outgrad.ops.twins import block_twin

EntrySelection = Labels | LabelsEntry | Sequence[int] | npt.NDArray[Any]


def slice(tensor: T, axis: str, selection: EntrySelection) -> T:
    r"""Select samples or properties of every block.

    .. math:: h_i = X_{s(i)}, \qquad \nabla h_i = \nabla X_{s(i)}

    Gradient rows follow their samples: rows of samples that are not selected are dropped, the others are put
    in the order of the selected samples, and their label ``sample`` is renumbered. Rows of one sample keep
    their order.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    axis : {"samples", "properties"}
        The axis to select from.
    selection : Labels, LabelsEntry, or 1-D list or array of int or bool
        Labels with some or all dimensions of the axis, positions, or a mask. Positions and labels with all
        dimensions also set the order of the result; otherwise the order of the block is kept.

    Returns
    -------
    TensorMap or TensorBlock
        Has the same keys; a block in which nothing is selected is empty.

    Raises
    ------
    ValidationError
        If the axis, a dimension or a position does not exist, or a position is repeated.
    TypeError
        If ``selection`` has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> og.slice(block, "samples", og.Labels("sample", [[1]])).values
    array([[3., 4.]])
    """
    blocks = content("slice", "tensor", tensor)
    check_axis("slice", axis)
    labels = [getattr(metadata, axis) for metadata in blocks.metadata]
    chosen = [selected_positions("slice", each, axis, selection) for each in labels]
    choose = with_rows if axis == "samples" else choose_properties
    return like(tensor, choose(blocks, chosen))


def check_axis(call: str, axis: Any) -> None:
    """Raise unless entries of the axis can be selected."""
    if axis not in ("samples", "properties"):
        raise ValidationError(f"{call}: axis must be either 'samples' or 'properties', got {axis!r}")


def selected_positions(call: str, labels: Labels, axis: str, selection: Any) -> Index:
    """Turn any selection into positions, each at most once."""
    if isinstance(selection, (Labels, LabelsEntry)):
        return labels.select(selection).astype(np.int64, copy=False)
    if not isinstance(selection, (list, np.ndarray)):
        raise TypeError(f"{call}: selection must be Labels, a list or an array, got {kind_of(selection)}")
    found = as_plain(f"{call}: positions", selection)
    if found.size == 0:
        return np.zeros(0, np.int64)
    if found.ndim != 1 or found.dtype.kind not in "iub":
        raise ValidationError(
            f"{call}: positions must be 1-D integers or booleans, got {found.ndim}-D {found.dtype}"
        )
    count = len(labels)
    if found.dtype.kind == "b":
        if len(found) != count:
            raise ValidationError(f"{call}: the mask has {len(found)} entries, but the {axis} have {count}")
        return np.flatnonzero(found)
    outside = found[(found < -count) | (found >= count)]
    if len(outside):
        raise ValidationError(
            f"{call}: position {outside[0]} is out of range, the {axis} have {count} entries"
        )
    chosen: Index = found.astype(np.int64) % max(count, 1)
    if len(np.unique(chosen)) < len(chosen):
        raise ValidationError(f"{call}: a position is repeated, but {axis} must be unique; remove it")
    return chosen


def choose_properties(blocks: Blocks, chosen: Sequence[Index]) -> Blocks:
    """Take properties of every block, in the order of ``chosen``."""

    def top(n: int, metadata: BlockMetadata) -> BlockMetadata:
        return replace(metadata, properties=metadata.properties.take(chosen[n]))

    return run_rule(TAKE_COLUMNS, [blocks], lambda n: (chosen[n],), top)


slice_block = block_twin(slice)
