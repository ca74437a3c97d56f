"""`BatchTimeline`: what each request does in each step, one run or two above each other."""

from __future__ import annotations

from typing import Any

import traitlets
from numpy.typing import ArrayLike

from llmwidgets.widgets.batch_timeline_given import Rows, given_timeline
from llmwidgets.widgets.batch_timeline_pair import aligned, marked_difference
from llmwidgets.widgets.batch_timeline_source import (
    Run,
    Timeline,
    continues,
    default_step,
    drawn,
    last_step,
)
from llmwidgets.widgets.batch_timeline_text import timeline_text
from llmwidgets.widgets.batch_timeline_wire import wire_of
from llmwidgets.widgets.figure import RecordFigure, pack

BADGES = ["MEASURED", "COUNTED", "MODELLED", "RECORDED", "GIVEN"]


class BatchTimeline(RecordFigure):
    """Draws a `Serving`: a row is a request, a column a step; under them tokens and slots of each step."""

    stem = "batch_timeline"

    step = traitlets.Int(0).tag(sync=True)
    """The step that is marked, counted from 0; beyond the last one, the last is marked. Of a `Serving` that
    has ended, the busiest step is marked first; of one that goes on, the last, and it stays the last as steps
    come."""

    selected_request = traitlets.Unicode(None, allow_none=True).tag(sync=True)
    """Id of the request that is marked: a row's, or one whose children are rows; None for none."""

    title = traitlets.Unicode("").tag(sync=True)
    """Name of the run, shown above its rows; where there are two and it is empty, "first run"."""

    against_title = traitlets.Unicode("").tag(sync=True)
    """Name of the second run; "second run" if it is empty."""

    against_badge = traitlets.Enum(BADGES, "GIVEN").tag(sync=True)
    """Where the numbers of the second run come from."""

    _timeline = traitlets.Dict().tag(sync=True, to_json=pack)  # see batch_timeline_wire

    def __init__(self, record: Run, against: Run | None = None, **traits: Any) -> None:
        """Draw a run, and a second one below it if `against` is given: its rows are the same requests.

        Args:
            record: a `Serving` with its steps, or the `record` of a `BatchTimeline.from_arrays`.
            against: what it is held against; the first step that differs is marked in both.
            traits: `step`, `selected_request`, `title` and the other public traits.

        Raises:
            ValueError: for a `Serving` without its steps, and for a request that is not there.
        """
        self._revision = 0
        self._record, self._against = record, against
        self._timelines = _timelines(record, against)
        start: dict[str, Any] = {"badge": _badge(record), "step": default_step(record)}
        if against is not None:
            start["against_badge"] = _badge(against)
        super().__init__(record, **(start | traits))

    @classmethod
    def from_arrays(
        cls,
        rows: Rows,
        *,
        tokens: ArrayLike | None = None,
        padding: ArrayLike | None = None,
        max_num_batched_tokens: int | None = None,
        max_num_seqs: int | None = None,
        **traits: Any,
    ) -> BatchTimeline:
        """Draw your own rows; needs no engine and no torch.

        Args:
            rows: the state of each request in each step: a dict of lists by id, a list of lists, or an array,
                (requests, steps). A state is one of "not arrived", "queued", "prefill", "decode",
                "speculated", "preempted", "finished", "idle", "padding", or its number in this list.
            tokens: tokens computed, of the same shape; by default 1 in each cell that computes.
            padding: padding tokens computed besides; by default 1 in each cell of that state.
            max_num_batched_tokens: budget of tokens a step.
            max_num_seqs: slots of the batch.
            traits: `against`, and the public traits.

        Raises:
            ValueError: for an unknown state, states in an impossible order, tokens where none are computed,
                or lengths that do not match.
        """
        given = given_timeline(rows, tokens, padding, max_num_batched_tokens, max_num_seqs)
        return cls(given, **traits)

    @property
    def record(self) -> Run:
        """The run that is drawn; set it to draw another, or a longer record of the same one."""
        return self._record

    @record.setter
    def record(self, record: Run) -> None:
        self._show(record, self._against)

    @property
    def against(self) -> Run | None:
        """The second run, or None; set it to compare with another."""
        return self._against

    @against.setter
    def against(self, against: Run | None) -> None:
        self._show(self._record, against)

    @property
    def num_steps(self) -> int:
        """Columns of the picture: the steps of the longer run."""
        return max(timeline.num_steps for timeline in self._timelines)

    def _show(self, record: Run, against: Run | None) -> None:
        # Fold first: if that fails, the last good picture stays as it was.
        same = record is self._record and against is self._against
        timelines = self._timelines if same else _timelines(record, against)
        difference = None if against is None else marked_difference(record, against)
        step = self._next_step(record) if self._revision else self.step
        with self.hold_sync(), self.hold_trait_notifications():
            for name, old, new in (
                ("badge", self._record, record),
                ("against_badge", self._against, against),
            ):
                if new is not None and (old is None or getattr(self, name) == _badge(old)):
                    setattr(self, name, _badge(new))
            self._record, self._against, self._timelines = record, against, timelines
            self._revision += 1
            self.step = self._clamped(step)
            if self.selected_request not in self._ids():
                self.selected_request = None
            self._timeline = {
                "revision": self._revision,
                "difference": None if difference is None else vars(difference),
                "runs": [wire_of(timeline) for timeline in timelines],
            }

    def _next_step(self, record: Run) -> int:
        """Return which step of a new record is marked.

        A mark at the end of a run goes on with it, and rests at the busiest step once the run has ended.
        """
        if self.step == default_step(self._record):  # of a run that goes on, that is its end
            return default_step(record)
        if continues(self._record, record) and self.step == last_step(self._record):
            return last_step(record)
        step: int = self.step
        return step

    @traitlets.validate("step")
    def _known_step(self, proposal: dict[str, Any]) -> int:
        step = int(proposal["value"])
        if step < 0:
            raise ValueError(f"step={step} is not allowed; allowed is 0 to {self._clamped(self.num_steps)}")
        return self._clamped(step)  # another view may already be at a step that is still to come here

    def _clamped(self, step: int) -> int:
        return max(0, min(step, self.num_steps - 1))

    @traitlets.validate("selected_request")
    def _known_request(self, proposal: dict[str, Any]) -> str | None:
        name: str | None = proposal["value"]
        if name is not None and name not in self._ids():
            known = list(self._ids())
            raise ValueError(
                f"selected_request={name!r} is not in the record; it has {', '.join(known[:8])}"
                + (", ..." if len(known) > 8 else "")
            )
        return name

    def _ids(self) -> dict[str, None]:
        """Return the ids of rows, and of requests whose children are rows, in order."""
        rows = [row for timeline in self._timelines for row in timeline.rows]
        return dict.fromkeys(name for row in rows for name in (row.request_id, row.parent_id))

    def to_text(self) -> str:
        """Return the marked step in words, and a sign for each request and step around it."""
        two = len(self._timelines) > 1
        titles = (self.title or ("first run" if two else ""), self.against_title or "second run")
        texts = [
            timeline_text(timeline, title, self.step)
            for timeline, title in zip(self._timelines, titles, strict=False)
        ]
        difference = self._timeline.get("difference")
        if difference:
            texts.append(f"First difference: {difference['text']}")
        return "\n".join(texts)

    def __repr__(self) -> str:
        requests = self._timelines[0].num_requests
        return f"BatchTimeline(step={self.step}, requests={requests}, steps={self.num_steps})"


def _badge(run: Run) -> str:
    if isinstance(run, Timeline):
        return "GIVEN"
    return "MEASURED" if run.model else "COUNTED"


def _timelines(record: Run, against: Run | None) -> tuple[Timeline, ...]:
    return aligned([drawn(run) for run in (record, against) if run is not None])
