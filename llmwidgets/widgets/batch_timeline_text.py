"""`BatchTimeline` in words, for a terminal or a reader who cannot see it."""

from __future__ import annotations

import numpy as np

from llmwidgets.records.schedule import printable
from llmwidgets.widgets.batch_timeline_source import FINISHED, NOT_ARRIVED, Timeline, TimelineRow

SIGNS = " qPdsx ip"  # one for each of STATES; a request that is not there is blank
KEY = "q queued, P prefill, d decode, s speculated, x preempted, i idle slot, p padding"
MOST_ROWS = 16
MOST_STEPS = 72


def timeline_text(timeline: Timeline, title: str, step: int) -> str:
    """Return one run: what the step does, then a line a request and a sign a step around it."""
    steps = timeline.num_steps
    name = f"{printable(title)}: " if title else ""
    lines = [f"{name}{timeline.num_requests} requests × {steps} steps. {step_text(timeline, step)}"]
    first = max(0, min(step - MOST_STEPS // 2, steps - MOST_STEPS))
    stop = min(steps, first + MOST_STEPS)
    shown = _rows_near(timeline, step)
    names = {row: printable(timeline.rows[row].request_id[:12]) for row in shown}
    width = max(map(len, names.values()), default=0)
    lines.append(f"  {'':{width}} steps {first} to {stop - 1}: {KEY}")
    for row in shown:
        facts = timeline.rows[row]
        signs = "".join(SIGNS[code] for code in timeline.states[row, first:stop])
        lines.append(f"  {names[row]:{width}} |{signs}| {_times(facts, timeline.unit)}".rstrip())
    if len(shown) < len(timeline.rows):
        lines.append(f"  and {len(timeline.rows) - len(shown)} more")
    return "\n".join(lines)


def step_text(timeline: Timeline, step: int) -> str:
    """Return what one step does, in a sentence."""
    if not 0 <= step < timeline.num_steps:
        return f"Step {step} is not in this run."
    totals = {name: int(counts[step]) for name, counts in timeline.totals.items()}
    tokens = totals["prefill"] + totals["decode"] + totals["padding"]
    kinds = [f"{totals[kind]} {kind}" for kind in ("prefill", "decode", "padding") if totals[kind]]
    budget, slots = timeline.max_num_batched_tokens, timeline.max_num_seqs
    held = f", {totals['idle']} idle" if totals["idle"] else ""
    return (
        f"Step {step}: {tokens}{f' of {budget}' if budget else ''} tokens ({', '.join(kinds) or 'none'}), "
        f"{totals['running']}{f' of {slots}' if slots else ''} sequences compute{held}, "
        f"{totals['waiting']} wait."
    )


def _rows_near(timeline: Timeline, step: int) -> list[int]:
    """Return up to 16 rows, those first that are there at the step."""
    if len(timeline.rows) <= MOST_ROWS or not timeline.num_steps:
        return list(range(len(timeline.rows)))[:MOST_ROWS]
    column = timeline.states[:, min(step, timeline.num_steps - 1)]
    absent = np.isin(column, (NOT_ARRIVED, FINISHED))
    return sorted(np.argsort(absent, kind="stable")[:MOST_ROWS].tolist())


def _times(facts: TimelineRow, unit: str) -> str:
    times = []
    if facts.ttft is not None:
        times.append(f"TTFT {_time(facts.ttft, unit)}")
    if len(facts.itl):
        times.append(f"ITL at most {_time(float(facts.itl.max()), unit)}")
    hits = sum(admission.cached_tokens for admission in facts.admissions)
    if hits:
        times.append(f"{hits} tokens from the prefix cache")
    return ", ".join(times)


def _time(value: float, unit: str) -> str:
    if unit == "seconds":
        return f"{value:.3f} s"
    return "1 step" if value == 1 else f"{value:g} steps"
