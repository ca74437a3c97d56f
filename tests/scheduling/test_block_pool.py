"""Blocks by themselves: references, the order of the free queue, hits, eviction, copy on write."""

import pytest

from llmwidgets.records.events import Allocate, Cache, Copy, Evict, Free, Share
from llmwidgets.scheduling import prefix
from llmwidgets.scheduling.block_pool import BlockPool
from llmwidgets.scheduling.prefix import Prefix


def chain(*blocks):
    prefixes = []
    for tokens in blocks:
        prefixes.append(Prefix(prefixes[-1] if prefixes else None, tokens))
    return prefixes


def ids(blocks):
    return [block.block_id for block in blocks]


def test_all_blocks_but_the_null_block_are_free():
    pool = BlockPool(5)
    assert list(pool.free_queue) == [1, 2, 3, 4]
    assert pool.num_free_blocks == 4


def test_unfindable_blocks_go_to_the_front_and_findable_ones_to_the_end():
    pool = BlockPool(8)
    table = pool.allocate(4, "a")
    for block, tokens in zip(table[:2], chain((1, 2), (3, 4)), strict=True):
        pool.cache(block, tokens)
    pool.free(table, "a")
    assert list(pool.free_queue) == [4, 3, 5, 6, 7, 2, 1]
    pool.check_integrity()


def test_a_hit_takes_the_block_out_of_the_queue_and_an_eviction_ends_hits():
    events = []
    pool = BlockPool(4, events=events)
    prefixes = chain((1, 2), (3, 4))
    table = pool.allocate(2, "a")
    for block, tokens in zip(table, prefixes, strict=True):
        pool.cache(block, tokens)
    pool.free(table, "a")
    hits = pool.find(chain((1, 2), (3, 4), (5, 6)))
    assert ids(hits) == [1, 2]
    pool.share(hits[:1], "b")
    assert list(pool.free_queue) == [3, 2]
    pool.share(hits[:1], "c")
    assert pool.blocks[1].ref_count == 2
    assert ids(pool.allocate(2, "d")) == [3, 2]
    assert ids(pool.find(prefixes)) == [1]
    first, second = prefixes[0].block_hash, prefixes[1].block_hash
    assert events == [
        *(Allocate(1, "a"), Allocate(2, "a"), Cache(1, first, None), Cache(2, second, first)),
        *(Free(2, "a"), Free(1, "a"), Share(1, "b"), Share(1, "c")),
        *(Allocate(3, "d"), Evict(2), Allocate(2, "d")),
    ]
    pool.check_integrity()


def test_the_same_tokens_after_other_tokens_are_no_hit():
    pool = BlockPool(8)
    for block, tokens in zip(pool.allocate(2, "a"), chain((1, 2), (3, 4)), strict=True):
        pool.cache(block, tokens)
    assert pool.find(chain((3, 4))) == []
    assert ids(pool.find(chain((1, 2), (3, 5)))) == [1]


def test_hashes_that_collide_do_not_confuse_tokens(monkeypatch):
    monkeypatch.setattr(prefix, "chain_hash", lambda parent_hash, token_ids: 7)
    pool = BlockPool(8)
    for tokens in (chain((1, 2), (3, 4)), chain((5, 6), (3, 4))):
        for block, one in zip(pool.allocate(2, "a"), tokens, strict=True):
            pool.cache(block, one)
    assert ids(pool.find(chain((5, 6), (3, 4)))) == [3, 4]
    assert ids(pool.find(chain((1, 2), (3, 4)))) == [1, 2]
    assert pool.find(chain((3, 4))) == []
    pool.check_integrity()


def test_of_two_equal_blocks_the_first_is_found():
    pool = BlockPool(8)
    for block in (table := pool.allocate(2, "a")):
        pool.cache(block, chain((1, 2))[0])
    assert ids(pool.find(chain((1, 2)))) == [1]
    pool.evict(table[0])
    assert ids(pool.find(chain((1, 2)))) == [2]


def test_without_prefix_caching_nothing_is_found():
    pool = BlockPool(4, enable_prefix_caching=False)
    pool.cache(pool.allocate(1, "a")[0], chain((1, 2))[0])
    assert pool.find(chain((1, 2))) == []


def test_a_fork_shares_all_blocks_until_one_side_writes():
    events = []
    pool = BlockPool(6, events=events)
    parent = pool.allocate(2, "parent")
    child = pool.fork(parent, "child")
    assert ids(child) == [1, 2]
    assert [block.ref_count for block in child] == [2, 2]
    assert pool.write(child, 1, "child").block_id == 3
    assert ids(child) == [1, 3]
    assert ids(parent) == [1, 2]
    assert events[-1] == Copy(2, 3, "child")
    assert pool.write(parent, 1, "parent").block_id == 2  # alone again: no copy
    assert len(events) == 5
    pool.check_integrity()
    pool.free(parent, "parent")
    pool.free(child, "child")
    assert pool.num_free_blocks == 5


def test_too_few_blocks_change_nothing():
    pool = BlockPool(3)
    table = pool.allocate(2, "a")
    child = pool.fork(table, "b")
    with pytest.raises(ValueError, match="count=1 is not allowed; free blocks are 0"):
        pool.allocate(1, "c")
    with pytest.raises(ValueError, match="no block is free"):
        pool.write(child, 1, "b")
    assert [block.ref_count for block in table] == [2, 2]
    pool.check_integrity()


@pytest.mark.parametrize(
    "harm",
    [
        lambda pool: setattr(pool.blocks[1], "ref_count", 0),
        lambda pool: setattr(pool.blocks[2], "ref_count", 1),
        lambda pool: pool.free_queue.popitem(),
        lambda pool: setattr(pool.blocks[1], "prefix", None),
        lambda pool: pool.by_hash.clear(),
        lambda pool: setattr(pool.blocks[0], "ref_count", 1),
    ],
)
def test_integrity_is_checked(harm):
    pool = BlockPool(4)
    pool.cache(pool.allocate(1, "a")[0], chain((1, 2))[0])
    pool.check_integrity()
    harm(pool)
    with pytest.raises(RuntimeError, match="inconsistent"):
        pool.check_integrity()
