"""What every widget has from `Figure`: strict names, the wire, the text twin and the exported page."""

import json
import re

import ipywidgets
import numpy as np
import pytest

import llmwidgets as lw
from llmwidgets.widgets.figure import bundle, pack

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "<!--",
    "\u202eabc",
    "👩‍👩‍👧",
    "a" * 10_000,
]


def heatmap(tokens: list[str] | None = None) -> lw.AttentionHeatmap:
    tokens = tokens or list("abcd")
    weights = np.tril(np.ones((len(tokens), len(tokens))))
    return lw.AttentionHeatmap.from_arrays(weights / weights.sum(axis=1, keepdims=True), tokens)


def test_an_unknown_name_raises_and_the_near_one_is_named() -> None:
    with pytest.raises(TypeError, match=r"no trait 'haed'; did you mean 'head'\?"):
        lw.AttentionHeatmap.from_arrays(np.eye(2), ["a", "b"], haed=0)


def test_an_unknown_name_with_nothing_near_lists_what_there_is() -> None:
    with pytest.raises(TypeError, match=r"it has .*layer, head, selected_token"):
        lw.AttentionHeatmap.from_arrays(np.eye(2), ["a", "b"], zzzzzz=0)


def test_every_public_trait_is_documented_and_on_the_wire() -> None:
    source = __import__("inspect").getsource
    for cls in lw.AttentionHeatmap.__mro__[:3]:
        for name in [name for name in lw.AttentionHeatmap.public_traits() if name in vars(cls)]:
            assert re.search(rf'    {name} = .*\n    """', source(cls)), (
                f"{cls.__name__}.{name} has no docstring"
            )
            assert lw.AttentionHeatmap.class_traits()[name].metadata.get("sync")


def test_pack_turns_arrays_at_any_depth_into_dtype_shape_and_bytes() -> None:
    packed = pack({"a": [np.arange(6, dtype=np.float16).reshape(2, 3)[:, ::2]], "b": 1})
    assert packed["b"] == 1
    assert {key: packed["a"][0][key] for key in ("dtype", "shape")} == {"dtype": "float16", "shape": [2, 2]}
    assert np.frombuffer(packed["a"][0]["data"], np.float16).tolist() == [0, 2, 3, 5]


def test_wire_state_is_json_and_buffers() -> None:
    figure = heatmap()
    state, _, buffers = ipywidgets.widgets.widget._remove_buffers(figure.get_state())
    json.dumps(state)
    assert buffers
    assert all(isinstance(buffer, (bytes, memoryview)) for buffer in buffers)


def test_text_plain_is_to_text() -> None:
    figure = heatmap()
    data, _ = figure._repr_mimebundle_()
    assert data["text/plain"] == figure.to_text()
    assert "application/vnd.jupyter.widget-view+json" in data


def test_repr_is_short_and_the_same_for_equal_figures() -> None:
    assert repr(heatmap()) == repr(heatmap()) == "AttentionHeatmap(layer=0, head=0, queries=4, keys=4)"


def test_a_page_is_written_and_returned(tmp_path) -> None:
    path = tmp_path / "page.html"
    page = heatmap().to_html(path, title="A <b> & c")
    assert path.read_text(encoding="utf-8") == page
    assert "<title>A &lt;b&gt; &amp; c</title>" in page


def test_hostile_tokens_are_data_in_the_page() -> None:
    page = heatmap(HOSTILE).to_html()
    for token in HOSTILE[:3]:
        assert token not in page
    block = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert block
    assert "<" not in block.group(1)
    (widget,) = json.loads(block.group(1))["widgets"]
    assert widget["state"]["_facts"]["tokens"] == HOSTILE


def test_a_page_asks_for_nothing_from_outside() -> None:
    page = heatmap().to_html()
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)\s*=\s*["']?https?:""", page)


@pytest.mark.parametrize("stem", ["attention_heatmap", "run_status", "host"])
def test_a_bundle_is_at_most_60_kilobytes(stem: str) -> None:
    assert bundle(stem).stat().st_size <= 60_000


def test_a_missing_bundle_says_how_to_build_it() -> None:
    with pytest.raises(ImportError, match=r"pip install -e \."):
        bundle("no_such_widget")
