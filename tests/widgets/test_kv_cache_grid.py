"""`KVCacheGrid` in Python: what travels, what is refused, what it says, how it follows a run."""

import json
import re
from dataclasses import replace

import ipywidgets
import pytest

import llmwidgets as lw
from llmwidgets.engine.generate import Run, finish
from llmwidgets.records.kv_shape import KVShape
from llmwidgets.scheduling.serving_run import ServingRun
from llmwidgets.widgets.kv_cache_grid_source import slot_use
from tests.widgets.serving_runs import serving, snapshots

SHAPE = KVShape((4, 4), (2, 2), (16, 16), (16, 16), 4)


@pytest.fixture(scope="module")
def record():
    return serving()


# What travels


def test_the_wire_is_json_and_buffers(record):
    widget = lw.KVCacheGrid(record)
    state, _, buffers = ipywidgets.widgets.widget._remove_buffers(widget.get_state())
    json.dumps(state)
    assert len(buffers) >= 7


def test_children_have_their_request_s_place_and_name():
    record = lw.simulate([lw.Request([1, 2, 3], 4, "a"), lw.Request([1, 2], 4, "b", n=2)])
    assert lw.KVCacheGrid(record)._drawn["sequences"] == [
        {"id": "a", "request": "a", "place": 0, "child": 0},
        {"id": "0_b", "request": "b", "place": 1, "child": 0},
        {"id": "1_b", "request": "b", "place": 1, "child": 1},
    ]


@pytest.mark.parametrize("cache", ["paged", "contiguous_max", "contiguous_pow2"])
def test_slot_use_is_the_metrics_own_at_each_step(cache):
    metrics = serving(cache=cache, max_model_len=200, num_gpu_blocks=80).metrics
    sent = slot_use(metrics)
    for step, slots in enumerate(sent["slots"]):
        use = metrics.slot_use(step)
        assert dict(zip(sent["parts"], slots, strict=True)) == {
            name: getattr(use, name) for name in sent["parts"]
        }
        assert slots.sum() == 79 * 8
    assert (sent["slots"][:, sent["parts"].index("reserved")] > 0).any() == (cache != "paged")


# What it shows first, and what it follows


def test_badge_and_first_step(record):
    assert lw.KVCacheGrid(record).badge == "COUNTED"
    assert lw.KVCacheGrid(replace(record, model="some-model")).badge == "MEASURED"
    assert lw.KVCacheGrid.from_arrays([[1]], 4).badge == "GIVEN"
    assert lw.KVCacheGrid(record).step == record.busiest_step
    assert record.metrics.free_blocks[record.busiest_step] == record.metrics.free_blocks.min()
    assert lw.KVCacheGrid(record, step=3, badge="RECORDED").badge == "RECORDED"


def test_a_live_run_is_followed_at_its_end_and_nowhere_else(record):
    first, second, *_, last = snapshots(record)[4:]
    widget = lw.KVCacheGrid(first)
    assert widget.step == len(first.log) - 1
    widget.record = second
    assert widget.step == len(second.log) - 1
    run = widget._drawn["run"]
    widget.selected_request, widget.selected_block = "r1", 5
    widget.record = last
    assert (widget.step, widget._drawn["run"]) == (last.busiest_step, run)  # it has ended
    assert (widget.selected_request, widget.selected_block) == ("r1", 5)

    widget = lw.KVCacheGrid(second, step=2)
    widget.record = last
    assert widget.step == 2


def test_another_run_is_shown_from_its_busiest_step_unless_the_user_went_elsewhere(record):
    other = serving("rag", 6, num_gpu_blocks=90)
    widget = lw.KVCacheGrid(record)
    widget.record = other
    assert (widget.step, widget._drawn["run"]) == (other.busiest_step, 1)
    widget = lw.KVCacheGrid(record, step=len(record.log) - 1)
    widget.record = other
    assert widget.step == len(other.log) - 1 < len(record.log) - 1


