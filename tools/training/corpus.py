"""The text: public-domain books in Markdown and the Python source of the standard library and numpy."""

import hashlib
import json
import re
import sysconfig
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy

from tools.training.errors import TrainingError

BOOKS_SOURCE = (
    "git clone https://github.com/mlschmitt/classic-books-markdown "
    "(commit 944882722e9a96fa6cf2739dc2ea757e101f412f)"
)
HELD_OUT_EVERY = 40
SKIPPED_FOLDERS = frozenset(
    {"site-packages", "__pycache__", "encodings", "pydoc_data"}
)  # tables, not programs

PUNCTUATION = str.maketrans(
    {"‘": "'", "’": "'", "‚": "'", "‛": "'", "′": "'", "“": '"', "”": '"', "„": '"', "″": '"'}
    | {"—": "--", "―": "--", "–": "-", "‐": "-", "‑": "-", "…": "...", "ſ": "s", "•": "*"}
    | {"\ufeff": "", "\u200b": "", "\u00ad": "", "\u2028": "\n", "\u2029": "\n"}
)
MOJIBAKE = re.compile("[\u00c2-\u00c5][\u0080-\u00bf]|\u00e2[\u0080-\u00bf]{2}")  # UTF-8 read as Latin-1
FRONT_MATTER = re.compile(r"\A\s*# Title:.*?\n-{3,}[ \t]*\n", re.DOTALL)
FOOTNOTE_TEXT = re.compile(r"\s*(\[\^?\w{1,4}\]:?\s|\[(Footnote|Illustration|Note)\b)")
FOOTNOTE_MARK = re.compile(r"\[\^\w+\]|\[\d{1,3}\]")
IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
RULE_LINE = re.compile(r"^\s*([-*_~=]\s*){3,}$", re.MULTILINE)
LINE_MARK = re.compile(r"^[ \t]*(#{1,7}|>+|[*+-](?= \w))[ \t]*", re.MULTILINE)
EMPHASIS = re.compile(r"\*+|(?<![A-Za-z0-9])_+|_+(?![A-Za-z0-9])")
WRAPPED_LINE = re.compile(r"(?<=[a-z,;])\n(?=[a-z])")


@dataclass(frozen=True)
class Document:
    """One book or one source file, cleaned."""

    name: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """The documents of one kind of text, those held out apart."""

    train: tuple[Document, ...]
    held_out: tuple[Document, ...]

    @property
    def held_out_sha256(self) -> str:
        """A hash of the held-out names and texts: two evaluations with the same hash read the same."""
        digest = hashlib.sha256()
        for document in self.held_out:
            digest.update(f"{document.name}\0{document.text}\0".encode())
        return digest.hexdigest()


def clean_book(text: str) -> str:
    """A book's plain paragraphs: no front matter, Markdown marks, footnotes or curly punctuation."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    text = FRONT_MATTER.sub("", text)
    text = MOJIBAKE.sub(_repair, text)
    text = unicodedata.normalize("NFC", text).translate(PUNCTUATION)
    text = re.sub(r"[^\S\n]", " ", text)  # hair, thin and no-break spaces
    text = "".join(c for c in text if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf"))
    text = LINK.sub(r"\1", IMAGE.sub("", text))
    text = LINE_MARK.sub("", RULE_LINE.sub("", text))
    paragraphs = [p for p in re.split(r"\n\s*\n", text) if not FOOTNOTE_TEXT.match(p)]
    text = "\n\n".join(paragraphs)
    text = EMPHASIS.sub("", FOOTNOTE_MARK.sub("", text))
    text = re.sub(r" *\n *", "\n", text)
    text = WRAPPED_LINE.sub(" ", text)  # a sentence wrapped by hand; verse begins its lines with capitals
    return re.sub(r"\n{3,}", "\n\n", re.sub(r" {2,}", " ", text)).strip()


def _repair(match: re.Match[str]) -> str:
    try:
        return match.group().encode("latin-1").decode("utf-8")
    except UnicodeError:
        return match.group()


def clean_source(text: str) -> str:
    """A source file with one kind of line end and no trailing space; everything else is the program's own."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "").lstrip("\ufeff")
    return re.sub(r"[ \t]+\n", "\n", text).strip("\n")


def read_books(folder: Path) -> Corpus:
    """The books under `folder`, every 40th in sorted order held out."""
    paths = sorted(folder.glob("*/*.md"), key=lambda path: path.relative_to(folder).as_posix())
    if not paths:
        raise TrainingError(f"no books (AUTHOR/TITLE.md) in {folder}: get them with {BOOKS_SOURCE}")
    books = [Document(path.relative_to(folder).as_posix(), clean_book(_read(path))) for path in paths]
    return without_copies(split(books))


def read_sources(roots: dict[str, Path] | None = None) -> Corpus:
    """The running Python's standard library and numpy, every 40th file in sorted order held out."""
    if roots is None:
        roots = {"numpy": Path(numpy.__file__).parent, "python": Path(sysconfig.get_path("stdlib"))}
    sources = []
    for name in sorted(roots):
        for path in sorted(roots[name].rglob("*.py")):
            relative = path.relative_to(roots[name])
            if SKIPPED_FOLDERS.intersection(relative.parts):
                continue
            try:
                text = clean_source(_read(path))
            except TrainingError:
                continue  # the standard library's own tests hold files in other encodings, on purpose
            if is_program(text):
                sources.append(Document(f"{name}/{relative.as_posix()}", text))
    return split(sorted(sources, key=lambda document: document.name))


def is_program(text: str) -> bool:
    """Whether a source file reads as a program, not as a table of numbers or an empty package mark."""
    readable = sum(c.isalpha() or c.isspace() for c in text)
    return len(text) >= 200 and readable >= 0.6 * len(text)


def split(documents: list[Document]) -> Corpus:
    """Documents in sorted order, with the 1st, 41st, 81st, ... held out."""
    held_out = documents[::HELD_OUT_EVERY]
    train = [document for i, document in enumerate(documents) if i % HELD_OUT_EVERY]
    return Corpus(train=tuple(train), held_out=tuple(held_out))


def without_copies(corpus: Corpus, shortest: int = 60) -> Corpus:
    """The corpus without training paragraphs that stand in a held-out book too (collections reprint)."""
    known = {p for document in corpus.held_out for p in _paragraphs(document.text) if len(p) >= shortest}
    train = [
        Document(d.name, "\n\n".join(p for p in _paragraphs(d.text) if p not in known)) for d in corpus.train
    ]
    return Corpus(train=tuple(d for d in train if d.text), held_out=corpus.held_out)


def _paragraphs(text: str) -> list[str]:
    return text.split("\n\n")


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path} is not UTF-8 (byte {error.start})") from None


def write_documents(path: Path, documents: Iterable[Document]) -> None:
    """Documents as JSON lines."""
    lines = (json.dumps({"name": d.name, "text": d.text}, ensure_ascii=False) + "\n" for d in documents)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def read_documents(path: Path) -> Iterator[Document]:
    """Documents from JSON lines."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield Document(**json.loads(line))
