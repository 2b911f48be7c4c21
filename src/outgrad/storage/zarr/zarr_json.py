"""Compare a ``zarr.json`` with a commit: what a tool of Zarr may add or write otherwise is no damage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outgrad.storage.zarr.documents import Document
from outgrad.storage.zarr.parse import read_json

ADDED = ("consolidated_metadata", "dimension_names", "storage_transformers")
"""Fields of Zarr v3 that Outgrad does not write, or that may be absent."""


def difference(key: str, raw: bytes, expected: Mapping[str, Document]) -> str:
    """What is wrong with the ``zarr.json`` at ``key``; "" if it says what the commit says.

    ``expected`` has all documents by key: consolidated metadata repeat those below them.
    """
    try:
        found = read_json(raw)
    except (ValueError, RecursionError):
        return "is damaged: it is no JSON"
    wrong = _wrong_fields(found, expected[key])
    wrong += _wrong_consolidated(key, found, expected)
    return f"is damaged: it does not say what the commit says: {', '.join(wrong)}" if wrong else ""


def _wrong_fields(found: Any, expected: Document) -> list[str]:
    if type(found) is not dict:
        return ["it is no object"]
    named = [name for name in expected if name != "storage_transformers"]
    return [
        *(name for name in named if name not in found or not _agree(name, found[name], expected[name])),
        *(name for name in found if name not in expected and not _is_ignorable(name, found[name])),
        *(name for name in ADDED if not _is_right_addition(name, found.get(name), expected)),
    ]


def _agree(name: str, found: Any, expected: Any) -> bool:
    return bool(_COMPARISONS.get(name, same)(found, expected))


def _is_right_addition(name: str, found: Any, expected: Document) -> bool:
    if name == "storage_transformers":
        return found in (None, [])
    return name != "dimension_names" or _are_dimension_names(found, expected)


def _is_ignorable(name: str, value: Any) -> bool:
    """Whether Zarr lets readers pass over a field that they do not know."""
    return name in ADDED or (type(value) is dict and value.get("must_understand") is False)


def _are_dimension_names(found: Any, expected: Document) -> bool:
    if found is None:
        return True
    is_list = type(found) is list and all(name is None or type(name) is str for name in found)
    return is_list and len(found) == len(expected.get("shape", ()))


def same(found: Any, expected: Any) -> bool:
    """Equal in type too: 1 == True == 1.0 in Python, but not for readers of Zarr."""
    if type(found) is not type(expected):
        return False
    if type(expected) is list:
        return len(found) == len(expected) and all(map(same, found, expected))
    if type(expected) is dict:
        return found.keys() == expected.keys() and all(same(found[name], expected[name]) for name in expected)
    return bool(found == expected)


def _fill_value(found: Any, expected: Any) -> bool:
    """A zero may be written as 0 and as 0.0."""
    if type(expected) is list:
        return type(found) is list and len(found) == 2 and all(map(_fill_value, found, expected))
    return same(found, expected) or (type(expected) is float and type(found) is int and found == 0)


def _attributes(found: Any, expected: Document) -> bool:
    """Users may add attributes; what the archive says there has to stay."""
    return type(found) is dict and all(
        name in found and same(found[name], value) for name, value in expected.items()
    )


def _extension(found: Any, expected: Any) -> bool:
    """A name with a configuration; what may be left out means the same as what is."""
    return same(_without_defaults(found), _without_defaults(expected))


def _extensions(found: Any, expected: list[Any]) -> bool:
    return type(found) is list and len(found) == len(expected) and all(map(_extension, found, expected))


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
    "attributes": _attributes,
    "fill_value": _fill_value,
    "data_type": _extension,
    "chunk_grid": _extension,
    "chunk_key_encoding": _extension,
    "codecs": _extensions,
}


def _wrong_consolidated(key: str, found: Any, expected: Mapping[str, Document]) -> list[str]:
    """Readers take consolidated metadata for those of the arrays, so what they say has to be right."""
    consolidated = found.get("consolidated_metadata") if type(found) is dict else None
    if consolidated is None:
        return []
    listed = consolidated.get("metadata") if type(consolidated) is dict else None
    if type(listed) is not dict:
        return ["consolidated_metadata"]
    prefix = key.removesuffix("zarr.json")
    below = ((name, f"{prefix}{name}/zarr.json") for name in listed)
    return [
        f"consolidated_metadata of {name}"
        for name, at in below
        if at in expected and _wrong_fields(listed[name], expected[at])
    ]
