"""`Step`: what a learner's scheduler sees of one step and can do in it, over our own queues and blocks."""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any

from llmwidgets.records.events import Admit, Event, Preempt, Resume
from llmwidgets.records.serving_config import ServingConfig
from llmwidgets.scheduling.block_pool import Block
from llmwidgets.scheduling.scheduler import Scheduler, SchedulerOutput
from llmwidgets.scheduling.sequence import Sequence

MOST_LOOKS = 10_000  # at the queues and counts of one step; whoever looks more often is in an endless loop


class UnsoundError(ValueError):
    """A schedule does what no engine can run."""

    def __init__(self, message: str, request_id: str = "") -> None:
        super().__init__(message)
        self.request_id = request_id
        """With which request it does so; empty if with none in particular."""


class Step:
    """One step: two queues, a budget of tokens, free blocks, and three things to do.

    The lists are the scheduler's own: whoever is moved in them has moved.
    """

    def __init__(self, scheduler: SteppedScheduler, output: SchedulerOutput) -> None:
        """Show a scheduler before anything is decided; decisions go into `output`."""
        self._scheduler, self._output = scheduler, output
        self._looks = 0
        self._computed = {sequence.request_id: sequence.num_computed_tokens for sequence in scheduler.running}
        self._runs = set(self._computed)
        config = scheduler.config
        self.block_size, self.max_num_seqs = config.block_size, config.max_num_seqs
        self.max_num_batched_tokens = config.max_num_batched_tokens
        self.scheduled_tokens = output.scheduled_tokens
        """Tokens to compute in this step, by request id."""
        self.preempted = output.preempted
        """Ids of the requests whose blocks were freed in this step."""

    @property
    def waiting(self) -> list[Sequence]:
        """Requests that wait, the next one first."""
        self._look()
        return self._scheduler.waiting

    @property
    def running(self) -> list[Sequence]:
        """Requests that run, in the order in which they came in."""
        self._look()
        return self._scheduler.running

    @property
    def free_blocks(self) -> int:
        """Blocks that no request holds."""
        self._look()
        return self._scheduler.pool.num_free_blocks

    @property
    def token_budget(self) -> int:
        """Tokens that the step can still compute; `compute` lowers it."""
        self._look()
        return self._output.token_budget

    @token_budget.setter
    def token_budget(self, value: int) -> None:
        self._output.token_budget = value

    def hits(self, request: Sequence) -> list[Block]:
        """Return the blocks in the prefix cache that a waiting request would begin with.

        A block with `ref_count == 0` is counted in `free_blocks`, and no longer once it is used.
        """
        self._look()
        return self._scheduler.hits(request)

    def new_blocks(self, request: Sequence, num_tokens: int) -> int:
        """Return how many blocks a request lacks to compute `num_tokens` tokens more."""
        self._look()
        return self._scheduler.new_blocks(request, num_tokens)

    def start(self, request: Sequence) -> None:
        """Move a request from waiting to the end of running; what it finds in the cache is computed."""
        if request not in self.waiting:
            raise UnsoundError("is started, but does not wait", request.request_id)
        self._scheduler.start(request, self._output)
        self._runs.add(request.request_id)
        self._computed[request.request_id] = request.num_computed_tokens

    def compute(self, request: Sequence, num_tokens: int) -> None:
        """Let a running request compute `num_tokens` tokens more: it gets the blocks, the budget shrinks."""
        name, num_tokens = request.request_id, index(num_tokens)
        missing = len(request.token_ids) - request.num_computed_tokens
        if request not in self.running:
            raise UnsoundError("shall compute, but does not run", name)
        if not 0 <= num_tokens <= missing:
            raise UnsoundError(
                f"shall compute {_tokens(num_tokens)} and has {_tokens(missing)} to compute", name
            )
        if name in self.scheduled_tokens:
            raise UnsoundError("shall compute twice in one step", name)
        needed = self.new_blocks(request, num_tokens)
        if needed > self.free_blocks:
            raise UnsoundError(
                f"shall compute {_tokens(num_tokens)}, for which it lacks {_blocks(needed)}, with "
                f"{_blocks(self.free_blocks)} free",
                name,
            )
        if num_tokens:
            self._scheduler.compute(request, num_tokens, self._output)

    def free(self, request: Sequence) -> None:
        """Take all blocks of a request back; its keys and values are gone, its tokens are not."""
        name = request.request_id
        if name not in self._runs:
            raise UnsoundError("is freed, but does not run", name)
        self._runs.remove(name)
        self._scheduler.give_up(request, self._computed.get(name, 0), self._output)

    def check(self) -> None:
        """Raise `UnsoundError` unless each request is in one queue, and just those that run hold blocks."""
        running = [sequence.request_id for sequence in self._scheduler.running]
        waiting = [sequence.request_id for sequence in self._scheduler.waiting]
        for name in self._scheduler.sequences:
            places = running.count(name) + waiting.count(name)
            if places != 1:
                raise UnsoundError("is in no queue" if places == 0 else "is in the queues twice", name)
            if name in running and name not in self._runs:
                how = "although its blocks were freed" if name in self.preempted else "but was never started"
                raise UnsoundError(f"runs, {how}", name)
            if name in waiting and name in self._runs:
                raise UnsoundError("waits, but its blocks were not freed", name)

    def _look(self) -> None:
        self._looks += 1
        if self._looks > MOST_LOOKS:
            raise UnsoundError("a loop does not end: nothing in it changes what it asks for")


