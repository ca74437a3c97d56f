"""The compatible path behind the engine's methods: the model's own attention over our blocks."""

import threading

import pytest
import torch
import transformers

from llmwidgets.engine import Engine
from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.compatible import CompatibleForward, PagedLayer, Place
from llmwidgets.engine.generate import Run, finish
from llmwidgets.engine.kv_cache import BlockTable, KVCache
from llmwidgets.records.request import Request
from tests.families import FAMILIES

COMPATIBLE = [name for name, family in FAMILIES.items() if family.path == "compatible"]
PROMPT = [(3 + 7 * i) % 256 for i in range(21)]


@pytest.fixture(scope="module")
def bloom(make_model):
    return Engine(make_model("bloom"))


@pytest.mark.parametrize("family", COMPATIBLE)
def test_generate_with_and_without_a_cache_equals_transformers(make_model, family):
    model = make_model(family)
    engine = Engine(model)
    expected = model.generate(torch.tensor([PROMPT]), max_new_tokens=12, do_sample=False)[0, len(PROMPT) :]
    assert list(engine.generate(PROMPT, max_tokens=12).token_ids) == expected.tolist()
    assert list(engine.generate(PROMPT, max_tokens=12, use_cache=False).token_ids) == expected.tolist()


def test_a_stream_and_a_seed_are_as_ever(bloom):
    arguments = {"max_tokens": 9, "temperature": 1.0, "seed": 5}
    deltas = list(bloom.stream(PROMPT, **arguments))
    g = bloom.generate(PROMPT, **arguments)
    assert sum([delta.token_ids for delta in deltas], ()) == g.token_ids
    assert g.token_forwards == len(PROMPT) + 8


def test_a_workload_is_served_with_shared_blocks_and_preemption(make_model):
    engine = Engine(make_model("falcon_alibi"))
    prompts = [PROMPT, [*PROMPT[:16], 9, 8, 7], PROMPT[5:12], [*PROMPT[:16], 1]]
    requests = [Request(prompt=tuple(prompt), max_tokens=24) for prompt in prompts]
    serving = engine.serve(
        requests, num_gpu_blocks=13, block_size=8, max_num_batched_tokens=32, enable_prefix_caching=True
    )
    alone = [engine.generate(prompt, max_tokens=24).token_ids for prompt in prompts]
    assert list(serving.outputs.values()) == alone
    assert serving.metrics.preemptions > 0
    assert serving.metrics.hit_tokens > 0


def test_what_a_layer_caches_is_known_and_how_it_attends_is_not(make_model):
    engine = Engine(make_model("falcon"))
    run = Run(engine, PROMPT, engine.generate(PROMPT, max_tokens=1).sampling_params)
    finish(run)
    for layer in engine.layers:
        assert (layer.num_heads, layer.num_kv_heads) == (4, 1)  # multi-query
        assert (layer.key_size, layer.value_size, layer.bytes_per_number) == (16, 16, 4)
        assert (layer.scaling, layer.sliding_window, layer.softcap, layer.sinks) == (None,) * 4
    assert engine.kv_shape.bytes_per_token == run.cache.bytes_per_token == 2 * 2 * 16 * 4


def test_keys_lie_in_the_same_slots_as_on_the_packed_path(make_model):
    """Both paths fill the very same blocks: what one wrote, the other can go on from."""
    packed = Engine(make_model()).forward
    compatible = CompatibleForward(packed.model)
    table = BlockTable(4, [5, 2, 7, 0, 3, 1])
    caches = [KVCache(8, 4), KVCache(8, 4)]
    chunk = Chunk(PROMPT[:17], 0, table.slots(17, packed.device))
    for forward, cache in zip((packed, compatible), caches, strict=True):
        forward.run(forward.prepare([chunk], cache))
    for layer in range(2):
        one, other = (cache.read(layer, table.slots(17, packed.device)) for cache in caches)
        assert (one.keys - other.keys).abs().max() < 1e-5
        assert (one.values - other.values).abs().max() < 1e-5
    rest = Chunk(PROMPT[17:], 17, table.slots(len(PROMPT), packed.device), 4)
    crossed = compatible.run(compatible.prepare([rest], caches[0]))
    assert (crossed - packed.plain(PROMPT)[17:]).abs().max() <= 5e-5


@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_a_chunk_may_read_what_an_earlier_one_of_the_batch_wrote(make_model, family):
    forward = Engine(make_model(family)).forward
    one, two = BlockTable(8, [4, 1, 6]), BlockTable(8, [4, 1, 3])
    sharing = [*PROMPT[:16], 9, 8]
    chunks = [
        Chunk(PROMPT, 0, one.slots(len(PROMPT), forward.device)),
        Chunk(sharing[16:], 16, two.slots(len(sharing), forward.device)),
    ]
    logits = forward.run(forward.prepare(chunks, KVCache(7, 8)))
    expected = torch.stack([forward.plain(ids)[-1] for ids in (PROMPT, sharing)])
    assert (logits - expected).abs().max() <= 5e-5


