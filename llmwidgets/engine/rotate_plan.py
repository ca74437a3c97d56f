"""What `rotate` was asked for, checked before the model runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llmwidgets.engine.position_loss import cut_windows
from llmwidgets.engine.prompt import Prompt, encode, some_of
from llmwidgets.engine.rope import SCALINGS
from llmwidgets.engine.rotary import LayerRotary, layer_rotaries

if TYPE_CHECKING:
    from llmwidgets.engine.engine import Engine

_REACH = 4  # trained lengths that are looked at by default
_BUCKETS = 4  # of a trained length, by default
_FARTHEST = 2**24  # float32 counts no further one by one, and angles are computed in it


@dataclass(frozen=True)
class RotatePlan:
    """What will be captured, and what will be measured."""

    token_ids: list[int]
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    rotary: LayerRotary
    """How all of `layers` turn."""
    scalings: tuple[str, ...]
    factor: float
    trained_length: int
    max_distance: int
    edges: list[int]
    """Bounds of the buckets of positions, from 0 to max_position."""
    windows: list[list[int]] | None
    """Pieces of the text, each with one token more than positions; None without a text."""


def plan_rotate(
    engine: Engine,
    prompt: Prompt,
    layers: int | Sequence[int] | None,
    heads: int | Sequence[int] | None,
    scalings: str | Sequence[str],
    factor: float | None,
    max_distance: int | None,
    text: Prompt | None,
    max_position: int | None,
    bucket_size: int | None,
    num_windows: int,
) -> RotatePlan:
    """Return the plan; arguments and errors as in `Engine.rotate`."""
    token_ids = encode(engine, prompt)
    wanted = _scalings(scalings)
    rotaries = layer_rotaries(engine)
    some_layers = _layers(engine, rotaries, layers)
    rotary = rotaries[some_layers[0]]
    assert rotary is not None  # noqa: S101  # _layers returns only layers that turn
    trained = int(engine.model.config.get_text_config().max_position_embeddings)
    longest = _at_most("max_position", max_position, engine.max_model_len, engine.max_model_len)
    farthest = _at_most("max_distance", max_distance, max(_REACH * trained, longest), _FARTHEST)
    size = _at_most("bucket_size", bucket_size, min(max(1, trained // _BUCKETS), longest), longest)
    _at_most("num_windows", num_windows, 1, _FARTHEST)
    needed = farthest if text is None else longest
    return RotatePlan(
        token_ids=token_ids,
        layers=some_layers,
        heads=some_of("heads", heads, engine.layers[some_layers[0]].num_heads),
        rotary=rotary,
        scalings=wanted,
        factor=_factor(max(needed / trained, 1.0) if factor is None else factor),
        trained_length=trained,
        max_distance=farthest,
        edges=sorted({*range(0, longest, size), min(trained, longest), longest}),
        windows=None if text is None else _windows(engine, text, longest, num_windows),
    )


def _layers(
    engine: Engine, rotaries: Sequence[LayerRotary | None], wanted: int | Sequence[int] | None
) -> tuple[int, ...]:
    """Return layers that turn alike; by default all that turn as the first one with full attention does."""
    if wanted is None:
        turning = [layer for layer, rotary in enumerate(rotaries) if rotary is not None]
        full = [layer for layer in turning if engine.layers[layer].sliding_window is None]
        if not turning:
            raise ValueError(f"no layer of {engine.name} turns its queries and keys")
        alike = rotaries[(full or turning)[0]]
        return tuple(layer for layer in turning if _alike(rotaries[layer], alike))
    layers = some_of("layers", wanted, len(rotaries))
    for layer in layers:
        if rotaries[layer] is None:
            raise ValueError(
                f"layers={wanted!r} is not allowed: layer {layer} does not turn its queries and keys"
            )
        if not _alike(rotaries[layer], rotaries[layers[0]]):
            raise ValueError(
                f"layers={wanted!r} is not allowed: layers {layers[0]} and {layer} turn by different "
                "frequencies; ask for them one by one"
            )
    return layers


def _alike(one: LayerRotary | None, other: LayerRotary | None) -> bool:
    """Whether two layers turn the same pairs by the same frequencies."""
    if one is None or other is None:
        return one is other
    pairs = (one.interleaved, one.first_turned) == (other.interleaved, other.first_turned)
    return pairs and one.source is other.source


def _scalings(wanted: str | Sequence[str]) -> tuple[str, ...]:
    """Return the scalings in their order, `"none"` always first."""
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if name not in SCALINGS:
            allowed = ", ".join(map(repr, SCALINGS))
            raise ValueError(f"scalings={wanted!r} is not allowed; allowed are some of {allowed}")
    return tuple(name for name in SCALINGS if name in names or name == "none")


def _factor(factor: float) -> float:
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 1 <= factor < math.inf:
        raise ValueError(f"factor={factor!r} is not allowed; allowed is a number of at least 1")
    return float(factor)


def _at_most(name: str, value: int | None, default: int, most: int) -> int:
    """Return a whole number from 1 to `most`."""
    number = default if value is None else value
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 1 <= number <= most:
        longer = (
            " (a longer context: max_model_len= of lw.load or lw.Engine)" if name == "max_position" else ""
        )
        raise ValueError(
            f"{name}={value!r} is not allowed; allowed are whole numbers from 1 to {most}{longer}"
        )
    return int(number)


def _windows(engine: Engine, text: Prompt, max_position: int, num_windows: int) -> list[list[int]]:
    if not isinstance(text, str):
        token_ids = [int(token) for token in text]
        outside = [token for token in token_ids if not 0 <= token < engine.vocab_size]
        if outside:
            raise ValueError(f"text has the token id {outside[0]}; allowed are 0 to {engine.vocab_size - 1}")
        return cut_windows(token_ids, [], max_position, num_windows)
    if engine.tokenizer is None:
        raise ValueError(f"text={text[:40]!r} is text, but this engine has no tokenizer; give token ids")
    plain = engine.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return cut_windows(plain, begin_token_ids(engine), max_position, num_windows)


def begin_token_ids(engine: Engine) -> list[int]:
    """Return what the tokenizer puts before every text."""
    plain = engine.tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = engine.tokenizer("a")["input_ids"]
    return list(whole[: whole.index(plain[0])])
