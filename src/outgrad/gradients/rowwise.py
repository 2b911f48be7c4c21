"""Functions of the properties of one row: any function, with its directional derivatives.

Let Dₖ(x, a₁, …, aₖ) be the k-th derivative of f at x along a₁, …, aₖ, so that D₀ = f. It is linear in each
aᵢ, so

    ∂ Dₖ(x, a₁, …, aₖ) = Dₖ₊₁(x, a₁, …, aₖ, ∂x) + Σᵢ Dₖ(x, a₁, …, ∂aᵢ, …, aₖ)

which is the one rule here. Functions are not of the form *columns · diag(weight)*: their derivative mixes
columns, by a matrix that differs from row to row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from outgrad.data.chunk import Array, Chunk
from outgrad.errors import ValidationError
from outgrad.gradients.functions import check_array, require_derivative
from outgrad.gradients.rule import Composite, add_gradients, gather, missing_gradient, pad, with_gradients_of

PIECE_BYTES = 1024 * 1024
"""Size of the arrays that functions are called with: values gathered at all gradient rows would have as many
bytes as the gradient, for each argument."""

ARGUMENTS = ("f", "jvp")


@dataclass(frozen=True)
class RowFunctions:
    """D₀, D₁, …: functions of arrays (N, P) that return (N, Q), and what they return."""

    functions: tuple[Callable[..., Any], ...]
    width: int
    """P, the number of properties of the argument."""
    size: int
    """Q, the number of properties of the result."""
    dtype: np.dtype[Any]

    def name(self, order: int) -> str:
        """How the user calls a derivative."""
        return ARGUMENTS[order] if order == 0 or len(self.functions) == 2 else f"jvp[{order - 1}]"

    def __call__(self, x: Array, tangents: Sequence[Array]) -> Array:
        """Compute the derivative along ``tangents``; all arrays (R, …, P) broadcast."""
        require_derivative("apply_rows", "jvp", self.functions, len(tangents))
        shape = np.broadcast_shapes(x.shape, *(tangent.shape for tangent in tangents))
        if shape[-1] != self.width:  # arrays without content: labels are being found
            return np.empty((*shape[:-1], 0), self.dtype)
        out = np.empty((*shape[:-1], self.size), self.dtype)
        arrays = [np.broadcast_to(array, shape) for array in (x, *tangents)]
        step = max(1, PIECE_BYTES * shape[0] // max(arrays[0].nbytes, 1))
        for start in range(0, shape[0] if prod(shape[:-1]) else 0, step):
            piece = slice(start, start + step)
            count = prod(out[piece].shape[:-1])
            rows = [np.ascontiguousarray(array[piece]).reshape(count, self.width) for array in arrays]
            out[piece] = self._call_user(rows).reshape(out[piece].shape)
        return out

    def _call_user(self, arrays: Sequence[Array]) -> Array:
        """Call f or a derivative on rows that it cannot change, and check what it returns."""
        order = len(arrays) - 1
        for array in arrays:
            array.flags.writeable = False
        call, shape = f"apply_rows: {self.name(order)}", (len(arrays[0]), self.size)
        returned = self.functions[order](*arrays)
        result = check_array(call, returned, shape, f"an array of shape {shape} here")
        if not np.can_cast(result.dtype, self.dtype, "same_kind"):
            raise ValidationError(
                f"{call} returned {result.dtype} of these values, but the result has the dtype {self.dtype}, "
                "as f has of an array without rows; convert it in the function"
            )
        return result


def apply_to_rows(chunks: Sequence[Chunk], functions: RowFunctions) -> Chunk:
    """Apply a function to each row of a chunk."""
    (chunk,) = chunks
    out = _derive(functions, chunk, (), chunk)
    return Chunk(out.values, out.gradients, chunk.table)


def _derive(functions: RowFunctions, x: Chunk, tangents: tuple[Chunk, ...], pattern: Chunk) -> Chunk:
    """Dₖ with the gradients that ``pattern`` has; all chunks have the same rows and number of axes."""
    values = functions(x.values, [tangent.values for tangent in tangents])
    arguments = (x, *tangents)
    gradients = {}
    for name, gradient_pattern in pattern.gradients.items():
        if any(name not in argument.gradients for argument in arguments):
            raise missing_gradient([name])
        terms = []
        for number, argument in enumerate(arguments):
            moving = argument.gradients[name]
            axes = moving.values.ndim - argument.values.ndim
            first, *others = (
                pad(gather(with_gradients_of(other, [gradient_pattern]), moving.rows[:, 0]), axes)
                for other in arguments
            )
            # The derivative along x is another tangent; that along a tangent takes its place.
            derivative = Chunk(moving.values, moving.gradients)
            if number == 0:
                others.append(derivative)
            else:
                others[number - 1] = derivative
            term = _derive(functions, first, tuple(others), gradient_pattern)
            terms.append(Chunk(term.values, term.gradients, moving.rows))
        gradients[name] = add_gradients(terms)
    return Chunk(values, gradients)


APPLY_ROWS = Composite("apply_rows", apply_to_rows, share=3.0, calls_user=True)
