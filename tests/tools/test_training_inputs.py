import pytest

from tools.train_models import main
from tools.training.corpus import Document, write_documents

TEXT = "The cat sat on the mat, and the dog lay by the door. " * 60


def refused(capsys, arguments):
    """The one line that a refused call prints."""
    assert main([str(a) for a in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line and not line.startswith("== ")]
    assert len(lines) == 1
    return lines[0]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(tmp_path):
    """The arguments of a toy run whose text is there."""
    text = tmp_path / "run" / "text"
    text.mkdir(parents=True)
    for kind in ("books", "python"):
        for part in ("train", "held_out"):
            write_documents(text / f"{kind}_{part}.jsonl", [Document("a", TEXT)])
    toy = ["--toy", "--no-compile", "--steps", 2, 2, "--output", tmp_path / "run"]
    for model in ("target", "draft"):
        toy += [f"--{model}-setting", "context=64", f"--{model}-setting", "batch_size=2"]
    assert main([str(a) for a in [*toy, "--stages", "tokenizer", "target", "draft", "evaluate"]]) == 0
    return toy


def test_a_toy_run_leaves_models_and_figures(run, tmp_path):
    for name in (
        "target/model.safetensors",
        "draft/model.safetensors",
        "figures.json",
        "tokenizer/tokenizer.json",
    ):
        assert (tmp_path / "run" / name).stat().st_size > 0


@pytest.mark.parametrize("stage", [["--stages", "text"], ["--evaluate"]])
def test_no_books(tmp_path, capsys, stage):
    line = refused(capsys, ["--corpus", tmp_path / "none", "--output", tmp_path / "run", *stage])
    assert "git clone https://github.com/mlschmitt/classic-books-markdown" in line
    assert not (tmp_path / "run").exists()


def test_a_book_that_is_not_utf8(tmp_path, capsys):
    (tmp_path / "corpus" / "A").mkdir(parents=True)
    (tmp_path / "corpus" / "A" / "b.md").write_bytes(b"caf\xe9")
    line = refused(
        capsys, ["--corpus", tmp_path / "corpus", "--output", tmp_path / "run", "--stages", "text"]
    )
    assert "b.md is not UTF-8 (byte 3)" in line
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_configuration(run, tmp_path, capsys):
    before = contents(tmp_path / "run")
    capsys.readouterr()
    line = refused(capsys, [*run, "--target-setting", "dropout=0.3", "--stages", "target"])
    assert "another configuration (settings.dropout)" in line
    assert contents(tmp_path / "run") == before


def test_a_checkpoint_that_is_none(run, tmp_path, capsys):
    (tmp_path / "run" / "target" / "checkpoint.pt").write_bytes(b"not a checkpoint")
    before = contents(tmp_path / "run")
    capsys.readouterr()
    assert "is no checkpoint" in refused(capsys, [*run, "--stages", "target"])
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("device", ["cuda:7", "abacus"])
def test_a_device_that_is_not_there(tmp_path, capsys, device):
    assert f"device {device!r} is not there" in refused(
        capsys, ["--device", device, "--output", tmp_path / "run"]
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("word", "complaint"), [("colour=1", "no setting is named"), ("dropout=x", "takes a float")]
)
def test_a_setting_that_is_none(tmp_path, capsys, word, complaint):
    assert complaint in refused(capsys, ["--target-setting", word, "--output", tmp_path / "run"])


def test_stages_out_of_order(tmp_path, capsys):
    line = refused(capsys, ["--output", tmp_path / "run", "--stages", "tokenizer"])
    assert "run the stage `text` first" in line
    assert not (tmp_path / "run").exists()