class SteppedScheduler(Scheduler):
    """Our scheduler with the decisions taken out: a function makes them, by what it does to a `Step`."""

    def __init__(
        self, config: ServingConfig, events: list[Event] | None, decide: Callable[[Step], Any]
    ) -> None:
        super().__init__(config, events)
        self._decide = decide

    def hits(self, sequence: Sequence) -> list[Block]:
        """Return the cached blocks a sequence begins with."""
        return self._find_prefix(sequence)

    def new_blocks(self, sequence: Sequence, num_tokens: int) -> int:
        """Return how many blocks a sequence lacks for so many tokens more."""
        return max(0, self._num_new_blocks(sequence, num_tokens))

    def start(self, sequence: Sequence, output: SchedulerOutput) -> None:
        """Admit a waiting sequence; like vLLM, look for cached blocks only if nothing counts as computed."""
        hits = [] if sequence.num_computed_tokens else self._find_prefix(sequence)
        num_cached = len(hits) * self.config.block_size
        self.waiting.remove(sequence)
        self.running.append(sequence)
        self._emit((Resume if sequence.num_preemptions else Admit)(sequence.request_id, num_cached))
        (output.resumed if sequence.num_preemptions else output.new).append(sequence.request_id)
        output.cached_tokens[sequence.request_id] = num_cached
        self.pool.share(hits, sequence.request_id)
        sequence.block_table.extend(hits)
        sequence.num_hashed_blocks = len(hits)
        sequence.num_computed_tokens += num_cached

    def compute(self, sequence: Sequence, num_tokens: int, output: SchedulerOutput) -> None:
        """Schedule tokens of a running sequence."""
        self._chunk(sequence, num_tokens, output)

    def give_up(self, sequence: Sequence, num_computed_tokens: int, output: SchedulerOutput) -> None:
        """Free the blocks of a sequence that had so many tokens computed before this step."""
        for block in sequence.block_table[num_computed_tokens // self.config.block_size :]:
            self.pool.evict(block)  # became full in this very step, which will not compute it after all
        output.preempted.append(sequence.request_id)
        self._emit(Preempt(sequence.request_id, num_computed_tokens))
        self.pool.free(sequence.block_table, sequence.request_id)
        sequence.block_table.clear()
        sequence.num_hashed_blocks = 0
        sequence.num_preemptions += 1

    def _schedule_running(self, output: SchedulerOutput) -> None:
        step = Step(self, output)
        self._decide(step)
        step.check()

    def _schedule_waiting(self, output: SchedulerOutput) -> None:
        """Do nothing: the function has admitted whom it wanted."""


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count} tokens"


def _blocks(count: int) -> str:
    return "1 block" if count == 1 else f"{count} blocks"
