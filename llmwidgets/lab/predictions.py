"""`predict`: a question that remembers its answer from one run of a lab to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmwidgets.lab.progress import Progress
from llmwidgets.widgets.prediction import Prediction


def predict(
    id: str,  # noqa: A002  # the name that a learner reads
    question: str,
    choices: Sequence[str] = (),
    *,
    unit: str = "",
) -> Prediction:
    """Ask for a prediction before something is measured; `.reveal(...)` shows both.

    An answer that was locked in an earlier run of the lab is there again. Nothing waits for an answer.

    Args:
        id: names the prediction in the learner's progress, such as `"02.p1"`.
        question: what is asked.
        choices: the answers to choose from; without them, a number is asked for.
        unit: what a number counts.
    """
    made = Prediction(question, choices, unit=unit)
    _restore(made, Progress().get(id))

    def keep(_change: Any) -> None:
        Progress().update(id, answer=made.answer, reason=made.reason, locked=made.locked)

    made.observe(keep, "locked")
    return made


def _restore(made: Prediction, kept: dict[str, Any]) -> None:
    if kept.get("locked") is not True:
        return
    try:
        made.answer = kept.get("answer")
        made.reason = str(kept.get("reason", ""))
    except Exception:  # the question has changed since, or the file was edited by hand: ask again
        made.answer = None
        return
    made.locked = True
