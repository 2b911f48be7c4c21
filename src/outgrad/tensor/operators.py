"""The operators of blocks and maps; they call the operations of the same meaning."""

from __future__ import annotations

from copy import copy
from typing import Any, Self

from outgrad.late import late


class Operators:
    """``+ - * / ** @ ==``, which call the operations of the same meaning."""

    # NumPy must not take a map for an array of objects in ``np.float64(2) * map``.
    __array_ufunc__ = None

    def _operate(self, name: str, *others: Any, module: str = "pointwise") -> Self:
        result: Self = late(f"ops.{module}", name)(self, *others)
        return result

    def __add__(self, other: Any) -> Self:
        return self._operate("add", other)

    def __radd__(self, other: Any) -> Self:
        return self._operate("add", other)

    def __sub__(self, other: Any) -> Self:
        return self._operate("subtract", other)

    def __rsub__(self, other: Any) -> Self:
        return self._operate("subtract_from", other)

    def __mul__(self, other: Any) -> Self:
        return self._operate("multiply", other)

    def __rmul__(self, other: Any) -> Self:
        return self._operate("multiply", other)

    def __truediv__(self, other: Any) -> Self:
        return self._operate("divide", other)

    def __rtruediv__(self, other: Any) -> Self:
        return self._operate("divide_into", other)

    def __pow__(self, other: Any) -> Self:
        return self._operate("pow", other)

    def __rpow__(self, other: Any) -> Self:
        return self._operate("pow_of", other)

    def __matmul__(self, other: Any) -> Self:
        return self._operate("dot", other, module="linear")

    def __neg__(self) -> Self:
        return self._operate("multiply", -1)

    def __pos__(self) -> Self:
        return copy(self)

    def __abs__(self) -> Self:
        return self._operate("abs")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Operators):
            return NotImplemented
        return bool(self._operate("equal", other, module="compare"))

    __hash__ = None  # type: ignore[assignment]
