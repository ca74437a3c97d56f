"""`ServeWork`: `engine.serve` behind knobs: replayed at once while a knob is dragged, then run for real."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import Any

from llmwidgets.engine.serve import serving_config
from llmwidgets.lab.runner import Arguments
from llmwidgets.lab.work import Command, Control, Outcome, Show
from llmwidgets.records.serving import Serving
from llmwidgets.records.serving_config import ServingConfig
from llmwidgets.scheduling.simulate import simulate

SETTLED_AFTER = 0.15  # seconds without a newer setting: the knob was let go
SHOWN_EVERY = 0.1  # seconds between two pictures of a run
KNOBS = frozenset(field.name for field in fields(ServingConfig))

# vLLM 0.32, API server. On cards of 70 GiB and more other than the A100 it takes 8192 and 1024.
VLLM_DEFAULTS = {
    "block_size": "16",
    "num_gpu_blocks": "what fits in memory",
    "max_num_seqs": "256",
    "max_num_batched_tokens": "2048",
    "max_model_len": "the model's own",
    "enable_prefix_caching": "on",
    "enable_chunked_prefill": "on",
    "scheduling_policy": "fcfs",
}


class ServeWork:
    """Scheduling knobs change which step computes what, and no token: so the last tokens can be replayed."""

    vllm_defaults = VLLM_DEFAULTS
    first_is_whole = False

    def __init__(self, engine: Any, args: tuple[Any, ...], keywords: Arguments) -> None:
        self._engine, self._args, self._keywords = engine, args, keywords
        self._last: Serving | None = None
        self._said: Arguments = {}
        """What else than scheduling knobs led to the last tokens."""

    def first(self, arguments: Arguments) -> Serving:
        """Return the record of the first step."""
        steps = self._steps(arguments)
        steps.advance()
        serving: Serving = steps.serving()
        return serving

    def run(self, arguments: Arguments, show: Show, control: Control) -> Outcome:
        """Replay the last tokens, wait until the knob is let go, then run the model and show its steps."""
        replayed = self._replay(arguments)
        if replayed is not None:
            show(replayed)
            if not control.settle(SETTLED_AFTER):
                return Outcome(whole=False)
        steps = self._steps(arguments)
        total = sum((request.max_tokens or 0) * request.n for request in steps.requests)
        shown = 0.0
        while steps.advance():
            if control.superseded:
                show(steps.serving())
                steps.close()
                message = "Stopped. Turn a knob to run again." if control.stop_asked else ""
                return Outcome(whole=False, message=message)
            if time.perf_counter() - shown >= SHOWN_EVERY:
                serving = steps.serving()
                show(serving)
                done = serving.metrics.output_tokens
                control.progress(done / total, f"Step {len(serving.log)}: {done} of {total} tokens")
                shown = time.perf_counter()
        serving = steps.serving()
        show(serving)
        self._last, self._said = serving, self._other(arguments)
        if replayed is not None and replayed.outputs != serving.outputs:
            return Outcome(message="The model's tokens differ from those of the run that was replayed.")
        return Outcome()

    def command(self, arguments: Arguments) -> Command:
        """Return the `vllm serve` command with the same knobs."""
        given = self._keywords | arguments
        parts = ["vllm serve MODEL"]
        for name in VLLM_DEFAULTS:
            if name in given:
                parts.append(_flag(name, given[name]))
        left_out = [
            f"{name}={given[name]!r}"
            for name, usual in (("batching", "continuous"), ("cache", "paged"))
            if given.get(name, usual) != usual
        ]
        note = f"{' and '.join(left_out)}: vLLM always batches continuously and pages." if left_out else ""
        return Command(" ".join(parts), note)

    def _steps(self, arguments: Arguments) -> Any:
        return self._engine.serve_steps(*self._args, **(self._keywords | arguments))

    def _other(self, arguments: Arguments) -> Arguments:
        return {name: value for name, value in arguments.items() if name not in KNOBS}

    def _replay(self, arguments: Arguments) -> Serving | None:
        """Return the last tokens under new scheduling knobs; None if something else has changed too."""
        if self._last is None or self._other(arguments) != self._said:
            return None
        knobs = {name: value for name, value in (self._keywords | arguments).items() if name in KNOBS}
        config = serving_config(self._engine, knobs)
        return simulate(
            self._last.requests, self._last.outputs, **(knobs | {"max_model_len": config.max_model_len})
        )


def _flag(name: str, value: Any) -> str:
    flag = "--num-gpu-blocks-override" if name == "num_gpu_blocks" else "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return flag if value else "--no-" + flag.removeprefix("--")
    return f"{flag} {value}"
