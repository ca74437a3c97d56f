"""The README's table of model families is the one that the exactness tests run."""

from pathlib import Path

from tests.families import FAMILIES, table

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- families -->", "<!-- /families -->"


def test_the_readme_has_the_families_that_are_tested():
    text = README.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    between = text.split(BEGIN)[1].split(END)[0].strip()
    assert between == table(), "python -m tools.list_families prints the table as it should be"


def test_the_table_has_a_row_for_each_family():
    head, rule, *rows = table().splitlines()
    assert (head, rule) == ("| family | what is special | path |", "|---|---|---|")
    assert len(rows) == len(set(rows)) == len(FAMILIES)
