"""`advice`: which rule to think of, told from the first step in which a schedule parts from vLLM's."""

from __future__ import annotations

from llmwidgets.lab.exercises.schedule_replay import Replay
from llmwidgets.records.schedule import ScheduledStep


def advice(done: Replay) -> str:
    """Return what to look at where a run and vLLM's part; nothing is known of how it was decided."""
    config, mine, vllms = done.recording.config, done.mine, done.vllms
    if mine is None and vllms is not None and done.request_id in vllms.waiting:
        return _on_early(done, done.request_id)
    if mine is None:
        return (
            "No engine can run that step. Before each thing that you do, ask `step` whether it can be done."
        )
    if vllms is None:
        return "vLLM has ended by then. Compare the last rows: who still has tokens to compute?"
    computed = sum(mine.scheduled_tokens.values())
    if computed > config.max_num_batched_tokens:
        return f"Your step computes {computed} tokens, and its budget is {config.max_num_batched_tokens}."
    if len(mine.running) > config.max_num_seqs:
        return f"In your step {len(mine.running)} requests run, and there are {config.max_num_seqs} slots."
    if mine.preempted != vllms.preempted:
        return _on_preemption(mine, vllms)
    if mine.cached_tokens.keys() != vllms.cached_tokens.keys():
        return _on_admission(done, mine, vllms)
    if mine.scheduled_tokens != vllms.scheduled_tokens:
        return (
            "Those who run take their share of the budget first, in their order, and each as much as it can "
            "use; only then those who come in."
        )
    return "Who came in last stands last in running; a victim goes to the head of waiting."


def _on_preemption(mine: ScheduledStep, vllms: ScheduledStep) -> str:
    if not vllms.preempted:
        return "vLLM preempts nobody here: a request that lacks no block takes none from others."
    if not mine.preempted:
        return "In vLLM a running request lacks a block here, and none is free: somebody gives up its blocks."
    return "The victim is the one that came in last, and one at a time, until there are blocks enough."


def _on_admission(done: Replay, mine: ScheduledStep, vllms: ScheduledStep) -> str:
    early = [name for name in mine.cached_tokens if name not in vllms.cached_tokens]
    if early and vllms.waiting and vllms.waiting[0] not in early:
        head = vllms.waiting[0]
        return f"Nobody overtakes: {head} is the head of the queue, and while it cannot come in, nobody does."
    if early:
        return _on_early(done, early[0])
    late = next(name for name in vllms.cached_tokens if name not in mine.cached_tokens)
    if found := vllms.cached_tokens[late]:
        return (
            f"{late} finds {found} tokens in the cache. The blocks that hold them need no room where others "
            "use them already (`ref_count > 0`)."
        )
    return f"vLLM lets {late} in: a slot, some budget, and room for all its tokens so far are enough."


def _on_early(done: Replay, name: str) -> str:
    if done.recording.config.enable_prefix_caching:
        return (
            f"For {name} there are not enough blocks. Those that it finds in the cache and that nobody uses "
            "(`ref_count == 0`) are among the free ones, until it takes them: they count."
        )
    return f"There must be room for all tokens of {name} so far, not only for those of this step."
