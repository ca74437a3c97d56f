"""`ServingRun`: a workload on its way through a scheduler; who computes the tokens is the caller's."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Literal

from llmwidgets.records.events import Event, FinishReason
from llmwidgets.records.kv_shape import KVShape
from llmwidgets.records.request import Request, number_requests
from llmwidgets.records.serving import Serving, ServingSteps, StepLog
from llmwidgets.records.serving_config import ServingConfig
from llmwidgets.scheduling.measures import Counts, Trace
from llmwidgets.scheduling.scheduler import Scheduler, SchedulerOutput
from llmwidgets.scheduling.sequence import Sequence

Recording = Literal["steps", "summary"]


class ServingRun:
    """Requests that arrive, are scheduled step by step, and end.

    `begin_step` and `end_step` alternate until `begin_step` returns None; between them the caller computes.
    After an exception between them, `close` gives all blocks back.
    """

    def __init__(
        self,
        requests: Iterable[Request],
        config: ServingConfig,
        record: Recording = "steps",
        timed: bool = False,
        model: str = "",
        kv_shape: KVShape | None = None,
    ) -> None:
        """Check all requests, and run nothing yet.

        Args:
            requests: with token ids and `max_tokens` each.
            config: the knobs.
            record: `"steps"` keeps the events; `"summary"` only what the metrics and outputs need.
            timed: whether `end_step` is given seconds, which become the unit of all times.
            model: name of the model.
            kv_shape: how large the keys and values of one token are, if a model runs.

        Raises:
            ValueError: for equal ids, and for a request that could never finish.
        """
        if record not in ("steps", "summary"):
            raise ValueError(f"record={record!r} is not allowed; allowed is 'steps' or 'summary'")
        self.requests = number_requests(requests)
        for request in self.requests:
            config.check(request)
        self.config, self.model, self.timed, self.kv_shape = config, model, timed, kv_shape
        self._events: list[Event] | None = [] if record == "steps" else None
        self.scheduler = Scheduler(config, self._events)
        self.log: list[StepLog] = []
        self.steps = ServingSteps(config, self.requests, self.log)
        """The steps so far."""
        self.outputs: dict[str, tuple[int, ...]] = {}
        """New tokens of what has ended."""
        self.iteration = -1
        """The engine's clock, by which requests arrive."""
        self._coming = deque(sorted(self.requests, key=lambda request: request.arrival))
        self._traces: dict[str, Trace] = {}
        self._counts = Counts()
        self._output: SchedulerOutput | None = None
        self._num_scheduling_events = 0
        self._now = 0.0

    def begin_step(self) -> SchedulerOutput | None:
        """Add what has arrived and schedule; None if nothing is left to run."""
        if not self.scheduler.sequences and not self._coming:
            return None
        self.iteration += 1
        if not self.scheduler.sequences:  # nothing runs: the clock goes on to the next arrival
            self.iteration = max(self.iteration, self._coming[0].arrival)
        if not self.timed:
            self._now = float(self.iteration)
        while self._coming and self._coming[0].arrival <= self.iteration:
            self._add(self._coming.popleft())
        self._output = output = self.scheduler.schedule()
        self._num_scheduling_events = len(self._events or ())
        self._counts.add(self.scheduler, output)
        for request_id in output.preempted:
            self._traces[request_id].preemptions += 1
        for request_id, hit_tokens in output.cached_tokens.items():
            trace = self._traces[request_id]
            trace.hit_tokens += hit_tokens
            if trace.admitted is None:
                trace.admitted, trace.first_step = self._now, self._counts.num_steps - 1
        for request_id, num_tokens in output.scheduled_tokens.items():
            stop = self.scheduler.sequences[request_id].num_computed_tokens
            self._traces[request_id].compute(stop - num_tokens, stop)
        return output

    def end_step(
        self,
        sampled: Mapping[str, int],
        stopped: Collection[str] = (),
        cpu_seconds: float | None = None,
        wall_seconds: float | None = None,
    ) -> dict[str, FinishReason]:
        """Take the new tokens, and end what has ended.

        Args:
            sampled: a token id for each request of the step's `to_sample` that was not aborted since.
            stopped: requests whose new token is their last, for another reason than `max_tokens`.
            cpu_seconds: CPU time of the step, if a model ran.
            wall_seconds: its time on the clock, if a model ran.

        Returns:
            Why each request that ended has ended.
        """
        if (output := self._output) is None:
            raise ValueError("end_step without begin_step is not allowed")
        if self.timed and wall_seconds is None:
            raise ValueError("wall_seconds=None is not allowed; a timed run needs the time of each step")
        self._now += wall_seconds if self.timed and wall_seconds is not None else 1.0
        sequences = {name: s for name in output.to_sample if (s := self.scheduler.sequences.get(name))}
        finished = self.scheduler.update(output, sampled, stopped)
        for request_id in sequences:
            self._traces[request_id].token_times.append(self._now)
        for request_id, reason in finished.items():
            self._end(sequences[request_id], reason)
        if self._events is not None:
            tokens: dict[str, tuple[int, ...]] = {
                request_id: (sampled[request_id],) for request_id in sequences
            }
            self._write(tokens, cpu_seconds, wall_seconds)
        self._output = None
        return finished

    def abort(self, request_id: str) -> bool:
        """Take away a request that has arrived, or one child of it; return whether it was there."""
        sequence = self.scheduler.sequences.get(request_id)
        if sequence is None:
            return False
        self.scheduler.abort(request_id)
        self._end(sequence, "abort")
        return True

    def close(self) -> None:
        """Abort what has not ended, and forget what has not arrived; all blocks are free then."""
        self._coming.clear()
        for request_id in list(self.scheduler.sequences):
            self.abort(request_id)
        if self._events:
            if self._output is None and self.log:  # aborted after the last step: that step's log ends with it
                last = self.log[-1]
                self.log[-1] = replace(last, events=(*last.events, *self._events))
                self._events.clear()
            else:
                self._write({}, None, None)
        self._output = None

    def serving(self) -> Serving:
        """Return the record of what has run; what still runs is aborted."""
        self.close()
        return self.snapshot()

    def snapshot(self) -> Serving:
        """Return the record of what has run so far, between two steps; the run goes on."""
        unfinished = {
            name: tuple(sequence.token_ids[sequence.num_prompt_tokens :])
            for name, sequence in self.scheduler.sequences.items()
        }
        metrics = self._counts.metrics(
            self.config, self._traces, self._now, unit="seconds" if self.timed else "steps"
        )
        outputs = self.outputs | unfinished
        log = tuple(self.log)
        return Serving(self.config, self.requests, log, outputs, metrics, self.model, self.kv_shape)

    def _add(self, request: Request) -> None:
        if isinstance(request.prompt, str) or request.max_tokens is None:
            raise TypeError("unreachable: requests were checked")
        for name in request.sequence_ids:
            self.scheduler.add(name, request.prompt, request.max_tokens, request.priority)
            self._traces[name] = Trace(len(request.prompt), self._now)

    def _end(self, sequence: Sequence, reason: FinishReason | Literal["abort"]) -> None:
        trace = self._traces[sequence.request_id]
        trace.finish_reason, trace.last_step = reason, self._counts.num_steps - 1
        self.outputs[sequence.request_id] = tuple(sequence.token_ids[sequence.num_prompt_tokens :])

    def _write(
        self, sampled: dict[str, tuple[int, ...]], cpu_seconds: float | None, wall_seconds: float | None
    ) -> None:
        events = self._events or []
        count = min(self._num_scheduling_events, len(events))
        self.log.append(StepLog(self.iteration, tuple(events), count, sampled, cpu_seconds, wall_seconds))
        events.clear()
