"""`NextToken`: what each new token was drawn from, and what each sampling stage left of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets
from numpy.typing import ArrayLike

from llmwidgets.records.generation import Generation
from llmwidgets.widgets.figure import RecordFigure, pack
from llmwidgets.widgets.next_token_source import DrawnSteps, given_steps, steps_of


class NextToken(RecordFigure):
    """Draws the steps of a `Generation`: candidates, cuts, the draw; scrub, or pick another token."""

    stem = "next_token"

    step = traitlets.Int(0).tag(sync=True)
    """The new token whose distribution is shown, counted from 0."""

    output_prefix = traitlets.List(traitlets.Int()).tag(sync=True, feeds=True)
    """Token ids that the output begins with: what the user picked, and all before it. `explore` hands them to
    a function with an argument of this name, and the engine goes on from there."""

    _facts = traitlets.Dict().tag(sync=True)
    _steps = traitlets.Dict().tag(sync=True, to_json=pack)

    def __init__(self, record: Generation | DrawnSteps, **traits: Any) -> None:
        self._revision = 0
        self._record: Generation | DrawnSteps = record
        self._drawn = _drawn_steps(record)
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
            traits: `step` and the other public traits.

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
        with self.hold_sync(), self.hold_trait_notifications():
            self._record, self._drawn = record, drawn
            self._revision += 1
            self.step = min(self.step, drawn.num_steps - 1)
            self._facts = {
                "revision": self._revision,
                "prompt": list(drawn.prompt),
                "forced": drawn.num_forced,
                "greedy": drawn.greedy,
            }
            self._steps = {
                "revision": self._revision,
                "stages": list(drawn.stages),
                "texts": [list(texts) for texts in drawn.texts],
                "chosen": list(drawn.chosen),
                "uniforms": list(drawn.uniforms),
                "entropies": [float(entropy) for entropy in drawn.entropies],
                "kept": drawn.kept.tolist(),
                "token_ids": drawn.token_ids.astype(np.int32),
                "probabilities": drawn.probabilities.astype(np.float32),
            }

    @traitlets.validate("step")
    def _known_step(self, proposal: dict[str, Any]) -> int:
        step = int(proposal["value"])
        if not 0 <= step < max(1, self._drawn.num_steps):
            raise ValueError(f"step={step} is not in the record; allowed: 0 to {self._drawn.num_steps - 1}")
        return step

    def to_text(self) -> str:
        """Return the shown step in words: its candidates with both probabilities, and the draw."""
        drawn = self._drawn
        if not drawn.num_steps:
            return "NextToken: nothing was generated"
        step = self.step
        lines = [f"Step {step + 1} of {drawn.num_steps}: stages {' → '.join(drawn.stages)}"]
        for index in range(min(8, len(drawn.texts[step]))):
            model, last = drawn.probabilities[step, 0, index], drawn.probabilities[step, -1, index]
            mark = "→" if index == drawn.chosen[step] else " "
            lines.append(
                f" {mark} {drawn.texts[step][index]!r}: model {model:.3f}, drawn from with {last:.3f}"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"NextToken(step={self.step}, steps={self._drawn.num_steps})"


def _drawn_steps(record: Generation | DrawnSteps) -> DrawnSteps:
    return record if isinstance(record, DrawnSteps) else steps_of(record)
