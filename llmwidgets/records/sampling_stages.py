"""From logits to the probabilities that a token is drawn with: penalties, temperature, min-p, top-k, top-p.

Each stage is a function of logits that returns logits; a token that a stage takes out has -inf. The draw
inverts the cumulative distribution, so one recorded number repeats it. NumPy only: the engine samples with
these functions, and whoever holds a record's logits can ask what other arguments would have made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from llmwidgets.records.sampling_params import SamplingParams

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stage:
    """One step of sampling: its name, and what it does to logits of shape (V,)."""

    name: str
    change: Callable[[Floats], Floats]

    def __call__(self, logits: Floats) -> Floats:
        """Return the logits that this stage leaves."""
        return self.change(logits)


@dataclass(frozen=True)
class StageLogits:
    """The logits that a stage left."""

    name: str
    logits: Floats


def run_stages(
    logits: Floats, params: SamplingParams, prompt: Sequence[int], output: Sequence[int]
) -> tuple[StageLogits, ...]:
    """Return the model's logits, then what each stage that changes anything left of them.

    Args:
        logits: shape (V,), float64, so that no stage rounds.
        params: which stages there are, and their order.
        prompt: the prompt's token ids, which the repetition penalty counts as seen.
        output: the new token ids so far.
    """
    penalties = Stage("penalties", partial(penalize, prompt=prompt, output=output, params=params))
    after = [StageLogits("model", logits)]
    for stage in [*([penalties] if _penalizes(params) else []), *stages(params)]:
        after.append(StageLogits(stage.name, stage(after[-1].logits)))
    return tuple(after)


def stages(params: SamplingParams) -> list[Stage]:
    """Return the stages after the penalties that change anything, in the order of `params.sampler_order`."""
    if params.temperature == 0:
        return [Stage("greedy", keep_greatest)]
    temperature = Stage("temperature", lambda logits: logits / params.temperature)
    min_p = Stage("min_p", partial(keep_min_p, min_p=params.min_p))
    top_k = Stage("top_k", partial(keep_top_k, top_k=params.top_k))
    top_p = Stage("top_p", partial(keep_top_p, top_p=params.top_p))
    ordered = [min_p, top_k, top_p] if params.sampler_order == "vllm" else [top_k, top_p, min_p]
    off = {"temperature": params.temperature == 1, "min_p": params.min_p == 0}
    off |= {"top_k": params.top_k == 0, "top_p": params.top_p == 1}
    return [stage for stage in [temperature, *ordered] if not off[stage.name]]


def _penalizes(params: SamplingParams) -> bool:
    penalties = (params.repetition_penalty, params.presence_penalty, params.frequency_penalty)
    return penalties != (1, 0, 0)


def penalize(logits: Floats, prompt: Sequence[int], output: Sequence[int], params: SamplingParams) -> Floats:
    """Make tokens that were seen less probable (Keskar et al. 2019, CTRL, section 4.1, for repetition)."""
    logits = logits.copy()
    seen = np.unique([*prompt, *output]).astype(int)
    there = logits[seen]
    penalty = params.repetition_penalty
    logits[seen] = np.where(there > 0, there / penalty, there * penalty)
    counts = np.bincount(np.asarray(output, dtype=int), minlength=len(logits))
    logits -= params.frequency_penalty * counts
    logits -= params.presence_penalty * (counts > 0)
    return logits


def keep_greatest(logits: Floats) -> Floats:
    """Take out all but the first of the most probable tokens."""
    return np.where(np.arange(len(logits)) == logits.argmax(), logits, -np.inf)


def keep_min_p(logits: Floats, min_p: float) -> Floats:
    """Take out tokens below `min_p` of the top probability (Nguyen et al. 2024, section 3)."""
    probabilities = softmax(logits)
    return np.where(probabilities < min_p * probabilities.max(), -np.inf, logits)


def keep_top_k(logits: Floats, top_k: int) -> Floats:
    """Keep the `top_k` most probable tokens, and those equal to the last of them; 0 keeps all."""
    if top_k == 0 or top_k >= len(logits):
        return logits
    return np.where(logits < np.partition(logits, -top_k)[-top_k], -np.inf, logits)


def keep_top_p(logits: Floats, top_p: float) -> Floats:
    """Keep the smallest most probable set that reaches `top_p` (Holtzman et al. 2020, section 3.1)."""
    if top_p == 1:
        return logits
    ascending = np.argsort(logits, kind="stable")
    below = np.cumsum(softmax(logits)[ascending])  # each token and all less probable ones
    out = below <= 1 - top_p
    out[-1] = False  # the most probable token always stays
    kept = logits.copy()
    kept[ascending[out]] = -np.inf
    return kept


def softmax(logits: Floats) -> Floats:
    """Return the probabilities of logits, shape (V,)."""
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


def log_softmax(logits: Floats) -> Floats:
    """Return the natural logarithm of the probabilities of logits, shape (V,)."""
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def random_numbers(seed: int) -> np.random.Generator:
    """Return the numbers that a request draws with, one stream a request (Salmon et al. 2011, Philox)."""
    return np.random.Generator(np.random.Philox(seed))


def choose(logits: Floats, uniform: float | None) -> int:
    """Return the token that `uniform` draws from the last stage's logits; the greatest without a number."""
    return int(logits.argmax()) if uniform is None else draw(softmax(logits), uniform)


def draw(probabilities: Floats, uniform: float) -> int:
    """Return the token at which the cumulative distribution passes `uniform`, from [0, 1).

    The most probable token comes first, so that the draw reads like the bars of a picture.
    """
    order = np.argsort(-probabilities, kind="stable")
    cumulative = np.cumsum(probabilities[order])
    place = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    last = int(np.count_nonzero(probabilities)) - 1
    return int(order[min(place, last)])  # rounding may step past the last


def draw_starts(probabilities: Floats) -> Floats:
    """Return where each token's part of the line from 0 to 1 begins that `draw` looks up, shape (V,)."""
    order = np.argsort(-probabilities, kind="stable")
    cumulative = np.cumsum(probabilities[order])
    starts = np.empty_like(probabilities)
    starts[order] = np.concatenate([[0.0], cumulative[:-1]]) / cumulative[-1]
    return starts
