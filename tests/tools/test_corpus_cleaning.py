import pytest

from tools.training.corpus import (
    Corpus,
    Document,
    clean_book,
    clean_source,
    is_program,
    read_books,
    read_sources,
    split,
    without_copies,
)

FRONT = "# Title: A Book\n\n## Author: Nobody\n\n## Year: 1900\n\n-------\n"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (FRONT + "\r\n## I. The Start\r\n\r\nHe came.\r\n", "I. The Start\n\nHe came."),
        ("\ufeffOne.\r\n\r\n\r\n\r\nTwo.", "One.\n\nTwo."),
        ("“Don’t,” he said — ‘no’…", "\"Don't,\" he said -- 'no'..."),
        ("I _will_ go, **now**, with *her*.", "I will go, now, with her."),
        ("a snake_case name", "a snake_case name"),
        (
            "He said so.[1] Indeed.[^2]\n\n[1] A note.\n\n[^2]: Another.\n\nThe end.",
            "He said so. Indeed.\n\nThe end.",
        ),
        ("Before\n\n[Illustration: a cat]\n\nAfter", "Before\n\nAfter"),
        ("One\n\n* * *\n\nTwo\n\n-----\n\nThree", "One\n\nTwo\n\nThree"),
        ("See [the map](map.png) and ![a cat](cat.png).", "See the map and ."),
        ("> quoted\n> verse", "quoted verse"),
        (
            "the wind\nblew hard\n\nRoses are red,\nViolets are blue",
            "the wind blew hard\n\nRoses are red,\nViolets are blue",
        ),
        ("caf\u00c3\u00a9 and caf\u00e9", "café and café"),
        ("thin\u2009and\u00a0hard\u200b  spaces", "thin and hard spaces"),
    ],
)
def test_a_book_becomes_plain_paragraphs(raw, clean):
    assert clean_book(raw) == clean


def test_a_title_that_is_no_front_matter_stays():
    assert clean_book("# Title page\n\nText.") == "Title page\n\nText."


def test_a_source_file_keeps_its_indentation_and_quotes():
    assert clean_source("def f():\r\n    return '“' \r\n\f") == "def f():\n    return '“'"


def test_tables_and_empty_packages_are_no_programs():
    assert not is_program("")
    assert not is_program("0x00, 0x01, " * 100)
    assert is_program("def add(a, b):\n    return a + b\n" * 20)


def test_the_first_of_every_forty_is_held_out():
    corpus = split([Document(f"{i:03}", "x") for i in range(85)])
    assert [d.name for d in corpus.held_out] == ["000", "040", "080"]
    assert len(corpus.train) == 82
    assert not set(corpus.train) & set(corpus.held_out)


def test_a_paragraph_of_a_held_out_book_is_not_trained_on():
    shared = "This paragraph was printed again in a collection of the author's shorter works."
    corpus = Corpus(train=(Document("a", f"Mine.\n\n{shared}"),), held_out=(Document("b", shared),))
    assert without_copies(corpus).train == (Document("a", "Mine."),)


def test_the_hash_tells_held_out_texts_apart():
    one, two = (Corpus(train=(), held_out=(Document("a", text),)) for text in ("x", "y"))
    assert one.held_out_sha256 != two.held_out_sha256
    assert one.held_out_sha256 == Corpus(train=(two.held_out[0],), held_out=one.held_out).held_out_sha256


def test_books_are_read_in_sorted_order_and_sources_without_other_encodings(tmp_path):
    for author, title in (("B", "1"), ("A", "2")):
        (tmp_path / author).mkdir()
        (tmp_path / author / f"{title}.md").write_text(f"{FRONT}Book {title}.", encoding="utf-8")
    books = read_books(tmp_path)
    assert [d.name for d in (*books.held_out, *books.train)] == ["A/2.md", "B/1.md"]
    code = "def add(a, b):\n    return a + b\n" * 20
    (tmp_path / "site-packages").mkdir()
    for name in ("b.py", "a.py", "site-packages/c.py"):
        (tmp_path / name).write_text(code, encoding="utf-8")
    (tmp_path / "latin.py").write_bytes(code.encode() + b"# caf\xe9")
    sources = read_sources({"made": tmp_path})
    assert [d.name for d in (*sources.held_out, *sources.train)] == ["made/a.py", "made/b.py"]
