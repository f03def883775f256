"""What a folder holds: against `glob` and a walk by hand."""

import glob
import os
import sys
from pathlib import Path

import pytest

from sise_rt.bulk.folders import search
from sise_rt.errors import ArgumentError, SiseError
from sise_rt.pictures.reading import PICTURES

TREE = (
    "a.png",
    "b.JPG",
    "c.tiff",
    "notes.txt",
    "readme",
    "cam1/0001.png",
    "cam1/0002.png",
    "cam1/deep/er/0003.png",
    "cam2/0001.png",
    "cam2/x.csv",
    "cam2.png/0001.jpg",
    "other/0001.npy",
)


@pytest.fixture
def tree(tmp_path):
    for name in TREE:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "photos"


def test_pictures_are_found_sorted_and_all_else_is_counted(tree):
    found = search(tree)
    assert found.pictures == sorted(name for name in TREE if Path(name).suffix.lower() in PICTURES)
    assert found.others == {".txt": 1, "none": 1, ".csv": 1}
    (told,) = found.left_out()
    assert told.startswith("3 files of other endings (")
    assert {".txt 1", "none 1", ".csv 1"} == {*told.partition("(")[2].rstrip(")").split(", ")}


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "*.png",
        "**",
        "**/*.png",
        "cam*",
        "cam?/*.png",
        "cam1/**",
        "**/000[12].*",
        "**/deep/**/*.png",
        "*/*",
    ],
)
def test_a_pattern_finds_what_a_shell_does(tree, pattern):
    """Files that match, and all below folders that match; `glob` is Python's own."""
    expected = set()
    for match in glob.glob(pattern, root_dir=tree, recursive=True):
        below = (tree / match).rglob("*") if (tree / match).is_dir() else [tree / match]
        expected |= {path.relative_to(tree).as_posix() for path in below if path.is_file()}
    expected = {name for name in expected if Path(name).suffix.lower() in PICTURES}
    assert set(search(tree, tuple(pattern.split("/"))).pictures) == expected
    assert expected


def test_hidden_files_are_nobodys_pictures(tree):
    (tree / "._a.png").touch()
    (tree / ".cache").mkdir()
    (tree / ".cache" / "z.png").touch()
    found = search(tree)
    assert not [name for name in found.pictures if "._" in name or "cache" in name]
    assert found.hidden == 2


def test_links_to_folders_are_not_followed_and_those_to_pictures_are(tree):
    (tree / "loop").symlink_to(tree)
    (tree / "cam1" / "up").symlink_to("..")
    (tree / "itself").symlink_to("itself")
    (tree / "linked.png").symlink_to("a.png")
    (tree / "gone.png").symlink_to("nothing.png")
    found = search(tree)
    assert found.links == 2
    assert {"linked.png", "gone.png"} < set(found.pictures)
    assert len(found.pictures) == 11
    assert search(tree / "loop").pictures == found.pictures


def test_the_output_folder_is_left_out_where_it_lies_within(tree):
    assert "cam1/0001.png" not in search(tree, out=tree / "cam1").pictures
    assert "cam1/0001.png" in search(tree, out=tree).pictures
    assert "cam1/0001.png" in search(tree, out=tree / "not" / "yet").pictures


@pytest.mark.skipif(os.geteuid() == 0 or sys.platform == "win32", reason="who may read everything")
def test_a_folder_that_cannot_be_read_is_told(tree):
    (tree / "cam1").chmod(0)
    try:
        found = search(tree)
        with pytest.raises(ArgumentError, match="Permission denied"):
            search(tree / "cam1")
    finally:
        (tree / "cam1").chmod(0o700)
    assert list(found.unreadable) == ["cam1"]


def test_a_subfolder_that_the_system_does_not_show_is_told(tree, monkeypatch):
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "cam1":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = search(tree)
    assert list(found.unreadable) == ["cam1"]
    assert "cam2/0001.png" in found.pictures
    with pytest.raises(ArgumentError, match=r"cam1.*cannot be read: Permission denied"):
        search(tree / "cam1")


@pytest.mark.parametrize("folder", ["nothing", "photos/a.png", "a\0b"])
def test_what_is_no_folder_is_refused(tree, folder):
    with pytest.raises(SiseError, match="cannot be read"):
        search(tree.parent / folder)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_utf8_are_found(tmp_path):
    (tmp_path / os.fsdecode(b"a\xff\n.png")).touch()
    (found,) = search(tmp_path).pictures
    assert os.fsencode(found) == b"a\xff\n.png"
    assert (tmp_path / found).is_file()
