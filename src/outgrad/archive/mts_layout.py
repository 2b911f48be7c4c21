"""Names of the members of an ``.mts`` file: the one home of this layout.

::

    keys.npy
    blocks/<i>/values.npy | samples.npy | components/<j>.npy | properties.npy
    blocks/<i>/gradients/<parameter>/values.npy | samples.npy | components/<j>.npy | gradients/…
    info.json

A file of a single block has the same names without ``blocks/<i>/``, and neither keys nor info. A
file of labels is one bare ``.npy``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from outgrad.archive.mts_file import MtsFile, file_error

Kind = Literal["map", "block", "labels"]

KEYS, INFO = "keys.npy", "info.json"
MAX_GRADIENT_DEPTH = 8
PARAMETER = r"(?!\.\.?/)[^/\\]+"
NAME = re.compile(
    rf"(?P<block>blocks/(?:0|[1-9]\d{{0,8}})/)?(?P<gradients>(?:gradients/{PARAMETER}/)*)"
    r"(?:(?P<kind>values|samples|properties)|components/(?:0|[1-9]\d?))\.npy"
)

Tree = dict[str, "Tree"]
"""Gradient parameters of a block, and below each those of the gradient."""


def values_name(prefix: str) -> str:
    return f"{prefix}values.npy"


def samples_name(prefix: str) -> str:
    return f"{prefix}samples.npy"


def properties_name(prefix: str) -> str:
    return f"{prefix}properties.npy"


def component_name(prefix: str, number: int) -> str:
    return f"{prefix}components/{number}.npy"


def gradient_prefix(prefix: str, parameter: str) -> str:
    return f"{prefix}gradients/{parameter}/"


def block_prefix(kind: Kind, number: int) -> str:
    return f"blocks/{number}/" if kind == "map" else ""


def is_parameter(parameter: str) -> bool:
    """Whether a gradient of this name can be kept in the file and read by metatensor."""
    return (
        re.fullmatch(PARAMETER + "/", parameter + "/") is not None
        and parameter.isascii()
        and parameter.isprintable()
    )


def check_names(file: MtsFile, names: Iterable[str]) -> None:
    """Refuse names that lead out of a folder, and names that the layout does not have."""
    for name in names:
        if name in (KEYS, INFO) or _is_known(name):
            continue
        where = file.where(name)
        if name.startswith("/") or re.match("[A-Za-z]:", name):
            raise file_error(where, "the name of the member is an absolute path")
        if "\\" in name:
            raise file_error(where, "the name of the member has a backslash")
        if ".." in name.split("/"):
            raise file_error(where, "the name of the member leads out of its folder by '..'")
        raise file_error(where, "metatensor's layout has no such member")


def _is_known(name: str) -> bool:
    match = NAME.fullmatch(name)
    if match is None or not name.isprintable():
        return False
    depth = match["gradients"].count("/") // 2
    return depth <= MAX_GRADIENT_DEPTH and not (depth and match["kind"] == "properties")


def kind_of(file: MtsFile, names: Iterable[str]) -> Kind:
    """Tell a map from a block by what the file has."""
    found = set(names)
    if KEYS in found:
        return "map"
    if values_name("") in found:
        return "block"
    raise file_error(
        repr(file.path), f"it has neither {KEYS!r}, as a map has, nor {values_name('')!r}, as a block has"
    )


def gradient_trees(names: Iterable[str]) -> dict[str, Tree]:
    """Return the gradients of each block by its prefix, in the order in which the file lists them."""
    trees: dict[str, Tree] = {}
    for name in names:
        match = NAME.fullmatch(name)
        if match is None or match["kind"] != "values":
            continue
        tree = trees.setdefault(match["block"] or "", {})
        for parameter in match["gradients"].split("/")[1::2]:
            tree = tree.setdefault(parameter, {})
    return trees
