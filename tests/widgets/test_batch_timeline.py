"""`BatchTimeline`: each cell against the fold of the record, what is refused, what follows a growing run."""

import json
import random
import time
from dataclasses import replace
from functools import cache

import ipywidgets
import numpy as np
import pytest

import llmwidgets as lw
from llmwidgets.records.events import Chunk
from llmwidgets.records.schedule import first_difference
from llmwidgets.widgets.batch_timeline import BatchTimeline
from llmwidgets.widgets.batch_timeline_pair import aligned, drawn_difference
from llmwidgets.widgets.batch_timeline_source import (
    COMPUTING,
    DECODE,
    FINISHED,
    IDLE,
    NOT_ARRIVED,
    PREEMPTED,
    PREFILL,
    QUEUED,
    SPECULATED,
    STATES,
    timeline_of,
)
from tests.served_runs import KNOBS, NAMES, chat, served, stepped


@cache
def drawn(name):
    return timeline_of(served(name))


def expected_states(serving):
    """Return the state of each row in each step, told from the steps of the record."""
    names = [name for request in serving.requests for name in request.sequence_ids]
    states = np.full((len(names), len(serving.steps)), NOT_ARRIVED)
    seen, gone, ran, catching_up = set(), set(), set(), set()
    for step in serving.steps:
        ran |= {new.id for new in step.new}
        catching_up |= {*(new.id for new in step.new), *step.resumed}
        gone |= set(step.finished_before)
        for row, name in enumerate(names):
            if name in step.scheduled_tokens:
                several = step.scheduled_tokens[name] > 1
                state = PREFILL if name in catching_up else SPECULATED if several else DECODE
            elif name in step.running or name in step.idle:
                state = IDLE
            elif name in step.waiting:
                state = PREEMPTED if name in ran else QUEUED
            else:
                state = FINISHED if name in gone and name in seen else NOT_ARRIVED
            states[row, step.step] = state
        seen |= {*step.running, *step.waiting}
        catching_up -= step.sampled.keys()
    return states


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_is_what_the_record_says(name):
    timeline, serving = drawn(name), served(name)
    ids = [row.request_id for row in timeline.rows]
    np.testing.assert_array_equal(timeline.states, expected_states(serving))
    for step in serving.steps:
        tokens = dict(zip(ids, timeline.tokens[:, step.step].tolist(), strict=True))
        assert {name: count for name, count in tokens.items() if count} == step.scheduled_tokens
        new = dict(zip(ids, timeline.new_tokens[:, step.step].tolist(), strict=True))
        assert {name: count for name, count in new.items() if count} == {
            name: len(sampled) for name, sampled in step.sampled.items()
        }
        begins = timeline.states[:, step.step] == PREEMPTED
        if step.step:
            begins &= timeline.states[:, step.step - 1] != PREEMPTED
        assert {ids[row] for row in np.flatnonzero(begins)} == set(step.preempted)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_step_adds_up_to_is_what_the_engine_counted(name):
    timeline, metrics = drawn(name), served(name).metrics
    totals = timeline.totals
    np.testing.assert_array_equal(totals["prefill"] + totals["decode"], metrics.scheduled_tokens)
    np.testing.assert_array_equal(
        totals["running"] + totals["idle"], metrics.num_running + metrics.idle_slots
    )
    np.testing.assert_array_equal(totals["waiting"], metrics.num_waiting)
    assert not totals["padding"].any()


@pytest.mark.parametrize("name", NAMES)
def test_rows_have_the_times_and_hits_of_the_metrics(name):
    timeline, metrics = drawn(name), served(name).metrics
    of = {row.request_id: row for row in timeline.rows}
    number = {row.request_id: i for i, row in enumerate(timeline.rows)}
    for request in metrics.requests:
        row, i = of[request.request_id], number[request.request_id]
        assert row.ttft == request.ttft
        np.testing.assert_array_equal(row.itl, request.itl)
        assert sum(admission.cached_tokens for admission in row.admissions) == request.hit_tokens
        assert len(row.admissions) == request.preemptions + (request.admitted is not None) - (
            timeline.states[i, -1] == PREEMPTED
        )
        steps = np.flatnonzero(timeline.new_tokens[i])
        np.testing.assert_allclose(timeline.step_ends[steps], request.token_times, rtol=1e-12)
        assert row.finish_reason == request.finish_reason
    assert sum(admission.cached_tokens for row in timeline.rows for admission in row.admissions) == (
        metrics.hit_tokens
    )


