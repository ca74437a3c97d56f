"""`generate` and `stream`: tokens, text, stops, counts."""

import gc
import itertools
import threading
import weakref

import pytest

from llmwidgets.engine import Engine
from llmwidgets.engine.generate import Run, finish
from llmwidgets.engine.prompt import encode
from llmwidgets.engine.quantization.kv_quant import cache_for
from llmwidgets.engine.sampling import Choice, Sampler, StageLogits

PROMPT = "It was a dark"


@pytest.fixture
def scripted(engine, monkeypatch):
    """Return a function that makes the tiny engine say a given text, whatever the model thinks."""

    def script(text, then=65):
        tokens = itertools.chain(text.encode(), itertools.repeat(then))

        def choose(self, logits, prompt, output, forced):
            return Choice(next(tokens), -1.0, None, (StageLogits("model", logits.double().numpy()),))

        monkeypatch.setattr(Sampler, "__call__", choose)
        return engine

    return script


def test_a_generation_adds_up(engine):
    g = engine.generate(PROMPT, max_tokens=20)
    assert g.prompt_token_ids == (256, *PROMPT.encode())  # the post-processor's begin token
    assert len(g.token_ids) == len(g.tokens) == len(g.steps) == 20
    assert g.finish_reason == "length"
    assert g.stop_reason is None
    assert [step.token_id for step in g.steps] == list(g.token_ids)
    assert "".join(step.text for step in g.steps) == g.text
    assert all(step.logprob < 0 and step.uniform is None for step in g.steps)
    assert all(step.wall_seconds > 0 and step.cpu_seconds >= 0 for step in g.steps)


