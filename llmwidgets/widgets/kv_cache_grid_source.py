"""What `KVCacheGrid` draws: a `Serving`, a `Generation` or given arrays, each behind the same few names."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

import numpy as np

from llmwidgets.records.generation import Generation
from llmwidgets.records.serving import Serving, ServingStep
from llmwidgets.records.serving_metrics import ServingMetrics
from llmwidgets.widgets.serving_wire import ServingPacker

SHOWN = 12  # requests that a text twin lists


class Source(Protocol):
    """One record as the widget draws it."""

    @property
    def badge(self) -> str:
        """Where the numbers come from."""

    @property
    def num_steps(self) -> int:
        """Steps that can be shown."""

    @property
    def default_step(self) -> int:
        """The step that is shown first."""

    @property
    def num_blocks(self) -> int:
        """Blocks that can be selected, the null block included; 0 where there is no pool."""

    @property
    def request_ids(self) -> Collection[str]:
        """Requests that can be selected."""

    @property
    def size(self) -> str:
        """How large it is, for the `repr`."""

    @property
    def goes_on(self) -> bool:
        """Whether the run of the record before goes on in this one."""

    def wire(self) -> dict[str, Any]:
        """Return what the front end draws from; arrays are still to be packed."""

    def text(self, step: int) -> str:
        """Return the step in words."""


class ServingSource:
    """A workload's blocks, tables and queues, step by step."""

    def __init__(self, serving: Serving, before: object = None) -> None:
        """Read a record; one that continues the record of `before` is packed from where that ended.

        Raises:
            ValueError: if only a summary of the run was kept.
        """
        if serving.metrics.num_steps and not serving.log:
            raise ValueError("this Serving holds only a summary; make it with record='steps'")
        self.serving = serving
        self.goes_on = isinstance(before, ServingSource) and before.packer.continues(serving)
        self.packer: ServingPacker
        if self.goes_on and isinstance(before, ServingSource):
            self.packer = before.packer
            self.packer.extend(serving)
        else:
            self.packer = ServingPacker(serving)
        self.badge = "MEASURED" if serving.model else "COUNTED"
        self.num_steps = len(serving.log)
        self.num_blocks = serving.config.num_gpu_blocks
        self.size = f"blocks={self.num_blocks - 1}"
        sequence_ids = [name for request in serving.requests for name in request.sequence_ids]
        parents = [request.request_id for request in serving.requests if request.request_id is not None]
        self.request_ids = dict.fromkeys([*sequence_ids, *parents])  # in order, and fast to look up
        ended = [request for request in serving.metrics.requests if request.finish_reason is not None]
        running = len(ended) < len(sequence_ids)
        self.default_step = max(0, self.num_steps - 1) if running else serving.busiest_step

    def wire(self) -> dict[str, Any]:
        """Return the packed events, the knobs that the picture needs, and what became of the slots."""
        config, shape = self.serving.config, self.serving.kv_shape
        return {
            "kind": "serving",
            "num_blocks": config.num_gpu_blocks,
            "null_block": True,
            "block_size": config.block_size,
            "max_rows": min(config.max_num_seqs, len(self.packer.sequences)),
            "by_priority": config.scheduling_policy == "priority",
            "bytes_per_token": None if shape is None else shape.bytes_per_token,
            "slot_use": slot_use(self.serving.metrics),
            **self.packer.wire(),
        }

    def text(self, step: int) -> str:
        """Return counts, block tables and queues of a step in words."""
        if not self.num_steps:
            return f"KV cache of {self.num_blocks - 1} blocks: no step has run yet"
        now, use = self.serving.steps[step], self.serving.metrics.slot_use(step)
        size = self.serving.config.block_size
        lines = [
            f"Step {step} of 0 to {self.num_steps - 1}: {_blocks(now, self.num_blocks, size)}",
            f"Slots: {use.used} used, {use.reserved} reserved, {use.internal} internal waste, "
            f"{use.external} external waste, {use.free} free",
        ]
        for name in now.running[:SHOWN]:
            table = now.block_tables[name]
            lines.append(f"  {name}: {now.computed_after[name]} tokens in blocks {listed(table)}")
        if len(now.running) > SHOWN:
            lines.append(f"  and {len(now.running) - SHOWN} more")
        queues = [
            ("Waiting", now.waiting),
            ("Preempted", now.preempted),
            ("Ended before", now.finished_before),
        ]
        lines += [f"{title}: {listed(names)}" for title, names in queues if names]
        return "\n".join(lines)


