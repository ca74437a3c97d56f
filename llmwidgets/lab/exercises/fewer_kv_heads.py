"""Exercise 04.e3: the bundled model with fewer KV heads, by averaging them, and what that costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llmwidgets.lab.exercises.exercise import Exercise
from llmwidgets.lab.exercises.verdict import Verdict, not_attempted, right, wrong

if TYPE_CHECKING:
    from llmwidgets.engine import Engine

Weight = NDArray[Any]
# (heads, heads that stay, numbers of a head, width of the model)
CASES = ((4, 2, 3, 5), (8, 2, 4, 6), (4, 1, 2, 3), (6, 3, 5, 4))
KEPT = 2
WINDOW, NUM_WINDOWS = 256, 2
CHARACTERS = 3000  # of the text: more than all windows need, and quick to tokenize

TASK = """A layer makes its keys by a matrix, `k_proj.weight`, of shape `(H_kv * D, width)`: the first `D`
rows give KV head 0, the next `D` rows head 1, and so on. Values have such a matrix too. Write
`pool_heads(weight, num_kept, D)`: the matrix with only `num_kept` heads, each the **mean of neighbours**
(Ainslie et al. 2023, section 2.1).

- With 4 heads and `num_kept=2`, the new head 0 is the mean of heads 0 and 1, the new head 1 that of 2 and 3:
  neighbours are read by neighbouring query heads.
- Return an array of shape `(num_kept * D, width)`, and leave `weight` as it is.

The check then pools keys and values in all layers of the bundled model, from 4 KV heads to 2, and measures
bytes for each token and how well a book is predicted. The paper trains a pooled model further; here nothing
is trained, so you see what there is to repair."""

HINTS = (
    "`weight.reshape(...)` can give the heads an axis of their own: (heads, D, width).",
    "Give them two: (num_kept, heads in a group, D, width). Then a mean over one axis is what is asked for.",
    "`groups = weight.reshape(num_kept, -1, D, weight.shape[1])`, then `groups.mean(axis=1)` and back to "
    "`num_kept * D` rows.",
)


def pool_heads(weight, num_kept, D):  # type: ignore[no-untyped-def]  # shown to learners
    """Return the matrix with `num_kept` heads, each the mean of neighbours."""
    groups = weight.reshape(num_kept, -1, D, weight.shape[1])
    return groups.mean(axis=1).reshape(num_kept * D, weight.shape[1])


def first_heads(weight: Weight, num_kept: int, D: int) -> Weight:
    """Return the first head of each group, which the paper tries too."""
    return np.array(weight.reshape(num_kept, -1, D, weight.shape[1])[:, 0].reshape(num_kept * D, -1))


def judge(answer: Callable[..., Any]) -> Verdict:
    """Pool small matrices, then the bundled model, and measure it before and after."""
    for heads, kept, size, width in CASES:
        weight = np.random.default_rng(0).normal(size=(heads * size, width)).astype(np.float32)
        mine = weight.copy()
        given = answer(mine, kept, size)
        if given is None or given is ...:
            return not_attempted()
        verdict = _compare(np.asarray(given), weight, kept, size)
        if verdict is not None:
            return verdict
        if (mine != weight).any():
            return wrong(
                "You write into `weight` itself.", "Return a new array; the model still needs the old one."
            )
    whole, pooled, first = measured(None), measure(pooled_engine(answer)), measured(first_heads)
    places = len(whole.predicted)
    return right(
        f"4 → {KEPT} KV heads: {pooled.bytes_per_token:,} bytes for a token instead of "
        f"{whole.bytes_per_token:,}\n"
        f"  perplexity {whole.perplexity:.0f} → {pooled.perplexity:.0f}, and {pooled.agreement(whole)} of "
        f"{places} most probable next tokens stay the same\n"
        f"  with the first head of each pair instead of the mean: {first.perplexity:.0f}, and "
        f"{first.agreement(whole)} stay"
    )


@dataclass(frozen=True)
class Measured:
    """What a model keeps for a token, and how it reads a text it never saw."""

    bytes_per_token: int
    perplexity: float
    predicted: tuple[int, ...]
    """The most probable next token at each place of the text."""

    def agreement(self, other: Measured) -> int:
        """Return at how many places both predict the same token."""
        return sum(a == b for a, b in zip(self.predicted, other.predicted, strict=True))


@cache  # the same each time: the text, the model and the arithmetic are fixed
def measured(pool: Callable[..., Any] | None) -> Measured:
    """Measure the bundled model as it is, or pooled by one of this module's functions."""
    from llmwidgets.engine import load  # slow to load, and needed only once an answer is checked

    return measure(load() if pool is None else pooled_engine(pool))


