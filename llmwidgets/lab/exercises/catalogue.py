"""Which exercises there are. Each module is loaded when one of its exercises is asked for."""

from __future__ import annotations

from importlib import import_module

from llmwidgets.lab.exercises.exercise import Exercise

MODULES = {
    "01.e1": "greedy_loop",
    "01.e2": "nucleus",
    "01.e3": "sampled_frequencies",
    "01.e4": "stop_string",
    "02.e1": "masked_attention",
    "02.e2": "causal_mask",
    "02.e3": "online_softmax",
    "03.e1": "rotary_embedding",
    "03.e2": "cache_positions",
    "03.e3": "linear_factor",
    "04.e1": "growing_cache",
    "04.e2": "cache_bytes",
    "04.e3": "fewer_kv_heads",
    "04.e4": "left_padding",
    "05.e1": "arithmetic_intensity",
    "05.e2": "critical_batch",
    "05.e3": "step_time",
    "05.e4": "step_time_fit",
    "06.e1": "block_allocator",
    "06.e2": "block_hashes",
    "06.e3": "copy_on_write",
    "06.e4": "block_size_choice",
    "07.e1": "admission",
    "07.e2": "token_budget",
    "07.e3": "preemption",
    "07.e4": "whole_schedule",
}


def find(id: str) -> Exercise:  # noqa: A002  # the same name as in the functions for learners
    """Return an exercise.

    Raises:
        ValueError: if there is none of that id.
    """
    if id not in MODULES:
        raise ValueError(f"there is no exercise {id!r}; there are {', '.join(MODULES)}")
    found = import_module(f"llmwidgets.lab.exercises.{MODULES[id]}").EXERCISE
    assert isinstance(found, Exercise)  # noqa: S101  # for the type checker; a test loads each one
    return found
