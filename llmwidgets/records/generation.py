"""`Generation`: what one request produced, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from llmwidgets.records.distribution import Distribution
from llmwidgets.records.kv_shape import KVShape
from llmwidgets.records.record import Record
from llmwidgets.records.sampling_params import SamplingParams

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, repr=False)
class GenerationStep(Record):
    """One forward pass and the token it led to."""

    token_id: int
    """The new token."""
    text: str
    """Text that became final with this step; all steps' texts together are the generation's text."""
    logprob: float
    """Natural logarithm of the model's own probability of the token, before any sampling argument."""
    uniform: float | None
    """The number from [0, 1) that drew the token; None when greedy or forced."""
    num_scheduled_tokens: int
    """Tokens that went through the model in this step."""
    kv_tokens: int
    """Tokens whose keys and values are held after the step."""
    kv_blocks: int
    """Blocks held after the step."""
    kv_bytes: int
    """Bytes of the keys and values of `kv_tokens`, over all layers; full blocks hold a little more."""
    cpu_seconds: float
    """CPU time of the step, all threads together."""
    wall_seconds: float
    """Time on the clock."""
    distribution: Distribution | None = None
    """What the token was drawn from."""


@dataclass(frozen=True, repr=False)
class Generation(Record):
    """A prompt, its continuation, and what each new token cost."""

    default_view: ClassVar[str | None] = "llmwidgets.widgets.next_token:NextToken"

    prompt_token_ids: tuple[int, ...]
    """The prompt as the model saw it."""
    token_ids: tuple[int, ...]
    """The new tokens only, an end token included."""
    tokens: tuple[str, ...]
    """Display text of each new token."""
    text: str
    """Text of the new tokens, up to a stop string and without special tokens."""
    finish_reason: FinishReason
    """`"stop"` for an end token or a stop string, `"length"` for `max_tokens`."""
    stop_reason: str | None
    """The stop string that ended the text, if one did."""
    steps: tuple[GenerationStep, ...]
    """One entry for each new token."""
    sampling_params: SamplingParams
    """How the tokens were chosen."""
    use_cache: bool
    """False if each step computed the whole sequence again."""
    model: str
    """Name of the model."""
    prompt_tokens: tuple[str, ...] = ()
    """Display text of each token of the prompt."""
    kv_shape: KVShape | None = None
    """How large the keys and values of one token are."""
    num_forced: int = 0
    """How many of the first new tokens the caller picked (`output_prefix`)."""

    def __post_init__(self) -> None:
        """Refuse lengths that do not match."""
        if not len(self.token_ids) == len(self.tokens) == len(self.steps):
            raise ValueError("token_ids, tokens and steps of a Generation must have the same length")

    @property
    def num_forwards(self) -> int:
        """Forward passes of the model: one for each new token."""
        return len(self.steps)

    @property
    def token_forwards(self) -> int:
        """Tokens that went through the model in all steps together."""
        return sum(step.num_scheduled_tokens for step in self.steps)

    def __repr__(self) -> str:
        """Return one line: how long, why it ended, how it begins."""
        start = self.text if len(self.text) <= 40 else self.text[:40] + "..."
        return (
            f"Generation({len(self.prompt_token_ids)} + {len(self.token_ids)} tokens, "
            f"finish_reason={self.finish_reason!r}, text={start!r})"
        )

    def to_text(self) -> str:
        """Return the `repr` and the whole text."""
        return f"{self!r}\n{self.text}"


@dataclass(frozen=True, slots=True, repr=False)
class GenerationDelta(Record):
    """What one step of a stream added."""

    text: str
    """Text that became final with this step, often empty."""
    token_ids: tuple[int, ...]
    """The new tokens of this step."""
    finish_reason: FinishReason | None
    """None until the last delta."""
    generation: Generation | None
    """The whole generation, in the last delta only."""
