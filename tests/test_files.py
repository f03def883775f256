"""Files are whole, or as they were before."""

import os

import pytest

from sise_rt.errors import OutputError
from sise_rt.files import make_folder, write_whole


def test_a_file_is_replaced_and_nothing_lies_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"before")
    write_whole(path, b"after")
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_bytes(b"before")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["missing/a.txt", "file/a.txt", "nul\0", "x" * 5000, "."])
def test_what_cannot_be_written_is_an_output_error(tmp_path, name):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        write_whole(tmp_path / name, b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_cannot_be_written_says_why_without_a_number(tmp_path):
    with pytest.raises(OutputError) as refused:
        write_whole(tmp_path / "missing" / "a.txt", b"x")
    path = str(tmp_path / "missing" / "a.txt")
    assert (
        refused.value.message
        == f"{path!r} cannot be written: No such file or directory: check folder and rights"
    )


def test_a_folder_is_made_with_those_above_it(tmp_path):
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("file", "is a file: name a folder"),
        ("file/deep/er", "lies below a file: name a folder"),
        ("nul\0", "cannot be made: embedded null"),
        ("x" * 5000, "cannot be made: File name too long: name another one"),
    ],
)
def test_a_folder_that_cannot_be_made_says_why(tmp_path, name, says):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError) as refused:
        make_folder(tmp_path / name, settings=("out",))
    assert says in refused.value.message
    assert refused.value.settings == ("out",)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
