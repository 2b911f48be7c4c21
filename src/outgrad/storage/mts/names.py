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


def layout_members(file: MtsSource, members: Mapping[str, Member]) -> dict[str, Member]:
    """Return the members that the layout has, by their names in it; all can be read.

    Others are ignored, as metatensor does: folders, ``__MACOSX/``, a README. Names that would lead out of a
    folder are refused: such a file was made to do harm.
    """
    is_old = OLD_SIGN in members
    known: dict[str, Member] = {}
    for stored, member in members.items():
        name = stored
        if is_old and (match := OLD_VALUES.fullmatch(stored)):
            name = match[1] + match[2].replace("data", "values")
        elif is_old and (match := OLD_GRADIENT.fullmatch(stored)):
            name = match[1] + "values.npy"
        if name in (KEYS, INFO) or _is_known(file, name):
            if name in known:
                raise file_error(file.where(stored), f"{known[name].name!r} has the same data")
            require_readable(file, member)
            known[name] = member
        elif stored.startswith("/") or re.match("[A-Za-z]:", stored):
            raise file_error(file.where(stored), "the name of the member is an absolute path")
        elif "\\" in stored:
            raise file_error(file.where(stored), "the name of the member has a backslash")
        elif ".." in stored.split("/"):
            raise file_error(file.where(stored), "the name of the member leads out of its folder by '..'")
    return known


def _is_known(file: MtsSource, name: str) -> bool:
    match = MEMBER_NAME.fullmatch(name)
    if match is None and GRADIENT_NAME.fullmatch(name):
        raise file_error(file.where(name), "the name of a gradient has a slash, which is ambiguous")
    if match is None or (match["gradients"] and match["kind"] == "properties"):
        return False
    if "\0" in name or not _is_text(name):
        raise file_error(file.where(name), "the name of the member has a zero byte, or is not UTF-8")
    if match["gradients"].count("/") // 2 > MAX_GRADIENT_DEPTH:
        raise file_error(
            file.where(name), f"the name of the member nests gradients deeper than {MAX_GRADIENT_DEPTH}"
        )
    return True


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
        repr(file.path), f"it has neither {KEYS!r}, as a map has, nor {values_name('')!r}, as a block has"
    )


def gradient_trees(names: Iterable[str]) -> dict[str, ParameterTree]:
    """Return the gradients of each block by its prefix, in the order in which the file lists them."""
    trees: dict[str, ParameterTree] = {}
    for name in names:
        match = MEMBER_NAME.fullmatch(name)
        if match is None or match["kind"] not in ("values", "samples"):
            continue
        tree = trees.setdefault(match["block"] or "", {})
        for parameter in match["gradients"].split("/")[1::2]:
            tree = tree.setdefault(parameter, {})
    return trees
