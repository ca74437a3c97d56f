"""Workloads that the real vLLM has scheduled, to hold other schedulers against; see the README."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llmwidgets.records.request import Request
from llmwidgets.records.schedule import ScheduledStep
from llmwidgets.records.serving import Serving
from llmwidgets.records.serving_config import ServingConfig

PATH = Path(__file__).parent / "vllm-0.32-schedules.json"


@dataclass(frozen=True)
class Recording:
    """One workload, the knobs, and what vLLM did in each step."""

    name: str
    config: ServingConfig
    requests: tuple[Request, ...]
    outputs: dict[str, tuple[int, ...]]
    """New tokens by request."""
    raw_steps: tuple[dict[str, Any], ...]
    """As they were recorded."""

    @cached_property
    def steps(self) -> tuple[ScheduledStep, ...]:
        """The queues of each step, and the tokens computed."""
        return tuple(_scheduled(step) for step in self.raw_steps)

    @cached_property
    def serving(self) -> Serving:
        """The recording as a record, to be drawn."""
        from llmwidgets.lab.recordings.recorded_serving import recorded_serving

        return recorded_serving(self)


def load_recordings() -> dict[str, Recording]:
    """Return all recordings by name."""
    scenarios = json.loads(PATH.read_text(encoding="utf-8"))["scenarios"]
    return {name: _recording(name, scenario) for name, scenario in scenarios.items()}


def load_recording(name: str) -> Recording:
    """Return one recording.

    Raises:
        ValueError: if there is none of that name.
    """
    known = load_recordings()
    if name not in known:
        raise ValueError(f"there is no recording {name!r}; there are {', '.join(known)}")
    return known[name]


def _recording(name: str, scenario: dict[str, Any]) -> Recording:
    knobs = dict(scenario["engine_args"])
    knobs["num_gpu_blocks"] = knobs.pop("num_gpu_blocks_override")
    return Recording(
        name,
        ServingConfig.of(**knobs),
        tuple(
            Request(r["prompt_token_ids"], r["max_tokens"], r["id"], arrival=r["arrive_step"])
            for r in scenario["requests"]
        ),
        {request_id: tuple(tokens) for request_id, tokens in scenario["outputs"].items()},
        tuple(scenario["steps"]),
    )


def _scheduled(raw: dict[str, Any]) -> ScheduledStep:
    came = [*(new["id"] for new in raw["new"]), *raw["resumed"]]
    return ScheduledStep(
        step=raw["step"],
        batch=(),
        # Not recorded of those that came back; what they did not compute was in the cache.
        cached_tokens={name: raw["computed_after"][name] - raw["scheduled_tokens"][name] for name in came},
        preempted=tuple(raw["preempted"]),
        scheduled_tokens=raw["scheduled_tokens"],
        running=tuple(raw["running"]),
        waiting=tuple(raw["waiting"]),
        idle=(),
        num_sampled={name: len(tokens) for name, tokens in raw["sampled"].items()},
    )
