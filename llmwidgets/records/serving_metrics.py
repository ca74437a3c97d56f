"""`ServingMetrics`: what a workload's users and its operator got, in engine steps or in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llmwidgets.records.events import FinishReason
from llmwidgets.records.record import Record
from llmwidgets.records.slot_use import SlotUse

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class RequestMetrics(Record):
    """One sequence's way through the engine; times in the unit of its `ServingMetrics`."""

    request_id: str
    """The request's id, or the child's where `n` is above 1."""
    prompt_tokens: int
    arrived: float
    """When it began to wait."""
    admitted: float | None
    """When the step began that first ran it; None if none did."""
    token_times: Floats
    """When each new token was there: the end of its step, shape (output tokens,)."""
    finish_reason: FinishReason | Literal["abort"] | None
    """None if it still ran at the end."""
    hit_tokens: int
    """Tokens found in the prefix cache, when admitted and when resumed."""
    preemptions: int
    recomputed_tokens: int
    """Tokens computed before that a preemption made the engine compute again."""

    @property
    def queue_time(self) -> float | None:
        """From arrival to the first step that ran it."""
        return None if self.admitted is None else self.admitted - self.arrived

    @property
    def ttft(self) -> float | None:
        """Time to first token: from arrival."""
        return float(self.token_times[0]) - self.arrived if len(self.token_times) else None

    @property
    def itl(self) -> Floats:
        """Inter-token latencies, shape (output tokens - 1,)."""
        return np.diff(self.token_times)

    @property
    def tpot(self) -> float | None:
        """Time per output token after the first; None for fewer than two."""
        return float(self.itl.mean()) if len(self.token_times) > 1 else None

    @property
    def latency(self) -> float | None:
        """From arrival to the last token."""
        return float(self.token_times[-1]) - self.arrived if len(self.token_times) else None


@dataclass(frozen=True, repr=False, eq=False)
class ServingMetrics(Record):
    """Counts and times of a whole run."""

    unit: Literal["steps", "seconds"]
    """Unit of all times: engine steps where no model ran, else seconds on the clock since the start."""
    requests: tuple[RequestMetrics, ...]
    """In order of arrival; children one by one."""
    duration: float
    """From the start to the end of the last step, engine steps with nothing to run included."""
    num_steps: int
    """Steps with at least one request."""
    scheduled_tokens: NDArray[np.int64]
    """Tokens computed, by step."""
    num_running: NDArray[np.int64]
    """Running requests after scheduling, by step."""
    num_waiting: NDArray[np.int64]
    """Waiting requests after scheduling, by step."""
    free_blocks: NDArray[np.int64]
    """Length of the free queue after scheduling, by step."""
    unfilled_slots: NDArray[np.int64]
    """Token slots of running requests' blocks that hold nothing yet, by step."""
    reserved_slots: NDArray[np.int64]
    """Those among `unfilled_slots` that are filled later, by step; 0 in a paged cache, whose only unfilled
    block is a request's last."""
    fragmented_slots: NDArray[np.int64]
    """Free token slots that kept a waiting request out because they do not lie in a row, by step."""
    idle_slots: NDArray[np.int64]
    """Sequences of a static batch that have ended while the batch goes on, by step."""
    padded_tokens: int
    """Tokens by which prompts are shorter than the longest of their static batch. Engines that compute a
    batch as a rectangle compute these too; this one packs its tokens and does not."""
    block_size: int
    num_gpu_blocks: int

    @property
    def output_tokens(self) -> int:
        """New tokens of all requests."""
        return sum(len(request.token_times) for request in self.requests)

    @property
    def hit_tokens(self) -> int:
        """Tokens that the prefix cache saved."""
        return sum(request.hit_tokens for request in self.requests)

    @property
    def preemptions(self) -> int:
        """Preemptions of all requests."""
        return sum(request.preemptions for request in self.requests)

    @property
    def recomputed_tokens(self) -> int:
        """Tokens that preemptions made the engine compute again."""
        return sum(request.recomputed_tokens for request in self.requests)

    @property
    def throughput(self) -> float:
        """New tokens per unit of time."""
        return self.output_tokens / self.duration if self.duration else 0.0

    @property
    def ttft(self) -> Floats:
        """Times to first token, of the requests that have one."""
        return np.array([r.ttft for r in self.requests if r.ttft is not None], np.float64)

    @property
    def itl(self) -> Floats:
        """Inter-token latencies of all requests."""
        return np.concatenate([np.zeros(0), *(r.itl for r in self.requests)])

    @property
    def tpot(self) -> Floats:
        """Times per output token after the first, of the requests with two or more."""
        return np.array([r.tpot for r in self.requests if r.tpot is not None], np.float64)

    @property
    def queue_time(self) -> Floats:
        """Times from arrival to the first step, of the requests that ran."""
        return np.array([r.queue_time for r in self.requests if r.queue_time is not None], np.float64)

    def goodput(self, ttft: float, tpot: float) -> float:
        """Return requests per unit of time that finished within both limits, given in `unit`."""
        good = 0
        for request in self.requests:
            ended = request.finish_reason in ("stop", "length") and request.ttft is not None
            within = (request.ttft or 0.0) <= ttft and (request.tpot or 0.0) <= tpot
            good += ended and within
        return good / self.duration if self.duration else 0.0

    @property
    def usage(self) -> Floats:
        """Share of the pool in use, by step."""
        return 1 - self.free_blocks / (self.num_gpu_blocks - 1)

    @property
    def idle_slot_steps(self) -> int:
        """Idle slots of static batches, added up over the steps; 0 under continuous batching."""
        return int(self.idle_slots.sum())

    def slot_use(self, step: int | None = None) -> SlotUse:
        """Return what became of the pool's token slots at one step, or over all steps added up."""
        chosen = slice(None) if step is None else slice(step, step + 1)
        free, unfilled, reserved, external = (
            int(slots[chosen].sum())
            for slots in (self.free_blocks, self.unfilled_slots, self.reserved_slots, self.fragmented_slots)
        )
        steps = len(self.free_blocks[chosen])
        free *= self.block_size
        total = (self.num_gpu_blocks - 1) * self.block_size * steps
        return SlotUse(
            used=total - free - unfilled,
            reserved=reserved,
            internal=unfilled - reserved,
            external=external,
            free=free - external,
        )

    @property
    def internal_waste(self) -> float:
        """Share of the slots of blocks in use that were given to a request that never filled them."""
        use = self.slot_use()
        taken = use.used + use.reserved + use.internal
        return use.internal / taken if taken else 0.0

    def __repr__(self) -> str:
        """Return one line with the counts."""
        return (
            f"ServingMetrics({len(self.requests)} sequences, {self.num_steps} steps, "
            f"{self.output_tokens} output tokens, {self.hit_tokens} hit tokens, "
            f"{self.preemptions} preemptions, {self.recomputed_tokens} recomputed tokens)"
        )
