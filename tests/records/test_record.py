"""`Record`: display, and the file format against damage and malice."""

import io
import json
import math
import pickle
import zipfile
from dataclasses import dataclass, fields

import numpy as np
import pytest

from llmwidgets.records import archive
from llmwidgets.records.attention import Attention, AttentionEdit
from llmwidgets.records.bundled_model import BundledModel
from llmwidgets.records.generation import Generation, GenerationStep
from llmwidgets.records.record import Record, load_record
from llmwidgets.records.sampling_params import SamplingParams


def attention():
    return Attention(
        tokens=("a", "日", "<img src=x onerror=alert(1)>", "\u202e"),
        token_ids=np.arange(4, dtype=np.int64),
        query_positions=np.array([2, 3]),
        num_layers=2,
        num_heads=2,
        num_kv_heads=1,
        layers=(1,),
        heads=(0, 1),
        queries=(np.ones((2, 2, 3), np.float32),),
        keys=(np.full((1, 4, 3), 2, np.float16),),
        scalings=(0.1,),
        sliding_windows=(None, 3),
        softcaps=(None,),
        sinks=(np.zeros(2, np.float32),),
        edit=AttentionEdit(1, 5, "b", np.array([0, 1], np.float32)),
    )


def generation(num_steps=3):
    step = GenerationStep(7, "x", -0.5, 0.25, 1, 5, 1, 640, 0.01, 0.02)
    return Generation(
        prompt_token_ids=(1, 2),
        token_ids=(7,) * num_steps,
        tokens=("x",) * num_steps,
        text="x" * num_steps,
        finish_reason="length",
        stop_reason=None,
        steps=(step,) * num_steps,
        sampling_params=SamplingParams(stop=("\n\n",)),
        use_cache=True,
        model="tiny",
    )


def same(a, b):
    if isinstance(a, np.ndarray):
        return type(b) is np.ndarray and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, tuple):
        return type(b) is tuple and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Record):
        names = [field.name for field in fields(a)]
        return type(a) is type(b) and all(same(getattr(a, n), getattr(b, n)) for n in names)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize(
    "record", [attention(), generation(), SamplingParams(), BundledModel("a", "llama", 1, 2, 3, 4, 5, 6)]
)
def test_a_record_comes_back_as_it_was(tmp_path, record):
    path = tmp_path / "record.llmw"
    record.save(path)
    assert same(record, load_record(path))
    assert [file.name for file in tmp_path.iterdir()] == ["record.llmw"]  # nothing half written is left


def test_loaded_weights_are_the_same(tmp_path):
    attention().save(tmp_path / "a")
    np.testing.assert_array_equal(load_record(tmp_path / "a").weights(1, 1), attention().weights(1, 1))


