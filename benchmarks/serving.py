"""Measures `engine.serve` beside Transformers' own ways to serve the same 32 requests, in one process.

    python -m benchmarks.serving [--rounds 3] [--vllm-python PATH] [--device cuda --dtype bfloat16]

On the CPU the figure is CPU time, of all threads together; on a GPU it is time on the clock. Rounds are
interleaved and the least of each contender counts. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation.configuration_utils import ContinuousBatchingConfig

import llmwidgets as lw
from llmwidgets.engine import attention
from llmwidgets.engine.bundled import bundled_folder
from llmwidgets.engine.kv_cache import KVCache

BLOCKS, BLOCK_SIZE, BUDGET = 512, 16, 512
VLLM = "vLLM's CPU build"
Outputs = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Bound:
    """What our run is held against: `against / ours` is to be at least this, or `ours / against` at most."""

    at_least: float | None = None
    at_most: float | None = None


BOUNDS = {
    "model.generate, one by one": Bound(at_least=5.0),
    "model.generate, static batches of 8": Bound(at_least=2.5),
    "Transformers' continuous batching": Bound(at_least=2.0),
    "the floor: same packing, no attention": Bound(at_most=1.5),
    VLLM: Bound(at_least=1.0),
}


class Contenders:
    """One engine, 32 requests, and ways to serve them."""

    def __init__(self, device: str, dtype: str, seed: int = 0) -> None:
        self.engine = lw.load(device=device, dtype=dtype)
        draw = random.Random(seed)
        vocabulary = range(1, self.engine.vocab_size)  # 0 is the padding of this model
        self.requests = [
            lw.Request([draw.choice(vocabulary) for _ in range(draw.randint(8, 256))], draw.randint(8, 128))
            for _ in range(32)
        ]

    def serve(self) -> Any:
        """Ours."""
        return self.engine.serve(
            self.requests,
            block_size=BLOCK_SIZE,
            num_gpu_blocks=BLOCKS,
            max_num_seqs=32,
            max_num_batched_tokens=BUDGET,
            ignore_eos=True,
        )

    def ours(self) -> Outputs:
        """Return what `engine.serve` says."""
        outputs: Outputs = self.serve().outputs
        return outputs

    def floor(self) -> Outputs:
        """Run the same steps with nothing in place of attention: what is left is the rest of the model."""
        real = attention.attend_one, KVCache.read
        attention.attend_one = lambda query, key, value, first, attend: query
        KVCache.read = lambda cache, layer, slots: cache._layers[layer]  # type: ignore[method-assign]  # put back
        try:
            return self.ours()
        finally:
            attention.attend_one, KVCache.read = real  # type: ignore[method-assign]  # as it was

    def one_by_one(self) -> Outputs:
        """Run `model.generate` for each request."""
        return {f"r{i}": self._generate([request])[0] for i, request in enumerate(self.requests)}

    def static(self) -> Outputs:
        """Run `model.generate` for eight requests at a time, padded on the left."""
        outputs: Outputs = {}
        for start in range(0, len(self.requests), 8):
            for i, tokens in enumerate(self._generate(self.requests[start : start + 8])):
                outputs[f"r{start + i}"] = tokens
        return outputs

    def _generate(self, batch: list[Any]) -> list[tuple[int, ...]]:
        longest = max(len(request.prompt) for request in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, request in enumerate(batch):
            ids[row, longest - len(request.prompt) :] = torch.tensor(request.prompt)
            mask[row, longest - len(request.prompt) :] = 1
        device = self.engine.forward.device
        made = self.engine.model.generate(
            ids.to(device),
            attention_mask=mask.to(device),
            max_new_tokens=max(request.max_tokens for request in batch),
            do_sample=False,
            pad_token_id=0,
            eos_token_id=None,
        )[:, longest:].tolist()
        return [tuple(row[: request.max_tokens]) for row, request in zip(made, batch, strict=True)]

    def continuous(self) -> Outputs:
        """Run Transformers' continuous batching over a pool of the same size."""
        manager = self.engine.model.init_continuous_batching(
            generation_config=GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0),
            continuous_batching_config=ContinuousBatchingConfig(
                page_size=BLOCK_SIZE, num_blocks=BLOCKS, max_batch_tokens=BUDGET
            ),
        )
        manager.start()
        outputs: Outputs = {}
        try:
            for i, request in enumerate(self.requests):
                manager.add_request(
                    list(request.prompt), request_id=f"r{i}", max_new_tokens=request.max_tokens
                )
            while len(outputs) < len(self.requests):
                result = manager.get_result(timeout=60)
                if result is None:
                    raise RuntimeError("Transformers' continuous batching gave nothing for 60 s")
                if result.is_finished():
                    outputs[result.request_id] = tuple(result.generated_tokens)
        finally:
            manager.stop(block=True)
        return outputs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--vllm-python", help="an interpreter that has vLLM's CPU build")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    contenders = Contenders(options.device, options.dtype)
    runs: dict[str, Callable[[], Outputs]] = {
        "ours": contenders.ours,
        "model.generate, one by one": contenders.one_by_one,
        "model.generate, static batches of 8": contenders.static,
        "Transformers' continuous batching": contenders.continuous,
        "the floor: same packing, no attention": contenders.floor,
    }
    on_cpu = options.device == "cpu"
    seconds, outputs = interleave(runs, options.rounds, time.process_time if on_cpu else synchronized)
    if options.vllm_python:
        seconds[VLLM], outputs[VLLM] = by_vllm(contenders, options)
    describe(contenders, options)
    print("| against | seconds | ours | ratio | bound | same tokens |\n|---|---|---|---|---|---|")
    for name, bound in BOUNDS.items():
        if name not in seconds:
            continue
        print(row(name, bound if on_cpu else Bound(), seconds, outputs))
    if on_cpu:
        print_own(contenders, seconds["ours"])


