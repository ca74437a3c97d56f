"""The shipped folders: models in the standard layout, and excerpts for the labs."""

import shutil
import sysconfig
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import GenerationConfig, LlamaForCausalLM

from tools.training.corpus import Corpus, Document
from tools.training.errors import TrainingError
from tools.training.tokenizer import save_tokenizer

CALIBRATION_BOOKS = 16
CALIBRATION_CHARACTERS = 7_500  # a book
EVALUATION_CHARACTERS = 6_000  # a book
PYTHON_CHARACTERS = 60_000
NOT_EXCERPTED = ("Johnston McCulley/",)  # died 1958: protected where the term is 70 years
LONGEST_FILE = 30_000  # characters: longer files have authors and licences of their own more often


def write_model(model: LlamaForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """Write one shipped folder in bfloat16; an old one goes only once the new one is whole."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    model.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=0, pad_token_id=0)
    model.to(torch.bfloat16).save_pretrained(part)
    save_tokenizer(tokenizer, part, model.config.max_position_embeddings)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def write_excerpts(books: Corpus, sources: Corpus, folder: Path) -> None:
    """Write the labs' texts: calibration from training books, evaluation from what was held out."""
    licence = Path(sysconfig.get_path("stdlib")) / "LICENSE.txt"
    if not licence.exists():
        raise TrainingError(f"{licence} is missing: excerpts of Python's source must carry its licence")
    folder.mkdir(parents=True, exist_ok=True)
    train, held_out = _free(books.train), _free(books.held_out)
    every = max(1, len(train) // CALIBRATION_BOOKS)
    calibration = [excerpt(d, CALIBRATION_CHARACTERS) for d in train[::every][:CALIBRATION_BOOKS]]
    evaluation = [excerpt(d, EVALUATION_CHARACTERS) for d in held_out]
    _write(folder / "calibration.txt", "\n\n".join(calibration))
    _write(folder / "evaluation_books.txt", "\n\n".join(evaluation))
    _write(folder / "evaluation_python.txt", "\n\n\n".join(d.text for d in python_files(sources.held_out)))
    _write(folder / "PYTHON-LICENSE.txt", licence.read_text(encoding="utf-8"))


def excerpt(book: Document, length: int) -> str:
    """Whole paragraphs from a fifth of the way into a book, past contents and prefaces."""
    paragraphs = book.text.split("\n\n")
    chosen: list[str] = []
    passed = taken = 0
    for paragraph in paragraphs:
        passed += len(paragraph)
        if passed < len(book.text) / 5:
            continue
        if chosen and taken + len(paragraph) > length:
            break
        chosen.append(paragraph)
        taken += len(paragraph)
    return "\n\n".join(chosen)


def python_files(held_out: tuple[Document, ...]) -> list[Document]:
    """Held-out files of the standard library itself, whole: no tests, none very long."""
    chosen: list[Document] = []
    for document in held_out:
        own = document.name.startswith("python/") and "test" not in document.name
        if own and len(document.text) <= LONGEST_FILE:
            chosen.append(document)
        if sum(len(d.text) for d in chosen) >= PYTHON_CHARACTERS:
            break
    return chosen


def _free(books: tuple[Document, ...]) -> list[Document]:
    return [d for d in books if not d.name.startswith(NOT_EXCERPTED)]


def _write(path: Path, text: str) -> None:
    path.write_text(text.strip("\n") + "\n", encoding="utf-8", newline="\n")
