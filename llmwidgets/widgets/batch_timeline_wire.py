"""What the front end of `BatchTimeline` draws from: facts by row, and matrices packed as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.widgets.batch_timeline_source import Timeline, TimelineRow


def wire_of(timeline: Timeline) -> dict[str, Any]:
    """Return one run; its arrays are still to be packed."""
    return {
        "rows": [_row_wire(row) for row in timeline.rows],
        "unit": timeline.unit,
        "max_num_batched_tokens": timeline.max_num_batched_tokens,
        "max_num_seqs": timeline.max_num_seqs,
        "states": timeline.states,
        "tokens": _compact(timeline.tokens),
        "padding": _compact(timeline.padding) if timeline.padding.any() else None,
        "new_tokens": _compact(timeline.new_tokens),
        "totals": {name: counts.astype(np.int32) for name, counts in timeline.totals.items()},
        "step_ends": timeline.step_ends.astype(np.float32),
    }


def _row_wire(row: TimelineRow) -> dict[str, Any]:
    return {
        "id": row.request_id,
        "parent": row.parent_id,
        "place": row.place,
        "prompt_tokens": row.prompt_tokens,
        "finish_reason": row.finish_reason,
        "ended": row.ended,
        "admissions": [vars(admission) for admission in row.admissions],
        "shortfall": row.shortfall,
        "ttft": row.ttft,
        "itl_mean": float(row.itl.mean()) if len(row.itl) else None,
        "itl_max": float(row.itl.max()) if len(row.itl) else None,
    }


def _compact(counts: NDArray[np.int64]) -> NDArray[Any]:
    """Return the counts in bytes where they fit: what is sent for large runs is mostly these."""
    return counts.astype(np.uint8 if counts.max(initial=0) < 256 else np.int32)