def pooled_engine(pool: Callable[..., Any]) -> Engine:
    """Return an engine over a copy of the bundled model with fewer KV heads."""
    import torch

    from llmwidgets.engine import Engine, load

    engine = load()
    config = type(engine.model.config)(**engine.model.config.to_dict() | {"num_key_value_heads": KEPT})
    state = dict(engine.model.state_dict())
    for name, weight in state.items():
        if name.endswith(("k_proj.weight", "v_proj.weight")):
            pooled = np.ascontiguousarray(
                pool(weight.numpy().copy(), KEPT, config.head_dim), dtype=np.float32
            )
            state[name] = torch.from_numpy(pooled)
    model = type(engine.model)(config)
    model.load_state_dict(state)
    return Engine(model, engine.tokenizer, engine.max_model_len)


def measure(engine: Engine) -> Measured:
    """Run an engine over pieces of the books that its model never saw."""
    from importlib.resources import files

    import torch

    text = (files("llmwidgets") / "models" / "text" / "evaluation_books.txt").read_text(encoding="utf-8")
    ids = engine.tokenizer(text[:CHARACTERS])["input_ids"]
    losses, predicted = [], []
    for window in range(NUM_WINDOWS):
        piece = ids[window * WINDOW : (window + 1) * WINDOW + 1]
        logits = engine.forward.plain(piece[:-1]).float()
        losses.append(float(torch.nn.functional.cross_entropy(logits, torch.tensor(piece[1:]))))
        predicted += [int(token) for token in logits.argmax(dim=-1)]
    return Measured(engine.kv_shape.bytes_per_token, float(np.exp(np.mean(losses))), tuple(predicted))


def _compare(given: Weight, weight: Weight, kept: int, size: int) -> Verdict | None:
    heads, width = len(weight) // size, weight.shape[1]
    expected = pool_heads(weight, kept, size)
    if given.shape == expected.shape and np.allclose(given, expected, atol=1e-6):
        return None
    each = weight.reshape(heads, size, width)
    group = heads // kept
    mistakes = (
        (
            each.reshape(kept, group, size, width).sum(axis=1),
            "This is their sum: divide by how many they are.",
        ),
        (first_heads(weight, kept, size), "This is the first head of each group: take the mean of all."),
        (
            each[:kept],
            "You keep the first heads and drop the others, which query heads read too. Take means.",
        ),
        (
            each.reshape(group, kept, size, width).mean(axis=0),
            "You pool heads that stand apart: take neighbours.",
        ),
        (
            weight.reshape(kept * size, group, width).mean(axis=1),
            "You average rows of the same head: give the heads an axis of their own.",
        ),
    )
    said = f"With {heads} heads of {size} numbers and num_kept={kept}"
    for other, reason in mistakes:
        if given.size == other.size and np.allclose(given.reshape(-1), other.reshape(-1), atol=1e-6):
            return wrong(f"{said} the numbers are not the mean of neighbouring heads.", reason)
    if given.shape != expected.shape:
        return wrong(
            f"{said} you return the shape {given.shape}; {expected.shape} is asked for.",
            "`num_kept * D` rows, and as many columns as before.",
        )
    return wrong(
        f"{said} the numbers are not the mean of neighbouring heads.",
        "Compare head 0 by hand: rows 0 to D - 1.",
    )


EXERCISE = Exercise("04.e3", "Fewer KV heads", 20, TASK, HINTS, pool_heads, judge)
