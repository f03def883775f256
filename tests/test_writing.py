"""Where a bundle is written, and what is left on disk when something goes wrong."""

import os
import re
import shutil

import pytest

from sise_rt.bundle import MANIFEST
from sise_rt.errors import OutputError
from sise_rt.writing import new_bundle


def fill(output, overwrite=True, stop=None):
    with new_bundle(output, overwrite) as folder:
        (folder / MANIFEST).write_text("new")
        if stop:
            raise stop


@pytest.fixture
def old(small_bundle, tmp_path):
    """A bundle that stands where a new one shall go."""
    return shutil.copytree(small_bundle, tmp_path / "a.sise")


def test_a_finished_folder_becomes_the_bundle(tmp_path):
    fill(tmp_path / "deep" / "a.sise", overwrite=False)
    assert (tmp_path / "deep" / "a.sise" / MANIFEST).read_text() == "new"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.sise"]


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("existing", [True, False])
def test_an_interrupted_export_changes_nothing(small_bundle, tmp_path, stop, existing):
    output = tmp_path / "a.sise"
    if existing:
        shutil.copytree(small_bundle, output)
    with pytest.raises(stop):
        fill(output, stop=stop)
    assert [path.name for path in tmp_path.iterdir()] == (["a.sise"] if existing else [])
    assert not existing or (output / MANIFEST).read_text() == (small_bundle / MANIFEST).read_text()


def test_what_exists_is_kept(old, tmp_path):
    with pytest.raises(OutputError, match=r"a\.sise exists already, .* \(see overwrite\)"):
        fill(old, overwrite=False)
    fill(old)
    assert (old / MANIFEST).read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.sise"]
    other = tmp_path / "photos"
    other.mkdir()
    (other / "cat.jpg").write_text("miaow")
    for overwrite in (True, False):
        with pytest.raises(OutputError, match="photos exists already and is no bundle"):
            fill(other, overwrite=overwrite)
    assert (other / "cat.jpg").read_text() == "miaow"


def test_only_a_whole_bundle_is_replaced(old):
    kept = [
        ("thesis.txt", "holds what is not the bundle's (thesis.txt)"),
        ("photos/cat.jpg", "holds what is not the bundle's (photos, photos/cat.jpg)"),
        (".hidden", "holds what is not the bundle's (.hidden)"),
    ]
    for name, words in kept:
        (old / name).parent.mkdir(exist_ok=True)
        (old / name).write_text("years of work")
        with pytest.raises(OutputError, match=re.escape(words)):
            fill(old)
        assert (old / name).read_text() == "years of work"
        (old / name).unlink()
        if (old / name).parent != old:
            (old / name).parent.rmdir()
    manifest = (old / MANIFEST).read_text()
    for text in ("{}", "[", manifest.replace('"schema_version": "1', '"schema_version": "0'), "\udcff"):
        (old / MANIFEST).write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(OutputError, match=r"no bundle that this version reads .* delete it by hand"):
            fill(old)
    (old / MANIFEST).write_text(manifest)
    link = old.with_name("link.sise")
    link.symlink_to(old)
    with pytest.raises(OutputError, match=r"link\.sise exists already and is a link"):
        fill(link)
    fill(old)


def test_what_appears_in_the_meantime_is_kept(tmp_path):
    output = tmp_path / "a.sise"

    def fill_late():
        with new_bundle(output, True):
            output.mkdir()
            (output / "notes.txt").write_text("mine")

    with pytest.raises(OutputError, match="exists already"):
        fill_late()
    assert [path.name for path in tmp_path.iterdir()] == ["a.sise"]
    assert (output / "notes.txt").read_text() == "mine"


def test_the_old_bundle_survives_a_move_that_fails(old, tmp_path, monkeypatch):
    before = (old / MANIFEST).read_text()
    replace = os.replace

    def failing(a, b):
        if (a / MANIFEST).read_text() == "new":
            raise OSError("no room")
        replace(a, b)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OutputError, match=r"a\.sise cannot be written: no room"):
        fill(old)
    assert (old / MANIFEST).read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.sise"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file: name a folder"):
        fill(tmp_path / "file" / "a.sise")