def test_thousands_of_small_records_stay_small(tmp_path):
    generation(5000).save(tmp_path / "g")
    assert (tmp_path / "g").stat().st_size < 100_000
    assert same(load_record(tmp_path / "g"), generation(5000))


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "r"
    generation().save(path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(OSError, match="disk full"):
        attention().save(path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_only_plain_values_are_saved(tmp_path):
    record = generation()
    object.__setattr__(record, "text", object())
    with pytest.raises(ValueError, match="a record cannot hold a object"):
        record.save(tmp_path / "r")
    object.__setattr__(record, "text", np.array([object()]))
    with pytest.raises(ValueError, match="a record cannot hold a ndarray"):
        record.save(tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


# --- files from strangers ---------------------------------------------------------------------------------


def parts(record, tmp_path):
    """Return the members of a saved record by name."""
    record.save(tmp_path / "original")
    with zipfile.ZipFile(tmp_path / "original") as file:
        return {name: file.read(name) for name in file.namelist()}


def refused(tmp_path, members, message):
    path = tmp_path / "hostile"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    with pytest.raises(ValueError, match=message):
        load_record(path)


def changed(tmp_path, message, change, record=None):
    members = parts(record or generation(), tmp_path)
    header = json.loads(members["record.json"])
    refused(tmp_path, members | {"record.json": json.dumps(change(header) or header)}, message)


def npy(array, **arguments):
    file = io.BytesIO()
    np.save(file, array, **arguments)
    return file.getvalue()


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip at all", pickle.dumps(1), b"\x00" * 1000])
def test_files_that_are_no_zip(tmp_path, data):
    (tmp_path / "r").write_bytes(data)
    with pytest.raises(ValueError, match="cannot be read as a saved record"):
        load_record(tmp_path / "r")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="nothing"):
        load_record(tmp_path / "nothing")


def test_damage_anywhere_is_a_value_error_or_harmless(tmp_path):
    attention().save(tmp_path / "r")
    data = bytearray((tmp_path / "r").read_bytes())
    for place in range(0, len(data), 7):
        broken = bytearray(data)
        broken[place] ^= 0xFF
        (tmp_path / "b").write_bytes(broken)
        try:
            assert same(load_record(tmp_path / "b"), attention())  # a date or a comment
        except ValueError as error:
            assert str(tmp_path) in str(error)  # noqa: PT017  # some damage is harmless, so nothing need raise
    for length in range(0, len(data), 41):
        (tmp_path / "b").write_bytes(data[:length])
        with pytest.raises(ValueError, match="cannot be read"):
            load_record(tmp_path / "b")


def test_headers_that_are_not_ours(tmp_path):
    refused(tmp_path, {"other": "x"}, "no record.json")
    refused(tmp_path, {"record.json": "{"}, "cannot be read")
    refused(tmp_path, {"record.json": "[]"}, "format is not")
    refused(tmp_path, {"record.json": "{}"}, "format is not")
    refused(tmp_path, {"record.json": b"\xff\xfe"}, "cannot be read")
    refused(tmp_path, {"record.json": "[" * 200_000}, "cannot be read")
    refused(tmp_path, {"record.json": "9" * 10_000}, "cannot be read")
    changed(tmp_path, "version 2; this llmwidgets reads version 1", lambda h: h | {"version": 2})
    changed(tmp_path, "no schema", lambda h: h | {"schema": []})


def test_unknown_classes_are_not_looked_up(tmp_path):
    changed(tmp_path, "unknown record class 'Popen'", lambda h: h | {"root": {"Popen": ["id"]}})
    changed(tmp_path, "unknown record class 'Record'", lambda h: h | {"root": {"Record": []}})


def test_only_records_of_the_package_are_known(tmp_path, monkeypatch):
    @dataclass(frozen=True)
    class Foreign(Record):
        a: int

    monkeypatch.setattr(archive, "classes", archive.classes.__wrapped__)  # found anew, not remembered
    with pytest.raises(ValueError, match="cannot hold a Foreign"):
        Foreign(1).save(tmp_path / "r")
    changed(tmp_path, "unknown record class 'Foreign'", lambda h: h | {"root": {"Foreign": [1]}})


def test_fields_must_be_there_and_of_their_type(tmp_path):
    def without(name):
        def change(header):
            place = header["schema"]["Generation"].index(name)
            header["schema"]["Generation"].pop(place)
            header["root"]["Generation"].pop(place)

        return change

    def setting(name, value):
        def change(header):
            header["root"]["Generation"][header["schema"]["Generation"].index(name)] = value

        return change

    changed(tmp_path, "the field text of Generation is missing", without("text"))
    changed(tmp_path, "do not match its schema", lambda h: h["root"]["Generation"].pop() and None)
    changed(tmp_path, "has no field evil", lambda h: h["schema"]["Generation"].__setitem__(0, "evil"))
    for name, value in [
        ("text", 3),
        ("token_ids", "abc"),
        ("token_ids", [1, "2", 3]),
        ("token_ids", [1.0, 2.0, 3.0]),
        ("token_ids", [True, True, True]),
        ("use_cache", 1),
        ("finish_reason", "bored"),
        ("steps", [{"SamplingParams": []}] * 3),
        ("steps", [None] * 3),
        ("steps", [{}] * 3),
        ("sampling_params", {"dict": []}),
        ("model", {"array": 0}),
    ]:
        changed(tmp_path, r"stands where|do not match|is missing|unknown record class", setting(name, value))
    changed(tmp_path, "must have the same length", setting("token_ids", [1]))


def test_values_outside_what_a_field_allows(tmp_path):
    def change(header):
        names = header["schema"]["SamplingParams"]
        header["root"]["SamplingParams"][names.index("temperature")] = -1

    changed(tmp_path, "temperature=-1.0 is not allowed", change, SamplingParams())


def test_hostile_arrays(tmp_path):
    members = parts(attention(), tmp_path)
    name = "arrays/0.npy"  # token_ids
    refused(tmp_path, members | {name: npy(np.array([None] * 4), allow_pickle=True)}, "an array holds object")
    refused(tmp_path, members | {name: npy(np.arange(5))}, "one entry for each token")
    refused(tmp_path, members | {name: npy(np.arange(4.0))}, "array of float64 stands where int64 belongs")
    refused(tmp_path, members | {name: npy(np.zeros(4, "U9"))}, "an array holds <U9")
    refused(tmp_path, members | {name: npy(np.zeros(4, [("a", "i8")]))}, "an array")
    refused(tmp_path, members | {name: b"garbage"}, "cannot be read")
    refused(tmp_path, members | {name: npy(np.arange(4))[:-3]}, "needs 32 bytes; 29 are there")
    bomb = npy(np.arange(4)).replace(b"(4,)", b"(4000000000000,)", 1)
    refused(tmp_path, members | {name: bomb}, "cannot be read")
    refused(tmp_path, {key: data for key, data in members.items() if key != name}, "array 0 is missing")
    refused(tmp_path, members | {"arrays/1.npy": npy(np.array([3, 2]))}, "query_positions must ascend")


def test_size_bombs(tmp_path, monkeypatch):
    members = parts(attention(), tmp_path)
    monkeypatch.setattr(archive, "MAX_ARRAY_BYTES", 10_000)
    refused(tmp_path, members | {"arrays/99.npy": bytes(20_000)}, "more than")
    monkeypatch.setattr(archive, "MAX_JSON_BYTES", 100)
    refused(tmp_path, members, "larger than 100 bytes")
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    refused(tmp_path, members, "more than 2 members")


# --- display ----------------------------------------------------------------------------------------------


def test_a_record_without_a_view_shows_text():
    assert generation()._repr_mimebundle_() == {"text/plain": generation().to_text()}


@pytest.mark.parametrize("view", ["no_such_module:Widget", "llmwidgets.records.record:Nothing", "broken"])
def test_without_its_view_a_record_shows_text(monkeypatch, view):
    monkeypatch.setattr(Attention, "default_view", view)
    assert attention()._repr_mimebundle_(include=None, exclude=None) == {"text/plain": repr(attention())}


def test_a_record_shows_its_view(monkeypatch):
    class View:
        def __init__(self, record):
            self.record = record

        def _repr_mimebundle_(self, include=None, exclude=None):
            return {"text/plain": "drawn", "of": self.record}, {}

    monkeypatch.setattr("llmwidgets.records.record.View", View, raising=False)
    monkeypatch.setattr(Attention, "default_view", "llmwidgets.records.record:View")
    record = attention()
    assert record._repr_mimebundle_() == ({"text/plain": "drawn", "of": record}, {})


def test_reprs_are_short_and_deterministic():
    assert repr(attention()) == "Attention(2 queries × 4 keys, 1 of 2 layers, 2 of 2 heads, edit at 1)"
    assert (
        repr(attention().edit)
        == "AttentionEdit(position=1, token_id=5, token='b', output_change=<float32 2>)"
    )
    assert repr(generation(9)).startswith("Generation(2 + 9 tokens")
    assert "steps=<" not in repr(SamplingParams())


def test_sampling_params_say_what_is_allowed():
    wrong = {
        "max_tokens": [0, -1, 1.5, True, "many", None],
        "temperature": [-0.1, math.nan, math.inf, "hot", None],
        "top_k": [-1, 0.5],
        "top_p": [0, 1.01, math.nan],
        "min_p": [-0.1, 1.1],
        "repetition_penalty": [0, -1],
        "presence_penalty": [2.1, -3],
        "frequency_penalty": [2.1, -3],
        "seed": [-1, 1.5, None],
        "stop": ["end", ("",), (3,), ["end"]],
        "ignore_eos": [0, None],
        "sampler_order": ["hf", None],
    }
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(ValueError, match=f"^{name}=.* is not allowed; allowed is "):
                SamplingParams(**{name: value})