class GenerationSource:
    """One request's cache, growing by a token a step, layer by layer."""

    badge = "MEASURED"
    goes_on = False
    num_blocks = 0
    request_ids: Collection[str] = ()

    def __init__(self, generation: Generation) -> None:
        """Read a record.

        Raises:
            ValueError: if it does not say how large keys and values are.
        """
        if generation.kv_shape is None:
            raise ValueError("this Generation holds no kv_shape; make it with engine.generate")
        self.generation, self.shape = generation, generation.kv_shape
        self.num_steps = len(generation.steps)
        self.size = f"layers={self.shape.num_layers}"
        self.default_step = max(0, self.num_steps - 1)

    def wire(self) -> dict[str, Any]:
        """Return the tokens, the counts of each step, and the bytes of one token by layer."""
        generation, shape = self.generation, self.shape
        prompt = generation.prompt_tokens or tuple(map(str, generation.prompt_token_ids))
        return {
            "kind": "generation",
            "tokens": [*prompt, *generation.tokens],
            "num_prompt_tokens": len(generation.prompt_token_ids),
            "use_cache": generation.use_cache,
            # Plain numbers, for bytes pass 32 bits.
            "kv_tokens": [step.kv_tokens for step in generation.steps],
            "kv_blocks": [step.kv_blocks for step in generation.steps],
            "kv_bytes": [step.kv_bytes for step in generation.steps],
            "scheduled_tokens": [step.num_scheduled_tokens for step in generation.steps],
            "num_heads": list(shape.num_heads),
            "num_kv_heads": list(shape.num_kv_heads),
            "key_size": list(shape.key_size),
            "value_size": list(shape.value_size),
            "bytes_per_number": shape.held_bytes_per_number,
        }

    def text(self, step: int) -> str:
        """Return the cache after a step in words."""
        if not self.num_steps:
            return "KV cache: nothing was generated"
        now, shape = self.generation.steps[step], self.shape
        begin = f"Step {step} of 0 to {self.num_steps - 1}: "
        if not self.generation.use_cache:
            computed = f"the step computed {now.num_scheduled_tokens} tokens"
            return f"{begin}use_cache=False: nothing is kept; {computed}"
        keys, values = (now.kv_tokens * sum(each) for each in (shape.key_bytes, shape.value_bytes))
        blocks = "1 block" if now.kv_blocks == 1 else f"{now.kv_blocks} blocks"
        lines = [
            f"{begin}{shape.num_layers} layers × {now.kv_tokens} tokens in {blocks}: "
            f"{now.kv_bytes:,} bytes ({keys:,} of keys, {values:,} of values)"
        ]
        rows = list(zip(shape.num_heads, shape.num_kv_heads, shape.key_bytes, shape.value_bytes, strict=True))
        for first, row in enumerate(rows):
            if first == 0 or row != rows[first - 1]:
                last = next((i for i in range(first, len(rows)) if rows[i] != row), len(rows)) - 1
                layers = f"layer {first}" if first == last else f"layers {first} to {last}"
                heads, kv_heads, key_bytes, value_bytes = row
                lines.append(
                    f"  {layers}: {heads} query heads read {kv_heads} KV heads; "
                    f"a token takes {key_bytes:,} + {value_bytes:,} bytes"
                )
        return "\n".join(lines)


def slot_use(metrics: ServingMetrics) -> dict[str, Any]:
    """Return what the pool's token slots hold, with `SlotUse`'s names: (steps, parts) of int32."""
    size = metrics.block_size
    free, unfilled = metrics.free_blocks * size, metrics.unfilled_slots
    reserved, external = metrics.reserved_slots, metrics.fragmented_slots
    parts = {
        "used": (metrics.num_gpu_blocks - 1) * size - free - unfilled,
        "reserved": reserved,
        "internal": unfilled - reserved,
        "external": external,
        "free": free - external,
    }
    slots = np.stack(list(parts.values()), axis=1)
    if not len(slots):  # nothing has run: all is free
        slots = np.array([[0, 0, 0, 0, (metrics.num_gpu_blocks - 1) * size]])
    return {"parts": list(parts), "slots": slots.astype(np.int32)}


def _blocks(now: ServingStep, num_blocks: int, size: int) -> str:
    in_use = sum(block.ref_count > 0 for block in now.blocks)
    cached = len(now.blocks) - in_use
    shared = [block for block in now.blocks if block.ref_count > 1]
    saved = sum((block.ref_count - 1) * len(block.token_ids) for block in shared)
    return (
        f"{num_blocks - 1} blocks of {size} tokens: {in_use} in use "
        f"({len(shared)} shared, saving {saved} tokens), {cached} free but cached, "
        f"{now.free_blocks - cached} free"
    )


def listed(items: Collection[object], most: int = 24) -> str:
    """Return the first items in a row, and how many more there are."""
    texts = [str(item) for item in items]
    return " ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
