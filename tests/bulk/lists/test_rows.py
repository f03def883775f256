"""Lists of pictures against the libraries that write them, and what is wrong with them."""

import csv
import io
import json

import pytest

from sise_rt.bulk.lists.rows import read_rows
from sise_rt.errors import ArgumentError, ImageError, TargetError

ROWS = [
    {"path": "cam1/0001.png", "target": "281", "note": 'he said "no", twice', "Größe": "1;2"},
    {"path": "cam1/0002, b.png", "target": "", "note": "two\r\nlines\n\nand a gap", "Größe": ""},
    {"path": "cam2/ö.png", "target": "tabby, tabby cat; 3", "note": "=1+1", "Größe": "\t"},
]
TARGETS = [("281",), None, ("tabby, tabby cat", "3")]


def rows(content, notes=None):
    content = content.encode() if isinstance(content, str) else content
    return list(read_rows(io.BytesIO(content), [] if notes is None else notes))


def refused(source):
    with pytest.raises(ArgumentError) as caught:
        list(read_rows(source, []))
    assert caught.value.settings == ("listing",)
    return str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ends", ["\r\n", "\n"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", [True, False])
def test_csv_is_what_was_written(delimiter, ends, coding, end):
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, ROWS[0], delimiter=delimiter, lineterminator=ends)
    table.writeheader()
    table.writerows(ROWS)
    content = text.getvalue() if end else text.getvalue().removesuffix(ends)
    found = rows(content.encode(coding))
    assert [row.path for row in found] == [row["path"] for row in ROWS]
    assert [row.id for row in found] == [row["path"] for row in ROWS]
    assert [row.targets for row in found] == TARGETS
    assert [row.columns for row in found] == [{k: row[k] for k in ("note", "Größe")} for row in ROWS]
    assert [row.line for row in found] == [2, 3, 7]  # in which each begins
    assert not any(row.problem for row in found)


def test_json_lines_keep_their_values():
    values = [
        {
            "path": "a.png",
            "id": 7,
            "target": [281, "tabby"],
            "truth": 3,
            "n": None,
            "deep": {"x": [1, 2.5, "ü"]},
        },
        {"path": "b.png", "target": 281.0, "truth": "tabby", "n": True},
        {"path": "c.png", "target": "1;2", "id": "x/../y"},
    ]
    found = rows("\n\n".join(json.dumps(value) for value in values))
    assert [row.id for row in found] == ["7", "b.png", "x/../y"]
    assert [row.targets for row in found] == [(281, "tabby"), (281,), ("1", "2")]
    assert [row.truth for row in found] == [3, "tabby", None]
    assert [row.columns for row in found] == [{"n": None, "deep": {"x": [1, 2.5, "ü"]}}, {"n": True}, {}]
    assert [row.line for row in found] == [1, 3, 5]


def test_a_path_in_each_line(tmp_path):
    assert [row.path for row in rows("a b.png\r\n\r\ncam1/0001.png\n")] == ["a b.png", "cam1/0001.png"]
    (tmp_path / "a, b.png").touch()
    (tmp_path / "names.txt").write_text("a, b.png\nc.png\n")  # which is there, so no heading
    assert [row.path for row in read_rows(tmp_path / "names.txt", [])] == ["a, b.png", "c.png"]


def test_the_first_line_tells_what_a_stream_is():
    assert rows('{"path": "a.png", "x": 1}')[0].columns == {"x": 1}
    assert rows("PATH\tx\na.png\t1\n")[0].columns == {"x": "1"}
    assert rows("path\na.png\n")[0].path == "a.png"
    assert rows("a.png\n")[0].path == "a.png"
    assert rows("") == rows("\n \r\n") == rows("path,target\r\n") == rows("path,target\r\n,\r\n") == []


def test_names_that_are_no_utf8_stay_what_they_are():
    (row,) = rows(b"path,x\na\xff.png,\xe9\n")
    assert row.path == "a\udcff.png"
    (row,) = rows(b'{"path": "a\xff.png"}\n')
    assert row.path == "a\udcff.png"


