"""Draw rooms.svg: the rooms of the source, each on those that it may import.

python docs/_static/draw_rooms.py
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

INK, FAINT, ROOM, VERB = "#24323d", "#8a99a6", "#eef3f7", "#bcd7ee"
WIDTH, FLOOR, GAP, LEFT = 760, 62, 14, 20

# Floors from the top; a room is its name, what it knows, and its share of the width.
FLOORS = (
    (("run, cli", "jobs, clusters, the command line", 2), ("interop, testing", "other packages, checks", 2)),
    (("ops", "what users call", 2), ("storage", "zarr | mts", 2)),
    (("tensor", "TensorMap, TensorBlock: labels and data together", 1),),
    (("engine", "", 1),),
    (("gradients", "the rule of each operation, on a chunk", 2), ("graph", "tasks, names, memory", 2)),
    (("data", "chunks, outlines, edges", 1),),
    (("labels", "names and integer tables", 1),),
    (("errors, tree, task, config", "", 1),),
)
VERBS = ("map", "shuffle", "divide", "reduce", "dot", "solve", "compare", "attach")


def text(x: float, y: float, content: str, size: int = 13, weight: str = "normal", fill: str = INK) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" fill="{fill}" '
        f'text-anchor="middle">{escape(content)}</text>'
    )


def rectangle(x: float, y: float, width: float, height: float, fill: str) -> str:
    style = f'rx="7" fill="{fill}" stroke="{FAINT}"'
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" {style}/>'


def top(floor: int) -> float:
    return 20 + floor * (FLOOR + GAP)


def rooms() -> Iterator[str]:
    for floor, own in enumerate(FLOORS):
        share = (WIDTH - 2 * LEFT + GAP) / sum(room[2] for room in own)
        x = float(LEFT)
        for name, knows, shares in own:
            width = share * shares - GAP
            yield rectangle(x, top(floor), width, FLOOR, ROOM)
            middle = x + width / 2
            if name == "engine":
                yield text(x + 44, top(floor) + 36, name, 15, "bold")
                yield from verbs(x + 90, top(floor) + 13, width - 102)
            else:
                yield text(middle, top(floor) + (26 if knows else 36), name, 15, "bold")
                yield text(middle, top(floor) + 46, knows, 12, fill=FAINT)
            x += width + GAP


def verbs(x: float, y: float, width: float) -> Iterator[str]:
    each = (width + 6) / len(VERBS)
    for number, name in enumerate(VERBS):
        yield rectangle(x + number * each, y, each - 6, FLOOR - 26, VERB)
        yield text(x + number * each + (each - 6) / 2, y + 23, name, 12)


def draw() -> str:
    height = top(len(FLOORS)) + 6
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
        f'height="{height:g}" font-family="Helvetica, Arial, DejaVu Sans, sans-serif" role="img">',
        "<title>The rooms of the source: each may import those below it, and none above</title>",
        f'<rect x="0" y="0" width="{WIDTH}" height="{height:g}" rx="10" fill="#ffffff"/>',
        *rooms(),
        "</svg>",
    ]
    return "\n".join(body) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "rooms.svg").write_text(draw(), encoding="utf-8")
