"""Every step equal to what vLLM did, and a wrong scheduler seen."""

import copy

import pytest
from recordings import SCENARIOS, first_difference, replay

from llmwidgets.records.record import load_record
from llmwidgets.scheduling.block_pool import BlockPool
from llmwidgets.scheduling.scheduler import Scheduler


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_step_is_vllms(name):
    assert first_difference(replay(SCENARIOS[name]), SCENARIOS[name]) is None


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_step_is_vllms_after_save_and_load(name, tmp_path):
    replay(SCENARIOS[name]).save(tmp_path / "run.zip")
    assert first_difference(load_record(tmp_path / "run.zip"), SCENARIOS[name]) is None


@pytest.mark.parametrize("name", SCENARIOS)
def test_block_ids_are_vllms_own(name):
    for mine, real in zip(replay(SCENARIOS[name]).steps, SCENARIOS[name]["steps"], strict=True):
        assert {r: list(table) for r, table in mine.block_tables.items()} == real["block_tables"]


@pytest.mark.parametrize("key", ["free_blocks", "computed_after", "waiting", "block_tables", "blocks"])
def test_the_comparison_sees_a_changed_recording(key):
    scenario = copy.deepcopy(SCENARIOS["pressure"])
    value = scenario["steps"][40][key]
    if isinstance(value, int):
        scenario["steps"][40][key] += 1
    elif isinstance(value, list):
        value.pop()
    else:
        first = next(iter(value))
        value[first] = value[first][::-1] if key == "block_tables" else value[first] + 1
    assert f"step 40, {key}" in first_difference(replay(SCENARIOS["pressure"]), scenario)


def append_all(pool, block_table, request_id):
    for block in reversed(block_table):
        block.ref_count -= 1
        if block.ref_count == 0:
            pool.free_queue[block.block_id] = block


def free_forwards(pool, block_table, request_id):
    FREE(pool, block_table[::-1], request_id)


def victim_at_the_head(scheduler):
    return scheduler.running[0]


def admit_what_fits_now(scheduler, sequence, hits):
    return scheduler.pool.num_free_blocks > 0


def hits_do_not_count(scheduler, sequence, hits):
    needed = -(-len(sequence.token_ids) // scheduler.config.block_size) - len(hits)
    return needed <= scheduler.pool.num_free_blocks - 1


def find_nothing(scheduler, sequence):
    return []


FREE = BlockPool.free


@pytest.mark.parametrize(
    ("cls", "method", "broken"),
    [
        (BlockPool, "free", append_all),
        (BlockPool, "free", free_forwards),
        (Scheduler, "_victim", victim_at_the_head),
        (Scheduler, "_fits", admit_what_fits_now),
        (Scheduler, "_fits", hits_do_not_count),
        (Scheduler, "_find_prefix", find_nothing),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_broken_scheduler_is_seen(cls, method, broken, monkeypatch):
    monkeypatch.setattr(cls, method, broken)

    def differs(name):
        try:
            return first_difference(replay(SCENARIOS[name]), SCENARIOS[name]) is not None
        except Exception:  # a run that breaks down differs too
            return True

    assert any(differs(name) for name in SCENARIOS)