def test_a_selection_that_another_record_does_not_know_is_cleared(record):
    widget = lw.KVCacheGrid(record, selected_request="r11", selected_block=40)
    widget.record = lw.simulate([lw.Request([1, 2, 3], 4)], num_gpu_blocks=20)
    assert (widget.selected_request, widget.selected_block) == (None, None)


def test_a_run_that_has_not_begun_is_an_empty_pool():
    run = ServingRun([lw.Request([1, 2, 3], 4)], serving().config)
    widget = lw.KVCacheGrid(run.snapshot())
    assert widget.step == 0
    assert widget.to_text() == "KV cache of 47 blocks: no step has run yet"
    assert widget._drawn["slot_use"]["slots"].tolist() == [[0, 0, 0, 0, 47 * 8]]


def test_step_and_selection_are_shared_by_the_views_of_explore(record):
    def run(num_gpu_blocks=48):
        return serving(num_gpu_blocks=num_gpu_blocks)

    view = lw.explore(run, view=[lw.KVCacheGrid, lw.KVCacheGrid], num_gpu_blocks=[48, 64], step=(0, 500))
    first, second = view.widgets
    first.set_state({"step": 4, "selected_request": "r2", "selected_block": 9})  # as the front end does
    assert (second.step, second.selected_request, second.selected_block) == (4, "r2", 9)
    assert view.knobs["step"].value == 4
    view.update(num_gpu_blocks=64)
    assert first._drawn["num_blocks"] == second._drawn["num_blocks"] == 64
    assert second.selected_request == "r2"


# What is refused


@pytest.mark.parametrize(
    ("traits", "message"),
    [
        ({"step": -1}, "step=-1 is not allowed; allowed is 0 to"),
        (
            {"selected_request": "r99"},
            r"selected_request='r99' is not in the record; allowed: r0, r1, .*, \.\.\.",
        ),
        ({"selected_block": 48}, "selected_block=48 is not in the pool; allowed: 0 to 47"),
        ({"selected_block": -1}, "selected_block=-1 is not in the pool"),
    ],
)
def test_a_value_outside_the_record_is_refused(record, traits, message):
    with pytest.raises(ValueError, match=message):
        lw.KVCacheGrid(record, **traits)


def test_a_step_beyond_the_last_is_the_last(record):
    assert lw.KVCacheGrid(record, step=10**6).step == len(record.log) - 1


def test_a_summary_and_other_records_are_refused(record):
    with pytest.raises(ValueError, match="holds only a summary; make it with record='steps'"):
        lw.KVCacheGrid(serving(record="summary"))
    with pytest.raises(
        ValueError, match="a ServingMetrics is not allowed; allowed is a Serving, a Generation"
    ):
        lw.KVCacheGrid(record.metrics)
    with pytest.raises(TypeError, match="no trait 'steps'; did you mean 'step'"):
        lw.KVCacheGrid(record, steps=3)


def test_a_refused_record_leaves_the_picture_as_it_was(record):
    widget = lw.KVCacheGrid(record)
    drawn = widget._drawn
    with pytest.raises(ValueError, match="only a summary"):
        widget.record = serving(record="summary")
    assert widget.record is record
    assert widget._drawn is drawn


# A generation


