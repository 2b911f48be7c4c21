"""The operators of blocks and maps; the operations themselves stand above, and register here."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Self

Operation = Callable[..., Any]

REGISTERED: dict[tuple[type, str], Operation] = {}
"""(class, operation) → function; filled by ``outgrad.ops``."""


class Operators:
    """``+ - * / ** @ ==`` by the operations of the same meaning."""

    # NumPy must not take a map for an array of objects in ``np.float64(2) * map``.
    __array_ufunc__ = None

    def _operate(self, name: str, *others: Any, **options: Any) -> Any:
        return REGISTERED[_base(type(self)), name](self, *others, **options)

    def __add__(self, other: Any) -> Self:
        return self._operate("add", other)  # type: ignore[no-any-return]

    def __radd__(self, other: Any) -> Self:
        return self._operate("add", other)  # type: ignore[no-any-return]

    def __sub__(self, other: Any) -> Self:
        return self._operate("subtract", other)  # type: ignore[no-any-return]

    def __rsub__(self, other: Any) -> Self:
        return self._operate("subtract_from", other)  # type: ignore[no-any-return]

    def __mul__(self, other: Any) -> Self:
        return self._operate("multiply", other)  # type: ignore[no-any-return]

    def __rmul__(self, other: Any) -> Self:
        return self._operate("multiply", other)  # type: ignore[no-any-return]

    def __truediv__(self, other: Any) -> Self:
        return self._operate("divide", other)  # type: ignore[no-any-return]

    def __rtruediv__(self, other: Any) -> Self:
        return self._operate("divide_into", other)  # type: ignore[no-any-return]

    def __pow__(self, other: Any) -> Self:
        return self._operate("pow", other)  # type: ignore[no-any-return]

    def __rpow__(self, other: Any) -> Self:
        return self._operate("pow_of", other)  # type: ignore[no-any-return]

    def __matmul__(self, other: Any) -> Self:
        return self._operate("dot", other)  # type: ignore[no-any-return]

    def __neg__(self) -> Self:
        return self._operate("multiply", -1)  # type: ignore[no-any-return]

    def __pos__(self) -> Self:
        return copy(self)

    def __abs__(self) -> Self:
        return self._operate("abs", None)  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Operators):
            return NotImplemented
        return bool(self._operate("equal", other))

    __hash__ = None  # type: ignore[assignment]


def _base(kind: type) -> type:
    return next(base for base in kind.__mro__ if (base, "add") in REGISTERED)


def register(kind: type, name: str, operation: Operation) -> None:
    """Make ``operation`` the meaning of the operator ``name`` of ``kind``."""
    REGISTERED[kind, name] = operation
