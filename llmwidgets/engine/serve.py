"""`ServingIterator`: a workload through the engine, a step at a time, over one pool of blocks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.decoding import Decoding
from llmwidgets.engine.prompt import encode
from llmwidgets.engine.quantization.kv_quant import cache_for
from llmwidgets.engine.slots import SlotTables
from llmwidgets.records.request import Request, number_requests
from llmwidgets.records.sampling_params import SamplingParams, stop_strings
from llmwidgets.records.serving import Serving, ServingStep
from llmwidgets.records.serving_config import ServingConfig
from llmwidgets.scheduling.scheduler import SchedulerOutput
from llmwidgets.scheduling.serving_run import Recording, ServingRun

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine

_SAMPLING = {field.name for field in fields(SamplingParams)}


class ServingIterator(Iterator[ServingStep]):
    """Yields each step when it has run; between two steps a request can be aborted, or the run be left."""

    def __init__(
        self, engine: Engine, requests: Iterable[Request], record: Recording, knobs: dict[str, Any]
    ) -> None:
        """Check everything, and run nothing yet.

        Args:
            engine: whose model runs.
            requests: the workload.
            record: `"steps"`, or `"summary"` for outputs and metrics only.
            knobs: fields of `ServingConfig`, `kv_cache_dtype`, `kv_cache_scale` and, as defaults for all
                requests, fields of `SamplingParams`.

        Raises:
            ValueError: for a value that is not allowed.
        """
        sampling = {name: knobs.pop(name) for name in list(knobs) if name in _SAMPLING}
        defaults = sampling_params(sampling)
        kv_shape = engine.kv_shape.held_as(
            knobs.pop("kv_cache_dtype", "auto"), knobs.pop("kv_cache_scale", "head")
        )
        config = serving_config(engine, knobs)
        ready: list[Request] = []
        params: dict[str, SamplingParams] = {}
        for request in number_requests(requests):
            own = _own_params(request, defaults)
            ids = encode(engine, request.prompt, own.max_tokens)
            ready.append(replace(request, prompt=tuple(ids), max_tokens=own.max_tokens))
            for index, name in enumerate(request.sequence_ids):
                params[name] = replace(own, seed=own.seed + index)
        self.engine = engine
        self._params = params
        self._run = ServingRun(ready, config, record, timed=True, model=engine.name, kv_shape=kv_shape)
        self._cache = cache_for(kv_shape, config.num_gpu_blocks, config.block_size)
        self._slots = SlotTables(config.block_size, engine.forward.device)
        self._decodings: dict[str, Decoding] = {}

    @property
    def requests(self) -> tuple[Request, ...]:
        """The workload with ids, token ids and `max_tokens`."""
        return self._run.requests

    @property
    def num_free_blocks(self) -> int:
        """Blocks that no request holds; all but the null block when the run has ended."""
        return self._run.scheduler.pool.num_free_blocks

    def __next__(self) -> ServingStep:
        """Run one step; raise `StopIteration` when all requests have ended."""
        if not self.advance():
            raise StopIteration
        return self._run.steps[-1]

    def advance(self) -> bool:
        """Run one step without looking at it; return False when nothing is left to run.

        Whatever goes wrong in a step ends the run: all blocks are free then, and the engine stays usable.
        """
        try:
            cpu, wall = time.process_time(), time.perf_counter()
            output = self._run.begin_step()
            if output is None:
                return False
            sampled = self._compute(output)
            stopped = [name for name in sampled if self._decodings[name].finish_reason == "stop"]
            finished = self._run.end_step(
                sampled, stopped, time.process_time() - cpu, time.perf_counter() - wall
            )
        except BaseException:  # an interrupt too
            self.close()
            raise
        for name in finished:
            self._forget(name)
        return True

    def abort(self, request_id: str) -> bool:
        """Take away a request that has arrived, or one child of it; return whether it was there."""
        self._forget(request_id)
        return self._run.abort(request_id)

    def close(self) -> None:
        """Abort what has not ended; all blocks are free then, and `serving` has what was done."""
        self._run.close()
        self._decodings.clear()
        self._slots.clear()

    def serving(self) -> Serving:
        """Return the record of what has run so far; the run goes on."""
        return self._run.snapshot()

    def _compute(self, output: SchedulerOutput) -> dict[str, int]:
        """Run the model on a step's tokens, and return the new token of each request that has one."""
        to_sample = set(output.to_sample)
        chunks, names = [], []
        for name, num_tokens in output.scheduled_tokens.items():
            sequence = self._run.scheduler.sequences[name]
            stop = sequence.num_computed_tokens
            start = stop - num_tokens
            slots = self._slots.slots(name, [block.block_id for block in sequence.block_table], stop)
            chunks.append(Chunk(sequence.token_ids[start:stop], start, slots, int(name in to_sample)))
            if name in to_sample:
                names.append(name)
            if name not in self._decodings:
                prompt, params = sequence.token_ids[: sequence.num_prompt_tokens], self._params[name]
                # Outputs are token ids: text is made only where a stop string may end it.
                self._decodings[name] = Decoding(self.engine, prompt, params, with_text=bool(params.stop))
        for name in output.preempted:
            self._slots.forget(name)
        if not chunks:
            return {}
        forward = self.engine.forward
        return self._choose(names, forward.run(forward.prepare(chunks, self._cache)))

    def _choose(self, names: list[str], logits: Tensor) -> dict[str, int]:
        """Return the next token of each sequence; row i of `logits`, shape (M, V), belongs to name i."""
        if not names:
            return {}
        greatest = logits.argmax(dim=-1).tolist()
        sampled = {}
        for row, name in enumerate(names):
            decoding = self._decodings[name]
            if decoding.takes_greatest:
                sampled[name] = greatest[row]
                decoding.append(greatest[row])
            else:
                sampled[name] = decoding.take(logits[row]).choice.token_id
        return sampled

    def _forget(self, name: str) -> None:
        self._decodings.pop(name, None)
        self._slots.forget(name)


def serve(engine: Engine, requests: Iterable[Request], record: Recording, knobs: dict[str, Any]) -> Serving:
    """See `Engine.serve`."""
    iterator = ServingIterator(engine, requests, record, knobs)
    while iterator.advance():
        pass
    return iterator.serving()


def sampling_params(given: dict[str, Any]) -> SamplingParams:
    """Return sampling arguments as users give them, checked."""
    if "stop" in given:
        given = {**given, "stop": stop_strings(given["stop"])}
    return SamplingParams(**given)


def _own_params(request: Request, defaults: SamplingParams) -> SamplingParams:
    """Return the defaults with what the request says itself."""
    own = {name: value for name in _SAMPLING if (value := getattr(request, name, None)) is not None}
    if "stop" in own:
        own["stop"] = stop_strings(own["stop"])
    return replace(defaults, **own)


def serving_config(engine: Engine, knobs: dict[str, Any]) -> ServingConfig:
    """Return the config that `serve` runs with: no sequence is longer than the engine allows.

    Raises:
        ValueError: for an unknown knob, or a value that is not allowed.
    """
    config = ServingConfig.of(**knobs)
    if config.max_model_len is None:
        return replace(config, max_model_len=min(engine.max_model_len, config.pool_tokens))
    if config.max_model_len > engine.max_model_len:
        raise ValueError(
            f"max_model_len={config.max_model_len} is not allowed; allowed is at most the engine's "
            f"{engine.max_model_len} (a longer context: max_model_len= of lw.load or lw.Engine)"
        )
    return config
