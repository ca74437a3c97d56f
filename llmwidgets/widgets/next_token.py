"""`NextToken`: what each new token was drawn from, and what each sampling stage left of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import RLock
from typing import Any

import traitlets
from numpy.typing import ArrayLike

from llmwidgets.records.generation import Generation
from llmwidgets.records.sampling_params import SamplingParams
from llmwidgets.widgets.figure import RecordFigure, pack
from llmwidgets.widgets.next_token_source import PROMPT_TOKENS, DrawnSteps, given_steps, steps_of, wire

SAMPLING = (
    "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty",
    "seed", "sampler_order",
)  # fmt: skip


class NextToken(RecordFigure):
    """Draws the steps of a `Generation`: candidates, cuts, the draw; scrub, or pick another token."""

    stem = "next_token"

    step = traitlets.Int(0).tag(sync=True)
    """The new token whose distribution is shown, counted from 0."""

    output_prefix = traitlets.List(traitlets.Int()).tag(sync=True, feeds=True)
    """Token ids that the output begins with: what the user picked, and all before it. `explore` hands them to
    a function with an argument of this name, and the engine goes on from there."""

    sampling = traitlets.Dict().tag(sync=True)
    """Sampling arguments by name, such as `{"temperature": 1.5}`: the shown step is drawn as it would be with
    them after the same tokens, computed from the record's own logits. Empty: as it was."""

    stage = traitlets.Unicode(None, allow_none=True).tag(sync=True)
    """The stage whose probabilities fill the bars, such as `"temperature"`; None, or one that there is not,
    for the last, which is drawn from."""

    scale = traitlets.Enum(["linear", "log"], "linear").tag(sync=True)
    """How a probability becomes a length: directly, or by its logarithm, so that small ones show."""

    _facts = traitlets.Dict().tag(sync=True)
    _steps = traitlets.Dict().tag(sync=True, to_json=pack)
    _what_if = traitlets.Dict().tag(sync=True, to_json=pack)  # the shown step under `sampling`, or empty

    def __init__(self, record: Generation | DrawnSteps, **traits: Any) -> None:
        self._revision = 0
        self._record: Generation | DrawnSteps = record
        self._drawn = _drawn_steps(record)
        self._lock = RLock()  # a knob speaks on the kernel's thread, a new record comes on explore's
        measured = {"badge": "MEASURED"} if isinstance(record, Generation) else {}
        super().__init__(record, **(measured | traits))

    @classmethod
    def from_arrays(
        cls,
        logits: ArrayLike,
        tokens: Sequence[str],
        *,
        chosen: Sequence[int] | None = None,
        prompt: Sequence[str] = (),
        **traits: Any,
    ) -> NextToken:
        """Draw your own logits; needs no engine and no torch.

        Args:
            logits: one row a step, shape (steps, V) or (V,).
            tokens: the text of each of the V tokens.
            chosen: the token that each step took; by default the most probable.
            prompt: texts of the tokens before.
            traits: `step`, `sampling` and the other public traits.

        Raises:
            ValueError: for NaN, a row with no finite logit, or lengths that do not match.
        """
        return cls(given_steps(logits, tokens, chosen, prompt), **traits)

    @property
    def record(self) -> Generation | DrawnSteps:
        """The record that is drawn; set it to draw another in the same place."""
        return self._record

    @record.setter
    def record(self, record: Generation | DrawnSteps) -> None:
        drawn = _drawn_steps(record)
        with self._lock, self.hold_sync(), self.hold_trait_notifications():
            self._record, self._drawn = record, drawn
            self._revision += 1
            self.step = min(self.step, drawn.num_steps - 1)
            self._facts = {
                "revision": self._revision,
                "prompt": list(drawn.prompt[-PROMPT_TOKENS:]),
                "before": max(0, len(drawn.prompt) - PROMPT_TOKENS),
                "forced": drawn.num_forced,
            }
            self._steps = {"revision": self._revision, **wire(drawn)}
            self._what_if = self._other_law()

    def foresee(self, arguments: dict[str, Any]) -> None:
        """Show the step under new sampling arguments at once; the tokens that follow need the engine."""
        try:
            self.sampling = {name: arguments[name] for name in SAMPLING if name in arguments}
        except ValueError:  # the function is about to refuse it too, and says so
            return

    @traitlets.observe("step", "sampling")
    def _follow(self, _change: object) -> None:
        with self._lock:
            self._what_if = self._other_law()

    def _other_law(self) -> dict[str, Any]:
        """Return the shown step under `sampling`, or nothing where that is how it was drawn."""
        shown = self._hypothetical()
        return {} if shown is None else {"revision": self._revision, "step": self.step, **wire(shown)}

    def _hypothetical(self) -> DrawnSteps | None:
        params = self._params(self.sampling)
        return None if params == self._drawn.params else self._drawn.what_if(self.step, params)

    def _params(self, sampling: dict[str, Any]) -> SamplingParams:
        return replace(self._drawn.params, **sampling)

    @traitlets.validate("sampling")
    def _known_sampling(self, proposal: dict[str, Any]) -> dict[str, Any]:
        sampling: dict[str, Any] = proposal["value"]
        for name in sampling:
            if name not in SAMPLING:
                raise ValueError(f"sampling holds {name!r}; allowed are {', '.join(SAMPLING)}")
        self._params(sampling)  # refuses a value that is not allowed
        return sampling

    @traitlets.validate("step")
    def _known_step(self, proposal: dict[str, Any]) -> int:
        step = int(proposal["value"])
        if not 0 <= step < self._drawn.num_steps:
            raise ValueError(f"step={step} is not in the record; allowed: 0 to {self._drawn.num_steps - 1}")
        return step

    def to_text(self) -> str:
        """Return the shown step in words: its candidates with both probabilities, and the draw."""
        other = self._hypothetical()
        drawn, at = (self._drawn, self.step) if other is None else (other, 0)
        shown, uniform = drawn.distributions[at], drawn.uniforms[at]
        number = "" if uniform is None else f", u = {uniform:.3f}"
        lines = [
            f"Step {self.step + 1} of {self._drawn.num_steps}: stages {' → '.join(shown.stages)}, "
            f"{shown.num_kept[-1]} of {shown.num_kept[0]} tokens left{number}"
        ]
        chosen = drawn.chosen(at)
        for index in sorted({*range(min(8, len(shown.texts))), chosen}):
            model, last = shown.probabilities[0, index], shown.probabilities[-1, index]
            mark = "→" if index == chosen else " "
            lines.append(f" {mark} {shown.texts[index]!r}: model {model:.3f}, drawn from with {last:.3f}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"NextToken(step={self.step}, steps={self._drawn.num_steps})"


def _drawn_steps(record: Generation | DrawnSteps) -> DrawnSteps:
    return record if isinstance(record, DrawnSteps) else steps_of(record)
