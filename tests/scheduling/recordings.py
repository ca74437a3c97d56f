"""The recorded workloads in `llmwidgets/lab/recordings`, and how a run is compared with one."""

from __future__ import annotations

import json
from typing import Any

from llmwidgets.lab.recordings import PATH
from llmwidgets.records.request import Request
from llmwidgets.records.serving import Serving
from llmwidgets.scheduling.simulate import simulate

SCENARIOS: dict[str, Any] = json.loads(PATH.read_text())["scenarios"]


def replay(scenario: dict[str, Any]) -> Serving:
    """Simulate a recorded workload with its own tokens and knobs."""
    knobs = dict(scenario["engine_args"])
    knobs["num_gpu_blocks"] = knobs.pop("num_gpu_blocks_override")
    requests = [
        Request(r["prompt_token_ids"], r["max_tokens"], r["id"], arrival=r["arrive_step"])
        for r in scenario["requests"]
    ]
    return simulate(requests, scenario["outputs"], **knobs)


def first_difference(serving: Serving, scenario: dict[str, Any]) -> str | None:
    """Return where a run first leaves the recording, or None; block ids may differ by one renaming."""
    first = min(request["arrive_step"] for request in scenario["requests"])
    name = Renaming()
    hashes = Renaming()
    if len(serving.steps) != len(scenario["steps"]):
        return f"{len(serving.steps)} steps instead of {len(scenario['steps'])}"
    for mine, real in zip(serving.steps, scenario["steps"], strict=True):
        tables_agree = list(mine.block_tables) == list(real["block_tables"]) and all(
            len(mine.block_tables[r]) == len(table) and all(map(name, mine.block_tables[r], table))
            for r, table in real["block_tables"].items()
        )
        blocks = {block.block_id: block for block in mine.blocks}
        blocks_agree = len(blocks) == len(real["blocks"]) and all(
            (block := blocks.get(name.inverse.get(block_id, -1))) is not None
            and block.ref_count == ref_count
            and hashes(block.block_hash, block_hash)
            for block_id, ref_count, block_hash in real["blocks"]
        )
        agree = {
            "step": mine.step == real["step"] and mine.iteration == real["step"] + first,
            "new": [vars(new) for new in mine.new] == real["new"],
            "resumed": list(mine.resumed) == real["resumed"],
            "preempted": list(mine.preempted) == real["preempted"],
            "finished_before": sorted(mine.finished_before) == sorted(real["finished_before"]),
            "scheduled_tokens": list(mine.scheduled_tokens.items()) == list(real["scheduled_tokens"].items()),
            "running": list(mine.running) == real["running"],
            "waiting": list(mine.waiting) == real["waiting"],
            "computed_after": mine.computed_after == real["computed_after"],
            "block_tables": tables_agree,
            "free_blocks": mine.free_blocks == real["free_blocks"],
            "usage": abs(mine.usage - real["usage"]) < 1e-6,
            "blocks": blocks_agree,
            "sampled": {r: list(tokens) for r, tokens in mine.sampled.items()} == real["sampled"],
            "finish": list(mine.finish.items()) == list(real["finish"].items()),
        }
        for key, same in agree.items():
            if not same:
                return f"step {mine.step}, {key}: {getattr(mine, key)!r} instead of {real[key]!r}"
    return None


class Renaming:
    """A one-to-one naming of mine by theirs that, once made, stays."""

    def __init__(self) -> None:
        self.names: dict[Any, Any] = {}
        self.inverse: dict[Any, Any] = {}

    def __call__(self, mine: Any, theirs: Any) -> bool:
        """Return whether `mine` is called `theirs`, naming it if neither is taken."""
        if mine is None or theirs is None:
            return mine is theirs
        if mine not in self.names and theirs not in self.inverse:
            self.names[mine], self.inverse[theirs] = theirs, mine
        return self.names.get(mine) == theirs
