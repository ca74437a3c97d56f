"""The timeline of rows that a caller wrote down: states by name, tokens by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmwidgets.records.request import require_integer
from llmwidgets.widgets.batch_timeline_source import (
    COMPUTING,
    DECODE,
    FINISHED,
    IDLE,
    NOT_ARRIVED,
    PADDING,
    PREEMPTED,
    PREFILL,
    SPECULATED,
    STATES,
    Codes,
    Counts,
    Timeline,
    TimelineRow,
)

Rows = Mapping[str, Sequence[str | int]] | Sequence[Sequence[str | int]] | Codes


def given_timeline(
    rows: Rows,
    tokens: ArrayLike | None = None,
    padding: ArrayLike | None = None,
    max_num_batched_tokens: int | None = None,
    max_num_seqs: int | None = None,
) -> Timeline:
    """Check a caller's rows and return their timeline; see `BatchTimeline.from_arrays`."""
    named = dict(rows) if isinstance(rows, Mapping) else {f"r{i}": row for i, row in enumerate(rows)}
    states = _states(named)
    computes = np.isin(states, COMPUTING)
    computed = _counts("tokens", tokens, states, computes, computes)
    padded = _counts("padding", padding, states, computes | (states == PADDING), states == PADDING)
    for name, limit in (("max_num_batched_tokens", max_num_batched_tokens), ("max_num_seqs", max_num_seqs)):
        if limit is not None:
            require_integer(name, limit, 1)
    new_tokens = _new_tokens(states)
    return Timeline(
        rows=tuple(_row(name, i, states[i], new_tokens[i]) for i, name in enumerate(named)),
        states=states,
        tokens=computed,
        padding=padded,
        new_tokens=new_tokens,
        step_ends=np.arange(1, states.shape[1] + 1, dtype=np.float64),
        unit="steps",
        max_num_batched_tokens=max_num_batched_tokens,
        max_num_seqs=max_num_seqs,
    )


def _states(named: Mapping[str, Sequence[str | int]]) -> Codes:
    lengths = {name: len(row) for name, row in named.items()}
    if not named or min(lengths.values()) == 0:
        raise ValueError("rows is empty; allowed is at least one row of at least one step")
    first = next(iter(named))
    codes = np.zeros((len(named), lengths[first]), np.uint8)
    for i, (name, row) in enumerate(named.items()):
        if lengths[name] != lengths[first]:
            raise ValueError(
                f"row {name!r} has {lengths[name]} steps, but {first!r} has {lengths[first]}; "
                "allowed are rows of one length"
            )
        codes[i] = [_code(name, step, state) for step, state in enumerate(row)]
        for step in range(1, len(row)):
            before, now = codes[i, step - 1], codes[i, step]
            if (before == FINISHED and now != FINISHED) or (now == NOT_ARRIVED and before != NOT_ARRIVED):
                raise ValueError(f"row {name!r} is {STATES[now]!r} in step {step}, after {STATES[before]!r}")
    return codes


def _code(name: str, step: int, state: str | int) -> int:
    if isinstance(state, str) and state in STATES:
        return STATES.index(state)
    if isinstance(state, (int, np.integer)) and 0 <= state < len(STATES):
        return int(state)
    raise ValueError(
        f"rows[{name!r}][{step}]={state!r} is not allowed; allowed is one of {', '.join(STATES)}, "
        f"or its number from 0 to {len(STATES) - 1}"
    )


def _counts(
    name: str, given: ArrayLike | None, states: Codes, allowed: NDArray[Any], default: NDArray[Any]
) -> Counts:
    """Return whole numbers, 0 or more, that are 0 wherever the state does not allow any."""
    if given is None:
        return default.astype(np.int64)
    counts = np.asarray(given)
    if counts.shape != states.shape or counts.dtype.kind not in "iu" or counts.min() < 0:
        raise ValueError(
            f"{name} must be whole numbers of at least 0, shape {states.shape} as rows, "
            f"not {counts.dtype} of shape {counts.shape}"
        )
    wrong = np.argwhere((counts > 0) & ~allowed)
    if len(wrong):
        row, step = wrong[0]
        raise ValueError(
            f"{name}[{row}][{step}]={counts[row, step]} is not allowed where the state is "
            f"{STATES[states[row, step]]!r}"
        )
    return counts.astype(np.int64)


def _new_tokens(states: Codes) -> Counts:
    """Return one token for each decode, and for a prefill that something else than prefill follows."""
    follows = np.full_like(states, PREFILL)
    follows[:, :-1] = states[:, 1:]
    last_chunk = (states == PREFILL) & ~np.isin(follows, (PREFILL, PREEMPTED))
    samples: NDArray[Any] = last_chunk | np.isin(states, (DECODE, SPECULATED))
    return samples.astype(np.int64)


def _row(name: str, place: int, states: Codes, new_tokens: Counts) -> TimelineRow:
    there = np.flatnonzero(~np.isin(states, (NOT_ARRIVED, FINISHED, IDLE, PADDING)))
    ended = int(there[-1]) if len(there) and there[-1] < len(states) - 1 else None
    sampled = np.flatnonzero(new_tokens)
    arrived = int((states != NOT_ARRIVED).argmax())
    return TimelineRow(
        request_id=str(name),
        parent_id=str(name),
        place=place,
        prompt_tokens=None,
        finish_reason=None,
        ended=ended,
        admissions=(),
        shortfall=0,
        ttft=float(sampled[0] + 1 - arrived) if len(sampled) else None,
        itl=np.diff(sampled).astype(np.float64),
    )