def test_every_state_but_three_occurs_in_the_runs():
    occurring = {STATES[code] for name in NAMES for code in np.unique(drawn(name).states)}
    assert occurring == {*STATES} - {"speculated", "padding"}


@pytest.mark.parametrize("name", ["preempted", "aborted", "in static batches"])
def test_a_row_ends_where_it_last_waited_or_ran(name):
    timeline, serving = drawn(name), served(name)
    for i, row in enumerate(timeline.rows):
        there = [s.step for s in serving.steps if row.request_id in (*s.running, *s.waiting)]
        assert row.ended == (there[-1] if there else None)
        if there:
            assert set(timeline.states[i, row.ended + 1 :].tolist()) <= {FINISHED, IDLE}


def test_the_shortfall_of_a_static_batch_adds_up_to_the_padding_that_was_counted():
    timeline, metrics = drawn("in static batches"), served("in static batches").metrics
    assert sum(row.shortfall for row in timeline.rows) == metrics.padded_tokens > 0
    assert not any(row.shortfall for row in drawn("preempted").rows)


def test_children_have_their_parents_colour():
    rows = drawn("several answers").rows
    assert [(row.request_id, row.parent_id, row.place) for row in rows[:4]] == [
        ("0_r0", "r0", 0),
        ("1_r0", "r0", 0),
        ("2_r0", "r0", 0),
        ("r1", "r1", 1),
    ]


def test_several_tokens_at_once_after_the_prompt_are_speculated():
    serving = served("preempted")
    step, log = 20, serving.log[20]
    name = next(name for name, tokens in serving.steps[step].scheduled_tokens.items() if tokens == 1)
    events = tuple(
        replace(event, num_tokens=4) if isinstance(event, Chunk) and event.request_id == name else event
        for event in log.events
    )
    guessed = replace(log, events=events, sampled=log.sampled | {name: (7, 8, 9)})
    log = (*serving.log[:step], guessed, *serving.log[step + 1 :])
    timeline = timeline_of(replace(serving, log=log))
    row = [row.request_id for row in timeline.rows].index(name)
    assert timeline.states[row, step] == SPECULATED
    assert (timeline.tokens[row, step], timeline.new_tokens[row, step]) == (4, 3)
    assert timeline.totals["decode"][step] == serving.metrics.scheduled_tokens[step] + 3


def test_a_summary_has_no_timeline():
    summary = lw.simulate(chat(), record="summary", **KNOBS)
    with pytest.raises(ValueError, match="holds no steps; make it with record='steps'"):
        BatchTimeline(summary)


ROWS = {
    "a": ["queued", "prefill", "prefill", "decode", "preempted", "prefill", "speculated", "finished"],
    "b": ["prefill", "decode", "decode", "idle", "idle", "padding", "finished", "finished"],
    "c": ["not arrived", "not arrived", "queued", "prefill", "decode", "decode", "decode", "decode"],
}


def test_given_rows_are_drawn_as_they_are():
    tokens = [[0, 9, 3, 1, 0, 13, 4, 0], [5, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 6, 1, 1, 1, 1]]
    widget = BatchTimeline.from_arrays(ROWS, tokens=tokens, max_num_batched_tokens=16, max_num_seqs=3)
    timeline = widget.record
    assert [[STATES[code] for code in row] for row in timeline.states] == list(ROWS.values())
    assert timeline.tokens.tolist() == tokens
    assert timeline.totals["padding"].tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    assert timeline.totals["idle"].tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    assert [row.ended for row in timeline.rows] == [6, 2, None]
    assert [row.ttft for row in timeline.rows] == [3, 1, 2]
    assert [row.itl.tolist() for row in timeline.rows] == [[1, 2, 1], [1, 1], [1, 1, 1, 1]]
    assert widget.badge == "GIVEN"
    assert repr(widget) == "BatchTimeline(step=0, requests=3, steps=8)"


