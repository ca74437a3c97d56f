"""A state machine that adds, steps, stops and aborts at random; a model of the memory says what is wrong."""

import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmwidgets.records.events import Allocate, Cache, Chunk, Copy, Fill, ServingState
from llmwidgets.records.request import Request
from llmwidgets.records.serving_config import ServingConfig
from llmwidgets.scheduling.block_pool import BlockPool
from llmwidgets.scheduling.scheduler import Scheduler

CONFIGS = st.builds(
    ServingConfig,
    block_size=st.integers(1, 5),
    num_gpu_blocks=st.integers(5, 14),
    max_num_seqs=st.integers(1, 5),
    max_num_batched_tokens=st.integers(5, 30),
    enable_prefix_caching=st.booleans(),
    enable_chunked_prefill=st.booleans(),
    scheduling_policy=st.sampled_from(["fcfs", "priority"]),
    batching=st.sampled_from(["continuous", "static", "none"]),
    cache=st.sampled_from(["paged", "contiguous_max", "contiguous_pow2"]),
    max_model_len=st.integers(8, 40),
)


class Serving(RuleBasedStateMachine):
    """Tokens are 0 or 1, so that prefixes meet often."""

    @initialize(config=CONFIGS)
    def start(self, config):
        self.config = config
        self.events = []
        self.scheduler = Scheduler(config, self.events)
        self.state = ServingState(
            config.block_size, config.num_gpu_blocks, config.scheduling_policy == "priority", {}
        )
        self.memory = {}  # (block, offset) -> the tokens up to there, as computed
        self.output = None
        self.count = 0
        self.happened = Counter()

    @rule(
        count=st.integers(1, 4), length=st.integers(1, 24), more=st.integers(1, 24), seed=st.integers(0, 99)
    )
    def add(self, count, length, more, seed):
        draw = random.Random(seed)
        for _ in range(count):
            prompt = [int(draw.random() < 0.2) for _ in range(draw.randint(1, length))]
            self.add_one(prompt, draw.randint(1, more), draw.randint(0, 2))

    def add_one(self, prompt, more, priority):
        request = Request(prompt, more, f"r{self.count}", priority=priority)
        try:
            self.config.check(request)
        except ValueError:
            return
        self.count += 1
        self.state.token_ids[request.request_id] = list(prompt)
        self.scheduler.add(request.request_id, request.prompt, request.max_tokens, request.priority)
        self.fold()

    @rule(times=st.integers(1, 12), seed=st.integers(0, 9))
    def step(self, times, seed):
        draw = random.Random(seed)
        for _ in range(times):
            self.schedule()
            self.consistent()
            self.update(draw)
            self.consistent()

    @precondition(lambda self: self.output is None)
    @rule()
    def schedule(self):
        if self.output is not None:
            return
        scheduler, config = self.scheduler, self.config
        self.output = scheduler.schedule()
        chunked = {event.request_id for event in self.events if isinstance(event, Chunk)}
        self.fold()
        self.happened["steps"] += 1
        self.happened["preempted"] += len(self.output.preempted)
        self.happened["preempted after scheduling"] += len(chunked & {*self.output.preempted})
        self.happened["resumed"] += len(self.output.resumed)
        self.happened["hits"] += sum(count > 0 for count in self.output.cached_tokens.values())
        assert sum(self.output.scheduled_tokens.values()) <= config.max_num_batched_tokens
        assert len(scheduler.running) <= config.max_num_seqs
        assert bool(self.output.preempted) <= (not self.output.new and not self.output.resumed)
        assert bool(scheduler.sequences) <= bool(self.output.scheduled_tokens or self.output.preempted)
        if config.batching != "continuous" and self.output.new:  # a batch has ended before the next begins
            assert {s.request_id for s in scheduler.running} <= set(self.state.batch)
        for request_id, num_tokens in self.output.scheduled_tokens.items():
            sequence = scheduler.sequences[request_id]
            for position in range(sequence.num_computed_tokens - num_tokens, sequence.num_computed_tokens):
                block = sequence.block_table[position // config.block_size]
                written = tuple(sequence.token_ids[: position + 1])
                self.memory[block.block_id, position % config.block_size] = written

    @precondition(lambda self: self.output is not None)
    @rule(draw=st.randoms(use_true_random=False))
    def update(self, draw):
        if self.output is None:
            return
        sampled = {r: draw.randrange(2) for r in self.output.to_sample if r in self.scheduler.sequences}
        stopped = [r for r in sampled if draw.random() < 0.02]
        self.scheduler.update(self.output, sampled, stopped)
        self.fold()
        self.state.sample({request_id: [token] for request_id, token in sampled.items()})
        self.output = None

    @precondition(lambda self: self.scheduler.sequences)
    @rule(data=st.data())
    def abort(self, data):
        assert self.scheduler.abort(data.draw(st.sampled_from(sorted(self.scheduler.sequences))))
        self.fold()

    def fold(self):
        """Apply the new events to the folded state, one by one, with what must hold at each."""
        for event in self.events:
            match event:
                case Allocate(block_id) | Copy(_, block_id):
                    for offset in range(self.config.block_size):
                        self.memory.pop((block_id, offset), None)
                case Fill(block_id, _, start, stop):
                    assert self.state.ref_counts[block_id] == 1  # nobody writes where others read
                    assert block_id not in self.state.cached
                    assert start % self.config.block_size == len(self.state.block_token_ids[block_id])
                    assert stop > start
                case Cache(block_id):
                    assert len(self.state.block_token_ids[block_id]) == self.config.block_size
            self.state.fold([event])
            self.happened[type(event).__name__] += 1
        self.events.clear()

    @invariant()
    def consistent(self):
        if not hasattr(self, "scheduler"):
            return
        scheduler, state, size = self.scheduler, self.state, self.config.block_size
        scheduler.check_integrity()
        assert state.free_blocks == scheduler.pool.num_free_blocks
        assert state.running == [s.request_id for s in scheduler.running]
        assert state.waiting == [s.request_id for s in scheduler.waiting]
        assert state.ref_counts == {b.block_id: b.ref_count for b in scheduler.pool.blocks if b.ref_count}
        for sequence in scheduler.running:
            table = [block.block_id for block in sequence.block_table]
            assert state.block_tables[sequence.request_id] == table
            assert state.token_ids[sequence.request_id] == sequence.token_ids
            assert state.computed[sequence.request_id] == sequence.num_computed_tokens
            if self.config.cache == "paged":
                assert len(table) == -(-sequence.num_computed_tokens // size)
            else:  # room from the start, in a row
                room = self.config.reserved_tokens(sequence.num_prompt_tokens, sequence.max_tokens)
                assert table == list(range(table[0], table[0] + -(-room // size)))
            for position in range(sequence.num_computed_tokens):
                held = self.memory[table[position // size], position % size]
                assert held == tuple(sequence.token_ids[: position + 1])
        for block in scheduler.pool.blocks:
            if block.prefix is not None:  # findable: it must hold the very tokens it is found by
                tokens, link = [], block.prefix
                while link is not None:
                    tokens[:0], link = link.token_ids, link.parent
                assert len(block.prefix.token_ids) == size
                assert self.memory[block.block_id, size - 1] == tuple(tokens)
                assert state.block_token_ids[block.block_id] == list(block.prefix.token_ids)

    def teardown(self):
        if not hasattr(self, "scheduler"):
            return
        draw = random.Random(0)
        self.update(draw)
        for _ in range(3000):
            if not self.scheduler.sequences:
                break
            self.schedule()
            self.update(draw)
        assert not self.scheduler.sequences
        self.consistent()
        assert self.scheduler.pool.num_free_blocks == self.config.num_gpu_blocks - 1


SETTINGS = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestInvariants = Serving.TestCase
TestInvariants.settings = SETTINGS


def live(seed, rounds):
    """Drive the machine without hypothesis, under more pressure than it finds by itself."""
    draw = random.Random(seed)
    machine = Serving()
    machine.start(
        ServingConfig(
            block_size=draw.choice([1, 2, 3, 4]),
            num_gpu_blocks=draw.randint(8, 16),
            max_num_seqs=draw.randint(2, 6),
            max_num_batched_tokens=draw.randint(6, 40),
            enable_prefix_caching=draw.random() < 0.8,
            enable_chunked_prefill=draw.random() < 0.7,
            scheduling_policy=draw.choice(["fcfs", "priority"]),
            batching=draw.choice(["continuous", "continuous", "static"]),
        )
    )
    for _ in range(rounds):
        if len(machine.scheduler.waiting) < 4:
            machine.add(draw.randint(1, 3), draw.randint(1, 16), draw.randint(1, 24), draw.randrange(10**6))
        machine.schedule()
        machine.consistent()
        if draw.random() < 0.1 and machine.scheduler.sequences:  # in the middle of a step
            machine.scheduler.abort(draw.choice(sorted(machine.scheduler.sequences)))
            machine.fold()
            machine.consistent()
        machine.update(draw)
        machine.consistent()
    machine.teardown()
    return machine


def test_long_lives_under_pressure():
    happened = Counter()
    for seed in range(100):
        happened += live(seed, 50).happened
    assert happened["steps"] >= 2000
    for kind in ("preempted", "resumed", "hits", "Evict", "Abort", "Finish", "preempted after scheduling"):
        assert happened[kind] >= 20, f"{kind}: {happened[kind]}"


def leave_blocks(scheduler, sequence):
    sequence.block_table.clear()
    sequence.num_computed_tokens = sequence.num_hashed_blocks = 0


def compare_no_tokens(pool, prefixes):
    found = []
    for prefix in prefixes:
        for same_hash in pool.by_hash.values():
            for block in same_hash.values():
                if block.prefix.token_ids == prefix.token_ids and block not in found:
                    found.append(block)
                    break
            else:
                continue
            break
        else:
            break
    return found


def share_without_taking(pool, blocks, request_id):
    for block in blocks:
        block.ref_count += 1


@pytest.mark.parametrize(
    ("cls", "method", "broken"),
    [
        (Scheduler, "_release", leave_blocks),
        (BlockPool, "find", compare_no_tokens),
        (BlockPool, "share", share_without_taking),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_broken_scheduler_does_not_live_long(cls, method, broken, monkeypatch):
    monkeypatch.setattr(cls, method, broken)
    with pytest.raises((AssertionError, LookupError, RuntimeError)):
        [live(seed, 50) for seed in range(100)]
