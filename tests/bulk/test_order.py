"""Shuffled, limited and dealt to shards."""

import hashlib
from itertools import chain
from pathlib import Path

import pytest

from sise_rt.bulk.items import Item
from sise_rt.bulk.order import chosen
from sise_rt.errors import ArgumentError


def items(count):
    return [Item(id=f"cam/{number:03}.png", picture=Path(), stem=f"{number}") for number in range(count)]


def ids(chosen):
    return [item.id for item in chosen]


def test_the_order_of_a_seed_is_the_same_for_ever():
    """As `sha256sum` and `sort` have it: a release that changes this breaks shards that are under way."""
    by_hand = sorted(ids(items(100)), key=lambda name: hashlib.sha256(f"7:{name}".encode()).hexdigest())
    assert ids(chosen(items(100), shuffle=7)) == by_hand
    assert by_hand[:3] == ["cam/085.png", "cam/008.png", "cam/011.png"]
    assert ids(chosen(items(100), shuffle=8)) != by_hand
    assert ids(chosen(items(100)[::-1], shuffle=7)) == by_hand


def test_the_order_of_others_stays_where_items_come_and_go():
    few = items(100)[::3]
    kept = {*ids(few)}
    assert [name for name in ids(chosen(items(100), shuffle=1)) if name in kept] == ids(
        chosen(few, shuffle=1)
    )


@pytest.mark.parametrize("count", [1, 3, 7, 40])
@pytest.mark.parametrize("limit", [None, 10, 200])
def test_every_item_is_in_one_shard(count, limit):
    whole = ids(chosen(items(31), shuffle=2, limit=limit))
    shards = [ids(chosen(items(31), shuffle=2, limit=limit, shard=(n, count))) for n in range(1, count + 1)]
    assert sorted(chain(*shards)) == sorted(whole)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert len(whole) == min(31, limit or 31)


def test_names_that_are_no_utf8_are_ordered_too():
    odd = [Item(id="a\udcff.png", picture=Path(), stem="a"), Item(id="\ud800", picture=Path(), stem="b")]
    assert sorted(ids(chosen(odd, shuffle=1))) == sorted(ids(odd))


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"shard": (0, 3)}, {"shard": (4, 3)}, {"shard": (1, 0)}])
def test_what_is_out_of_range_is_refused(wrong):
    with pytest.raises(ArgumentError) as caught:
        chosen(items(3), **wrong)
    assert caught.value.settings == tuple(wrong)
