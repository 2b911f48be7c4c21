"""What comes from outside: arrays, made into plain ones or refused, and how other objects are called."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from outgrad.errors import ValidationError

SAME_MEANING = (np.ndarray, np.memmap, np.matrix, np.recarray, np.char.chararray)
"""Classes whose elements mean what those of a plain array do; ``numpy.matrix`` differs in operators only."""

PACKAGES = {
    "torch": "pass tensor.detach().cpu().numpy()",
    "xarray": "use og.from_xarray(…), or pass its NumPy or Dask array, .data",
    "pandas": "pass its numbers, .to_numpy()",
    "scipy": "pass .toarray()",
    "sparse": "pass .todense()",
    "cupy": "pass cupy.asnumpy(…)",
}
"""How objects of other packages are made into NumPy arrays."""


def plain(call: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the same numbers as a plain array in native byte order; shared where that changes nothing.

    ``call`` begins the message of the error: what was called, and which argument this is, as in
    "TensorBlock: values".

    Raises
    ------
    ValidationError
        If the array is of a class that means more than its numbers: masks, units, and the like.
    """
    if type(array) is not np.ndarray:
        check_class(call, array)
        array = array.view(np.ndarray)
    return array if array.dtype.isnative else array.astype(native(array.dtype))


def native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in the byte order of this machine."""
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def check_class(call: str, array: npt.NDArray[Any]) -> None:
    """Refuse an array of a class that means more than its numbers."""
    if isinstance(array, np.ma.MaskedArray):
        masked = np.ma.count_masked(array)  # type: ignore[no-untyped-call]
        if masked:
            raise ValidationError(
                f"{call} cannot be a masked array, found {masked} masked of {array.size} entries; fill or "
                "drop the masked entries first, such as with array.filled(0)"
            )
    elif type(array) not in SAME_MEANING:
        raise ValidationError(
            f"{call} cannot be a {class_name(array)}, which may mean more than its numbers, such as a unit; "
            "pass the plain numbers, numpy.asarray(…)"
        )


def as_plain(call: str, given: Any) -> npt.NDArray[Any]:
    """Make a plain array of an array, of what can be converted to one, or of a list.

    Raises
    ------
    ValidationError
        If an array, or one in a list, means more than its numbers.
    ValueError
        If NumPy cannot make an array of it.
    """
    if isinstance(given, (list, tuple)):
        for own in given:
            if isinstance(own, np.ndarray):
                plain(call, own)
    elif not isinstance(given, np.ndarray):  # NumPy would drop the mask of what these return
        if hasattr(given, "__dask_graph__"):
            given = given.compute()
        elif hasattr(given, "__array__"):
            given = given.__array__()
    return plain(call, np.asanyarray(given))


def class_name(thing: object) -> str:
    """The name of a class with its package, unless it is built in."""
    kind = type(thing)
    package = _package(thing)
    return kind.__name__ if package in ("builtins", "outgrad") else f"{package}.{kind.__name__}"


def kind_of(thing: object) -> str:
    """What was found instead of what is needed: ``DataFrame``, or ``a metatensor TensorMap; use …``."""
    package, kind = _package(thing), type(thing).__name__
    if package == "metatensor":
        return f"a metatensor {kind}; use og.from_metatensor(…)"
    if package == "torch" and kind == "ScriptObject":  # what metatensor.torch makes
        name = thing._type().name()  # type: ignore[attr-defined]
        return f"a {name} of TorchScript; save it with .save(path), and use og.load(path)"
    advice = PACKAGES.get(package)
    return kind if advice is None else f"a {package} {kind}; {advice}"


def of_package(thing: object) -> bool:
    """Whether this is of another package that makes arrays or labels."""
    return _package(thing) in ("metatensor", *PACKAGES)


def _package(thing: object) -> str:
    return type(thing).__module__.partition(".")[0]


def is_dask_array(array: Any) -> bool:
    """Whether ``array`` is a Dask array: nobody has one who has not imported ``dask.array``."""
    dask_array = sys.modules.get("dask.array")
    return dask_array is not None and isinstance(array, dask_array.Array)