def test_bytes_by_layer_add_up_to_the_generation_s_and_to_the_storage_s(engine):
    run = Run(engine, list(range(16)), engine.generate("a", max_tokens=1).sampling_params)
    generation = finish(run)  # sixteen tokens: one full block, so the storage holds nothing else
    drawn = lw.KVCacheGrid(generation)._drawn
    per_layer = [
        (heads * key * drawn["bytes_per_number"], heads * value * drawn["bytes_per_number"])
        for heads, key, value in zip(
            drawn["num_kv_heads"], drawn["key_size"], drawn["value_size"], strict=True
        )
    ]
    held = [run.cache.read(layer, slice(0, 16)) for layer in range(2)]
    assert per_layer == [(layer.keys.nbytes // 16, layer.values.nbytes // 16) for layer in held]
    total = sum(keys + values for keys, values in per_layer)
    assert total == generation.kv_shape.bytes_per_token == run.cache.bytes_per_token
    assert drawn["kv_bytes"] == [total * tokens for tokens in drawn["kv_tokens"]]
    assert drawn["kv_bytes"][-1] == run.cache.nbytes


def test_a_generation_in_words(engine):
    generation = engine.generate("It was", max_tokens=5)
    widget = lw.KVCacheGrid(generation)
    assert (widget.badge, widget.step) == ("MEASURED", 4)
    assert widget.to_text() == (
        "Step 4 of 0 to 4: 2 layers × 11 tokens in 1 block: 5,632 bytes (2,816 of keys, 2,816 of values)\n"
        "  layers 0 to 1: 4 query heads read 2 KV heads; a token takes 128 + 128 bytes"
    )
    assert repr(widget) == "KVCacheGrid(step=4, steps=5, layers=2)"
    fresh = lw.KVCacheGrid(engine.generate("It was", max_tokens=5, use_cache=False))
    assert fresh.to_text().endswith("use_cache=False: nothing is kept; the step computed 11 tokens")
    with pytest.raises(ValueError, match="selected_block=0 is not in the pool; allowed: only None"):
        widget.selected_block = 0


def test_layers_of_different_sizes_are_told_apart(engine):
    generation = replace(
        engine.generate("It was", max_tokens=2), kv_shape=KVShape((4, 4, 4), (4, 2, 2), (8,) * 3, (8,) * 3, 2)
    )
    assert lw.KVCacheGrid(generation).to_text().splitlines()[1:] == [
        "  layer 0: 4 query heads read 4 KV heads; a token takes 64 + 64 bytes",
        "  layers 1 to 2: 4 query heads read 2 KV heads; a token takes 32 + 32 bytes",
    ]


def test_a_generation_without_a_shape_is_refused(engine):
    with pytest.raises(ValueError, match=r"holds no kv_shape; make it with engine\.generate"):
        lw.KVCacheGrid(replace(engine.generate("It was", max_tokens=2), kv_shape=None))


# Words


def test_the_text_twin_names_counts_tables_and_queues(record):
    step = record.metrics.num_waiting.argmax()
    now = record.steps[step]
    text = lw.KVCacheGrid(record, step=int(step)).to_text()
    in_use = sum(block.ref_count > 0 for block in now.blocks)
    assert text.startswith(
        f"Step {step} of 0 to {len(record.log) - 1}: 47 blocks of 8 tokens: {in_use} in use"
    )
    for name, table in now.block_tables.items():
        assert f"  {name}: {now.computed_after[name]} tokens in blocks {' '.join(map(str, table))}\n" in text
    assert f"Waiting: {' '.join(now.waiting)}" in text


def test_two_hundred_requests_are_listed_in_part():
    record = serving("chat", 200, num_gpu_blocks=4000, max_num_seqs=200, max_num_batched_tokens=4000)
    text = lw.KVCacheGrid(record, step=6).to_text()
    assert f"and {len(record.steps[6].running) - 12} more" in text
    assert len(record.steps[6].running) > 150
    assert len(text.splitlines()) < 20


def test_repr_is_short_and_the_same_each_time(record):
    assert repr(lw.KVCacheGrid(record)) == repr(lw.KVCacheGrid(serving()))
    assert re.fullmatch(r"KVCacheGrid\(step=\d+, steps=\d+, blocks=47\)", repr(lw.KVCacheGrid(record)))


def test_hostile_ids_and_texts_are_data_in_the_page():
    hostile = ["<img src=x onerror=alert(1)>", "</script><b>", "\u202eabc", "x" * 5000]
    record = lw.simulate([lw.Request([1, 2, 3], 4, name) for name in hostile])
    page = lw.KVCacheGrid(record, token_texts={1: "<img src=y>"}).to_html()
    assert "<img" not in page
    assert "</script><b>" not in page


def test_every_public_trait_is_documented_and_on_the_wire():
    source = __import__("inspect").getsource(lw.KVCacheGrid)
    for name in set(lw.KVCacheGrid.public_traits()) - {"badge"}:
        assert re.search(rf'    {name} = .*\n    """', source), f"{name} has no docstring"
        assert lw.KVCacheGrid.class_traits()[name].metadata.get("sync")