def interleave(
    runs: dict[str, Callable[[], Outputs]], rounds: int, clock: Callable[[], float]
) -> tuple[dict[str, float], dict[str, Outputs]]:
    """Return for each contender its least seconds and its outputs; one round before counts for nothing."""
    seconds = dict.fromkeys(runs, float("inf"))
    outputs: dict[str, Outputs] = {}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            begin = clock()
            outputs[name] = run()
            if turn:
                seconds[name] = min(seconds[name], clock() - begin)
    return seconds, outputs


def by_vllm(contenders: Contenders, options: argparse.Namespace) -> tuple[float, Outputs]:
    """Serve the same requests in a process of vLLM's own, right after ours."""
    asked = {
        "model": str(bundled_folder("classics")),
        "requests": [[list(request.prompt), request.max_tokens] for request in contenders.requests],
        "rounds": options.rounds,
    }
    own = {
        "OMP_NUM_THREADS": str(options.threads),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # so that its CPU time is this process's
        "VLLM_LOGGING_LEVEL": "ERROR",
        "TORCHDYNAMO_DISABLE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    script = Path(__file__).with_name("vllm_cpu.py")
    done = subprocess.run(
        [options.vllm_python, str(script)],
        input=json.dumps(asked),
        env=os.environ | own,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=1200,
    )
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return said["seconds"], {f"r{i}": tuple(tokens) for i, tokens in enumerate(said["outputs"])}


def synchronized() -> float:
    """Return the time on the clock once the GPU has done all it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def row(name: str, bound: Bound, seconds: dict[str, float], outputs: dict[str, Outputs]) -> str:
    """Return a row of the table; a bound that is missed says so."""
    ours, theirs = seconds["ours"], seconds[name]
    same = sum(outputs["ours"][key] == tokens for key, tokens in outputs[name].items())
    tokens = "no model" if name.startswith("the floor") else f"{same} of {len(outputs['ours'])}"
    if bound.at_most is not None:
        held = f"≤ {bound.at_most} ×: {'holds' if ours / theirs <= bound.at_most else 'MISSED'}"
        return f"| {name} | {theirs:.2f} | {ours:.2f} | {ours / theirs:.2f} × its time | {held} | {tokens} |"
    ratio = theirs / ours
    held = "" if bound.at_least is None else f"≥ {bound.at_least} ×: {_verdict(ratio >= bound.at_least)}"
    return f"| {name} | {theirs:.2f} | {ours:.2f} | {ratio:.2f} × as fast | {held} | {tokens} |"


def _verdict(holds: bool) -> str:
    return "holds" if holds else "MISSED"


def print_own(contenders: Contenders, ours: float) -> None:
    """Print what scheduler and blocks take of the run, and what is kept of an event."""
    served = contenders.serve()
    knobs = {name: getattr(served.config, name) for name in ("block_size", "num_gpu_blocks", "max_num_seqs")}
    knobs["max_num_batched_tokens"] = served.config.max_num_batched_tokens
    spans = []
    for _ in range(5):
        begin = time.process_time()
        lw.simulate(served.requests, served.outputs, record="summary", **knobs)
        spans.append(time.process_time() - begin)
    share = min(spans) / ours
    print(f"\nScheduler and blocks: {min(spans) * 1e3:.0f} ms, {share:.1%} of the run (bound < 2%: "
          f"{_verdict(share < 0.02)}).")  # fmt: skip
    tracemalloc.start()
    kept = lw.simulate(served.requests, served.outputs, **knobs)
    with_events = tracemalloc.get_traced_memory()[0]
    count = sum(len(step.events) for step in kept.log)
    del kept
    without = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    each = (with_events - without) / count
    print(f"Kept: {count} events, {each:.0f} bytes each with all that is kept of a step (bound < 200: "
          f"{_verdict(each < 200)}).")  # fmt: skip


def describe(contenders: Contenders, options: argparse.Namespace) -> None:
    """Print what was run where."""
    prompt = sum(len(request.prompt) for request in contenders.requests)
    output = sum(request.max_tokens or 0 for request in contenders.requests)
    place = (
        torch.cuda.get_device_name()
        if options.device != "cpu"
        else platform.processor() or platform.machine()
    )
    print(
        f"{len(contenders.requests)} requests, {prompt} prompt and {output} output tokens, {options.dtype}, "
        f"{options.threads} thread(s), {place}, PyTorch {torch.__version__}; "
        f"least of {options.rounds} rounds.\n"
    )


if __name__ == "__main__":
    main()
