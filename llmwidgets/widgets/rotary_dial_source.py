"""What `RotaryDial` needs to know of a rotation, from a record or from a caller's own arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmwidgets.records.position_loss import PositionLoss
from llmwidgets.records.rope import Rope
from llmwidgets.records.rotation import Rotation

Floats = NDArray[np.float32]
_REACH = 4  # trained lengths that are looked at by default
_MOST_FREQUENCIES = 512


@dataclass(frozen=True)
class GivenRotation:
    """Frequencies that the caller computed, with scores and perplexities if there are any; no tokens."""

    ropes: tuple[Rope, ...]
    trained_length: int
    max_distance: int
    by_distance: Floats | None
    """Scores from distance 0 on, shape (n,)."""
    loss: PositionLoss | None
    tokens: tuple[str, ...] = ()
    layers: tuple[int, ...] = (0,)
    heads: tuple[int, ...] = (0,)

    @property
    def scalings(self) -> tuple[str, ...]:
        """The names of `ropes`."""
        return tuple(rope.scaling for rope in self.ropes)


RotationSource = Rotation | GivenRotation


def vectors(source: RotationSource, layer: int, head: int) -> dict[str, Any]:
    """Return one head's queries and keys before they are turned; empty if there are none.

    The numbers of each vector are put in one order whatever the model's is: the first of each pair, then the
    second of each pair, then those that are not turned.
    """
    if isinstance(source, GivenRotation):
        return {}
    num_pairs = source.ropes[0].inv_freq.shape[1]
    queries = source.queries[source.layers.index(layer)][source.heads.index(head)]
    keys = source.keys[source.layers.index(layer)][source.kv_row(head)]
    turned = source.first_turned + np.arange(2 * num_pairs)
    first, second = (turned[0::2], turned[1::2]) if source.interleaved else np.split(turned, 2)
    others = np.setdiff1d(np.arange(queries.shape[1]), turned)
    order = np.concatenate([first, second, others])
    return {
        "layer": layer,
        "head": head,
        "multiplier": source.multipliers[source.layers.index(layer)],
        "queries": queries[:, order],
        "keys": keys[:, order],
    }


def strongest_key(source: RotationSource, layer: int, head: int, query_token: int) -> int:
    """Return the token, but for the first and the query's own, that the query scores highest; 0 if none."""
    if isinstance(source, GivenRotation):
        return 0
    candidates = range(1, query_token)
    scores = [source.scores(layer, head, query_token, key, [query_token - key])[0] for key in candidates]
    return 1 + int(np.argmax(scores)) if scores else 0


def given_rotation(
    inv_freq: ArrayLike | Mapping[str, ArrayLike],
    scores: ArrayLike | None,
    perplexities: Mapping[str, ArrayLike] | None,
    edges: Sequence[int] | None,
    trained_length: int | None,
    max_distance: int | None,
) -> GivenRotation:
    """Check a caller's arrays; see `RotaryDial.from_arrays`.

    Raises:
        ValueError: for values that are no numbers, or shapes and lengths that do not match.
    """
    named = inv_freq if isinstance(inv_freq, Mapping) else {"none": inv_freq}
    rows = {str(name): _numbers(f"inv_freq of {name!r}", values) for name, values in named.items()}
    sizes = {len(row) for row in rows.values()}
    if len(sizes) != 1 or not 1 <= max(sizes) <= _MOST_FREQUENCIES:
        raise ValueError(
            f"inv_freq has {sorted(sizes)} frequencies; allowed are 1 to {_MOST_FREQUENCIES}, as many in each"
        )
    by_distance = None if scores is None else _numbers("scores", scores)
    loss = None if perplexities is None else _loss(perplexities, edges)
    ends = [1] + ([] if loss is None else [int(loss.edges[-1])])
    ends += [] if by_distance is None else [len(by_distance) - 1]
    trained = 1024 if trained_length is None else trained_length
    for name, value in (("trained_length", trained), ("max_distance", max_distance)):
        if value is not None and not 1 <= value <= 2**24:
            raise ValueError(f"{name}={value!r} is not allowed; allowed are whole numbers from 1 to {2**24}")
    farthest = max(*ends, _REACH * trained) if max_distance is None else max_distance
    lengths = np.array([farthest + 1], np.int64)
    ropes = tuple(Rope(name, {}, lengths, row[None], 1.0) for name, row in rows.items())
    return GivenRotation(ropes, trained, farthest, by_distance, loss)


def _loss(perplexities: Mapping[str, ArrayLike], edges: Sequence[int] | None) -> PositionLoss:
    rows = {str(name): _numbers(f"perplexities of {name!r}", values) for name, values in perplexities.items()}
    sizes = {len(row) for row in rows.values()}
    if len(sizes) != 1:
        raise ValueError(f"perplexities have {sorted(sizes)} buckets; all need the same")
    (size,) = sizes
    if edges is None or len(edges) != size + 1:
        given = "none" if edges is None else len(edges)
        raise ValueError(f"edges has {given} entries; {size} buckets are bounded by {size + 1} positions")
    if min(row.min() for row in rows.values()) < 1:
        raise ValueError("a perplexity is below 1; allowed are exp(mean loss) of at least 1")
    loss = np.log(np.stack(list(rows.values()))).astype(np.float32)
    bounds = np.asarray(edges, np.int64)
    return PositionLoss(tuple(rows), bounds, np.ones(size, np.int64), loss, 1)


def _numbers(name: str, values: ArrayLike) -> Floats:
    array: NDArray[Any] = np.asarray(values)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise ValueError(
            f"{name} has shape {array.shape} of {array.dtype}; allowed is a row of finite numbers"
        )
    return array.astype(np.float32)