def test_a_given_prefill_brings_a_token_unless_prefill_or_preemption_follows():
    rows = [["prefill", "preempted", "prefill", "decode"], ["prefill", "prefill", "idle", "finished"]]
    assert BatchTimeline.from_arrays(rows).record.new_tokens.tolist() == [[0, 0, 1, 1], [0, 1, 0, 0]]


def test_names_and_numbers_of_states_are_the_same():
    by_name = BatchTimeline.from_arrays(list(ROWS.values())).record
    by_number = BatchTimeline.from_arrays(by_name.states).record
    assert (by_name.states == by_number.states).all()
    assert [row.request_id for row in by_name.rows] == ["r0", "r1", "r2"]
    assert by_name.tokens.tolist() == np.isin(by_name.states, COMPUTING).astype(int).tolist()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"rows": []}, "rows is empty"),
        ({"rows": {"a": []}}, "rows is empty"),
        ({"rows": {"a": ["decode"], "b": ["decode", "decode"]}}, "row 'b' has 2 steps, but 'a' has 1"),
        ({"rows": {"a": ["decoding"]}}, r"rows\['a'\]\[0\]='decoding' is not allowed; .*not arrived, queued"),
        ({"rows": [[9]]}, r"rows\['r0'\]\[0\]=9 is not allowed; .* from 0 to 8"),
        ({"rows": {"a": ["finished", "decode"]}}, "row 'a' is 'decode' in step 1, after 'finished'"),
        ({"rows": {"a": ["queued", "not arrived"]}}, "row 'a' is 'not arrived' in step 1, after 'queued'"),
        ({"tokens": [[1]]}, r"tokens must be whole numbers .* shape \(3, 8\) as rows"),
        ({"tokens": np.full((3, 8), 0.5)}, "tokens must be whole numbers"),
        ({"tokens": np.full((3, 8), -1)}, "tokens must be whole numbers of at least 0"),
        ({"tokens": np.ones((3, 8), int)}, r"tokens\[0\]\[0\]=1 is not allowed where the state is 'queued'"),
        ({"padding": np.ones((3, 8), int)}, r"padding\[0\]\[0\]=1 is not allowed where .* 'queued'"),
        ({"max_num_seqs": 0}, "max_num_seqs=0 is not allowed"),
        ({"step": -1}, "step=-1 is not allowed; allowed is 0 to 7"),
        ({"selected_request": "d"}, "selected_request='d' is not in the record; it has a, b, c"),
    ],
)
def test_bad_input_is_refused_by_name(bad, message):
    with pytest.raises(ValueError, match=message):
        BatchTimeline.from_arrays(**({"rows": ROWS} | bad))


def test_another_record_is_refused():
    with pytest.raises(
        ValueError, match="a ServingMetrics is not allowed; allowed is a Serving, or from_arrays"
    ):
        BatchTimeline(served("preempted").metrics)


def test_an_unknown_name_raises():
    with pytest.raises(TypeError, match="no trait 'selected_requests'; did you mean 'selected_request'"):
        BatchTimeline.from_arrays(ROWS, selected_requests="a")


def test_a_step_beyond_the_last_is_the_last():
    assert BatchTimeline.from_arrays(ROWS, step=50).step == 7


@pytest.mark.parametrize("model", ["", "classics"])
def test_the_badge_says_whether_a_model_ran(model):
    widget = BatchTimeline(replace(served("preempted"), model=model))
    assert widget.badge == ("MEASURED" if model else "COUNTED")
    assert BatchTimeline(served("preempted"), badge="RECORDED").badge == "RECORDED"


