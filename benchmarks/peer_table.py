"""Rows of the table beside the peers, and how each compares with ours."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.peer_browser import MOVES, Seen
from benchmarks.peer_pages import Page

COLUMNS = (
    "T", "view", "holds", "page, bytes", "CPU to make, s", "first paint, ms", "switch, ms", "hover, ms",
    "nodes", "heap, MB", "asks", "load", "against ours",
)  # fmt: skip
HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
NONE = "–"
SMALL = ", others small"  # what a page of ours with one large head says


@dataclass(frozen=True)
class Row:
    """One view at one length: what is known of its page, and what the page did."""

    length: int
    view: str
    cap: float
    """Seconds that the first paint, the switches and the hovers may each take."""
    page: Page = field(default_factory=Page)
    seen: Seen = field(default_factory=Seen)
    note: str = ""
    """Why something was not measured."""
    load: tuple[float, float] = (0.0, 0.0)
    """Load average of the last minute, at the start and at the end of the row."""


@dataclass(frozen=True)
class Figure:
    """One number of a row, and whether it is a lower bound."""

    value: float
    at_least: bool = False


def figures(row: Row) -> dict[str, Figure]:
    """Return the numbers of a row that can be compared, by what they are called in the verdict."""
    page, seen = row.page, row.seen
    found: dict[str, float | None] = {
        "bytes a head": page.num_bytes / page.heads if page.num_bytes and page.heads else None,
        "CPU": page.cpu_seconds,
        "paint": seen.paint,
        "switch": statistics.median(seen.switch) if seen.switch else None,
        "hover": statistics.median(seen.hover) if seen.hover else None,
        "nodes": seen.num_nodes,
        "heap": seen.heap_bytes,
    }
    known = {name: Figure(value) for name, value in found.items() if value}
    if seen.stopped in found:
        known[seen.stopped] = Figure(row.cap * 1000, at_least=True)
    return known


def verdict(row: Row, ours: Sequence[Row]) -> str:
    """Return how many times ours each number is, in bold where ours is worse.

    Args:
        row: a peer's.
        ours: rows of our own at the same length; each number is compared with the first that has it.
    """
    mine: dict[str, Figure] = {}
    for one in reversed(ours):
        mine |= figures(one)
    parts = []
    for name, theirs in figures(row).items():
        if name in mine and not mine[name].at_least:
            ratio = theirs.value / mine[name].value
            shown = f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"
            part = f"{name} {'> ' if theirs.at_least else ''}{shown} ×"
            parts.append(f"**{part}**" if ratio < 1 else part)
    return ", ".join(parts) or NONE


def line(row: Row, ours: Sequence[Row]) -> str:
    """Return the row in Markdown; `ours` is empty for a row of our own."""
    page, seen = row.page, row.seen
    comparison = verdict(row, ours) if ours else "ours"
    if row.note:
        comparison = row.note if comparison == NONE else f"{row.note}; {comparison}"
    cells = [
        str(row.length),
        row.view,
        _holds(row),
        NONE if page.num_bytes is None else f"{page.num_bytes:,}",
        NONE if page.cpu_seconds is None else f"{page.cpu_seconds:.2f}",
        _time([seen.paint] if seen.paint else [], "paint", row),
        _time(seen.switch, "switch", row),
        _time(seen.hover, "hover", row),
        _nodes(row),
        NONE if seen.heap_bytes is None else f"{seen.heap_bytes / 1e6:.1f}",
        NONE if seen.paint is None else str(seen.num_outside),
        f"{row.load[0]:.1f} → {row.load[1]:.1f}",
        comparison,
    ]
    return f"| {' | '.join(cells)} |"


def _holds(row: Row) -> str:
    heads = row.page.heads
    if heads is None:
        return NONE
    small = SMALL if heads == 1 and row.view.startswith("AttentionHeatmap") else ""
    return f"{heads} head{'s' if heads > 1 else ''}{small}"


def _nodes(row: Row) -> str:
    if row.seen.stopped == "count":
        return _stopped(row)
    return NONE if row.seen.num_nodes is None else f"{row.seen.num_nodes:,}"


def _time(milliseconds: Sequence[float], step: str, row: Row) -> str:
    """Return p50 / p95, and of how many inputs if they were few."""
    if row.seen.stopped == step:
        return _stopped(row)
    if not milliseconds:
        return NONE
    ordered = sorted(milliseconds)
    middle = f"{statistics.median(ordered):,.0f}"
    if len(ordered) == 1 and step == "paint":
        return middle
    late = f"{ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]:,.0f}"
    return f"{middle} / {late}" + (f" ({len(ordered)})" if len(ordered) < MOVES else "")


def _stopped(row: Row) -> str:
    return f"stopped at {row.cap:.0f} s"
