"""`Prediction`: a question whose answer is locked before the measurement is shown beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets
from numpy.typing import ArrayLike

from llmwidgets.widgets.figure import Figure

Answer = float | str
MOST_BARS = 256


class Prediction(Figure):
    """Asks for a number or for one of several choices; `reveal` draws the answer against what was measured.

    What was measured is not shown until the answer is locked: by Lock, or by "I don't know".
    """

    stem = "prediction"

    question = traitlets.Unicode().tag(sync=True)
    """What is asked."""

    choices = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """The answers to choose from; empty if a number is asked for."""

    unit = traitlets.Unicode("").tag(sync=True)
    """What a number counts, such as `tokens`."""

    answer = traitlets.Union(
        [traitlets.Float(), traitlets.Unicode()], default_value=None, allow_none=True
    ).tag(sync=True)
    """The prediction: a number, or one of `choices`; None for "I don't know" or no answer yet."""

    reason = traitlets.Unicode("").tag(sync=True)
    """Why, in the learner's words."""

    locked = traitlets.Bool(False).tag(sync=True)
    """Whether the answer is final; it cannot be opened again."""

    measured = traitlets.Union(
        [traitlets.Float(), traitlets.Unicode()], default_value=None, allow_none=True
    ).tag(sync=True)
    """The right answer, of the same kind, or None as long as nothing is revealed."""

    explanation = traitlets.Unicode("").tag(sync=True)
    """One sentence on what was measured."""

    _bars = traitlets.Dict().tag(sync=True)  # {values, labels, unit}: the measurement in detail

    def __init__(self, question: str, choices: Sequence[str] = (), **traits: Any) -> None:
        super().__init__(question=question, choices=[str(choice) for choice in choices], **traits)

    def reveal(
        self,
        measured: Answer,
        *,
        values: ArrayLike | None = None,
        labels: Sequence[str] | None = None,
        values_unit: str = "",
        explanation: str = "",
        badge: str = "MEASURED",
    ) -> Prediction:
        """Draw what was measured against the prediction, in every place where this widget is shown.

        Args:
            measured: the right answer: a number, or one of `choices`.
            values: the measurement in detail, drawn as bars: up to 256 numbers of at least 0.
            labels: a text for each value; by default its position.
            values_unit: what the values count.
            explanation: one sentence.
            badge: where the numbers come from: MEASURED, COUNTED, MODELLED, RECORDED or GIVEN.

        Returns:
            This widget, so that the last line of a cell can show it.

        Raises:
            ValueError: if `measured` is no possible answer, or values and labels do not fit.
        """
        bars = {} if values is None else _bars(values, labels, values_unit)
        answer = self._possible("measured", measured)
        with self.hold_sync():
            self._bars, self.explanation, self.badge = bars, explanation, badge
            self.measured = answer
        return self

    def _possible(self, name: str, value: Any) -> Answer:
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{name}={value!r} is not among the choices {self.choices}")
            return str(value)
        number = float(value) if isinstance(value, (int, float, np.integer, np.floating)) else np.nan
        if not np.isfinite(number):
            raise ValueError(f"{name}={value!r} is not allowed; the question asks for a number")
        return float(number)

    @traitlets.validate("answer")
    def _open_answer(self, proposal: dict[str, Any]) -> Answer | None:
        value = proposal["value"]
        if self.locked and value != self.answer:
            raise ValueError(f"the answer is locked at {self.answer!r}")
        return None if value is None else self._possible("answer", value)

    @traitlets.validate("locked")
    def _stays_locked(self, proposal: dict[str, Any]) -> bool:
        return bool(self.locked or proposal["value"])

    def to_text(self) -> str:
        """Return question, answer and, once the answer is locked, the measurement."""
        lines = [f"Predict: {self.question}"]
        lines += [f"  - {choice}" for choice in self.choices]
        if not self.locked:
            return "\n".join([*lines, "  not answered yet"])
        said = "I don't know" if self.answer is None else self._written(self.answer)
        lines.append(f"  your prediction: {said}" + (f" ({self.reason})" if self.reason else ""))
        if self.measured is not None:
            lines.append(f"  {self.badge.lower()}: {self._written(self.measured)}")
            if self.explanation:
                lines.append(f"  {self.explanation}")
        return "\n".join(lines)

    def _written(self, answer: Answer) -> str:
        number = f"{answer:g}" if isinstance(answer, float) and answer != round(answer) else answer
        text = str(int(number)) if isinstance(number, float) else str(number)
        return f"{text} {self.unit}".strip() if not self.choices else text

    def __repr__(self) -> str:
        state = "locked" if self.locked else "open"
        return f"Prediction({self.question!r}, answer={self.answer!r}, {state}, measured={self.measured!r})"


def _bars(values: ArrayLike, labels: Sequence[str] | None, unit: str) -> dict[str, Any]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not 0 < len(numbers) <= MOST_BARS:
        raise ValueError(f"values has the shape {numbers.shape}; allowed are 1 to {MOST_BARS} numbers")
    if not np.isfinite(numbers).all() or numbers.min() < 0:
        raise ValueError("values must be finite and at least 0")
    texts = [str(i) for i in range(len(numbers))] if labels is None else [str(label) for label in labels]
    if len(texts) != len(numbers):
        raise ValueError(f"labels has {len(texts)} entries, but values has {len(numbers)}")
    return {"values": numbers.tolist(), "labels": texts, "unit": unit}