def test_the_step_follows_the_end_of_a_growing_run_and_else_stays():
    records = list(stepped())
    following, staying = BatchTimeline(records[0]), BatchTimeline(records[5])
    staying.step, staying.selected_request = 2, "r1"
    for record in records[1:]:
        following.record = record
        finished = [r for r in record.metrics.requests if r.finish_reason is not None]
        ended = len(finished) == sum(r.n for r in record.requests)
        assert following.step == (record.busiest_step if ended else len(record.log) - 1)
    for record in records[6:]:
        staying.record = record
        assert (staying.step, staying.selected_request) == (2, "r1")
    assert staying._timeline["runs"][0]["states"].shape[1] == len(records[-1].log)


def test_a_run_that_goes_on_shows_its_last_step_and_one_that_has_ended_its_busiest():
    assert BatchTimeline(served("still running")).step == len(served("still running").log) - 1
    assert BatchTimeline(served("preempted")).step == served("preempted").busiest_step > 0


def test_another_run_keeps_what_it_can():
    widget = BatchTimeline(served("preempted"), step=100, selected_request="r11")
    widget.record = lw.simulate(chat()[:4], **KNOBS)
    assert widget.step == min(100, widget.num_steps - 1)
    assert widget.selected_request is None
    widget = BatchTimeline(served("preempted"))
    widget.record = served("in static batches")
    assert widget.step == served("in static batches").busiest_step


def test_a_record_that_is_refused_leaves_the_picture():
    widget = BatchTimeline(served("preempted"), step=9)
    before = widget._timeline
    with pytest.raises(ValueError, match="holds no steps"):
        widget.record = lw.simulate(chat(), record="summary", **KNOBS)
    assert widget._timeline is before
    assert (widget.record, widget.step) == (served("preempted"), 9)


def test_two_runs_are_marked_where_their_schedules_part():
    mine, other = served("in static batches"), served("preempted")
    widget = BatchTimeline(mine, against=other, title="static", against_title="continuous")
    found = first_difference(mine, other)
    assert widget._timeline["difference"] == {
        "step": found.step,
        "request_id": found.request_id,
        "text": found.to_text(),
    }
    assert widget.num_steps == max(len(mine.log), len(other.log))
    assert f"First difference: {found.to_text()}" in widget.to_text()
    widget.against = mine
    assert widget._timeline["difference"] is None
    widget.against = None
    assert len(widget._timeline["runs"]) == 1


def test_rows_of_two_runs_stand_in_one_order():
    mine = lw.simulate(chat()[:5], **KNOBS)
    other = lw.simulate([*reversed(chat()[3:7])], **KNOBS)
    first, second = aligned([timeline_of(mine), timeline_of(other)])
    assert [row.request_id for row in first.rows] == ["r0", "r1", "r2", "r3", "r4", "r6", "r5"]
    assert [row.request_id for row in second.rows] == [row.request_id for row in first.rows]
    assert not second.states[:3].any()
    assert not first.states[5:].any()
    assert [row.ttft is None for row in first.rows] == [False] * 5 + [True] * 2
    alone = timeline_of(other)
    for row, name in enumerate(row.request_id for row in alone.rows):
        there = [row.request_id for row in second.rows].index(name)
        np.testing.assert_array_equal(second.tokens[there], alone.tokens[row])


def test_given_rows_differ_where_the_first_cell_does():
    draw = random.Random(0)
    for _ in range(200):
        mine = [[draw.choice((PREFILL, DECODE)) for _ in range(4)] for _ in range(3)]
        other = [row[: draw.choice((3, 4))] for row in mine]
        other = [row[: min(map(len, other))] for row in other]
        if draw.random() < 0.7:
            other[draw.randrange(3)][draw.randrange(3)] = DECODE
        cells = [
            (step, row)
            for step in range(len(other[0]))
            for row in range(3)
            if mine[row][step] != other[row][step]
        ]
        found = drawn_difference(*(BatchTimeline.from_arrays(rows).record for rows in (mine, other)))
        if cells:
            assert (found.step, found.request_id) == (cells[0][0], f"r{cells[0][1]}")
            assert found.text == f"Step {cells[0][0]}, r{cells[0][1]}: prefill of 1 instead of decode of 1."
        elif len(other[0]) < 4:
            assert (found.step, found.text) == (3, "Step 3, r0: a run of 4 steps instead of 3.")
        else:
            assert found is None


