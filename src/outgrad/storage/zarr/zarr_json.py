"""Compare a ``zarr.json`` with a commit: what Zarr tools may add or write differently is not corruption."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outgrad.storage.zarr.documents import Document
from outgrad.storage.zarr.format import SEGMENTS
from outgrad.storage.zarr.parse import read_json

ADDED = ("consolidated_metadata", "dimension_names", "storage_transformers")
"""Fields of Zarr v3 that Outgrad does not write everywhere, or that may be absent."""


def document_mistake(key: str, raw: bytes, expected: Mapping[str, Document]) -> str:
    """What is wrong with the ``zarr.json`` at ``key``; "" if it agrees with the commit.

    ``expected`` has all documents by key: consolidated metadata repeat those of the arrays in a group.
    """
    try:
        document = read_json(raw)
    except (ValueError, RecursionError):
        return "is corrupted: it is not JSON"
    wrong = _wrong_fields(document, expected[key])
    # Readers take consolidated metadata for those of the arrays, so they have to be right as well.
    consolidated = document.get("consolidated_metadata") if type(document) is dict else None
    ours = expected[key].get("consolidated_metadata", {"metadata": {}})
    if consolidated is not None or ours["metadata"]:
        copies = _copies(consolidated)
        if copies is None or not ours["metadata"].keys() <= copies.keys():
            wrong.append("consolidated_metadata")
            copies = {}
        folder = key.removesuffix("zarr.json")
        for name, copy in copies.items():
            original = expected.get(f"{folder}{name}/zarr.json")
            nested = copy.get("consolidated_metadata") if type(copy) is dict else None
            is_nested_right = nested is None or _copies(nested) is not None
            # The root may repeat what is there besides; a segment never gets more than it has.
            is_unknown = original is None and key.startswith(f"{SEGMENTS}/") and key.count("/") > 1
            wrong_fields = original is not None and _wrong_fields(copy, original, is_copy=True)
            if is_unknown or wrong_fields or not is_nested_right:
                wrong.append(f"consolidated_metadata of {name}")
    return f"is corrupted: it does not say what the commit says: {', '.join(wrong)}" if wrong else ""


def _copies(consolidated: Any) -> dict[str, Any] | None:
    """The metadata in what zarr-python has consolidated; None if it is not that."""
    if type(consolidated) is not dict or consolidated.keys() != {"kind", "must_understand", "metadata"}:
        return None
    is_known = consolidated["kind"] == "inline" and consolidated["must_understand"] is False
    copies = consolidated["metadata"]
    return copies if is_known and type(copies) is dict else None


def _wrong_fields(document: Any, expected: Document, *, is_copy: bool = False) -> list[str]:
    if type(document) is not dict:
        return ["it is not an object"]
    missing = object()
    wrong = [
        name
        for name in expected
        if (name not in ADDED or name == "dimension_names")
        and not _COMPARISONS.get(name, same)(document.get(name, missing), expected[name])
    ]
    for name, value in document.items():
        # Zarr lets readers pass over a field that they do not know if it says so.
        may_be_ignored = not is_copy and type(value) is dict and value.get("must_understand") is False
        if name not in expected and name not in ADDED and not may_be_ignored:
            wrong.append(name)
    if document.get("storage_transformers") not in (None, []):
        wrong.append("storage_transformers")
    names = document.get("dimension_names")
    if names is not None and "dimension_names" not in expected:
        are_names = type(names) is list and all(name is None or type(name) is str for name in names)
        if not are_names or len(names) != len(expected.get("shape", ())):
            wrong.append("dimension_names")
    return wrong


def same(value: Any, expected: Any) -> bool:
    """Equal in type too: 1 == True == 1.0 in Python, but not for readers of Zarr."""
    if type(value) is not type(expected):
        return False
    if type(expected) is list:
        return len(value) == len(expected) and all(map(same, value, expected))
    if type(expected) is dict:
        return value.keys() == expected.keys() and all(same(value[name], expected[name]) for name in expected)
    return bool(value == expected)


def _same_fill_value(value: Any, expected: Any) -> bool:
    """A zero may be written as 0 and as 0.0."""
    if type(expected) is list:
        return type(value) is list and len(value) == 2 and all(map(_same_fill_value, value, expected))
    return same(value, expected) or (type(expected) is float and type(value) is int and value == 0)


def _same_attributes(value: Any, expected: Document) -> bool:
    """Users may add attributes; those of the archive have to stay."""
    return type(value) is dict and all(
        name in value and same(value[name], wanted) for name, wanted in expected.items()
    )


def _same_extension(value: Any, expected: Any) -> bool:
    """Compare a name with its configuration, or a list of such; a default may be written or left out."""
    if type(expected) is list:
        are_all = type(value) is list and len(value) == len(expected)
        return are_all and all(map(_same_extension, value, expected))
    return same(_without_defaults(value), _without_defaults(expected))


def _without_defaults(extension: Any) -> Any:
    if type(extension) is not dict:
        return extension
    is_default = {"configuration": {}, "must_understand": True}
    return {
        name: value
        for name, value in extension.items()
        if name not in is_default or not same(value, is_default[name])
    }


_COMPARISONS: dict[str, Any] = {
    "attributes": _same_attributes,
    "fill_value": _same_fill_value,
    "data_type": _same_extension,
    "chunk_grid": _same_extension,
    "chunk_key_encoding": _same_extension,
    "codecs": _same_extension,
}
