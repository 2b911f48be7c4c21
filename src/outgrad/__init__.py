"""Labelled, block-sparse tensors with gradients, larger than memory."""

from importlib.metadata import version as _version
from typing import Any

import lazy_loader

from outgrad import config as _config  # noqa: F401 (defaults of the settings are there from the beginning)

# The names are in __init__.pyi. They are imported when they are first used: workers need few of them, and
# dask.array and zarr take longer than all that is here.
_attribute, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    return _version("outgrad") if name == "__version__" else _attribute(name)
