"""What is named becomes items: with ids, places for results, and notes of what was left out."""

import io
import json
import os
from pathlib import Path

import pytest

from sise_rt.bulk.listing import from_arguments, from_list, is_run
from sise_rt.errors import ArgumentError, ImageError


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder in the working one."""
    for name in ("a.png", "b.jpg", "cam1/0001.png", "cam1/0002.png", "cam2/0001.png", "notes.txt"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


CAMERAS = ["cam1/0001.png", "cam1/0002.png", "cam2/0001.png"]


@pytest.mark.parametrize(
    ("arguments", "root", "ids"),
    [
        (["photos"], "photos", ["a.png", "b.jpg", *CAMERAS]),
        (["photos/"], "photos", ["a.png", "b.jpg", *CAMERAS]),
        (["photos/cam1", "photos/cam2"], "photos", CAMERAS),
        (["photos/cam2", "photos/a.png"], "photos", ["cam2/0001.png", "a.png"]),
        (["photos/b.jpg", "photos/a.png"], "photos", ["b.jpg", "a.png"]),
        (["photos/cam1/0001.png"], "photos/cam1", ["0001.png"]),
        (["./photos//cam1/../cam1/0001.png"], "photos/cam1", ["0001.png"]),
        (["photos/**/*.png"], "photos", ["a.png", *CAMERAS]),
        (["photos/cam*"], "photos", CAMERAS),
        (["ph*/cam1"], ".", [f"photos/{name}" for name in CAMERAS[:2]]),
    ],
)
def test_ids_are_paths_below_what_arguments_have_in_common(photos, arguments, root, ids):
    listing = from_arguments(arguments)
    assert listing.root == Path(os.path.abspath(root))
    assert [item.id for item in listing.items] == ids
    assert [item.stem for item in listing.items] == [name.rpartition(".")[0] for name in ids]
    for item in listing.items:
        assert item.picture.is_file()
        assert item.picture.samefile(listing.root / item.id)
        assert not item.picture.is_absolute()


def test_the_picture_is_called_as_it_was_named(photos):
    assert from_arguments(["photos/a.png"]).items[0].picture == Path("photos/a.png")
    assert from_arguments([str(photos)]).items[0].picture == photos / "a.png"
    assert from_arguments(["*/a.png"]).items[0].picture == Path("photos/a.png")


def test_a_run_that_is_gone_on_with_keeps_its_root(photos):
    listing = from_arguments(["photos/cam1/0001.png"], root=photos)
    assert [item.id for item in listing.items] == ["cam1/0001.png"]
    with pytest.raises(ArgumentError, match=r"'list.csv' does not lie in .*photos") as told:
        from_arguments(["list.csv"], root=photos)
    assert told.value.settings == ("out",)


def test_a_list_of_ids_has_no_root(photos):
    table = photos / "list.csv"
    table.write_text("path,id\ncam1/0001.png,1\na.png,2\n")
    assert from_list(table).root is None


def test_what_is_left_out_is_said(photos):
    (photos / "link").symlink_to("cam1")
    (note,) = from_arguments(["photos"], out=photos / "cam2").notes
    assert note == (
        "'photos': left out 1 file of other endings (.txt 1), 1 result of sise-rt, 1 link to folders, "
        "which are not followed"
    )
    assert from_arguments(["photos/cam1"]).notes == ()


def test_standard_input_names_pictures_and_folders(photos):
    for data in (b"photos/a.png\nphotos/cam1\r\n\n", b"photos/a.png\0photos/cam1\0"):
        listing = from_arguments(["-"], standard_input=io.BytesIO(data))
        assert [item.id for item in listing.items] == ["a.png", *CAMERAS[:2]]
    listing = from_arguments(["photos/b.jpg", "-"], standard_input=io.BytesIO(b"photos/a.png"))
    assert [item.id for item in listing.items] == ["b.jpg", "a.png"]


def test_standard_input_takes_names_as_they_are(photos):
    names = [b"photos/[a].png", b"-", b"photos/\xff.png", b"photos/two\nlines.png", b" x.png"]
    listing = from_arguments(["-"], standard_input=io.BytesIO(b"\0".join(names)))
    assert [os.fsencode(item.picture) for item in listing.items] == names


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["photos/empty"], "'photos/empty' has no pictures, nor anything else"),
        (
            ["photos/texts"],
            r"has no pictures, only 3 files of other endings \(.txt 2, .md 1\), 1 hidden name",
        ),
        (["photos/*.gif"], "'photos/\\*.gif' matches no picture"),
        (["photos/*.txt"], r"matches no picture, only 1 file of other endings \(.txt 1\)"),
        (["nothing/*.png"], "'nothing' cannot be read: No such file"),
        (["photos", "photos/a.png"], "'photos/a.png' is named twice, by 'photos' and 'photos/a.png'"),
        (["photos/a.png", "photos/../photos/a.png"], "is named twice"),
        (["photos/a.png", "photos/a.png"], "'photos/a.png' is named twice, by 'photos/a.png'"),
        (["photos", "photos/cam1"], "is named twice, by 'photos' and 'photos/cam1'"),
        (["-", "-"], "standard input can be read once"),
    ],
)
def test_what_names_nothing_or_twice_is_refused(photos, arguments, told):
    (photos / "empty").mkdir()
    (photos / "texts").mkdir()
    for name in ("a.txt", "b.TXT", "c.md", ".hidden.png"):
        (photos / "texts" / name).touch()
    with pytest.raises(ArgumentError, match=told) as caught:
        from_arguments(arguments, standard_input=io.BytesIO(b"photos/b.jpg"))
    assert caught.value.settings == ("images",)


def test_standard_input_is_refused_where_it_names_nothing(photos):
    with pytest.raises(ArgumentError, match="names no picture"):
        from_arguments(["-"], standard_input=io.BytesIO(b"\n\n"))
    with pytest.raises(ArgumentError, match="by line 1 of standard input and line 3 of standard input"):
        from_arguments(["-"], standard_input=io.BytesIO(b"x.png\n\n./x.png"))


def test_a_picture_that_is_not_there_is_an_item_whose_reading_fails(photos):
    (item,) = from_arguments(["photos/gone.png"]).items
    assert (item.id, item.problem) == ("gone.png", None)


def test_brackets_of_a_file_are_no_pattern(photos):
    (photos / "[a].png").touch()
    assert [item.id for item in from_arguments(["photos/[a].png"]).items] == ["[a].png"]
    assert not is_run(["photos/[a].png"])
    assert is_run(["photos/[b].png"])


def test_a_subfolder_that_cannot_be_read_is_an_item_that_failed(photos, monkeypatch):
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "cam1":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    *others, last = from_arguments(["photos"]).items
    assert [item.id for item in others] == ["a.png", "b.jpg", "cam2/0001.png"]
    assert last.id == "cam1"
    assert isinstance(last.problem, ImageError)
    assert "'photos/cam1' cannot be read: Permission denied" in str(last.problem)


@pytest.mark.parametrize(
    ("arguments", "run"),
    [
        (["photos/a.png"], False),
        (["nothing.png"], False),
        (["photos"], True),
        (["-"], True),
        (["photos/*.png"], True),
        (["photos/a.png", "photos/b.jpg"], True),
    ],
)
def test_a_run_is_whatever_is_not_one_picture(photos, arguments, run):
    assert is_run(arguments) is run


def test_a_list_is_relative_to_its_folder(photos):
    table = photos / "list.csv"
    table.write_text(
        f"path,truth,site\ncam1/0001.png,3,x\n../photos/a.png,,y\n{photos}/cam2/0001.png,tabby,z\n"
    )
    listing = from_list(table)
    assert listing.root == photos
    assert [item.stem for item in listing.items] == ["cam1/0001", "photos/a", "cam2/0001"]
    assert [item.truth for item in listing.items] == ["3", None, "tabby"]
    assert [item.columns for item in listing.items] == [{"site": "x"}, {"site": "y"}, {"site": "z"}]
    assert all(item.picture.is_file() for item in listing.items)
    listing = from_list(io.BytesIO(b"photos/a.png\n"))
    assert listing.items[0].picture.is_file()


def test_ids_of_a_list_name_the_results(photos):
    lines = [
        {"path": "a.png", "id": 1},
        {"path": "a.png", "id": "../x"},
        {"path": "b.jpg", "id": "cam/7.jpg"},
    ]
    (photos / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    items = from_list(photos / "list.jsonl").items
    assert [(item.id, item.stem) for item in items] == [("1", "1"), ("../x", "x"), ("cam/7.jpg", "cam/7")]


def test_backslashes_of_a_list_are_folders_where_no_such_file_is_there(photos):
    (photos / "list.csv").write_text("path\ncam1\\0001.png\n..\\..\\etc\\gone.png\n")
    first, second = from_list(photos / "list.csv").items
    assert first.picture == photos / "cam1/0001.png"
    assert (first.id, first.stem) == ("cam1\\0001.png", "cam1/0001")
    assert second.stem == "etc/gone"
    if os.name != "nt":
        (photos / "cam1\\0001.png").touch()
        assert from_list(photos / "list.csv").items[0].picture == photos / "cam1\\0001.png"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("path\na.png\nb.jpg\na.png\n", "lines 2 and 4 are of the same picture, 'a.png': give each an id"),
        ("path,id\na.png,x\nb.jpg,x\n", "lines 2 and 3 have the same id, 'x'"),
        ("path,id\na.png,b.jpg\nb.jpg,\n", "lines 2 and 3"),
        ("path\n", "has no rows"),
        ("", "has no rows"),
    ],
)
def test_lists_that_are_refused(photos, content, told):
    (photos / "list.csv").write_text(content)
    with pytest.raises(ArgumentError, match=told) as caught:
        from_list(photos / "list.csv")
    assert caught.value.settings == ("listing",)


def test_the_same_rows_of_parquet_are_rows(photos):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"path": ["a.png", "a.png"]}), photos / "list.parquet")
    with pytest.raises(ArgumentError, match=r"list\.parquet: rows 1 and 2 are of the same picture"):
        from_list(photos / "list.parquet")


PEAK = """
import io, json, sys, tracemalloc
from sise_rt.bulk.listing import from_list

def peak(count):
    content = "path,target,site\\n" + "".join(f"cam{n % 7}/{n:07}.png,3,north\\n" for n in range(count))
    stream = io.BytesIO(content.encode())
    tracemalloc.start()
    items = from_list(stream).items
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(items) == count
    return most

peak(10)  # what is imported late
print(json.dumps([peak(4000), peak(8000)]))
"""


def test_memory_grows_with_the_rows_and_no_faster(alone):
    half, whole = alone(PEAK)
    assert whole < 2.5 * half
    assert whole < 8000 * 2000  # bytes
