"""Lists in Parquet, as pyarrow writes them."""

import datetime
import json
import sys
from decimal import Decimal

import pytest

from sise_rt.bulk.lists.rows import read_rows
from sise_rt.errors import ArgumentError, SiseError


@pytest.fixture
def parquet(tmp_path):
    """Write columns as Parquet; gives its path."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def write(columns, **options):
        table = pyarrow.table(columns) if isinstance(columns, dict) else columns
        parquet.write_table(table, tmp_path / "list.parquet", **options)
        return tmp_path / "list.parquet"

    return write


def test_parquet_keeps_its_values(parquet):
    when = datetime.datetime(2026, 1, 2, 3, 4, 5)
    path = parquet(
        {
            "path": ["a.png", "b.png"],
            "Target": [281.0, None],
            "truth": ["tabby", None],
            "number": [1.5, float("nan")],
            "when": [when, None],
            "price": [Decimal("1.20"), None],
            "tags": [["x"], []],
            "picture": [b"\x89PNG", b""],
            "image": [{"bytes": b"\x89PNG", "path": "x"}, None],
            "a.b": [1, 2],
            "": ["u", "v"],
        }
    )
    notes = []
    first, second = read_rows(path, notes)
    assert (first.targets, second.targets) == ((281,), None)
    assert (first.truth, second.truth) == ("tabby", None)
    dates = {"when": "2026-01-02 03:04:05.000000", "price": "1.20", "tags": ["x"]}
    assert first.columns == {"number": 1.5, **dates, "a.b": 1, "column 11": "u"}
    empty = {"when": None, "price": None, "tags": []}
    assert second.columns == {"number": None, **empty, "a.b": 2, "column 11": "v"}
    assert notes == [f"{path}: left out columns of bytes (picture, image)"]
    json.dumps([first.columns, second.columns], allow_nan=False)


def test_paths_of_parquet_are_text(parquet):
    with pytest.raises(ArgumentError, match="'path' holds bytes"):
        list(read_rows(parquet({"path": [b"a.png"]}), []))


def test_parquet_is_read_in_parts_with_its_rows_counted(parquet):
    count = 25_001
    path = parquet({"path": [f"{n}.png" for n in range(count)]}, row_group_size=7000)
    found = list(read_rows(path, []))
    assert [row.line for row in found] == list(range(1, count + 1))
    assert [row.path for row in found] == [f"{n}.png" for n in range(count)]


def test_parquet_that_is_torn_is_refused(parquet):
    path = parquet({"path": ["a.png"] * 100})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ArgumentError, match="no Parquet that can be read"):
        list(read_rows(path, []))


def test_parquet_without_pyarrow_says_what_to_install(parquet, monkeypatch):
    path = parquet({"path": ["a.png"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SiseError, match=r"pip install 'sise-rt\[parquet\]'"):
        list(read_rows(path, []))


def test_parquet_without_paths_names_the_columns(parquet):
    with pytest.raises(ArgumentError, match="no column 'path': it has 'file', 'x'; call 'file' so"):
        list(read_rows(parquet({"file": ["a.png"], "x": [1]}), []))
