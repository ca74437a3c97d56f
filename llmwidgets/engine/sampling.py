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
class Choice:
    """A chosen token."""

    token_id: int
    logprob: float
    """Of the token, by the model's own distribution."""
    uniform: float | None
    """The number that drew it; None when greedy."""


class Sampler:
    """One request's sampling: its arguments, its random numbers."""

    def __init__(self, params: SamplingParams) -> None:
        """Seed the random numbers, one stream a request (Salmon et al. 2011, Philox)."""
        self.params = params
        self._random = np.random.Generator(np.random.Philox(params.seed))

    def __call__(self, logits: Tensor, prompt: Sequence[int], output: Sequence[int]) -> Choice:
        """Choose the next token.

        Args:
            logits: shape (V,).
            prompt: the prompt's token ids.
            output: the new token ids so far.
        """
        logits = logits.detach().double().cpu()  # (V,); float64, so that no stage rounds
        logprobs = torch.log_softmax(logits, dim=-1)
        logits = penalize(logits, prompt, output, self.params)
        if self.params.temperature == 0:
            token_id, uniform = int(logits.argmax()), None
        else:
            for stage in stages(self.params):
                logits = stage(logits)
            uniform = float(self._random.random())
            token_id = draw(torch.softmax(logits, dim=-1), uniform)
        return Choice(token_id, float(logprobs[token_id]), uniform)


def stages(params: SamplingParams) -> list[Callable[[Tensor], Tensor]]:
    """Return the stages after the penalties, in the order of `params.sampler_order`."""
    min_p = [partial(keep_min_p, min_p=params.min_p)]
    cuts = [partial(keep_top_k, top_k=params.top_k), partial(keep_top_p, top_p=params.top_p)]
    temperature = partial(torch.mul, other=1 / params.temperature)
    return [temperature, *(min_p + cuts if params.sampler_order == "vllm" else cuts + min_p)]


def penalize(logits: Tensor, prompt: Sequence[int], output: Sequence[int], params: SamplingParams) -> Tensor:
    """Make tokens that were seen less probable (Keskar et al. 2019, CTRL, section 4.1, for repetition)."""
    logits = logits.clone()
    if params.repetition_penalty != 1:
        seen = torch.tensor(sorted({*prompt, *output}), dtype=torch.long)
        there = logits[seen]
        logits[seen] = torch.where(
            there > 0, there / params.repetition_penalty, there * params.repetition_penalty
        )
    counts = torch.bincount(torch.tensor(list(output), dtype=torch.long), minlength=len(logits))
    logits -= params.frequency_penalty * counts
    logits -= params.presence_penalty * (counts > 0)
    return logits


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
    """Return the token at which the cumulative distribution passes `uniform`, from [0, 1)."""
    cumulative = torch.cumsum(probabilities, dim=-1)
    token_id = int(torch.searchsorted(cumulative, uniform * cumulative[-1], right=True))
    return min(token_id, int(probabilities.nonzero()[-1]))  # rounding may step past the last token
