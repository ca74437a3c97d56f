"""`load` and `models`: what may be opened, what is refused, and that nothing asks the network."""

import socket
import subprocess
import sys

import pytest
import torch

from llmwidgets.engine import load, models
from llmwidgets.engine.attend import Pass


@pytest.fixture
def folder(tmp_path, make_model, tokenizer):
    make_model().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_local_folder(folder, no_network, capfd):
    engine = load(folder)
    assert engine.name == folder.name
    assert engine.model.dtype == torch.float32
    assert not engine.model.training
    assert len(engine.generate("hello", max_tokens=3).token_ids) == 3
    assert load(str(folder), dtype="bfloat16", max_model_len=500).model.dtype == torch.bfloat16
    assert load(folder, max_model_len=500).max_model_len == 500
    assert capfd.readouterr() == ("", "")  # an engine never prints


def test_a_folder_without_a_tokenizer(tmp_path, make_model):
    make_model().save_pretrained(tmp_path)
    assert load(tmp_path).tokenizer is None


def test_pickled_weights_are_refused(folder):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"only pickled weights \(pytorch_model.bin\).*safetensors"):
        load(folder)


def test_pickles_beside_safetensors_are_not_opened(folder):
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert load(folder).name == folder.name


def test_folders_that_hold_no_model_are_refused(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="has no weights"):
        load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match="has no config"):
        load(folder)


@pytest.mark.parametrize("name", ["nothing", "", "a/b/c", "/no/such/folder", "./nothing/here"])
def test_an_unknown_name_is_refused_with_what_is_allowed(no_network, name):
    with pytest.raises(ValueError, match=r"is not known; allowed are the bundled models .*local folder.*Hub"):
        load(name)


def test_code_of_a_model_is_never_run(folder):
    config = (folder / "config.json").read_text()
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    auto = '"auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}, '
    (folder / "config.json").write_text(config.replace("{", "{" + auto, 1).replace('"llama"', '"evil"'))
    with pytest.raises(ValueError, match=r"evil|custom code"):
        load(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "int8"}, "dtype='int8' is not allowed; allowed are 'float32'"),
        ({"device": "tpu9"}, "device='tpu9' cannot be used here"),
        ({"device": "cuda:99"}, "device='cuda:99' cannot be used here"),
        ({"max_model_len": 1}, "max_model_len=1 is not allowed"),
    ],
)
def test_wrong_arguments_are_refused(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        load(folder, **arguments)


def test_models_needs_no_torch():
    code = "import sys, llmwidgets.engine as e; e.models(); print({'torch', 'transformers'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True
    )
    assert done.stdout == "set()\n"


def test_the_bundled_pair_is_listed():
    target, draft = models()
    assert (target.name, draft.name) == ("classics", "classics-draft")
    assert target.num_parameters > draft.num_parameters
    assert target.vocab_size == draft.vocab_size
    assert repr(target).startswith("BundledModel('classics', llama, ")


@pytest.mark.parametrize("name", ["classics", "draft"])
def test_the_bundled_pair_equals_transformers(name, no_network):
    engine = load(name)
    prompts = ["It was a dark", "Alice was beginning to get very tired", "def main():"]
    generations = [engine.generate(prompt, max_tokens=40) for prompt in prompts]
    assert len({token for g in generations for token in g.token_ids}) >= 12
    for g in generations:
        prompt, n = list(g.prompt_token_ids), len(g.prompt_token_ids)
        expected = engine.model.generate(torch.tensor([prompt]), max_new_tokens=40, do_sample=False)[0, n:]
        assert list(g.token_ids) == expected.tolist()
        ours = torch.cat(list(Pass(engine, prompt + expected.tolist()).logits()))
        assert (ours - engine.forward.plain(prompt + expected.tolist())).abs().max() <= 5e-5
        record = engine.attend(prompt, edit=(2, 7))
        assert (record.edit.output_change[:2] == 0).all()


def test_the_default_is_the_target():
    engine = load()
    assert engine.name == models()[0].name
    assert engine.model.dtype == torch.float32
    assert engine.forward.device.type == "cpu"
