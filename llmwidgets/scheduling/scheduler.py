"""`Scheduler`: which tokens of which requests the next step computes, after the rules of vLLM V1.

There is no prefill phase and no decode phase: each request has tokens, some of which are computed, and
each step lets the computed ones catch up, within a budget of tokens.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from llmwidgets.records.events import (
    Abort,
    Add,
    Admit,
    Chunk,
    Event,
    Fill,
    Finish,
    FinishReason,
    Preempt,
    Resume,
)
from llmwidgets.records.serving_config import ServingConfig
from llmwidgets.scheduling.batching import batching_of
from llmwidgets.scheduling.block_pool import Block, BlockPool
from llmwidgets.scheduling.contiguous_pool import ContiguousPool
from llmwidgets.scheduling.sequence import Sequence


@dataclass
class SchedulerOutput:
    """What one step computes."""

    token_budget: int
    """Tokens that the step could compute besides."""
    scheduled_tokens: dict[str, int] = field(default_factory=dict)
    """Tokens to compute by request, in the order in which they were scheduled."""
    cached_tokens: dict[str, int] = field(default_factory=dict)
    """Tokens found in the prefix cache, by request admitted or resumed in this step."""
    new: list[str] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    preempted: list[str] = field(default_factory=list)
    fragmented_blocks: int = 0
    """Free blocks that kept nobody out by their number, but because they do not lie in a row."""
    to_sample: list[str] = field(default_factory=list)
    """Requests whose last token is computed in this step: each will have a new token."""


class Scheduler:
    """Queues of requests over a pool of blocks; `schedule` before the model's step, `update` after it."""

    def __init__(self, config: ServingConfig, events: list[Event] | None = None) -> None:
        """Make a scheduler without requests.

        Args:
            config: the knobs.
            events: where to append what happens; None to leave it out.
        """
        self.config = config
        self.events = events
        kind = BlockPool if config.cache == "paged" else ContiguousPool
        self.pool = kind(config.num_gpu_blocks, config.shares_prefixes, events)
        self.batching = batching_of(config, events)
        self.sequences: dict[str, Sequence] = {}
        """Those that wait or run, by id."""
        self.running: list[Sequence] = []
        self.waiting: list[Sequence] = []
        self.num_added = 0

    def add(
        self, request_id: str, prompt_token_ids: tuple[int, ...], max_tokens: int, priority: int = 0
    ) -> Sequence:
        """Let a request wait; `ServingConfig.check` says before whether it can ever finish."""
        if request_id in self.sequences:
            raise ValueError(f"request_id={request_id!r} is not allowed; it is taken: ids must differ")
        sequence = Sequence(request_id, prompt_token_ids, max_tokens, priority, self.num_added)
        self.num_added += 1
        self.sequences[request_id] = sequence
        self._emit(Add(request_id, priority))
        if self.config.scheduling_policy == "priority":
            insort(self.waiting, sequence, key=_rank)
        else:
            self.waiting.append(sequence)
        return sequence

    def schedule(self) -> SchedulerOutput:
        """Choose the tokens of the next step, take the blocks they need, and count them as computed."""
        output = SchedulerOutput(self.config.max_num_batched_tokens)
        self.batching.open(self.waiting, self.sequences)
        self._schedule_running(output)
        if not output.preempted:  # else the blocks just given up would be taken at once
            self._schedule_waiting(output)
        for request_id, num_tokens in output.scheduled_tokens.items():
            sequence = self.sequences[request_id]
            sequence.num_computed_tokens += num_tokens
            if sequence.num_computed_tokens == len(sequence.token_ids):
                output.to_sample.append(request_id)
        return output

    def update(
        self, output: SchedulerOutput, sampled: Mapping[str, int], stopped: Collection[str] = ()
    ) -> dict[str, FinishReason]:
        """Append the step's new tokens, and end what has ended.

        Args:
            output: what `schedule` returned.
            sampled: a token id for each request of `output.to_sample` that was not aborted since.
            stopped: requests whose new token is their last, for another reason than `max_tokens`.

        Returns:
            Why each request that ended has ended, in order.
        """
        finished: dict[str, FinishReason] = {}
        for request_id in output.to_sample:
            sequence = self.sequences.get(request_id)
            if sequence is None:  # aborted
                continue
            sequence.token_ids.append(sampled[request_id])
            if request_id in stopped:
                finished[request_id] = "stop"
            elif sequence.num_output_tokens >= sequence.max_tokens:
                finished[request_id] = "length"
        for request_id, reason in finished.items():
            self._emit(Finish(request_id, reason))
            self._drop(self.sequences[request_id])
        return finished

    def abort(self, request_id: str) -> bool:
        """Take a request away, waiting or running, at any time; return whether it was there."""
        sequence = self.sequences.get(request_id)
        if sequence is None:
            return False
        self._emit(Abort(request_id))
        self._drop(sequence)
        return True

    def check_integrity(self) -> None:
        """Raise RuntimeError unless queues, tables and blocks agree."""
        self.pool.check_integrity()
        references = dict.fromkeys(range(len(self.pool.blocks)), 0)
        for sequence in self.sequences.values():
            for block in sequence.block_table:
                references[block.block_id] += 1
        wrong = [block for block in self.pool.blocks if block.ref_count != references[block.block_id]]
        queued = sorted(s.request_id for s in [*self.running, *self.waiting])
        if wrong or queued != sorted(self.sequences) or any(s.block_table for s in self.waiting):
            raise RuntimeError(f"the scheduler is inconsistent: blocks {wrong}, queued {queued}")

    def _schedule_running(self, output: SchedulerOutput) -> None:
        index = 0
        while index < len(self.running) and output.token_budget > 0:
            sequence = self.running[index]
            missing = len(sequence.token_ids) - sequence.num_computed_tokens
            num_tokens = min(missing, output.token_budget)
            while self._num_new_blocks(sequence, num_tokens) > self.pool.num_free_blocks:
                victim = self._victim()
                if self.running.index(victim) < index:
                    index -= 1
                self._preempt(victim, output)
                if victim is sequence:
                    return
            self._chunk(sequence, num_tokens, output)
            index += 1

    def _schedule_waiting(self, output: SchedulerOutput) -> None:
        while output.token_budget > 0 and len(self.running) < self.config.max_num_seqs:
            sequence = self.batching.candidate(self.waiting)
            if sequence is None:
                return
            hits = self._find_prefix(sequence)
            num_cached = len(hits) * self.config.block_size
            num_tokens = len(sequence.token_ids) - num_cached
            if num_tokens > output.token_budget and not self.config.enable_chunked_prefill:
                return
            if not self._fits(sequence, hits):
                free = self.pool.num_free_blocks
                output.fragmented_blocks = free if self._blocks_to_admit(sequence, hits) <= free else 0
                return
            self.waiting.remove(sequence)
            self.running.append(sequence)
            self._emit((Resume if sequence.num_preemptions else Admit)(sequence.request_id, num_cached))
            (output.resumed if sequence.num_preemptions else output.new).append(sequence.request_id)
            output.cached_tokens[sequence.request_id] = num_cached
            self.pool.share(hits, sequence.request_id)
            sequence.block_table.extend(hits)
            sequence.num_hashed_blocks = len(hits)
            sequence.num_computed_tokens = num_cached
            if (reserved := self._reserved_blocks(sequence)) > 0:
                sequence.block_table.extend(self.pool.allocate(reserved, sequence.request_id))
            self._chunk(sequence, min(num_tokens, output.token_budget), output)

    def _find_prefix(self, sequence: Sequence) -> list[Block]:
        """Return the cached blocks a sequence begins with; its last token is computed in any case."""
        if not self.config.shares_prefixes:
            return []
        num_full = (len(sequence.token_ids) - 1) // self.config.block_size
        return self.pool.find([sequence.prefix(i, self.config.block_size) for i in range(num_full)])

    def _fits(self, sequence: Sequence, hits: list[Block]) -> bool:
        """Return whether there is room to admit a sequence."""
        return self.pool.can_allocate(self._blocks_to_admit(sequence, hits))

    def _blocks_to_admit(self, sequence: Sequence, hits: list[Block]) -> int:
        """Return how many blocks must be free: the whole sequence has to fit, or what is reserved for it.

        Hits that lie in the free queue will leave it, so they count.
        """
        whole = max(-(-len(sequence.token_ids) // self.config.block_size), self._reserved_blocks(sequence))
        return whole - len(hits) + sum(block.ref_count == 0 for block in hits)

    def _reserved_blocks(self, sequence: Sequence) -> int:
        """Return how many blocks a sequence is given when it is admitted, before it needs them."""
        reserved = self.config.reserved_tokens(sequence.num_prompt_tokens, sequence.max_tokens)
        return -(-reserved // self.config.block_size)

    def _num_new_blocks(self, sequence: Sequence, num_tokens: int) -> int:
        computed = sequence.num_computed_tokens + num_tokens
        return -(-computed // self.config.block_size) - len(sequence.block_table)

    def _chunk(self, sequence: Sequence, num_tokens: int, output: SchedulerOutput) -> None:
        """Schedule tokens: take the blocks they need, and make those that become full findable."""
        size, start = self.config.block_size, sequence.num_computed_tokens
        stop = start + num_tokens
        if (count := self._num_new_blocks(sequence, num_tokens)) > 0:
            sequence.block_table.extend(self.pool.allocate(count, sequence.request_id))
        if self.events is not None:
            self.events.append(Chunk(sequence.request_id, start, num_tokens))
            for index in range(start // size, -(-stop // size)):
                first, last = max(start, index * size), min(stop, (index + 1) * size)
                block_id = sequence.block_table[index].block_id
                self.events.append(Fill(block_id, sequence.request_id, first, last))
        if self.config.shares_prefixes:
            for index in range(sequence.num_hashed_blocks, stop // size):
                self.pool.cache(sequence.block_table[index], sequence.prefix(index, size))
                sequence.num_hashed_blocks = index + 1
        output.scheduled_tokens[sequence.request_id] = num_tokens
        output.token_budget -= num_tokens

    def _victim(self) -> Sequence:
        if self.config.scheduling_policy == "priority":
            return max(self.running, key=_rank)
        return self.running[-1]

    def _preempt(self, victim: Sequence, output: SchedulerOutput) -> None:
        """Take a running sequence's blocks away; it will be computed again, its output included."""
        output.token_budget += output.scheduled_tokens.pop(victim.request_id, 0)
        for block in victim.block_table[victim.num_computed_tokens // self.config.block_size :]:
            self.pool.evict(block)  # became full in this very step, which will not compute it after all
        output.preempted.append(victim.request_id)
        self._emit(Preempt(victim.request_id, victim.num_computed_tokens))
        self.running.remove(victim)
        self._release(victim)
        victim.num_preemptions += 1
        if self.config.scheduling_policy == "priority":
            insort(self.waiting, victim, key=_rank)
        else:
            self.waiting.insert(0, victim)

    def _release(self, sequence: Sequence) -> None:
        self.pool.free(sequence.block_table, sequence.request_id)
        sequence.block_table.clear()
        sequence.num_computed_tokens = sequence.num_hashed_blocks = 0

    def _drop(self, sequence: Sequence) -> None:
        (self.running if sequence in self.running else self.waiting).remove(sequence)
        self._release(sequence)
        sequence.prefixes.clear()
        del self.sequences[sequence.request_id]

    def _emit(self, event: Event) -> None:
        if self.events is not None:
            self.events.append(event)


def _rank(sequence: Sequence) -> tuple[int, int]:
    """Return what the policy `priority` sorts by; the highest is the first victim."""
    return sequence.priority, sequence.order
