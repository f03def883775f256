"""Rows that come in: what they name, what is wrong with them, and where their pictures are read from."""

import hashlib
from pathlib import Path

import pytest

from sise_rt.bulk.items import Item
from sise_rt.bulk.ray.given import item_row, items_of, targets_of
from sise_rt.errors import ArgumentError, ImageError

pyarrow = pytest.importorskip("pyarrow")


def items(**columns):
    return list(items_of(pyarrow.table(columns)))


def test_a_row_has_its_picture_as_bytes_or_as_a_path():
    given = items(bytes=[b"abc", None, None], path=[None, "cam1/0.png", None], id=["a", None, "c"])
    assert [item.id for item in given] == ["a", "cam1/0.png", "c"]
    assert given[0].picture == b"abc"
    assert str(given[1].picture) == "cam1/0.png"
    assert isinstance(given[2].problem, ImageError)
    assert "has no picture" in str(given[2].problem)


def test_rows_without_ids_are_called_by_their_content():
    (item,) = items(bytes=[b"abc"])
    assert item.id == hashlib.sha256(b"abc").hexdigest()


def test_targets_and_truth_are_taken():
    given = items(bytes=[b"a"] * 4, target=["tabby; 242", "", None, "7"], truth=["cat", None, "1", ""])
    assert [item.targets for item in given] == [("tabby", "242"), None, None, ("7",)]
    assert [item.truth for item in given] == ["cat", None, "1", ""]


@pytest.mark.parametrize(
    ("cell", "targets"),
    [(3, (3,)), ([1, "b"], (1, "b")), ([], None), (" ; ", None), ("a;;b", ("a", "b"))],
)
def test_targets_of_a_cell(cell, targets):
    assert targets_of(cell) == targets


def test_a_table_without_pictures_is_refused():
    with pytest.raises(ArgumentError, match=r"no column 'bytes'.*'image', 'label'"):
        items(image=["a.png"], label=[1])


def test_a_uri_is_fetched_by_its_file_system(tmp_path):
    (tmp_path / "a.png").write_bytes(b"picture")
    there, missing, unknown = items(
        path=[f"file://{tmp_path}/a.png", f"file://{tmp_path}/b.png", "nosuch://bucket/c.png"]
    )
    assert there.picture == b"picture"
    assert "b.png: no such file" in str(missing.problem)
    assert "nosuch://bucket/c.png: cannot be fetched" in str(unknown.problem)


def test_an_item_comes_back_as_it_was(tmp_path):
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    item = Item(id=name, picture=tmp_path / name, stem="x", targets=(3, "b"), truth=1, columns={"cam": [1]})
    (back,) = items(item=[item_row(item)])
    assert (back.id, back.picture, back.targets) == (name, tmp_path / name, (3, "b"))
    assert (back.truth, back.columns) == (1, {"cam": [1]})


def test_an_actor_finds_a_picture_from_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = item_row(Item(id="a", picture=Path("cam1/a.png"), stem="a"))
    monkeypatch.chdir("/")
    (back,) = items(item=[row])
    assert back.picture == tmp_path / "cam1" / "a.png"
