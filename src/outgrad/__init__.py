"""Labelled, block-sparse tensors with gradients, larger than memory."""

from importlib.metadata import version

from outgrad import io, operations
from outgrad.errors import MetatensorError, NotEqualError, OutgradError, ValidationError
from outgrad.interop.metatensor import from_metatensor, to_metatensor
from outgrad.labels.entry import LabelsEntry
from outgrad.labels.labels import Labels
from outgrad.ops.apply import apply, apply_rows
from outgrad.ops.arrays import (
    detach,
    detach_block,
    is_contiguous,
    is_contiguous_block,
    make_contiguous,
    make_contiguous_block,
    requires_grad,
    requires_grad_block,
)
from outgrad.ops.combine import join, join_blocks
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
from outgrad.ops.components import sum_over_components, sum_over_components_block
from outgrad.ops.create import block_from_array
from outgrad.ops.create_like import (
    empty_like,
    empty_like_block,
    ones_like,
    ones_like_block,
    random_uniform_like,
    random_uniform_like_block,
    zeros_like,
    zeros_like_block,
)
from outgrad.ops.dimensions import (
    append_dimension,
    insert_dimension,
    permute_dimensions,
    remove_dimension,
    rename_dimension,
)
from outgrad.ops.filter import drop_blocks, drop_empty_blocks, filter_blocks
from outgrad.ops.functions import cos, exp, log, reciprocal, sin, sqrt, square, tanh
from outgrad.ops.gradients import remove_gradients, remove_gradients_block
from outgrad.ops.keys import (
    components_to_properties,
    components_to_properties_block,
    keys_to_properties,
    keys_to_samples,
)
from outgrad.ops.least_squares import lstsq, solve
from outgrad.ops.linear import dot
from outgrad.ops.metadata import one_hot, unique_metadata, unique_metadata_block
from outgrad.ops.order import sort, sort_block
from outgrad.ops.pointwise import abs, add, divide, multiply, pow, subtract
from outgrad.ops.reduce import (
    mean_over_properties,
    mean_over_properties_block,
    mean_over_samples,
    mean_over_samples_block,
    std_over_properties,
    std_over_properties_block,
    std_over_samples,
    std_over_samples_block,
    sum_over_properties,
    sum_over_properties_block,
    sum_over_samples,
    sum_over_samples_block,
    var_over_properties,
    var_over_properties_block,
    var_over_samples,
    var_over_samples_block,
)
from outgrad.ops.select import slice, slice_block
from outgrad.ops.shift import shift_dimension
from outgrad.ops.split import split, split_block, split_by, split_by_block
from outgrad.ops.switches import checks_enabled, unsafe_disable_checks, unsafe_enable_checks
from outgrad.storage import (
    ArchiveWriter,
    clean,
    load,
    load_block,
    load_labels,
    open,
    save,
    save_all,
    verify,
)
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap
from outgrad.testing.gradient import check_gradient

__version__ = version("outgrad")

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
    "append_dimension",
    "apply",
    "apply_rows",
    "block_from_array",
    "check_gradient",
    "checks_enabled",
    "clean",
    "components_to_properties",
    "components_to_properties_block",
    "cos",
    "detach",
    "detach_block",
    "divide",
    "dot",
    "drop_blocks",
    "drop_empty_blocks",
    "empty_like",
    "empty_like_block",
    "equal",
    "equal_block",
    "equal_block_raise",
    "equal_metadata",
    "equal_metadata_block",
    "equal_metadata_block_raise",
    "equal_metadata_raise",
    "equal_raise",
    "exp",
    "filter_blocks",
    "from_metatensor",
    "insert_dimension",
    "io",
    "is_contiguous",
    "is_contiguous_block",
    "join",
    "join_blocks",
    "keys_to_properties",
    "keys_to_samples",
    "load",
    "load_block",
    "load_labels",
    "log",
    "lstsq",
    "make_contiguous",
    "make_contiguous_block",
    "mean_over_properties",
    "mean_over_properties_block",
    "mean_over_samples",
    "mean_over_samples_block",
    "multiply",
    "one_hot",
    "ones_like",
    "ones_like_block",
    "open",
    "operations",
    "permute_dimensions",
    "pow",
    "random_uniform_like",
    "random_uniform_like_block",
    "reciprocal",
    "remove_dimension",
    "remove_gradients",
    "remove_gradients_block",
    "rename_dimension",
    "requires_grad",
    "requires_grad_block",
    "save",
    "save_all",
    "shift_dimension",
    "sin",
    "slice",
    "slice_block",
    "solve",
    "sort",
    "sort_block",
    "split",
    "split_block",
    "split_by",
    "split_by_block",
    "sqrt",
    "square",
    "std_over_properties",
    "std_over_properties_block",
    "std_over_samples",
    "std_over_samples_block",
    "subtract",
    "sum_over_components",
    "sum_over_components_block",
    "sum_over_properties",
    "sum_over_properties_block",
    "sum_over_samples",
    "sum_over_samples_block",
    "tanh",
    "to_metatensor",
    "unique_metadata",
    "unique_metadata_block",
    "unsafe_disable_checks",
    "unsafe_enable_checks",
    "var_over_properties",
    "var_over_properties_block",
    "var_over_samples",
    "var_over_samples_block",
    "verify",
    "zeros_like",
    "zeros_like_block",
]