def test_a_record_is_held_against_given_rows():
    timeline = drawn("preempted")
    states, tokens = timeline.states.copy(), timeline.tokens.copy()
    states[2, 3], tokens[2, 3] = QUEUED, 0
    rows = {row.request_id: states[i] for i, row in enumerate(timeline.rows)}
    given = BatchTimeline.from_arrays(rows, tokens=tokens).record
    widget = BatchTimeline(served("preempted"), against=given)
    assert (widget.badge, widget.against_badge) == ("COUNTED", "GIVEN")
    was = f"{STATES[timeline.states[2, 3]]} of {timeline.tokens[2, 3]}"
    text = f"Step 3, r2: {was} instead of queued."
    assert widget._timeline["difference"] == {"step": 3, "request_id": "r2", "text": text}


def test_what_travels_is_json_and_bytes():
    widget = BatchTimeline(served("several answers"), against=served("preempted"))
    state, _, buffers = ipywidgets.widgets.widget._remove_buffers(widget.get_state())
    json.dumps(state)
    run = widget._timeline["runs"][0]
    cells = run["states"].size
    assert run["states"].nbytes == run["tokens"].nbytes == run["new_tokens"].nbytes == cells
    assert run["padding"] is None
    assert sum(len(buffer) for buffer in buffers) < 2 * 4 * cells


def test_the_text_twin_has_a_line_a_request_and_a_sign_a_step():
    text = BatchTimeline.from_arrays(ROWS, step=2, max_num_seqs=3).to_text().splitlines()
    assert text[0] == (
        "3 requests × 8 steps. Step 2: 2 tokens (1 prefill, 1 decode), 2 of 3 sequences compute, 1 wait."
    )
    assert text[2].startswith("  a |qPPdxPs | TTFT 3 steps")
    assert text[3].startswith("  b |Pddiip  |")
    assert text[4].startswith("  c |  qPdddd|")


def test_the_text_twin_of_many_requests_shows_those_of_the_step():
    serving = lw.simulate(lw.workload("chat", 60, vocab_size=1000), **(KNOBS | {"num_gpu_blocks": 200}))
    widget = BatchTimeline(serving, step=300)
    text = widget.to_text()
    assert "and 44 more" in text
    assert all(f"  {name} " in text for name in serving.steps[300].running)


def test_ids_cannot_command_a_terminal():
    rows = {"\x1b[31mred": ["decode"], "\ud800": ["decode"], "\u202eabc": ["decode"]}
    widget = BatchTimeline.from_arrays(rows, title="\x1b[2J")
    widget.against = BatchTimeline.from_arrays({"\x1b[31mred": ["queued"]}).record
    text = widget.to_text()
    assert all(line.isprintable() for line in text.splitlines())
    assert "\\x1b[31mred" in text


def test_the_page_holds_hostile_ids_only_as_escaped_data():
    page = BatchTimeline.from_arrays({"<img src=x onerror=alert(1)>": ["decode"]}, title="<script>").to_html()
    assert "<img" not in page
    assert '<script>"' not in page


def test_a_thousand_requests_are_folded_in_a_second():
    serving = lw.simulate(
        lw.workload("chat", 1000, vocab_size=1000, rate=12, scale=0.62),
        block_size=16,
        num_gpu_blocks=900,
        max_num_seqs=300,
        max_num_batched_tokens=1024,
    )
    assert len(serving.log) >= 200
    start = time.process_time()
    BatchTimeline(serving)
    assert time.process_time() - start < 1  # CPU time: 0.3 s when measured
