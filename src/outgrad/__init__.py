"""Labelled, block-sparse tensors with gradients, larger than memory."""

from outgrad.archive import ArchiveWriter, load, open, save, save_all, verify
from outgrad.errors import MetatensorError, NotEqualError, OutgradError, ValidationError
from outgrad.interop.metatensor import from_metatensor, to_metatensor
from outgrad.labels import Labels, LabelsEntry
from outgrad.ops.compare import (
    allclose,
    allclose_block,
    allclose_block_raise,
    allclose_raise,
    equal,
    equal_block,
    equal_block_raise,
    equal_metadata,
    equal_metadata_block,
    equal_metadata_block_raise,
    equal_metadata_raise,
    equal_raise,
)
from outgrad.ops.create import block_from_array
from outgrad.ops.gradients import remove_gradients, remove_gradients_block
from outgrad.ops.linear import dot
from outgrad.ops.pointwise import abs, add, divide, multiply, pow, subtract
from outgrad.ops.reduce import (
    sum_over_properties,
    sum_over_properties_block,
    sum_over_samples,
    sum_over_samples_block,
)
from outgrad.ops.select import slice, slice_block
from outgrad.tensor import TensorBlock, TensorMap
from outgrad.testing.gradient import check_gradient

__all__ = [
    "ArchiveWriter",
    "Labels",
    "LabelsEntry",
    "MetatensorError",
    "NotEqualError",
    "OutgradError",
    "TensorBlock",
    "TensorMap",
    "ValidationError",
    "abs",
    "add",
    "allclose",
    "allclose_block",
    "allclose_block_raise",
    "allclose_raise",
    "block_from_array",
    "check_gradient",
    "divide",
    "dot",
    "equal",
    "equal_block",
    "equal_block_raise",
    "equal_metadata",
    "equal_metadata_block",
    "equal_metadata_block_raise",
    "equal_metadata_raise",
    "equal_raise",
    "from_metatensor",
    "load",
    "multiply",
    "open",
    "pow",
    "remove_gradients",
    "remove_gradients_block",
    "save",
    "save_all",
    "slice",
    "slice_block",
    "subtract",
    "sum_over_properties",
    "sum_over_properties_block",
    "sum_over_samples",
    "sum_over_samples_block",
    "to_metatensor",
    "verify",
]
