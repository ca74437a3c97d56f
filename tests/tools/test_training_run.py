from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig

from tools.training.corpus import Document
from tools.training.data import BEGIN, Batches, WindowSource, token_stream
from tools.training.draft import train_draft
from tools.training.early_exit import exit_choice, exit_depth, layer_dropout_rates
from tools.training.evaluate import evaluate, held_out_windows
from tools.training.loop import train
from tools.training.optimizer import orthogonalize
from tools.training.settings import Budget, Settings
from tools.training.target import new_model, train_target
from tools.training.tokenizer import train_tokenizer

CPU = torch.device("cpu")
TEXT = "The cat sat on the mat, and the dog lay by the door. " * 40
SETTINGS = Settings(batch_size=4, context=32, python_share=0.25, layer_dropout=0.3)


def toy_config(vocab_size, num_layers=3):
    return LlamaConfig(
        vocab_size=vocab_size, hidden_size=32, intermediate_size=48, num_hidden_layers=num_layers,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=32,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([TEXT], vocab_size=300)


@pytest.fixture(scope="module")
def config(tokenizer):
    return toy_config(tokenizer.get_vocab_size())


@pytest.fixture
def batches(tokenizer):
    stream = token_stream(tokenizer, [Document("a", TEXT), Document("b", TEXT)])
    sources = [WindowSource(stream, SETTINGS.context, seed, CPU) for seed in (0, 1)]
    return Batches(*sources, batch_size=SETTINGS.batch_size, python_share=SETTINGS.python_share)


class Stopped(Batches):
    """Batches of which number 3 never comes."""

    def __getitem__(self, step):
        if step == 3:
            raise KeyboardInterrupt
        return super().__getitem__(step)


def test_windows_begin_with_the_begin_token_and_labels_follow(batches):
    batch = batches[5]
    assert batch.input_ids.shape == batch.labels.shape == (4, 32)
    assert (batch.input_ids[:, 0] == BEGIN).all()
    assert torch.equal(batch.input_ids[:, 1:], batch.labels[:, :-1])


def test_an_epoch_takes_every_window_once():
    source = WindowSource(np.arange(1000, dtype=np.uint16), 10, 0, CPU)
    one, two = source.starts(0, source.windows), source.starts(source.windows, source.windows)
    assert len(set(one)) == source.windows
    assert set(np.diff(sorted(one))) == {10}
    assert not np.array_equal(one, two)


def test_three_steps_of_the_target_move_it_and_lower_its_loss(tmp_path, config, batches):
    settings = replace(SETTINGS, dropout=0.0, layer_dropout=0.0)
    model, training = train_target(
        config, batches, settings, Budget(steps=3), tmp_path, CPU, compile_model=False
    )
    assert training.steps == 3
    assert training.tokens == 3 * 4 * 32
    fresh = new_model(config, settings.seed, CPU)
    for (name, p), q in zip(model.named_parameters(), fresh.parameters(), strict=True):
        assert not torch.equal(p, q), name
    batch = batches[0]
    with torch.no_grad():
        losses = [
            m(batch.input_ids, labels=batch.labels, shift_labels=batch.labels).loss for m in (model, fresh)
        ]
    assert losses[0] < losses[1]


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path, config, batches):
    def run(folder, data):
        model = new_model(config, 0, CPU)

        def parts_of(batch, step):
            out = torch.nn.functional.dropout(model.model(batch.input_ids).last_hidden_state, 0.2)
            return torch.nn.functional.cross_entropy(
                model.lm_head(out).flatten(0, 1), batch.labels.flatten()
            )[None]

        train("toy", model, parts_of, data, SETTINGS, Budget(steps=6), folder, checkpoint_seconds=0)
        return model.state_dict()

    whole = run(tmp_path / "whole", batches)
    stopped = Stopped(batches.prose, batches.python, SETTINGS.batch_size, SETTINGS.python_share)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "resumed", stopped)
    resumed = run(tmp_path / "resumed", batches)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_draft_comes_closer_to_its_target_which_stays(tmp_path, config, batches, tokenizer):
    target = new_model(config, 1, CPU).eval()
    with torch.no_grad():
        target.model.embed_tokens.weight.mul_(30)  # a target with opinions
    before = {name: p.clone() for name, p in target.state_dict().items()}
    small = toy_config(config.vocab_size, num_layers=1)
    windows = held_out_windows(tokenizer, [Document("a", TEXT)], 32)
    settings = replace(SETTINGS, layer_dropout=0.0, dropout=0.0)
    draft, _ = train_draft(
        small, target, batches, settings, Budget(steps=12), tmp_path, CPU, compile_model=False
    )
    fresh = new_model(small, settings.seed, CPU).eval()
    trained, untrained = (evaluate(target, windows, d, exits=(3,)).overlap for d in (draft, fresh))
    assert trained > untrained
    assert all(torch.equal(p, before[name]) for name, p in target.state_dict().items())


def test_evaluation_counts_what_plain_transformers_counts(config, tokenizer):
    model = new_model(config, 0, CPU).eval()
    windows = held_out_windows(tokenizer, [Document("a", "The dog lay by the dôor. " * 9)], 32)
    assert windows.bytes == len(("The dog lay by the dôor. " * 9).encode())
    nats = 0.0
    with torch.no_grad():
        for row in windows.ids:
            row = row[: int((row != BEGIN).sum()) + 1]
            log_p = model(row[None]).logits[0, :-1].log_softmax(-1)
            nats -= float(log_p.gather(1, row[1:, None]).sum())
    figures = evaluate(model, windows, model, exits=(1, 3))
    assert figures.target == pytest.approx(nats / np.log(2) / windows.bytes, abs=2e-4)
    assert figures.overlap == pytest.approx(1.0, abs=1e-4)
    assert figures.agreement == 1.0
    assert figures.exits["1"] != figures.exits["3"]


def test_a_sample_of_windows_is_spaced_over_all(tokenizer):
    windows = held_out_windows(tokenizer, [Document("a", TEXT)], 32)
    sample = windows.sample(3)
    assert torch.equal(sample.ids[[0, 2]], windows.ids[[0, -1]])
    assert len(windows.sample(0).ids) == len(windows.ids)


def test_exits_take_turns_and_layer_dropout_rises():
    choices = [exit_choice(step, 8, CPU).argmax().item() for step in range(14)]
    assert choices == [*range(7), *range(7)]
    depths = [exit_depth(step, 8) for step in range(7)]
    assert depths == sorted(depths)
    assert sum(depths) / 7 == pytest.approx(1.0)
    rates = layer_dropout_rates(8, 0.1)
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0.1)
    assert rates == sorted(rates)


@pytest.mark.parametrize("shape", [(2, 16, 32), (2, 32, 16)])
def test_orthogonalized_matrices_have_singular_values_about_one(shape):
    values = torch.linalg.svdvals(
        orthogonalize(torch.randn(shape, generator=torch.Generator().manual_seed(0))).float()
    )
    assert values.min() > 0.6
    assert values.max() < 1.3
