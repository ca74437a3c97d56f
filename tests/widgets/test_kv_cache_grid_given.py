"""`KVCacheGrid.from_arrays`: what follows from a caller's tables, and what is refused."""

import numpy as np
import pytest

import llmwidgets as lw


@pytest.fixture
def given():
    tables = {"first": [1, 2, 3], "second": [1, 2, 7, 9]}
    return lw.KVCacheGrid.from_arrays(tables, 16, block_size=4, num_tokens={"first": 10, "second": 15})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_blocks": 0}, "num_blocks=0 is not allowed"),
        ({"block_tables": {"a": [1, 16]}}, r"block_tables\['a'\] holds block 16; allowed are 0 to 15"),
        ({"block_tables": {"a": [1, -1, 2]}}, r"holds block -1; .* -1 as padding at the end"),
        ({"block_tables": {"a": [4, 1, 4]}}, "holds block 4 twice"),
        ({"block_tables": {"a": ["x"]}}, r"block_tables\['a'\]='x' is not allowed"),
        ({"block_tables": {1: [4], "1": [5]}}, "two requests with the same id"),
        ({"ref_counts": [0, 1]}, "ref_counts has 2 entries, but num_blocks is 16"),
        ({"ref_counts": {1: 1, 2: 2, 3: 1}}, r"ref_counts\[1\]=1 is not allowed; 2 tables hold block 1"),
        ({"ref_counts": {16: 1}}, "ref_counts holds block 16; allowed are 0 to 15"),
        ({"num_tokens": [4, 4]}, "num_tokens needs block_size"),
        (
            {"num_tokens": [13, 4], "block_size": 4},
            r"num_tokens\['r0'\]=13 is not allowed; its 3 blocks of 4",
        ),
        ({"num_tokens": {"r0": 3}, "block_size": 4}, "num_tokens has no entry for request 'r1'"),
    ],
)
def test_wrong_arrays_are_refused_by_name(arguments, message):
    right = {"block_tables": [[1, 2, 3], [1, 2]], "num_blocks": 16}
    with pytest.raises(ValueError, match=message):
        lw.KVCacheGrid.from_arrays(**(right | arguments))


def test_references_are_counted_from_the_tables(given):
    drawn = given._drawn
    assert drawn["ref_counts"].tolist() == [0, 2, 2, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]
    assert drawn["filled"].tolist() == [0, 4, 4, 2, 0, 0, 0, 4, 0, 3, 0, 0, 0, 0, 0, 0]
    assert dict(zip(drawn["slot_use"]["parts"], drawn["slot_use"]["slots"][0], strict=True)) == {
        "used": 17,
        "internal": 3,
        "free": 40,
    }


def test_a_padded_array_and_counts_of_one_s_own():
    tables = np.array([[4, 5, -1], [4, -1, -1], [0, 6, 7]])
    widget = lw.KVCacheGrid.from_arrays(tables, 8, np.array([1, 0, 0, 0, 3, 1, 1, 1]))
    assert widget._drawn["table_blocks"].tolist() == [4, 5, 4, 0, 6, 7]
    assert widget._drawn["ref_counts"].tolist() == [1, 0, 0, 0, 3, 1, 1, 1]
    assert widget.to_text().startswith("7 blocks: 4 in use (1 shared), 3 free\n  r0: blocks 4 5\n")
    whole = lw.KVCacheGrid.from_arrays(tables, 8, null_block=False)
    assert whole.to_text().startswith("8 blocks: 5 in use (1 shared), 3 free")
