"""Draw overview.svg: values and gradient rows cut alike, and one task a chunk from archive to archive.

python docs/_static/draw_overview.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

# For each chunk the number of gradient rows of each of its samples.
CHUNKS = ((2, 3, 2), (4, 3), (1, 2, 2))
# For each chunk a light and a dark tint: neighbouring samples differ, their gradient rows are tinted alike.
TINTS = (("#bcd7ee", "#6ea3d0"), ("#f6d9a8", "#e0a33e"), ("#c5e3c0", "#73b56a"))
INK, FAINT = "#24323d", "#8a99a6"

ROW, GAP = 11, 2
PAD, SPACE = 9, 14
TOP = 92
VALUES, GRADIENT = 62, 92
BOX = PAD + VALUES + 34 + GRADIENT + PAD
LEFT, TASK, RIGHT = 24, 320, 600
TASK_WIDTH = 196


def text(x: float, y: float, content: str, size: int = 13, weight: str = "normal", fill: str = INK) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" fill="{fill}" '
        f'text-anchor="middle">{content}</text>'
    )


def rectangle(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" {style}/>'


def rows(x: float, y: float, width: float, samples: tuple[int, ...], tints: tuple[str, str]) -> Iterator[str]:
    """Draw rows below each other, the rows of a sample in one tint."""
    number = 0
    for sample, count in enumerate(samples):
        for _ in range(count):
            style = f'rx="1.5" fill="{tints[sample % 2]}"'
            yield rectangle(x, y + number * (ROW + GAP), width, ROW, style)
            number += 1


def chunk(x: float, y: float, samples: tuple[int, ...], tints: tuple[str, str]) -> Iterator[str]:
    """Draw a chunk: its samples, and all their gradient rows beside them."""
    height = band(samples)
    yield rectangle(x, y, BOX, height, f'rx="7" fill="#fff" stroke="{FAINT}" stroke-dasharray="4 3"')
    lower = (height - 2 * PAD - len(samples) * (ROW + GAP) + GAP) / 2
    yield from rows(x + PAD, y + PAD + lower, VALUES, (1,) * len(samples), tints)
    yield from rows(x + BOX - PAD - GRADIENT, y + PAD, GRADIENT, samples, tints)


def band(samples: tuple[int, ...]) -> float:
    return 2 * PAD + sum(samples) * (ROW + GAP) - GAP


def archive(x: float, name: str, values: str, gradient: str) -> Iterator[str]:
    """Draw an archive: names above, chunks below each other."""
    yield text(x + BOX / 2, 34, name, 16, "bold")
    yield text(x + PAD + VALUES / 2, 60, "values")
    yield text(x + PAD + VALUES / 2, 78, values, 12, fill=FAINT)
    yield text(x + BOX - PAD - GRADIENT / 2, 60, "gradient")
    yield text(x + BOX - PAD - GRADIENT / 2, 78, gradient, 12, fill=FAINT)
    for y, samples, tints in stack():
        yield from chunk(x, y, samples, tints)


def stack() -> Iterator[tuple[float, tuple[int, ...], tuple[str, str]]]:
    y: float = TOP
    for samples, tints in zip(CHUNKS, TINTS, strict=True):
        yield y, samples, tints
        y += band(samples) + SPACE


def tasks() -> Iterator[str]:
    """Draw one task for each chunk, between the archives."""
    yield text(TASK + TASK_WIDTH / 2, 34, "one task a chunk", 16, "bold")
    yield text(TASK + TASK_WIDTH / 2, 60, "on any worker, in any order")
    for y, samples, tints in stack():
        middle = y + band(samples) / 2
        yield arrow(LEFT + BOX, TASK, middle)
        yield arrow(TASK + TASK_WIDTH, RIGHT, middle)
        style = f'rx="7" fill="{tints[0]}" fill-opacity="0.45" stroke="{tints[1]}"'
        yield rectangle(TASK, middle - 25, TASK_WIDTH, 50, style)
        yield text(TASK + TASK_WIDTH / 2, middle - 4, "read · multiply · write")
        yield text(TASK + TASK_WIDTH / 2, middle + 14, "h = ρ²,  ∇h = 2 ρ ∇ρ")


def arrow(start: float, stop: float, y: float) -> str:
    return (
        f'<line x1="{start + 6:g}" y1="{y:g}" x2="{stop - 9:g}" y2="{y:g}" stroke="{INK}" '
        f'stroke-width="1.4" marker-end="url(#head)"/>'
    )


def picture() -> str:
    last, samples, _ = list(stack())[-1]
    height = last + band(samples) + 44
    width = RIGHT + BOX + LEFT
    note = "a chunk holds whole samples, with all rows of all their gradients; a row that is missing is zero"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="Helvetica, Arial, DejaVu Sans, sans-serif" role="img">',
        "<title>Values and gradient rows are cut alike; one task a chunk, archive to archive</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="8" markerHeight="8" '
        f'orient="auto"><path d="M0,0.5 L7,4 L0,7.5 Z" fill="{INK}"/></marker></defs>',
        rectangle(0, 0, width, height, 'rx="10" fill="#ffffff"'),
        *archive(LEFT, "soap.zarr", "ρ (S, P)", "∇ρ (R, 3, P)"),
        *tasks(),
        *archive(RIGHT, "squared.zarr", "h (S, P)", "∇h (R, 3, P)"),
        text(width / 2, height - 16, note),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "overview.svg").write_text(picture(), encoding="utf-8")
