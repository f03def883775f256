"""Streams: what names them, and their rows as items."""

import json

import pytest

from sise_rt.bulk.ray.reading import LISTED, Stream, as_items, ids_of, stream_of
from sise_rt.errors import ArgumentError

pyarrow = pytest.importorskip("pyarrow")


def read(batch):
    table = as_items(pyarrow.Table.from_pylist(batch))
    return [json.loads(item) for item in table["item"].to_pylist()], table["bytes"].to_pylist()


@pytest.mark.parametrize(
    ("places", "kind"),
    [
        (["a.png", "photos/"], None),
        (["list.parquet"], "parquet"),
        (["s3://bucket/list.parquet", "more.parquet"], "parquet"),
        (["shard-0.tar", "s3://bucket/shard-1.TAR"], "webdataset"),
        (["s3://bucket/photos/"], "pictures"),
        ([], None),
    ],
)
def test_kinds(places, kind):
    stream = stream_of(places)
    assert (stream and stream.kind) == kind


def test_several_kinds_are_refused():
    with pytest.raises(ArgumentError, match="explained apart"):
        stream_of(["a.tar", "a.png"])


def test_rows_of_parquet_carry_their_other_columns():
    items, pictures = read(
        [{"id": 7, "bytes": b"a", "cam": "left", "raw": b"\xff", "target": 3}, {"id": 8, "bytes": None}]
    )
    assert items[0] == {"id": 7, "path": None, "target": 3, "truth": None, "columns": {"cam": "left"}}
    assert pictures == [b"a", None]
    assert ids_of(as_items(pyarrow.table({"id": [7, None], "path": ["x", "y"]}))) == ["7", "y"]


def test_rows_without_an_id_are_refused():
    with pytest.raises(ArgumentError, match=r"need a column 'id' or 'path'.*'bytes'"):
        read([{"bytes": b"a"}])


def test_samples_of_shards_are_called_by_shard_and_key():
    sample = {"__key__": "0001", "__url__": "x", "path": "/data/train-3.tar", "json": b'{"a": 1}'}
    items, pictures = read([sample | {"jpg": b"a", "png": None}, sample | {"jpg": b"a", "png": b"b"}])
    assert items[0]["id"] == "train-3/0001"
    assert items[0]["columns"] == {"json": '{"a": 1}'}
    assert pictures == [b"a", None]  # of two pictures nobody says which one is meant


def test_a_bucket_is_listed(tmp_path):
    (tmp_path / "cam1" / ".hidden").mkdir(parents=True)
    for name in ("b.png", "cam1/a.JPG", "cam1/notes.txt", "cam1/.hidden/c.png", ".d.png"):
        (tmp_path / name).write_bytes(b"")
    read_into = Blocks()
    Stream((f"file://{tmp_path}",), "pictures").dataset(read_into)
    rows = [json.loads(row) for block in read_into.blocks for row in block["item"].to_pylist()]
    assert [row["id"] for row in rows] == ["b.png", "cam1/a.JPG"]
    assert rows[1]["path"] == f"file://{tmp_path}/cam1/a.JPG"


def test_a_bucket_that_is_empty_or_missing_is_refused(tmp_path):
    for place in (f"file://{tmp_path}", f"file://{tmp_path}/missing", "nosuch://bucket"):
        with pytest.raises(ArgumentError, match=f"{place} cannot be read: ."):
            Stream((place,), "pictures").dataset(Blocks())


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_files_are_named_from_anywhere(tmp_path, monkeypatch, kind):
    """What reads them is another process, in another folder."""
    monkeypatch.chdir(tmp_path)
    places = Stream(("rows", "s3://bucket/rows"), kind).dataset(Reads())
    assert places == [f"{tmp_path}/rows", "s3://bucket/rows"]


class Reads:
    """In place of Ray: gives the places that would be read."""

    @property
    def data(self):
        return self

    def read_parquet(self, places, **_):
        return places

    read_webdataset = read_parquet


class Blocks:
    """In place of Ray: what would be read."""

    @property
    def data(self):
        return self

    def from_arrow(self, blocks):
        self.blocks = blocks
        assert all(len(block) <= LISTED for block in blocks)
