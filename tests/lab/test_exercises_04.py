"""Lab 04: right answers pass, and each wrong one is turned down for its own reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from llmwidgets.engine import load
from llmwidgets.lab import check
from llmwidgets.lab.exercises import cache_bytes, fewer_kv_heads, left_padding
from llmwidgets.lab.exercises.catalogue import find
from llmwidgets.lab.exercises.growing_cache import KVCache
from tests.lab.exercise_cases import WrongAnswers, assert_turned_down, named


def cached(
    join: Callable[[Any, Any], Any] = lambda old, new: np.concatenate([old, new], axis=1),
    give: Callable[[KVCache, int], Any] = KVCache.get,
    size: Callable[[KVCache], Any] = KVCache.nbytes,
    place: Callable[[int], int] = lambda layer: layer,
) -> type:
    class Answer(KVCache):
        def append(self, layer: int, keys: Any, values: Any) -> None:
            at = place(layer)
            for held, new in ((self.keys, keys), (self.values, values)):
                held[at] = new if held[at] is None else join(held[at], new)

        def get(self, layer: int) -> Any:
            return give(self, place(layer))

        def nbytes(self) -> Any:
            return size(self)

    return Answer


class LateSwap(KVCache):
    """Right for all shapes of the check, and wrong once a model runs on it."""

    def get(self, layer: int) -> Any:
        keys, values = super().get(layer)
        return (keys, keys[:, ::-1]) if len(self.keys) == 8 and keys.shape[1] > 16 else (keys, values)


def arrays(cache: KVCache) -> list[Any]:
    return [array for array in (*cache.keys, *cache.values) if array is not None]


WRONG_CACHE = {
    "the newest tokens only": cached(join=lambda old, new: new),
    "the newest tokens stand in front": cached(join=lambda old, new: np.concatenate([new, old], axis=1)),
    "tokens are axis 1": cached(join=lambda old, new: np.concatenate([old, new], axis=0)),
    "more heads or numbers": cached(join=lambda old, new: np.concatenate([old, new], axis=2)),
    "the other of keys and values": cached(
        give=lambda cache, layer: (cache.values[layer], cache.keys[layer])
    ),
    "they belong to another layer": cached(
        give=lambda cache, layer: (cache.keys[layer - 1], cache.values[layer - 1])
    ),
    "They came as float32": cached(
        give=lambda cache, layer: [np.float64(a) for a in KVCache.get(cache, layer)]
    ),
    "get returns no pair": cached(give=lambda cache, layer: cache.keys[layer]),
    "not what was appended": cached(give=lambda cache, layer: [2 * a for a in KVCache.get(cache, layer)]),
    "one of keys and values": cached(size=lambda cache: sum(a.nbytes for a in cache.keys)),
    "This is one layer": cached(size=lambda cache: cache.keys[0].nbytes + cache.values[0].nbytes),
    "numbers, not bytes": cached(size=lambda cache: sum(a.size for a in arrays(cache))),
    "This is one token": cached(size=lambda cache: sum(a[:, 0].nbytes for a in arrays(cache))),
    "Add up `array.nbytes`": cached(size=lambda cache: 17),
    "gives other ids than engine.generate": LateSwap,
    "raised ValueError": cached(join=lambda old, new: np.concatenate([old, new[..., :1]], axis=1)),
}


def per_token(
    heads: str = "num_key_value_heads",
    size: Callable[[Any], int] | None = None,
    times: float = 2,
    layers: bool = True,
) -> Callable[..., Any]:
    def answer(config: Any, number: int) -> Any:
        derived = config["hidden_size"] // config["num_attention_heads"]
        head_dim = config.get("head_dim", derived) if size is None else size(config)
        return (
            times * (config["num_hidden_layers"] if layers else 1) * config.get(heads, 1) * head_dim * number
        )

    return answer


WRONG_BYTES = {
    "keys and values are both kept": per_token(times=1),
    "this is one layer": per_token(layers=False),
    "a number takes bytes_per_number": lambda config, number: per_token()(config, 1),
    "These are bits": per_token(times=16),
    "Query heads share KV heads": per_token(heads="num_attention_heads"),
    "The dict says head_dim": per_token(size=lambda c: c["hidden_size"] // c["num_attention_heads"]),
    "only KV heads are kept": per_token(heads="hidden_size", size=lambda c: 1),
    "divide by their number": per_token(size=lambda c: c["hidden_size"]),
    "This is one KV head": per_token(heads="none"),
    "Multiply five numbers": per_token(times=3),
    "Its numbers have 4 bytes": lambda config, number: per_token()(config, 2),
    "Return one number": lambda config, number: [1, 2],
    "raised KeyError": lambda config, number: config["n_layers"],
}


def pooled(pick: Callable[[Any], Any], by: Callable[..., Any] | None = None) -> Callable[..., Any]:
    def answer(weight: Any, kept: int, D: int) -> Any:
        heads, width = len(weight) // D, weight.shape[1]
        groups = weight.reshape(*(by(kept, heads // kept, D) if by else (kept, heads // kept, D)), width)
        return np.asarray(pick(groups)).reshape(-1, width)

    return answer


def in_place(weight: Any, kept: int, D: int) -> Any:
    made = fewer_kv_heads.pool_heads(weight, kept, D)
    weight[: len(made)] = made
    return weight[: len(made)]


WRONG_POOL = {
    "This is their sum": pooled(lambda groups: groups.sum(axis=1)),
    "This is the first head of each group": pooled(lambda groups: groups[:, 0]),
    "You keep the first heads": lambda weight, kept, D: weight[: kept * D],
    "heads that stand apart": pooled(
        lambda groups: groups.mean(axis=0), by=lambda kept, group, D: (group, kept, D)
    ),
    "rows of the same head": pooled(
        lambda groups: groups.mean(axis=1), by=lambda kept, group, D: (kept * D, group)
    ),
    "you return the shape": pooled(lambda groups: groups.mean(axis=2)),
    "Compare head 0 by hand": pooled(lambda groups: groups.max(axis=1)),
    "You write into `weight` itself": in_place,
    "raised ValueError": lambda weight, kept, D: weight.reshape(7, 7, 7),
}


def padded(change: Callable[[Any, Any, Any, Any], Any]) -> Callable[..., Any]:
    def answer(prompts: Any, pad_id: int) -> Any:
        return change(*left_padding.left_pad(prompts, pad_id), [len(prompt) for prompt in prompts])

    return answer


def behind(ids: Any, mask: Any, at: Any, lengths: Any) -> Any:
    return tuple(
        np.stack([np.roll(row, n) for row, n in zip(rows, lengths, strict=True)]) for rows in (ids, mask, at)
    )


WRONG_PADDING = {
    "they stand at 1 to 14; its first new token will stand at 14": padded(
        lambda ids, mask, at, n: (ids, mask, np.cumsum(mask, axis=1))
    ),
    "they stand at 13 to 0": padded(
        lambda ids, mask, at, n: (ids, mask, np.maximum(np.array(n)[:, None] - 1 - at, 0))
    ),
    "A position is below 0": padded(lambda ids, mask, at, n: (ids, mask, np.cumsum(mask, axis=1) - 1)),
    "Padding of prompt 2 can be seen": padded(lambda ids, mask, at, n: (ids, np.ones_like(mask), at)),
    "The mask of prompt 1 does not fit": padded(lambda ids, mask, at, n: (ids, 1 - mask, at)),
    "put padding in front": padded(behind),
    "does not hold its prompt": padded(lambda ids, mask, at, n: (ids[::-1], mask, at)),
    "token_ids has the shape": padded(lambda ids, mask, at, n: (ids[0], mask, at)),
    "mask holds float64": padded(lambda ids, mask, at, n: (ids, mask.astype(float), at)),
    "returns no three arrays": padded(lambda ids, mask, at, n: (ids, mask)),
    "raised IndexError": padded(lambda ids, mask, at, n: ids[9]),
}
WRONG: WrongAnswers = {
    "04.e1": WRONG_CACHE,
    "04.e2": WRONG_BYTES,
    "04.e3": WRONG_POOL,
    "04.e4": WRONG_PADDING,
}


@pytest.mark.parametrize("which", WRONG)
def test_the_solution_that_is_shown_passes(which: str) -> None:
    names: dict[str, Any] = {"np": np}
    exec(find(which).solution, names)
    verdict = check(which, names[find(which).reference.__name__])
    assert verdict.ok, verdict


@pytest.mark.parametrize(("which", "reason"), named(WRONG))
def test_a_wrong_answer_is_turned_down_for_its_own_reason(which: str, reason: str) -> None:
    assert_turned_down(which, WRONG[which][reason], reason)


def unfinished(*arguments: Any) -> Any:
    raise NotImplementedError


class Blank(KVCache):
    """The class as the lab hands it out."""

    def append(self, layer: int, keys: Any, values: Any) -> None: ...

    def get(self, layer: int) -> None: ...

    def nbytes(self) -> None: ...


@pytest.mark.parametrize("which", WRONG)
@pytest.mark.parametrize("blank", [None, ..., lambda *arguments: None, lambda *arguments: ..., unfinished])
def test_a_blank_is_not_attempted_yet(which: str, blank: Any) -> None:
    assert repr(check(which, blank)) == "○ not attempted yet"


@pytest.mark.parametrize(("which", "given"), [("04.e1", Blank), ("04.e4", left_padding.as_given)])
def test_what_the_lab_hands_out_is_not_attempted_yet(which: str, given: Any) -> None:
    assert not check(which, given).attempted


def test_bytes_are_those_that_are_published() -> None:
    """Llama-3-70B in 8 bits: 160 kB, Austin et al. 2025, How to Scale Your Model, part 7."""
    assert cache_bytes.bytes_per_token(cache_bytes.CONFIGS["Llama-3-70B"], 1) == 160 * 1024
    config, measured = cache_bytes.measure()
    assert measured == load().kv_shape.bytes_per_token == cache_bytes.bytes_per_token(config, 4)


def test_half_the_kv_heads_take_half_the_bytes_and_predict_worse() -> None:
    whole, mean, first = (
        fewer_kv_heads.measured(pool)
        for pool in (None, fewer_kv_heads.pool_heads, fewer_kv_heads.first_heads)
    )
    assert mean.bytes_per_token == first.bytes_per_token == whole.bytes_per_token // 2
    assert whole.perplexity < first.perplexity < mean.perplexity
    assert mean.agreement(whole) < first.agreement(whole) < whole.agreement(whole) == len(whole.predicted)


def test_positions_that_count_padding_give_other_ids() -> None:
    engine = load()
    prompts = [list(engine.tokenizer(text)["input_ids"]) for text in left_padding.PROMPTS]
    rows = left_padding.generate(engine.model, *left_padding.as_given(prompts, 7))
    alone = [engine.generate(prompt, max_tokens=12, ignore_eos=True).token_ids for prompt in prompts]
    assert [tuple(ids) == one for ids, one in zip(rows, alone, strict=True)] == [True, False, False]
