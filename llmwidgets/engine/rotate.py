"""`rotate`: queries and keys before they are turned, the angles, and what lies past the trained length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llmwidgets.engine.attend import Pass
from llmwidgets.engine.capture import Capture
from llmwidgets.engine.position_loss import position_loss
from llmwidgets.engine.rope import scaled_rope
from llmwidgets.engine.rotary import own_rope
from llmwidgets.engine.rotate_plan import RotatePlan
from llmwidgets.engine.text import display_texts
from llmwidgets.records.rope import Rope, apply_rope
from llmwidgets.records.rotation import Rotation

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine

Floats = NDArray[np.float32]
_SHIFTS = 16


@dataclass(frozen=True)
class _Unturned:
    """Queries and keys of the prompt as they were before they were turned."""

    queries: tuple[Floats, ...]
    """For each captured layer, shape (heads, T, D)."""
    keys: tuple[Floats, ...]
    """For each captured layer, shape (key-value heads that are read, T, D)."""
    kv_rows: list[int]
    """For each captured head the row of its keys."""


def rotate(engine: Engine, plan: RotatePlan) -> Rotation:
    """See `Engine.rotate`."""
    ropes = _ropes(plan)
    source = plan.rotary.source
    loss = None
    if plan.windows is not None:
        loss = position_loss(engine, plan.windows, plan.edges, source, ropes)
    held = _unturned(engine, plan)
    facts = engine.layers[plan.layers[0]]
    multipliers = tuple(float(engine.layers[layer].scaling or 1.0) for layer in plan.layers)
    shifts = _shifts(len(plan.token_ids), plan.trained_length)
    changes = [
        shift_changes(plan, queries[:, -1], keys[held.kv_rows], ropes[0], shifts) * abs(multiplier)
        for queries, keys, multiplier in zip(held.queries, held.keys, multipliers, strict=True)
    ]
    return Rotation(
        tokens=display_texts(engine.tokenizer, plan.token_ids),
        token_ids=np.array(plan.token_ids, np.int64),
        num_layers=len(engine.layers),
        num_heads=facts.num_heads,
        num_kv_heads=facts.num_kv_heads,
        layers=plan.layers,
        heads=plan.heads,
        queries=held.queries,
        keys=held.keys,
        multipliers=multipliers,
        interleaved=plan.rotary.interleaved,
        first_turned=plan.rotary.first_turned,
        rope_type=str(source.rope_parameters.get("rope_type", "default")),
        rope_theta=float(source.rope_parameters["rope_theta"]),
        trained_length=plan.trained_length,
        ropes=ropes,
        max_distance=plan.max_distance,
        shifts=shifts,
        shift_changes=np.array(changes, np.float32),
        loss=loss,
        model=engine.name,
    )


def shift_changes(
    plan: RotatePlan, queries: Floats, keys: Floats, rope: Rope, shifts: Sequence[int]
) -> Floats:
    """Return how far scores move at most when query and key move together, before the layer's multiplier.

    Args:
        plan: how the layers turn.
        queries: the last token's, one a head, before they are turned, shape (heads, D).
        keys: all tokens', before they are turned, shape (heads, T, D).
        rope: the frequencies.
        shifts: by how much both move.

    Returns:
        The largest |score(i + s, j + s) - score(i, j)| of each head, shape (heads,), in float32.
    """
    last = keys.shape[1] - 1
    positions = np.arange(last + 1)

    def scores(shift: int) -> Floats:
        how = (rope.attention_factor, plan.rotary.interleaved, plan.rotary.first_turned)
        query = apply_rope(queries, rope.angles(last + shift), *how)
        key = apply_rope(keys, rope.angles(positions + shift), *how)
        return np.asarray(np.einsum("hd,htd->ht", query, key))

    still = scores(0)
    moved = [np.abs(scores(shift) - still).max(axis=1) for shift in shifts]
    return np.asarray(np.max(moved, axis=0))


def _ropes(plan: RotatePlan) -> tuple[Rope, ...]:
    """Return the model's own frequencies, and each stretching of them."""
    trained, step = plan.trained_length, plan.edges[1]
    own = own_rope(plan.rotary.source, trained)
    grown = {*range(trained, plan.max_distance, step), *plan.edges, plan.max_distance + 1}
    lengths = sorted({trained, *(length for length in grown if length > trained)})
    return tuple(scaled_rope(name, own, plan.factor, trained, lengths) for name in plan.scalings)


def _unturned(engine: Engine, plan: RotatePlan) -> _Unturned:
    """Run the prompt, and turn back what each captured layer turned."""
    capture = Capture(plan.layers, plan.heads, last_only=False)
    run = Pass(engine, plan.token_ids, capture)
    run.run()
    facts = engine.layers[plan.layers[0]]
    reads = [head * facts.num_kv_heads // facts.num_heads for head in plan.heads]
    kv_heads = sorted(set(reads))
    positions = np.arange(len(plan.token_ids))
    queries = [capture.queries(layer) for layer in plan.layers]
    keys = [capture.keys(layer, run.cache, run.slots, kv_heads) for layer in plan.layers]
    return _Unturned(
        queries=tuple(plan.rotary.unturned(turned, positions) for turned in queries),
        keys=tuple(plan.rotary.unturned(turned, positions) for turned in keys),
        kv_rows=[kv_heads.index(kv_head) for kv_head in reads],
    )


def _shifts(num_tokens: int, trained_length: int) -> tuple[int, ...]:
    """Return shifts spread over the positions that are left of the trained length, at least one."""
    room = max(1, trained_length - num_tokens)
    return tuple(sorted({round(room * (i + 1) / _SHIFTS) or 1 for i in range(_SHIFTS)}))
