"""How work is dealt out: by what the nodes have, which a stand-in tells here."""

import pytest

from sise_rt.bulk.ray.dealing import LARGEST_PART, Dealt, Plan, part_rows
from sise_rt.errors import ArgumentError


class Nodes:
    """In place of Ray: the nodes of a cluster."""

    def __init__(self, *resources):
        self._nodes = [{"Alive": True, "Resources": each} for each in resources]
        self._nodes.append({"Alive": False, "Resources": {"CPU": 512}})

    def nodes(self):
        return self._nodes


def test_actors_fill_the_nodes():
    dealt = Dealt.of(Nodes({"CPU": 16.0}, {"CPU": 7.0}, {}), Plan(), 10_000)
    assert (dealt.workers, dealt.threads, dealt.gpus) == (5, 4, 0)
    assert str(dealt) == "5 actors with 4 threads each, parts of 32 pictures"


def test_gpus_are_dealt_out_too():
    nodes = Nodes({"CPU": 16.0, "GPU": 2.0}, {"CPU": 64.0})
    assert Dealt.of(nodes, Plan(threads=2, gpus=1), 100).workers == 2
    assert Dealt.of(nodes, Plan(threads=2, gpus=0.5), 100).workers == 4


def test_few_pictures_need_few_actors():
    assert Dealt.of(Nodes({"CPU": 64.0}), Plan(threads=1), 3).workers == 3
    assert Dealt.of(Nodes({"CPU": 64.0}), Plan(threads=1, workers=2), None).workers == 2


def test_a_stream_has_a_core_to_be_read_with():
    assert Dealt.of(Nodes({"CPU": 8.0}), Plan(threads=2), None).workers == 3
    assert Dealt.of(Nodes({"CPU": 9.0}), Plan(threads=2), None).workers == 4
    with pytest.raises(ArgumentError, match="2 cores, and one to read files"):
        Dealt.of(Nodes({"CPU": 2.0}), Plan(threads=2), None)


@pytest.mark.parametrize(("threads", "gpus"), [(9, 0), (1, 1)])
def test_no_room_is_refused_rather_than_waited_for(threads, gpus):
    with pytest.raises(ArgumentError, match="no node of the Ray cluster has"):
        Dealt.of(Nodes({"CPU": 8.0}), Plan(threads=threads, gpus=gpus), 10)


def test_parts_are_small_where_the_run_is_and_never_large():
    assert part_rows(10, 2) == 2
    assert part_rows(2_000, 2) == 32
    assert part_rows(1_000_000, 64) == 250
    assert part_rows(10**8, 64) == LARGEST_PART
    assert part_rows(1, 8) == 1
