"""Errors come back from other processes as they were raised there."""

from __future__ import annotations

import inspect
import pickle

import distributed  # noqa: F401 - it changes how errors are pickled
import pytest

from outgrad import errors

CLASSES = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_can_be_sent(kind: type[Exception]) -> None:
    error = kind("save a.zarr: it is full")
    error.add_note("a note")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert str(back) == str(error)
    assert back.args == error.args