def test_only_the_wanted_logits_come_back(make_model):
    for family in ("bloom", "mpt"):
        forward = Engine(make_model(family)).forward
        chunks = [Chunk([1, 2, 3], num_logits=2), Chunk([4, 5], num_logits=0), Chunk([6], num_logits=1)]
        logits = forward.run(forward.prepare(chunks))
        assert logits.shape == (3, 258)
        assert torch.allclose(logits[:2], forward.plain([1, 2, 3])[1:], atol=5e-5)
        assert torch.allclose(logits[2], forward.plain([6])[0], atol=5e-5)


@pytest.mark.parametrize("arguments", [{}, {"max_tokens": 2}, {"edit": (1, 5)}])
def test_attend_says_that_this_attention_cannot_be_seen(bloom, monkeypatch, arguments):
    monkeypatch.setattr(CompatibleForward, "run", None)  # before any work
    with pytest.raises(ValueError, match=r"attention of the family 'bloom' cannot be seen.*path is 'packed'"):
        bloom.attend(PROMPT, **arguments)


def test_the_path_is_shown(bloom, engine):
    assert (engine.path, bloom.path) == ("packed", "compatible")
    assert repr(bloom).endswith("2 layers, max_model_len=256, float32, cpu, compatible path)")
    assert "path" not in repr(engine)


def test_the_model_stays_as_it_was(make_model):
    model = make_model("falcon")
    before = model(torch.tensor([PROMPT])).logits
    engine = Engine(model)
    engine.generate(PROMPT, max_tokens=2)
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(model(torch.tensor([PROMPT])).logits, before)


def test_eager_attention_and_bfloat16_run_too(make_model):
    model = make_model("falcon")
    expected = Engine(model).generate(PROMPT, max_tokens=9).token_ids
    model.set_attn_implementation("eager")
    assert Engine(model).generate(PROMPT, max_tokens=9).token_ids == expected
    half = Engine(make_model("gptj").to(torch.bfloat16))
    assert half.path == "compatible"
    assert len(half.generate(PROMPT, max_tokens=5).token_ids) == 5
    assert half.kv_shape.bytes_per_number == 2


def test_a_pass_holds_the_lock(bloom):
    free = []

    def look(*args):
        def try_to_enter():
            free.append(bloom.forward.lock.acquire(blocking=False))

        thread = threading.Thread(target=try_to_enter)
        thread.start()
        thread.join()

    hook = bloom.model.register_forward_pre_hook(look)
    try:
        bloom.generate(PROMPT, max_tokens=2)
    finally:
        hook.remove()
    assert free == [False] * 2


STATE = (
    "on the compatible path .*(its cache holds states other than|only 0 of 2 layers reach .*cache with) keys"
)


@pytest.mark.parametrize(
    ("module", "name", "sizes"),
    [
        ("mamba", "Mamba", {"state_size": 8}),
        ("rwkv", "Rwkv", {"attention_hidden_size": 64}),
        ("falcon_h1", "FalconH1", {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_state": 8}),
        ("jamba", "Jamba", {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 2}),
        ("bamba", "Bamba", {"attn_layer_indices": [1], "mamba_n_heads": 4, "mamba_d_state": 8}),
        (
            "qwen3_next",
            "Qwen3Next",
            {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
        ),
    ],
)
def test_a_state_of_the_whole_sequence_has_no_place_in_blocks(module, name, sizes):
    config = getattr(transformers, f"{name}Config")(
        vocab_size=258, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, bos_token_id=None, eos_token_id=None, pad_token_id=None, **sizes,
    )  # fmt: skip
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    with pytest.raises(ValueError, match=f"family {module!r} cannot run on this engine.*{STATE}"):
        Engine(model)


def test_a_layer_refuses_what_it_cannot_keep(bloom):
    place = Place(KVCache(1), 0, torch.arange(3), slice(0, 3))
    layer = PagedLayer(0, bloom.model.config, place, {})
    keys = torch.zeros(1, 4, 3, 16)
    for wrong in (keys[0], keys.expand(2, -1, -1, -1), keys[:, :, :2]):
        with pytest.raises(ValueError, match=r"layer 0 caches keys of shape .*allowed is \(1, key-value"):
            layer.update(wrong, keys)
        with pytest.raises(ValueError, match="layer 0 caches values of shape"):
            layer.update(keys, wrong)
    layer.update(keys, keys)
    with pytest.raises(ValueError, match="layer 0 writes its cache more than once in a pass"):
        layer.update(keys, keys)
