"""What a run is measured by while it goes on: one trace a sequence, one number a step."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llmwidgets.records.events import FinishReason
from llmwidgets.records.serving_config import ServingConfig
from llmwidgets.records.serving_metrics import RequestMetrics, ServingMetrics
from llmwidgets.scheduling.scheduler import Scheduler, SchedulerOutput


def _integers() -> array[int]:
    return array("q")


@dataclass
class Trace:
    """What becomes one `RequestMetrics`."""

    prompt_tokens: int
    arrived: float
    admitted: float | None = None
    first_step: int = 0
    """The step that admitted it."""
    last_step: int | None = None
    """The step in which it ended; None while it runs."""
    token_times: array[float] = field(default_factory=lambda: array("d"))
    finish_reason: FinishReason | Literal["abort"] | None = None
    hit_tokens: int = 0
    preemptions: int = 0
    high_water: int = 0
    """Tokens that were computed at least once."""
    recomputed_tokens: int = 0

    def compute(self, start: int, stop: int) -> None:
        """Take note that the tokens from `start` to `stop` are computed."""
        self.recomputed_tokens += max(0, min(stop, self.high_water) - start)
        self.high_water = max(self.high_water, stop)

    def metrics(self, request_id: str) -> RequestMetrics:
        """Return the record."""
        return RequestMetrics(
            request_id,
            self.prompt_tokens,
            self.arrived,
            self.admitted,
            np.array(self.token_times, np.float64),
            self.finish_reason,
            self.hit_tokens,
            self.preemptions,
            self.recomputed_tokens,
        )


@dataclass
class Counts:
    """One number a step."""

    scheduled_tokens: array[int] = field(default_factory=_integers)
    num_running: array[int] = field(default_factory=_integers)
    num_waiting: array[int] = field(default_factory=_integers)
    free_blocks: array[int] = field(default_factory=_integers)
    unfilled_slots: array[int] = field(default_factory=_integers)
    fragmented_slots: array[int] = field(default_factory=_integers)
    idle_slots: array[int] = field(default_factory=_integers)
    padded_tokens: int = 0

    @property
    def num_steps(self) -> int:
        """Steps so far."""
        return len(self.num_running)

    def add(self, scheduler: Scheduler, output: SchedulerOutput) -> None:
        """Count what a step has scheduled."""
        size = scheduler.config.block_size
        self.scheduled_tokens.append(sum(output.scheduled_tokens.values()))
        self.num_running.append(len(scheduler.running))
        self.num_waiting.append(len(scheduler.waiting))
        self.free_blocks.append(scheduler.pool.num_free_blocks)
        self.unfilled_slots.append(
            sum(len(s.block_table) * size - s.num_computed_tokens for s in scheduler.running)
        )
        self.fragmented_slots.append(output.fragmented_blocks * size)
        self.idle_slots.append(scheduler.batching.num_idle(scheduler.sequences))
        self.padded_tokens = scheduler.batching.padded_tokens

    def metrics(
        self,
        config: ServingConfig,
        traces: Mapping[str, Trace],
        duration: float,
        unit: Literal["steps", "seconds"],
    ) -> ServingMetrics:
        """Return the record of all steps and sequences."""
        unfilled = np.array(self.unfilled_slots, np.int64)
        reserved = np.zeros_like(unfilled) if config.cache == "paged" else self._reserved(config, traces)
        return ServingMetrics(
            unit=unit,
            requests=tuple(trace.metrics(request_id) for request_id, trace in traces.items()),
            duration=duration,
            num_steps=self.num_steps,
            scheduled_tokens=np.array(self.scheduled_tokens, np.int64),
            num_running=np.array(self.num_running, np.int64),
            num_waiting=np.array(self.num_waiting, np.int64),
            free_blocks=np.array(self.free_blocks, np.int64),
            unfilled_slots=unfilled,
            reserved_slots=reserved,
            fragmented_slots=np.array(self.fragmented_slots, np.int64),
            idle_slots=np.array(self.idle_slots, np.int64),
            padded_tokens=self.padded_tokens,
            block_size=config.block_size,
            num_gpu_blocks=config.num_gpu_blocks,
        )

    def _reserved(self, config: ServingConfig, traces: Mapping[str, Trace]) -> NDArray[np.int64]:
        """Return by step the slots that are empty now and will be filled before their request ends."""
        filled_at_the_end = np.zeros(self.num_steps, np.int64)
        for trace in traces.values():
            if trace.admitted is not None:
                last = self.num_steps - 1 if trace.last_step is None else trace.last_step
                filled_at_the_end[trace.first_step : last + 1] += trace.high_water
        held = (config.num_gpu_blocks - 1 - np.array(self.free_blocks, np.int64)) * config.block_size
        filled_now = held - np.array(self.unfilled_slots, np.int64)
        return filled_at_the_end - filled_now
