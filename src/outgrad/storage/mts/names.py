"""Names of the members of an ``.mts`` file: the one home of this layout.

::

    keys.npy
    blocks/<i>/values.npy | samples.npy | components/<j>.npy | properties.npy
    blocks/<i>/gradients/<parameter>/values.npy | samples.npy | components/<j>.npy | gradients/…
    info.json

A file of a single block has the same names without ``blocks/<i>/``, and neither keys nor info. A
file of labels is a single ``.npy``.

Files of equistore, as metatensor was called until 2023, have other names, which are translated::

    blocks/<i>/values/data.npy | values/samples.npy | values/components/<j>.npy | values/properties.npy
    blocks/<i>/gradients/<parameter>/data.npy | samples.npy | components/<j>.npy
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from outgrad.storage.mts.file import MtsSource, file_error
from outgrad.storage.mts.zip import Member, require_readable

FileKind = Literal["map", "block", "labels"]

KEYS, INFO = "keys.npy", "info.json"
MAX_GRADIENT_DEPTH = 64
"""More than anybody nests; blocks are walked recursively, and a file must not decide how deep."""
BLOCK = r"blocks/(?:0|[1-9]\d{0,8})/"
COMPONENT = r"components/(?:0|[1-9]\d?)"
MEMBER_NAME = re.compile(
    rf"(?P<block>{BLOCK})?(?P<gradients>(?:gradients/[^/]*/)*)"
    rf"(?:(?P<kind>values|samples|properties)|{COMPONENT})\.npy",
    re.DOTALL,
)
GRADIENT_NAME = re.compile(rf"(?:{BLOCK})?gradients/.*/(?:values|samples)\.npy", re.DOTALL)
OLD_SIGN = "blocks/0/values/data.npy"
OLD_VALUES = re.compile(rf"({BLOCK})values/((?:data|samples|properties|{COMPONENT})\.npy)")
OLD_GRADIENT = re.compile(rf"({BLOCK}gradients/[^/]*/)data\.npy", re.DOTALL)

ParameterTree = dict[str, "ParameterTree"]
"""Gradient parameters of a block, and for each of them those of the gradient."""


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


def block_prefix(kind: FileKind, number: int) -> str:
    return f"blocks/{number}/" if kind == "map" else ""


def is_parameter(parameter: str) -> bool:
    """Whether the file can hold a gradient of this name, and metatensor read it."""
    return not set("/\0") & set(parameter) and _is_text(parameter)


@dataclass(frozen=True, slots=True)
class _LayoutName:
    """The name of a member of the layout: its block, the gradients that lead to it, and what it is."""

    name: str
    block: str
    parameters: tuple[str, ...]
    is_of_tree: bool
    """Whether it is one of the two that every block and every gradient has."""


LONGEST_KEPT_NAME = 200


def _taken_apart(name: str) -> _LayoutName | str | None:
    """Take a name apart; None if it is not of the layout, or what is wrong with it."""
    return _kept_name(name) if len(name) <= LONGEST_KEPT_NAME else _parsed_name(name)


def _parsed_name(name: str) -> _LayoutName | str | None:
    if name in (KEYS, INFO):
        return _LayoutName(name, "", (), False)
    match = MEMBER_NAME.fullmatch(name)
    if match is None and GRADIENT_NAME.fullmatch(name):
        return "the name of a gradient has a slash, which is ambiguous"
    if match is None or (match["gradients"] and match["kind"] == "properties"):
        return None
    if "\0" in name or not _is_text(name):
        return "the name of the member has a zero byte, or is not UTF-8"
    parameters = tuple(match["gradients"].split("/")[1::2])
    if len(parameters) > MAX_GRADIENT_DEPTH:
        return f"the name of the member nests gradients deeper than {MAX_GRADIENT_DEPTH}"
    return _LayoutName(name, match["block"] or "", parameters, match["kind"] in ("values", "samples"))


_kept_name = lru_cache(maxsize=4096)(_parsed_name)
"""Thousands of files have the same few names."""


def layout_members(file: MtsSource, members: Mapping[str, Member]) -> dict[str, Member]:
    """Return the members that the layout has, by their names in it; all can be read.

    Others are ignored, as metatensor does: folders, ``__MACOSX/``, a README. Names that would lead out of a
    folder are refused: such a file was made to do harm.
    """
    is_old = OLD_SIGN in members
    known: dict[str, Member] = {}
    for stored, member in members.items():
        parsed = _taken_apart(_translated(stored) if is_old else stored)
        if isinstance(parsed, _LayoutName):
            if parsed.name in known:
                raise file_error(file.where(stored), f"{known[parsed.name].name!r} has the same data")
            require_readable(file, member)
            known[parsed.name] = member
        elif parsed is not None:
            raise file_error(file.where(stored), parsed)
        elif stored.startswith("/") or re.match("[A-Za-z]:", stored):
            raise file_error(file.where(stored), "the name of the member is an absolute path")
        elif "\\" in stored:
            raise file_error(file.where(stored), "the name of the member has a backslash")
        elif ".." in stored.split("/"):
            raise file_error(file.where(stored), "the name of the member leads out of its folder by '..'")
    return known


def _translated(stored: str) -> str:
    """Return the name that a member of a file of equistore has today."""
    if match := OLD_VALUES.fullmatch(stored):
        return match[1] + match[2].replace("data", "values")
    if match := OLD_GRADIENT.fullmatch(stored):
        return match[1] + "values.npy"
    return stored


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def kind_of_file(file: MtsSource, names: Iterable[str]) -> FileKind:
    """Distinguish a map from a block by the members of the file."""
    present = set(names)
    if KEYS in present:
        return "map"
    if values_name("") in present:
        return "block"
    raise file_error(
        file.where(), f"it has neither {KEYS!r}, as a map has, nor {values_name('')!r}, as a block has"
    )


def gradient_trees(names: Iterable[str]) -> dict[str, ParameterTree]:
    """Return the gradients of each block by its prefix, in the order in which the file lists them."""
    trees: dict[str, ParameterTree] = {}
    for name in names:
        parsed = _taken_apart(name)
        if isinstance(parsed, _LayoutName) and parsed.is_of_tree:
            tree = trees.setdefault(parsed.block, {})
            for parameter in parsed.parameters:
                tree = tree.setdefault(parameter, {})
    return trees
