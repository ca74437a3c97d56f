"""`simulate`: the engine's own scheduler and blocks, with tokens that are given; no model, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmwidgets.records.request import Request, number_requests, require_integer
from llmwidgets.records.serving import Serving
from llmwidgets.records.serving_config import ServingConfig
from llmwidgets.scheduling.serving_run import Recording, ServingRun


@dataclass(frozen=True)
class _Script:
    """What one sequence will say."""

    token_ids: Sequence[int] | None
    """None: made-up tokens, which no other sequence says."""
    length: int
    number: int
    """The sequence's number among all."""

    def token(self, index: int) -> int:
        return -1 - self.number if self.token_ids is None else self.token_ids[index]


def simulate(
    requests: Iterable[Request],
    outputs: Mapping[str, Sequence[int] | int] | None = None,
    *,
    record: Recording = "steps",
    **knobs: Any,
) -> Serving:
    """Schedule a workload as `serve` does, with output tokens that are given instead of computed.

    Args:
        requests: with token ids as prompts; `max_tokens` may be None where `outputs` has the request.
        outputs: token ids, or only their number, by request id or child's id (`"0_ID"`); a request that is
            not there has `max_tokens` made-up tokens (negative ids, different for each request). One
            that has fewer than `max_tokens` ends there, by `"stop"`.
        record: `"steps"` keeps each step; `"summary"` only outputs and metrics, for large workloads.
        **knobs: fields of `ServingConfig`: `block_size`, `num_gpu_blocks`, `max_num_seqs`, ...

    Returns:
        A `Serving` whose times are counted in steps.

    Raises:
        ValueError: before anything runs, with what was given and what is allowed: an unknown knob or id,
            equal ids, a request that could never finish, more output tokens than `max_tokens`.
    """
    config = ServingConfig.of(**knobs)
    given = {} if outputs is None else dict(outputs)
    ready: list[Request] = []
    scripts: dict[str, _Script] = {}
    for request in number_requests(requests):
        if isinstance(request.prompt, str):
            raise ValueError(
                f"prompt={request.prompt[:40]!r} of request {request.request_id!r} is not allowed; "
                "allowed are token ids: without a model there is no tokenizer"
            )
        lengths = []
        for name in request.sequence_ids:
            script = _script(request, name, given, len(scripts))
            scripts[name] = script
            lengths.append(script.length)
        ready.append(replace(request, max_tokens=request.max_tokens or max(lengths)))
    known = {*scripts, *(request.request_id for request in ready)}
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"outputs has {unknown[0]!r}, which is no request's id; ids are {_some(scripts)}")
    run = ServingRun(ready, config, record)
    while (output := run.begin_step()) is not None:
        sampled: dict[str, int] = {}
        stopped: list[str] = []
        for name in output.to_sample:
            script, index = scripts[name], run.scheduler.sequences[name].num_output_tokens
            sampled[name] = script.token(index)
            if index + 1 == script.length < run.scheduler.sequences[name].max_tokens:
                stopped.append(name)
        run.end_step(sampled, stopped)
    return run.serving()


def _script(request: Request, name: str, given: Mapping[str, Sequence[int] | int], number: int) -> _Script:
    said = given.get(name, given.get(request.request_id or "", request.max_tokens))
    if said is None:
        raise ValueError(f"request {name!r} has neither max_tokens nor an entry in outputs; one is needed")
    if isinstance(said, int):
        require_integer(f"outputs[{name!r}]", said, 1)
        script = _Script(None, said, number)
    else:
        token_ids = tuple(int(token) for token in said)
        require_integer(f"len(outputs[{name!r}])", len(token_ids), 1)
        script = _Script(token_ids, len(token_ids), number)
    if request.max_tokens is not None and script.length > request.max_tokens:
        raise ValueError(
            f"outputs[{name!r}] has {script.length} tokens, which is not allowed; "
            f"allowed is at most max_tokens={request.max_tokens}"
        )
    return script


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")
