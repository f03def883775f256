"""The side file outlives a kill at any byte, and every explanation counts once."""

import json

import numpy as np
import pytest

from sise_rt.bulk.overview.side_file import begin, keep, shelf, side_file, side_files
from sise_rt.bulk.overview.thumbnails import CELLS, Thumbnail
from sise_rt.errors import OutputError

IDS = ["a.png", "../../etc/passwd", "\udcff\n\u202e", "a.png ", "2 a.png", "", "猫"]


def shown(value, *, map_=True):
    few = np.full((CELLS, CELLS), value, np.uint8) if map_ else None
    return Thumbnail((3, 2), bytes([value, 255]), bytes([value]) if map_ else None, few)


@pytest.fixture
def path(tmp_path):
    path = side_file(tmp_path)
    begin(path)
    return path


def test_what_was_kept_is_found(path):
    for value, id in enumerate(IDS):
        keep(path, id, [shown(value), shown(100 + value, map_=False)])
    assert path.read_bytes().isascii()
    with shelf([path]) as found:
        for value, id in enumerate(IDS):
            first, second = found.find(id, 1), found.find(id, 2)
            assert (first.size, first.picture, first.overlay) == ((3, 2), bytes([value, 255]), bytes([value]))
            np.testing.assert_array_equal(first.map, value)
            assert second.picture == bytes([100 + value, 255])
            assert second.overlay is None
            assert second.map is None
            assert found.find(id, 3) is None
        assert found.find("another", 1) is None


def test_of_two_lines_of_one_explanation_the_later_one_counts(path):
    keep(path, "a", [shown(1)])
    keep(path, "b", [shown(2)])
    keep(path, "a", [shown(3)])
    with shelf([path]) as found:
        assert found.find("a", 1).map[0, 0] == 3
        assert found.find("b", 1).map[0, 0] == 2


def test_torn_at_any_byte(path):
    keep(path, "a", [shown(1)])
    whole = path.read_bytes()
    keep(path, "b", [shown(2)])
    both = path.read_bytes()
    for end in [*range(len(whole), len(both), 97), len(both) - 1]:
        path.write_bytes(both[:end])
        with shelf([path]) as found:  # as it may be read while a run is under way
            assert found.find("a", 1).map[0, 0] == 1
        begin(path)
        assert path.read_bytes() == whole
        keep(path, "b", [shown(4)])
        with shelf([path]) as found:
            assert found.find("b", 1).map[0, 0] == 4
    for end in (0, 1, len(whole) - 1):
        path.write_bytes(whole[:end])
        begin(path)
        assert path.read_bytes() == b""


def test_a_torn_line_longer_than_a_piece(path, monkeypatch):
    monkeypatch.setattr("sise_rt.bulk.overview.side_file.PIECE", 7)
    keep(path, "a", [shown(1)])
    whole = path.read_bytes()
    path.write_bytes(whole + b"x" * 100)
    begin(path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"[" * 100_000,
        b'{"id": "b"}',
        b'{"id": "b", "part": "x"}',
        b'{"id": "b", "part": 1}',
        b'{"id": "b", "part": 1, "size": [1], "picture": "AA==", "overlay": null, "map": null}',
        b'{"id": "b", "part": 1, "size": [1, 1], "picture": "!", "overlay": null, "map": null}',
        b'{"id": "b", "part": 1, "size": [1, 1], "picture": null, "overlay": null, "map": null}',
        b'{"id": "b", "part": 1, "size": [1, 1], "picture": "AA==", "overlay": null, "map": "AAAA"}',
    ],
)
def test_a_damaged_line_costs_its_thumbnail_alone(path, line):
    keep(path, "a", [shown(1)])
    with path.open("ab") as file:
        file.write(line + b"\n")
    keep(path, "c", [shown(3)])
    with shelf([path]) as found:
        assert found.find("a", 1).map[0, 0] == 1
        assert found.find("b", 1) is None
        assert found.find("c", 1).map[0, 0] == 3


def test_shards_lie_beside_each_other(tmp_path):
    paths = [side_file(tmp_path, (number, 2)) for number in (1, 2)]
    for value, path in enumerate(paths):
        begin(path)
        keep(path, f"{value}", [shown(value)])
    assert side_files(tmp_path) == paths
    with shelf(paths) as found:
        assert [found.find(f"{value}", 1).map[0, 0] for value in (0, 1)] == [0, 1]


def test_a_line_is_json_of_known_keys(path):
    keep(path, "a", [shown(1)])
    assert set(json.loads(path.read_bytes())) == {"id", "part", "size", "picture", "overlay", "map"}


def test_where_it_cannot_be_written(tmp_path):
    (tmp_path / "overview").write_text("a file")
    with pytest.raises(OutputError, match="is a file"):
        begin(side_file(tmp_path))
    with pytest.raises(OutputError, match="cannot be written"):
        keep(tmp_path / "missing" / "thumbnails.jsonl", "a", [shown(1)])
    with pytest.raises(OutputError, match="cannot be read"), shelf([tmp_path]):
        pass
