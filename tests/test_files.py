"""Files are whole, or as they were before."""

import os
import subprocess
import sys

import pytest

from sise_rt.errors import NoEvidence, OutputError, Unwritable
from sise_rt.files import make_folder, whole_file, write_whole


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


FULL = """
import resource, sys
from sise_rt.errors import Unwritable
from sise_rt.files import write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_whole(sys.argv[1], b"x" * 1000)
try:
    write_whole(sys.argv[1], b"y" * 1001)
except Unwritable as error:
    print(error.message)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_what_does_not_fit_on_the_disk_leaves_the_file_and_is_an_error_of_its_own(tmp_path):
    path = tmp_path / "a.bin"
    run = subprocess.run([sys.executable, "-P", "-c", FULL, path], capture_output=True, text=True, check=True)
    assert run.stdout == f"{str(path)!r} cannot be written: File too large; what was finished is kept\n"
    assert path.read_bytes() == b"x" * 1000
    assert list(tmp_path.iterdir()) == [path]


def test_other_errors_are_none_of_the_disk(tmp_path):
    with pytest.raises(OutputError) as refused:
        write_whole(tmp_path / "missing" / "a", b"")
    assert not isinstance(refused.value, Unwritable)


def test_a_file_is_written_piece_by_piece(tmp_path):
    path, beside = tmp_path / "a", tmp_path / ".a.tmp"
    beside.write_bytes(b"of a killed run, and longer than what follows")
    with whole_file(path, beside) as file:
        file.write(b"one ")
        assert not path.exists()
        file.write(b"two")
    assert path.read_bytes() == b"one two"
    with pytest.raises(NoEvidence), whole_file(path, beside):
        raise NoEvidence
    assert path.read_bytes() == b"one two"
    assert list(tmp_path.iterdir()) == [path]
