"""From logits to a token: penalties, temperature, min-p, top-k, top-p, and one uniform number.

Each stage is a function of logits that returns logits; a token that a stage takes out has -inf. The draw
inverts the cumulative distribution, so one recorded number repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from llmwidgets.records.sampling_params import SamplingParams


@dataclass(frozen=True)
class Stage:
    """One step of sampling: its name, and what it does to logits of shape (V,)."""

    name: str
    change: Callable[[Tensor], Tensor]

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the logits that this stage leaves."""
        return self.change(logits)


@dataclass(frozen=True)
class StageLogits:
    """The logits that a stage left."""

    name: str
    logits: Tensor


@dataclass(frozen=True)
class Choice:
    """A chosen token."""

    token_id: int
    logprob: float
    """Of the token, by the model's own distribution."""
    uniform: float | None
    """The number that drew it; None when greedy or forced."""
    stages: tuple[StageLogits, ...] = ()
    """The model's logits, then what each stage left of them; the last one was drawn from."""


class Sampler:
    """One request's sampling: its arguments, its random numbers."""

    def __init__(self, params: SamplingParams) -> None:
        """Seed the random numbers, one stream a request (Salmon et al. 2011, Philox)."""
        self.params = params
        self._random = np.random.Generator(np.random.Philox(params.seed))

    def __call__(
        self, logits: Tensor, prompt: Sequence[int], output: Sequence[int], forced: int | None = None
    ) -> Choice:
        """Choose the next token.

        Args:
            logits: shape (V,).
            prompt: the prompt's token ids.
            output: the new token ids so far.
            forced: the token that the caller picked; its number is drawn all the same, so that the draws
                after it do not depend on it.
        """
        logits = logits.detach().double().cpu()  # (V,); float64, so that no stage rounds
        logprobs = torch.log_softmax(logits, dim=-1)
        after = [StageLogits("model", logits)]
        penalties = Stage("penalties", partial(penalize, prompt=prompt, output=output, params=self.params))
        for stage in [*([penalties] if _penalizes(self.params) else []), *stages(self.params)]:
            after.append(StageLogits(stage.name, stage(after[-1].logits)))
        uniform = None if self.params.temperature == 0 else float(self._random.random())
        if forced is not None:
            return Choice(forced, float(logprobs[forced]), None, tuple(after))
        last = after[-1].logits
        token_id = int(last.argmax()) if uniform is None else draw(torch.softmax(last, dim=-1), uniform)
        return Choice(token_id, float(logprobs[token_id]), uniform, tuple(after))


def _penalizes(params: SamplingParams) -> bool:
    penalties = (params.repetition_penalty, params.presence_penalty, params.frequency_penalty)
    return penalties != (1, 0, 0)


def stages(params: SamplingParams) -> list[Stage]:
    """Return the stages after the penalties that change anything, in the order of `params.sampler_order`."""
    if params.temperature == 0:
        return [Stage("greedy", keep_greatest)]
    temperature = Stage("temperature", partial(torch.mul, other=1 / params.temperature))
    min_p = Stage("min_p", partial(keep_min_p, min_p=params.min_p))
    top_k = Stage("top_k", partial(keep_top_k, top_k=params.top_k))
    top_p = Stage("top_p", partial(keep_top_p, top_p=params.top_p))
    ordered = [min_p, top_k, top_p] if params.sampler_order == "vllm" else [top_k, top_p, min_p]
    off = {"temperature": params.temperature == 1, "min_p": params.min_p == 0}
    off |= {"top_k": params.top_k == 0, "top_p": params.top_p == 1}
    return [stage for stage in [temperature, *ordered] if not off[stage.name]]


def penalize(logits: Tensor, prompt: Sequence[int], output: Sequence[int], params: SamplingParams) -> Tensor:
    """Make tokens that were seen less probable (Keskar et al. 2019, CTRL, section 4.1, for repetition)."""
    logits = logits.clone()
    if params.repetition_penalty != 1:
        seen = torch.tensor(sorted({*prompt, *output}), dtype=torch.long)
        there = logits[seen]
        logits[seen] = torch.where(
            there > 0, there / params.repetition_penalty, there * params.repetition_penalty
        )
    if params.presence_penalty == params.frequency_penalty == 0:
        return logits
    counts = torch.bincount(torch.tensor(list(output), dtype=torch.long), minlength=len(logits))
    logits -= params.frequency_penalty * counts
    logits -= params.presence_penalty * (counts > 0)
    return logits


def keep_greatest(logits: Tensor) -> Tensor:
    """Take out all but the first of the most probable tokens."""
    greatest = torch.full_like(logits, -torch.inf)
    place = logits.argmax()
    greatest[place] = logits[place]
    return greatest


def keep_min_p(logits: Tensor, min_p: float) -> Tensor:
    """Take out tokens below `min_p` of the top probability (Nguyen et al. 2024, section 3)."""
    if min_p == 0:
        return logits
    probabilities = torch.softmax(logits, dim=-1)
    return logits.masked_fill(probabilities < min_p * probabilities.max(), -torch.inf)


def keep_top_k(logits: Tensor, top_k: int) -> Tensor:
    """Keep the `top_k` most probable tokens, and those equal to the last of them; 0 keeps all."""
    if top_k == 0 or top_k >= len(logits):
        return logits
    return logits.masked_fill(logits < torch.topk(logits, top_k).values[-1], -torch.inf)


def keep_top_p(logits: Tensor, top_p: float) -> Tensor:
    """Keep the smallest most probable set that reaches `top_p` (Holtzman et al. 2020, section 3.1)."""
    if top_p == 1:
        return logits
    ascending, order = torch.sort(logits, stable=True)
    below = torch.cumsum(torch.softmax(ascending, dim=-1), dim=-1)  # each token and all less probable ones
    out = below <= 1 - top_p
    out[-1] = False  # the most probable token always stays
    return logits.masked_fill(torch.zeros_like(out).scatter(0, order, out), -torch.inf)


def draw(probabilities: Tensor, uniform: float) -> int:
    """Return the token at which the cumulative distribution passes `uniform`, from [0, 1).

    The most probable token comes first, so that the draw reads like the bars of a picture.
    """
    descending, order = torch.sort(probabilities, descending=True, stable=True)
    cumulative = torch.cumsum(descending, dim=-1)
    place = int(torch.searchsorted(cumulative, uniform * cumulative[-1], right=True))
    return int(order[min(place, int(descending.count_nonzero()) - 1)])  # rounding may step past the last
