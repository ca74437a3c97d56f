"""The pieces of `benchmarks.peers`, at 16 tokens and without any peer; nothing here looks at a clock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peer_browser import Seen
from benchmarks.peer_pages import VIEWS, Page, make_page
from benchmarks.peer_table import COLUMNS, Row, line, verdict
from benchmarks.peers import ROOT, Benchmark, parse

TOKENS = [f" word{i}" for i in range(16)]
PEERS = [(name, view.package) for name, view in VIEWS.items() if view.package != "llmwidgets"]


def causal(layers: int = 2, heads: int = 8, length: int = 16) -> np.ndarray:
    weights = np.tril(np.random.default_rng(0).random((layers, heads, length, length), np.float32))
    return weights / weights.sum(axis=-1, keepdims=True)


def row(view: str = "AttentionHeatmap", **what: object) -> Row:
    page = Page(num_bytes=64_000, cpu_seconds=0.1, heads=64)
    seen = Seen(paint=500.0, switch=[30.0] * 20, hover=[20.0] * 20, num_nodes=100, heap_bytes=2_000_000)
    return Row(**{"length": 16, "view": view, "cap": 30, "page": page, "seen": seen} | what)


def cells(row: Row, ours: list[Row]) -> dict[str, str]:
    texts = [cell.strip() for cell in line(row, ours).split("|")[1:-1]]
    return dict(zip(COLUMNS, texts, strict=True))


def test_our_page_says_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    page = make_page("AttentionHeatmap", causal(), TOKENS, path)
    assert page.num_bytes == path.stat().st_size > 2 * 8 * 16 * 17  # 16 heads, 2 bytes a causal weight
    assert page.heads == 16
    assert page.scripts == {}
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_page_is_made_in_another_process(tmp_path: Path) -> None:
    np.save(tmp_path / "weights.npy", causal())
    (tmp_path / "tokens.json").write_text(json.dumps(TOKENS))
    inputs = [str(tmp_path / name) for name in ("weights.npy", "tokens.json", "page.html")]
    command = [sys.executable, "-m", "benchmarks.peer_pages", "AttentionHeatmap", *inputs]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert Page(**json.loads(done.stdout)).num_bytes == (tmp_path / "page.html").stat().st_size


@pytest.mark.parametrize(("name", "package"), PEERS)
def test_a_missing_peer_is_reported(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)  # Python's own way to say that it is not there
    page = make_page(name, causal(), TOKENS, tmp_path / "page.html")
    assert page.missing == package
    assert list(tmp_path.iterdir()) == []
    benchmark = object.__new__(Benchmark)  # without browser or server
    benchmark.options, benchmark.last = parse([]), {}
    benchmark.make = lambda _view, _length: page
    shown = cells(benchmark.measure(name, 16), [row()])
    assert shown["against ours"] == f"not installed: {package}"
    assert {shown[name] for name in ("holds", "page, bytes", "first paint, ms", "nodes")} == {"–"}


def test_a_page_of_gigabytes_is_not_made_but_estimated() -> None:
    benchmark = object.__new__(Benchmark)
    benchmark.options, benchmark.last = parse([]), {"BertViz head_view": (512, 480_000_000)}
    made = benchmark.measure("BertViz head_view", 1024)
    assert made.page == Page()
    assert made.note == "not made: about 1.9 GB of HTML (an estimate: bytes grow as T²)"
    assert benchmark.too_large("BertViz head_view", 512) == ""


def test_the_verdict_is_a_ratio_and_bold_where_ours_is_worse() -> None:
    page = Page(num_bytes=16_000, cpu_seconds=0.05, heads=1)  # bytes are compared a head
    theirs = row("CircuitsVis attention_pattern", page=page, seen=Seen(paint=7500.0, num_nodes=9))
    assert verdict(theirs, [row()]) == "bytes a head 16 ×, **CPU 0.5 ×**, paint 15 ×, **nodes 0.09 ×**"


def test_a_stopped_page_is_a_lower_bound() -> None:
    theirs = row("BertViz head_view", seen=Seen(stopped="paint"), page=Page())
    shown = cells(theirs, [row()])
    assert shown["first paint, ms"] == "stopped at 30 s"
    assert shown["against ours"] == "paint > 60 ×"


def test_a_number_that_our_page_lacks_is_compared_with_the_next_of_ours() -> None:
    page = row(seen=Seen(paint=500.0))
    live = row("AttentionHeatmap in JupyterLab", page=Page(), seen=Seen(paint=900.0, switch=[100.0] * 20))
    theirs = row("BertViz head_view", page=Page(), seen=Seen(paint=1000.0, switch=[2000.0] * 3))
    assert verdict(theirs, [page, live]) == "paint 2 ×, switch 20 ×"
    assert cells(theirs, [page, live])["switch, ms"] == "2,000 / 2,000 (3)"
