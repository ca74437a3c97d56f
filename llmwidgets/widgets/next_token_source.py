"""The steps of a generation as `NextToken` draws them, from a record or from a caller's own logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from llmwidgets.records.distribution import Distribution, distribution_of
from llmwidgets.records.generation import Generation
from llmwidgets.records.sampling_params import SamplingParams
from llmwidgets.records.sampling_stages import StageLogits, choose, random_numbers, run_stages

PROMPT_TOKENS = 80  # of the prompt's end that are shown


@dataclass(frozen=True)
class DrawnSteps:
    """What was drawn from at each step, and what the draws depended on."""

    distributions: tuple[Distribution, ...]
    """One a step; all have the same stages and as many candidates."""
    token_ids: tuple[int, ...]
    """The new tokens."""
    uniforms: tuple[float | None, ...]
    """The number that drew each token; None when it was the greatest, picked by hand, or given."""
    params: SamplingParams
    num_forced: int = 0
    prompt_token_ids: tuple[int, ...] = ()
    prompt: tuple[str, ...] = ()
    """Texts of the prompt's tokens."""

    @property
    def num_steps(self) -> int:
        """How many tokens were generated."""
        return len(self.distributions)

    def chosen(self, step: int) -> int:
        """Return the place of the new token among the step's candidates."""
        return int(np.flatnonzero(self.distributions[step].token_ids == self.token_ids[step])[0])

    def what_if(self, step: int, params: SamplingParams) -> DrawnSteps | None:
        """Return one step as it would be with other arguments after the same tokens.

        None if the record does not hold the logits, as with vocabularies above 32,768 entries.
        """
        logits = self.distributions[step].logits
        if logits is None:
            return None
        after = run_stages(logits.astype(np.float64), params, self.prompt_token_ids, self.token_ids[:step])
        forced = step < self.num_forced
        drawn = params.temperature > 0 and not forced
        uniform = float(random_numbers(params.seed).random(step + 1)[step]) if drawn else None
        token_id = self.token_ids[step] if forced else choose(after[-1].logits, uniform)
        return replace(
            self,
            distributions=(distribution_of(after, token_id, self._known_texts),),
            token_ids=(token_id,),
            uniforms=(uniform,),
            params=params,
        )

    def _known_texts(self, token_ids: list[int]) -> tuple[str, ...]:
        return tuple(self._texts.get(token_id, f"#{token_id}") for token_id in token_ids)

    @cached_property
    def _texts(self) -> dict[int, str]:
        """Texts by token id, of all candidates of all steps; a record holds no tokenizer for the others."""
        pairs = (zip(one.token_ids.tolist(), one.texts, strict=True) for one in self.distributions)
        return {token_id: text for step in pairs for token_id, text in step}


def steps_of(record: Generation) -> DrawnSteps:
    """Return the steps of a record; raise `ValueError` if it was made without its distributions."""
    distributions = tuple(step.distribution for step in record.steps if step.distribution is not None)
    if not distributions or len(distributions) < len(record.steps):
        raise ValueError("this Generation holds no distributions; make it with engine.generate")
    return DrawnSteps(
        distributions,
        record.token_ids,
        uniforms=tuple(step.uniform for step in record.steps),
        params=record.sampling_params,
        num_forced=record.num_forced,
        prompt_token_ids=record.prompt_token_ids,
        prompt=record.prompt_tokens,
    )


def given_steps(
    logits: ArrayLike, tokens: Sequence[str], chosen: Sequence[int] | None, prompt: Sequence[str]
) -> DrawnSteps:
    """Check a caller's logits and return their steps, with no stage after the model's softmax."""
    rows = np.atleast_2d(np.asarray(logits, dtype=np.float64))
    if rows.ndim != 2 or rows.shape[1] != len(tokens):
        raise ValueError(f"logits has shape {rows.shape}, but tokens has {len(tokens)} entries")
    if np.isnan(rows).any() or not np.isfinite(rows).any(axis=1).all() or np.isposinf(rows).any():
        raise ValueError("logits must be numbers or -inf, with at least one number in each row")
    picks = rows.argmax(axis=1).tolist() if chosen is None else list(chosen)
    if len(picks) != len(rows) or not all(0 <= pick < len(tokens) for pick in picks):
        raise ValueError(f"chosen must be {len(rows)} token ids from 0 to {len(tokens) - 1}, not {picks}")

    def texts(token_ids: list[int]) -> tuple[str, ...]:
        return tuple(str(tokens[token_id]) for token_id in token_ids)

    return DrawnSteps(
        tuple(
            distribution_of([StageLogits("model", row)], pick, texts)
            for row, pick in zip(rows, picks, strict=True)
        ),
        tuple(int(pick) for pick in picks),
        uniforms=(None,) * len(rows),
        params=SamplingParams(temperature=1.0),
        prompt=tuple(map(str, prompt)),
    )


def wire(drawn: DrawnSteps) -> dict[str, Any]:
    """Return what the front end draws steps from."""
    steps = drawn.distributions
    return {
        "stages": list(steps[0].stages),
        "texts": [list(step.texts) for step in steps],
        "chosen": [drawn.chosen(step) for step in range(len(steps))],
        "uniforms": list(drawn.uniforms),
        "entropies": [list(step.entropies) for step in steps],
        "kept": [list(step.num_kept) for step in steps],
        "token_ids": np.stack([step.token_ids for step in steps]).astype(np.int32),
        "probabilities": np.stack([step.probabilities for step in steps]),
        "starts": np.stack([step.starts for step in steps]),
    }
