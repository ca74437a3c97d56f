"""`Sampler`: one request's choice of its next token, by the stages of `records.sampling_stages`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from llmwidgets.records.sampling_params import SamplingParams
from llmwidgets.records.sampling_stages import StageLogits, choose, log_softmax, random_numbers, run_stages


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
        """Seed the random numbers."""
        self.params = params
        self._random = random_numbers(params.seed)

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
        after = run_stages(logits.detach().double().cpu().numpy(), self.params, prompt, output)
        logprobs = log_softmax(after[0].logits)
        uniform = None if self.params.temperature == 0 else float(self._random.random())
        if forced is not None:
            return Choice(forced, float(logprobs[forced]), None, after)
        token_id = choose(after[-1].logits, uniform)
        return Choice(token_id, float(logprobs[token_id]), uniform, after)