def test_token_forwards_and_kv_bytes(engine):
    prompt = len(PROMPT) + 1
    g = engine.generate(PROMPT, max_tokens=20)
    assert g.token_forwards == prompt + 19
    assert [step.num_scheduled_tokens for step in g.steps] == [prompt] + [1] * 19
    assert [step.kv_tokens for step in g.steps] == list(range(prompt, prompt + 20))
    per_token = 2 * 2 * 2 * 16 * 4  # layers × (K, V) × key-value heads × head size × bytes
    assert [step.kv_bytes for step in g.steps] == [per_token * step.kv_tokens for step in g.steps]
    assert [step.kv_blocks for step in g.steps] == [-(-step.kv_tokens // 16) for step in g.steps]


def test_kv_bytes_are_the_storage_s_own(engine):
    run = Run(engine, list(range(16)), engine.generate("a", max_tokens=1).sampling_params)
    finish(run)
    held = [tensor for layer in run.cache._layers.values() for tensor in (layer.keys, layer.values)]
    assert run.steps[-1].kv_bytes == run.cache.nbytes == sum(t.untyped_storage().nbytes() for t in held)


def test_without_cache_the_tokens_are_the_same_and_the_work_is_not(engine):
    cached = engine.generate(PROMPT, max_tokens=20)
    fresh = engine.generate(PROMPT, max_tokens=20, use_cache=False)
    assert fresh.token_ids == cached.token_ids
    prompt = len(PROMPT) + 1
    assert fresh.token_forwards == sum(range(prompt, prompt + 20))
    assert {step.kv_bytes for step in fresh.steps} == {step.kv_blocks for step in fresh.steps} == {0}
    assert (cached.use_cache, fresh.use_cache) == (True, False)


def test_same_seed_same_tokens(engine):
    draw = lambda seed: engine.generate(PROMPT, temperature=1.0, seed=seed, max_tokens=12).token_ids  # noqa: E731
    assert draw(3) == draw(3)
    assert len({draw(seed) for seed in range(4)}) == 4


def test_the_end_token_stops_unless_ignored(make_model, tokenizer):
    token = Engine(make_model(), tokenizer).generate("hello", max_tokens=8).token_ids[3]
    model = make_model()
    model.generation_config.eos_token_id = [token, 3]
    engine = Engine(model, tokenizer)
    g = engine.generate("hello", max_tokens=8)
    assert g.token_ids[-1] == token
    assert len(g.token_ids) <= 4
    assert (g.finish_reason, g.stop_reason) == ("stop", None)
    assert len(engine.generate("hello", max_tokens=8, ignore_eos=True).token_ids) == 8


def test_a_stop_string_over_token_borders(scripted):
    g = scripted("one END two").generate(PROMPT, stop=["END"])
    assert (g.text, g.finish_reason, g.stop_reason) == ("one ", "stop", "END")
    assert bytes(g.token_ids) == b"one END"
    assert "".join(step.text for step in g.steps) == g.text


def test_what_begins_like_a_stop_string_is_held_back_and_then_shown(scripted):
    engine = scripted("an EN or ENE END")
    texts = [delta.text for delta in engine.stream(PROMPT, stop="END", max_tokens=30)]
    assert texts == ["a", "n", " ", "", "", "EN ", "o", "r", " ", "", "", "EN", "E ", "", "", ""]


def test_held_back_text_comes_at_the_end(scripted):
    assert scripted("so EN").generate(PROMPT, stop="END", max_tokens=5).text == "so EN"


def test_bytes_that_never_become_a_character_come_at_the_end(engine, monkeypatch):
    tokens = iter(b"ab\xe2")

    def choose(self, logits, prompt, output, forced):
        return Choice(next(tokens), -1.0, None, (StageLogits("model", logits.double().numpy()),))

    monkeypatch.setattr(Sampler, "__call__", choose)
    texts = [delta.text for delta in engine.stream(PROMPT, max_tokens=3)]
    assert texts == ["a", "b", "\ufffd"]


def test_the_first_of_several_stop_strings_cuts(scripted):
    g = scripted("a--b##").generate(PROMPT, stop=["##", "--"])
    assert (g.text, g.stop_reason) == ("a", "--")


@pytest.mark.parametrize("text", ["né 😀 日本語 👩‍👩‍👧 end", "日本", "😀"])
def test_a_stream_never_shows_half_a_character(scripted, text):
    size = len(text.encode())
    deltas = list(scripted(text).stream(PROMPT, max_tokens=size))
    assert all("\ufffd" not in delta.text for delta in deltas)
    assert "".join(delta.text for delta in deltas) == text == deltas[-1].generation.text
    assert [delta.finish_reason for delta in deltas] == [None] * (size - 1) + ["length"]
    assert [delta.generation is None for delta in deltas] == [True] * (size - 1) + [False]


def test_a_stream_equals_generate(engine):
    *deltas, last = engine.stream(PROMPT, max_tokens=25, temperature=1.0, seed=5)
    g = engine.generate(PROMPT, max_tokens=25, temperature=1.0, seed=5)
    assert "".join(delta.text for delta in [*deltas, last]) == g.text == last.generation.text
    assert sum([delta.token_ids for delta in [*deltas, last]], ()) == g.token_ids


def test_a_dropped_stream_frees_its_blocks_and_the_engine_goes_on(engine, monkeypatch):
    caches = []

    def make(*args):
        cache = cache_for(*args)
        caches.append(weakref.ref(cache))
        return cache

    monkeypatch.setattr("llmwidgets.engine.generate.cache_for", make)
    deltas = engine.stream(PROMPT, max_tokens=20)
    next(deltas)
    other = engine.generate(PROMPT, max_tokens=3)  # between two steps of the stream
    assert next(deltas).token_ids == (other.token_ids[1],)
    deltas.close()
    del deltas, other
    gc.collect()
    assert [cache() for cache in caches] == [None, None]


def test_threads_get_the_same_as_one_after_the_other(engine):
    prompts = ["one", "a longer one", "and a third"]
    alone = [engine.generate(prompt, max_tokens=15).token_ids for prompt in prompts]
    found = {}

    def work(prompt):
        found[prompt] = engine.generate(prompt, max_tokens=15).token_ids

    threads = [threading.Thread(target=work, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[prompt] for prompt in prompts] == alone


def test_token_ids_in_and_out_without_a_tokenizer(make_model):
    engine = Engine(make_model())
    g = engine.generate([1, 2, 3], max_tokens=4)
    assert g.prompt_token_ids == (1, 2, 3)
    assert g.text == ""
    assert g.tokens == tuple(map(str, g.token_ids))
    with pytest.raises(ValueError, match="no tokenizer; give token ids"):
        engine.generate("text")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "prompt='' is empty"),
        ([], "prompt has no tokens"),
        ([1, 258], "token id 258; allowed are 0 to 257"),
        ([-1], "token id -1"),
        ([1.5], "list of integers"),
        ([[1]], "list of integers"),
        (7, "list of integers"),
        (None, "list of integers"),
        ("x" * 300, "prompt has 301 tokens and max_tokens=64; together at most max_model_len=256"),
    ],
)
def test_a_wrong_prompt_is_refused(engine, prompt, message):
    with pytest.raises(ValueError, match=message):
        engine.generate(prompt)
    with pytest.raises(ValueError, match=message):
        engine.stream(prompt)  # at once, not at the first delta


def test_the_longest_context_fits_and_one_more_does_not(engine):
    assert len(engine.generate([1] * 250, max_tokens=6).token_ids) == 6
    with pytest.raises(ValueError, match="max_model_len=256"):
        engine.generate([1] * 250, max_tokens=7)
    assert encode(engine, [1] * 256) == [1] * 256


def test_wrong_sampling_arguments_are_refused_before_any_work(engine, monkeypatch):
    monkeypatch.setattr(engine.forward, "run", None)
    for wrong in ({"temperature": -1}, {"top_p": 0}, {"max_tokens": 0}, {"stop": ""}, {"stop": 3}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
            engine.generate(PROMPT, **wrong)
    with pytest.raises(TypeError):
        engine.generate(PROMPT, temprature=1)


def test_reprs_are_short_and_the_same_each_time(engine):
    assert repr(engine) == "Engine('LlamaForCausalLM', 2 layers, max_model_len=256, float32, cpu)"
    g = engine.generate(PROMPT, max_tokens=3)
    assert repr(g) == repr(engine.generate(PROMPT, max_tokens=3))
    assert repr(g).startswith("Generation(14 + 3 tokens, finish_reason='length', text=")
