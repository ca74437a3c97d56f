"""Runs that the tests of serving's widgets draw: short, and under pressure."""

import llmwidgets as lw
from llmwidgets.scheduling.serving_run import ServingRun


def serving(kind="chat", count=12, **knobs):
    """Return a run with preemptions, evictions and a shared prefix."""
    knobs = {"block_size": 8, "num_gpu_blocks": 48, "max_num_seqs": 8} | knobs
    return lw.simulate(lw.workload(kind, count, vocab_size=1000, rate=0), **knobs)


def snapshots(record):
    """Run a workload again and return its record after each step, and when it has ended."""
    run = ServingRun(record.requests, record.config)
    found = []
    while (output := run.begin_step()) is not None:
        run.end_step(dict.fromkeys(output.to_sample, 7))
        found.append(run.snapshot())
    return [*found, run.serving()]
