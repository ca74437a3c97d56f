"""The card's table past the trained length: what it says, how it is put in, and one part measured again."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from tools.training import positions as measuring
from tools.training.card import read_figures, write_positions
from tools.training.positions import HEADING, Positions, section

MODELS = Path(__file__).resolve().parents[2] / "llmwidgets" / "models"
GIVEN = Positions(
    trained_length=8,
    factor=2.0,
    windows=3,
    edges=[0, 8, 16],
    bytes=[30, 10],
    bits_per_byte={"none": [1.0, 3.0], "linear": [1.5, 1.6], "dynamic": [1.0, 1.2], "yarn": [1.1, 1.9]},
    perplexity={"none": [10.0, 90.0], "linear": [20, 21], "dynamic": [10, 12], "yarn": [11, 30]},
)


def test_the_card_says_what_the_figures_say():
    recorded = read_figures(MODELS).positions
    card = (MODELS / "README.md").read_text(encoding="utf-8")
    assert section(recorded) in card
    assert recorded.edges[-1] == 4 * recorded.trained_length == 4096
    assert set(recorded.bits_per_byte) == {"none", "linear", "dynamic", "yarn"}
    for name, row in recorded.bits_per_byte.items():
        for bits, perplexity in zip(row, recorded.perplexity[name], strict=True):
            assert f"{bits:.4f} ({perplexity:.1f})" in card


def test_what_is_worse_is_said_to_be_worse():
    text = section(GIVEN)
    assert "dynamic NTK is better than linear and YaRN is worse than linear" in text
    assert "the best first: dynamic NTK 1.2000, linear (position interpolation) 1.6000, YaRN 1.9000" in text
    assert "| 8 to 15 | 3.0000 (90.0) | 1.6000 (21.0) | 1.2000 (12.0) | 1.9000 (30.0) |" in text


def test_a_new_table_replaces_the_old_one_and_nothing_else(tmp_path):
    for name in ("README.md", "figures.json"):
        shutil.copy(MODELS / name, tmp_path)
    recorded = read_figures(tmp_path)
    write_positions(tmp_path, GIVEN)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert card.count(f"## {HEADING}") == 1
    assert section(GIVEN) in card
    assert read_figures(tmp_path) == replace(recorded, positions=GIVEN)
    write_positions(tmp_path, recorded.positions)
    for name in ("README.md", "figures.json"):
        assert (tmp_path / name).read_bytes() == (MODELS / name).read_bytes()


def test_bits_a_byte_are_those_of_a_plain_forward(monkeypatch):
    monkeypatch.setattr(measuring, "LENGTH", 128)
    monkeypatch.setattr(measuring, "BUCKET", 64)
    monkeypatch.setattr(measuring, "WINDOWS", 1)
    measured = measuring.measure_positions(MODELS, torch.device("cpu"))
    tokenizer = Tokenizer.from_file(str(MODELS / "classics" / "tokenizer.json"))
    text = (MODELS / "text" / "evaluation_books.txt").read_text(encoding="utf-8")
    ids = tokenizer.encode(text).ids[:129]
    model = AutoModelForCausalLM.from_pretrained(MODELS / "classics", dtype=torch.float32)
    with torch.inference_mode():
        log_p = torch.log_softmax(model(torch.tensor([ids[:128]])).logits[0], dim=-1)
    for bucket, start in enumerate((0, 64)):
        targets = ids[start + 1 : start + 65]
        nats = -float(log_p[torch.arange(start, start + 64), targets].double().sum())
        num_bytes = len(tokenizer.decode(targets).encode())
        assert measured.bytes[bucket] == num_bytes
        exact = nats / math.log(2) / num_bytes
        assert measured.bits_per_byte["none"][bucket] == pytest.approx(exact, abs=1e-4)
