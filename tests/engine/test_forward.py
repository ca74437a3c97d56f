"""The packed path against Transformers' own attention: same tokens, same logits, model left as it was."""

import threading

import pytest
import torch

from llmwidgets.engine import Engine
from llmwidgets.engine import forward as forward_module
from llmwidgets.engine.batch import Chunk
from llmwidgets.engine.forward import PackedForward
from llmwidgets.engine.kv_cache import BlockTable, KVCache

PACKED = ["llama", "qwen3", "gpt2", "gemma2", "mistral_window", "qwen3_mixed", "gpt_oss"]
PROMPT = [(3 + 7 * i) % 256 for i in range(21)]  # longer than the window of 8
TOLERANCE = 5e-5


def in_chunks(engine, token_ids, sizes, blocks, block_size=16):
    """Return the logits of all positions, computed chunk by chunk over blocks that lie scattered."""
    cache, table = KVCache(max(blocks) + 1, block_size), BlockTable(block_size, blocks)
    logits, start = [], 0
    for size in sizes:
        stop = start + size
        chunk = Chunk(token_ids[start:stop], start, table.slots(stop, engine.forward.device), size)
        logits.append(engine.forward.run(engine.forward.prepare([chunk], cache)))
        start = stop
    assert start == len(token_ids)
    return torch.cat(logits)


@pytest.mark.parametrize("family", PACKED)
def test_greedy_tokens_and_logits_equal_transformers(make_model, family):
    model = make_model(family)
    engine = Engine(model)
    generation = engine.generate(PROMPT, max_tokens=48)
    expected = model.generate(torch.tensor([PROMPT]), max_new_tokens=48, do_sample=False)[0, len(PROMPT) :]
    assert list(generation.token_ids) == expected.tolist()
    assert len(set(generation.token_ids)) >= 12, "a model that repeats itself proves nothing"

    sequence = PROMPT + expected.tolist()
    plain = engine.forward.plain(sequence)
    one_shot = in_chunks(engine, sequence, [len(sequence)], [0, 1, 2, 3, 4])
    chunked = in_chunks(engine, sequence, [1, 19, 1, 30, 2, 16], [5, 1, 7, 2, 4])
    assert (one_shot - plain).abs().max() <= TOLERANCE
    assert (chunked - plain).abs().max() <= TOLERANCE
    assert torch.equal(chunked.argmax(-1), one_shot.argmax(-1))


@pytest.mark.parametrize("family", PACKED)
def test_ragged_sequences_of_one_batch_do_not_see_each_other(make_model, family):
    engine = Engine(make_model(family))
    sequences = [[(5 + 11 * i) % 256 for i in range(n)] for n in (19, 3, 33)]
    starts = [(0, 12), (0, 3), (0, 33)]  # the first goes on in a second pass, beside new tokens of the others
    cache = KVCache(12)
    tables = [BlockTable(16, blocks) for blocks in ([9, 2], [4, 0], [7, 1, 11])]
    device = engine.forward.device
    first = [
        Chunk(s[a:b], a, t.slots(b, device), 1)
        for s, (a, b), t in zip(sequences, starts, tables, strict=True)
    ]
    engine.forward.run(engine.forward.prepare(first, cache))
    longer = [sequences[0], [*sequences[1], 77], [*sequences[2], 99]]
    second = [
        Chunk(s[b:], b, t.slots(len(s), device), 1)
        for s, (_, b), t in zip(longer, starts, tables, strict=True)
    ]
    logits = engine.forward.run(engine.forward.prepare(second, cache))
    alone = torch.stack([engine.forward.plain(s)[-1] for s in longer])
    assert logits.shape == alone.shape
    assert (logits - alone).abs().max() <= TOLERANCE


def test_only_the_wanted_logits_come_back(engine):
    chunks = [Chunk([1, 2, 3], num_logits=2), Chunk([4, 5], num_logits=0), Chunk([6], num_logits=1)]
    logits = engine.forward.run(engine.forward.prepare(chunks))
    assert logits.shape == (3, engine.vocab_size)
    assert torch.allclose(logits[:2], engine.forward.plain([1, 2, 3])[1:], atol=TOLERANCE)
    assert torch.allclose(logits[2], engine.forward.plain([6])[0], atol=TOLERANCE)


@pytest.mark.parametrize("own", ["sdpa", "eager"])
def test_the_model_stays_usable_as_plain_transformers(make_model, own):
    model = make_model()
    model.set_attn_implementation(own)
    before = model(torch.tensor([PROMPT])).logits
    engine = Engine(model)
    engine.generate(PROMPT, max_tokens=2)
    assert model.config._attn_implementation == own
    assert torch.equal(model(torch.tensor([PROMPT])).logits, before)


def test_a_failing_pass_restores_the_model(make_model, monkeypatch):
    model = make_model()
    engine = Engine(model)

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("llmwidgets.engine.attention.attend_one", fail)
    with pytest.raises(KeyboardInterrupt):
        engine.generate(PROMPT, max_tokens=2)
    monkeypatch.undo()
    assert model.config._attn_implementation == "sdpa"
    assert engine.generate(PROMPT, max_tokens=2).token_ids


def test_engines_over_one_model_share_its_lock(make_model):
    model = make_model()
    assert PackedForward(model).lock is PackedForward(model).lock
    assert PackedForward(model).lock is not PackedForward(make_model()).lock
    assert model in forward_module._locks


def test_masks_beyond_the_window_are_kept_out_of_the_cache_too(make_model):
    """A window shorter than the text: far tokens change nothing, near ones do."""
    engine = Engine(make_model("mistral_window", num_hidden_layers=1))
    far, near = [9, *PROMPT[1:]], [*PROMPT[:-2], 9, PROMPT[-1]]
    last = [in_chunks(engine, ids, [13, 8], [0, 1])[-1] for ids in (PROMPT, far, near)]
    assert torch.equal(last[0], last[1])
    assert (last[0] - last[2]).abs().max() > 1e-3


def test_bfloat16_runs(make_model):
    engine = Engine(make_model().to(torch.bfloat16))
    assert len(engine.generate(PROMPT, max_tokens=5).token_ids) == 5
    assert engine.attend(PROMPT).weights(0, 0).dtype == "float32"


def test_slots_follow_the_block_table():
    device = torch.device("cpu")
    scattered = BlockTable(4, [5, 1, 7])
    assert scattered.slots(10, device).tolist() == [20, 21, 22, 23, 4, 5, 6, 7, 28, 29]
    assert BlockTable(4, [2, 3]).slots(6, device) == slice(8, 14)  # in a row: read without a copy


def test_a_pass_holds_the_lock(engine):
    """Two threads in one model would switch its attention under each other's feet."""
    free = []

    def look(*args):
        def try_to_enter():
            free.append(engine.forward.lock.acquire(blocking=False))
            if free[-1]:
                engine.forward.lock.release()

        thread = threading.Thread(target=try_to_enter)
        thread.start()
        thread.join()

    hook = engine.model.register_forward_pre_hook(look)
    try:
        engine.generate(PROMPT, max_tokens=2)
        engine.forward.plain(PROMPT)
    finally:
        hook.remove()
    assert free == [False] * 3
