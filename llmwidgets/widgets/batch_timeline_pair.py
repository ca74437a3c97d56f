"""Two timelines above each other: the same rows in the same places, and where they first differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.records.schedule import first_difference, printable
from llmwidgets.records.serving import Serving
from llmwidgets.widgets.batch_timeline_source import STATES, Run, Timeline, TimelineRow, drawn


@dataclass(frozen=True)
class MarkedDifference:
    """Where two timelines first differ, and how, in words."""

    step: int
    request_id: str
    text: str


def aligned(timelines: Sequence[Timeline]) -> tuple[Timeline, ...]:
    """Return the timelines with one order of rows; a request that one lacks never arrives there."""
    known = {row.request_id: row for timeline in reversed(timelines) for row in timeline.rows}
    order = list(dict.fromkeys(row.request_id for timeline in timelines for row in timeline.rows))
    absent = {
        name: replace(
            row, finish_reason=None, ended=None, admissions=(), shortfall=0, ttft=None, itl=np.zeros(0)
        )
        for name, row in known.items()
    }
    return tuple(_in_order(timeline, order, absent) for timeline in timelines)


def _in_order(timeline: Timeline, order: Sequence[str], absent: dict[str, TimelineRow]) -> Timeline:
    own = {row.request_id: number for number, row in enumerate(timeline.rows)}
    if list(own) == list(order):
        return timeline
    numbers = [own.get(name, len(own)) for name in order]  # the row after the last is one of zeros

    def sorted_rows(matrix: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([matrix, np.zeros_like(matrix[:1])])[numbers]

    return replace(
        timeline,
        rows=tuple(timeline.rows[own[name]] if name in own else absent[name] for name in order),
        states=sorted_rows(timeline.states),
        tokens=sorted_rows(timeline.tokens),
        padding=sorted_rows(timeline.padding),
        new_tokens=sorted_rows(timeline.new_tokens),
    )


def marked_difference(mine: Run, other: Run) -> MarkedDifference | None:
    """Return where two runs first differ: their schedules if both are records, else what is drawn of them."""
    if isinstance(mine, Serving) and isinstance(other, Serving):
        found = first_difference(mine, other)
        return None if found is None else MarkedDifference(found.step, found.request_id, found.to_text())
    return drawn_difference(*aligned([drawn(mine), drawn(other)]))


def drawn_difference(mine: Timeline, other: Timeline) -> MarkedDifference | None:
    """Return the first step, and in it the first row, of two aligned timelines that look different."""
    steps = min(mine.num_steps, other.num_steps)
    differs = (mine.states[:, :steps] != other.states[:, :steps]) | (
        mine.tokens[:, :steps] != other.tokens[:, :steps]
    )
    if differs.any():
        step = int(differs.any(axis=0).argmax())
        row = int(differs[:, step].argmax())
        text = f"{_cell(mine, row, step)} instead of {_cell(other, row, step)}"
    elif mine.num_steps != other.num_steps:
        step, row = steps, 0
        text = f"a run of {mine.num_steps} steps instead of {other.num_steps}"
    else:
        return None
    name = mine.rows[row].request_id
    return MarkedDifference(step, name, f"Step {step}, {printable(name)}: {text}.")


def _cell(timeline: Timeline, row: int, step: int) -> str:
    tokens = int(timeline.tokens[row, step])
    return STATES[timeline.states[row, step]] + (f" of {tokens}" if tokens else "")