DEEP = '{"path": ' + "[" * 100_000


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("image,label\na.png,1\n", "has no column 'path': it has 'image', 'label'; call 'image' so"),
        ("pth;label\na.png;1\n", "has no column 'path': it has 'pth', 'label'; call 'pth' so"),
        ("filename\na.png\n", "call 'filename' so"),
        ("x,y\n1,2\n", "has no column 'path': it has 'x', 'y'; call the one with the pictures so"),
        ("path,a,a\nx.png,1,2\n", "has the column 'a' twice"),
        ("Path,path\nx.png,1\n", "has the column 'path' twice"),
        ("path,a\nx.png,1\ny.png\n", "line 3, has 1 cell, and the heading 2"),
        ("path,a\nx, y.png,1\n", "line 2, has 3 cells, and the heading 2"),
        ('path,a\nx.png,"1\n2"\ny.png,"torn', "line 4, is no CSV"),
        ('path,a\nx.png,"1" 2\n', "line 2, is no CSV"),
        ('{"path": "a.png"}\n\n{"path": "b.p', "line 3, is no JSON"),
        ('{"path": "a.png"}\n[1]\n', "line 2, is no object"),
        (
            '{"path": "a.png"}\n{"image": "b.png"}\n',
            "line 2, has no key 'path': it has 'image'; call 'image' so",
        ),
        ('{"path": "a.png", "x": NaN}\n', "line 1, is no JSON (NaN"),
        ('{"path": "a.png", "x": -1e999}\n', "line 1, is no JSON (-1e999"),
        pytest.param(DEEP, "line 1, is no JSON", id="deep"),
        ('{"path": "a.png", "id": [1]}\n', "line 1: the id is [1]"),
        ('{"path": "a.png", "id": true}\n', "line 1: the id is True"),
        ("path,x\na.png,1\n".encode("utf-16"), "no text in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", "line 3, has a null character"),
        (b"PAR1\x15\x04\x15\n", "no text in UTF-8"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_with_its_line(content, told):
    message = refused(io.BytesIO(content if isinstance(content, bytes) else content.encode()))
    assert told in message
    assert message.startswith("standard input")
    assert len(message) < 1500


@pytest.mark.parametrize(
    ("name", "told"), [("list.csv", "has no column 'path'"), ("list.jsonl", "line 1, is no JSON")]
)
def test_an_ending_tells_what_a_file_is(tmp_path, name, told):
    (tmp_path / name).write_text("a.png\n")
    assert told in refused(tmp_path / name)


def test_a_list_that_is_not_there_is_refused(tmp_path):
    for path, told in ((tmp_path / "no.csv", "no such file"), (tmp_path, "cannot be read: Is a directory")):
        with pytest.raises(ArgumentError, match=told):
            list(read_rows(path, []))


def test_what_is_wrong_with_a_row_alone_is_its_problem():
    content = [
        {"path": "a.png", "target": True},
        {"path": "b.png", "truth": [1, 2]},
        {"path": ""},
        {"path": 7},
        {"path": None, "id": "five"},
        {"path": "f.png", "target": 2.5},
        {"path": "g.png", "target": [{"x": 1}]},
        {"path": "h.png"},
    ]
    found = rows("\n".join(map(json.dumps, content)))
    kinds = [
        TargetError,
        TargetError,
        ImageError,
        ImageError,
        ImageError,
        TargetError,
        TargetError,
        type(None),
    ]
    assert [type(row.problem) for row in found] == kinds
    assert [row.id for row in found] == [
        "a.png",
        "b.png",
        "line 3",
        "line 4",
        "five",
        "f.png",
        "g.png",
        "h.png",
    ]
    assert str(found[5].problem) == "standard input, line 6: 2.5 is neither a class index nor a label"


def test_a_stream_stays_open():
    stream = io.BytesIO(b"path\na.png\n")
    list(read_rows(stream, []))
    assert not stream.closed


def test_cells_without_a_name_have_their_number():
    """As pandas writes its index."""
    (row,) = rows(",path,target\n0,a.png,281.0\n")
    assert row.columns == {"column 1": "0"}
    assert row.targets == ("281",)
