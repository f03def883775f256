"""A result replaces nothing but an earlier one of the same thing."""

import json
import os
from pathlib import Path

import pytest

from sise_rt.errors import OutputError
from sise_rt.foreign import (
    Result,
    other_settings,
    read_result,
    refuse_foreign,
    refuse_foreign_files,
)
from sise_rt.naming import base_name

TARGET = {"index": 1, "label": "b"}
RECORD = {
    "schema": "sise-rt/record/1",
    "picture": {"name": "cat.jpg", "sha256": None},
    "bundle": {"name": "m", "sha256": "0" * 64},
    "target": TARGET,
    "method": "sise",
    "settings": {"mu": 0.0},
}
# As 0.1.0 wrote it.
OLDER = {"image": "cat.jpg", "model": "m", "target": TARGET, "method": "sise", "mu": 0.0, "fusion": "otsu"}


@pytest.mark.parametrize("suffix", [".png", ".npy", ".json", ".blocks.png"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_result_stays(tmp_path, suffix, content):
    (tmp_path / f"cat.281{suffix}").write_bytes(content)
    with pytest.raises(OutputError, match="is no result of this kind"):
        refuse_foreign(tmp_path, "cat.281", RECORD)


def test_a_link_stays(tmp_path):
    (tmp_path / "cat.281.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="is no result of this kind"):
        refuse_foreign(tmp_path, "cat.281", RECORD)


@pytest.mark.parametrize(
    ("older", "others"),
    [
        (False, {"picture": {"name": "dog.jpg"}, "bundle": {"name": "n"}}),
        (True, {"image": "dog.jpg", "model": "n"}),
    ],
)
def test_an_earlier_result_is_known_by_its_record(older, others, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.281.png").write_bytes(b"")
    here = str(tmp_path / "cat.jpg")
    before = OLDER | {"image": here} if older else RECORD | {"picture": {"name": here}}
    file = tmp_path / "cat.281.json"
    file.write_text(json.dumps(before))
    refuse_foreign(tmp_path, "cat.281", RECORD)  # the same picture, however its path is written
    refuse_foreign(tmp_path, "dog.281", RECORD)  # nothing there
    called = {"image": "picture", "bundle": "model"}
    for key, value in (others | {"target": {"index": 2, "label": "c"}, "method": "rise"}).items():
        file.write_text(json.dumps(before | {key: value}))
        with pytest.raises(OutputError, match=f"is a result of another {called.get(key, key)} "):
            refuse_foreign(tmp_path, "cat.281", RECORD)


@pytest.mark.parametrize("key", RECORD)
def test_a_record_that_lacks_a_key_is_none(key, tmp_path):
    (tmp_path / "cat.281.json").write_text(json.dumps({k: v for k, v in RECORD.items() if k != key}))
    with pytest.raises(OutputError, match="is no result of this kind"):
        refuse_foreign(tmp_path, "cat.281", RECORD)


def test_settings_that_differ_are_told(tmp_path):
    file = tmp_path / "cat.281.json"
    for before in (OLDER | {"mu": 0.3}, RECORD | {"settings": {"mu": 0.3}}):
        file.write_text(json.dumps(before))
        assert other_settings(tmp_path, "cat.281", {"mu": 0.0, "scores": "log-odds"}) == ["mu 0.3"]
        assert other_settings(tmp_path, "cat.281", {"mu": 0.3}) == []
    assert other_settings(tmp_path, "dog.281", {"mu": 0.0}) == []
    assert read_result(tmp_path / "dog.281.json") is None
    assert read_result(file) == Result("cat.jpg", "m", TARGET, "sise", {"mu": 0.3})


@pytest.mark.parametrize("name", ["cat.281.243.compare.png", "cat.281.243.grad-cam.compare.png"])
def test_a_comparison_is_replaced_only_beside_records_of_its_picture(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    picture = tmp_path / "cat.jpg"
    with pytest.raises(OutputError, match="is no result of"):
        refuse_foreign_files(tmp_path, [("cat", str(picture))], [281, 243])
    (tmp_path / "cat.281.json").write_text(json.dumps(RECORD | {"picture": {"name": "elsewhere/cat.jpg"}}))
    (tmp_path / "cat.281.png").write_bytes(b"")
    with pytest.raises(OutputError, match="is no result of"):
        refuse_foreign_files(tmp_path, [("cat", str(picture))], [281, 243])
    (tmp_path / "cat.281.json").write_text(json.dumps(RECORD | {"picture": {"name": str(picture)}}))
    refuse_foreign_files(tmp_path, [("cat", str(picture))], [281, 243])
    refuse_foreign_files(tmp_path, [("dog", "dog.jpg")], [281, 243])  # no result of that picture


def result(folder, base, picture, endings=(".json", ".png", ".npy")):
    (folder / base).parent.mkdir(parents=True, exist_ok=True)
    for ending in endings:
        (folder / f"{base}{ending}").write_text(json.dumps(RECORD | {"picture": {"name": picture}}))


def test_each_folder_of_the_tree_is_looked_at(tmp_path):
    for cam in ("cam1", "cam2/left"):
        result(tmp_path, f"{cam}/cat.281", f"/photos/{cam}/cat.jpg")
    pictures = [(f"{cam}/cat", f"/photos/{cam}/cat.jpg") for cam in ("cam1", "cam2/left", "cam3")]
    refuse_foreign_files(tmp_path, pictures, [281])
    for stem, other in (("cam1/cat", "/photos/cat.jpg"), ("cam2/left/cat", "/photos/cam1/cat.jpg")):
        with pytest.raises(OutputError, match=f"{stem}.281.json' exists already and is no result of {other}"):
            refuse_foreign_files(tmp_path, [(stem, other)], [281])
    refuse_foreign_files(tmp_path, [("cat", "/elsewhere/cat.jpg")], [281])
    refuse_foreign_files(tmp_path, [("cam1/cat", "/photos/cat.jpg")], [281], ours={"cam1/cat.281"})
    refuse_foreign_files(tmp_path, [("cam1/cat", "/photos/cat.jpg")], [282])


def test_a_stem_with_dots_and_numbers_is_told_from_its_targets(tmp_path):
    result(tmp_path, "2024.01.15.281", "2024.01.15.jpg")
    refuse_foreign_files(tmp_path, [("2024.01.15", "2024.01.15.jpg")], [281, 1, 15])
    (tmp_path / "2024.281.png").write_bytes(b"")
    refuse_foreign_files(tmp_path, [("2024.01.15", "2024.01.15.jpg")], [281, 1, 15])
    with pytest.raises(OutputError, match="no result of"):
        refuse_foreign_files(tmp_path, [("2024", "2024.jpg")], [281])


def test_shortened_names_are_looked_at(tmp_path):
    stem = "x" * 250
    base = base_name(stem, 281)
    result(tmp_path, base, "other.jpg")
    with pytest.raises(OutputError, match="no result of"):
        refuse_foreign_files(tmp_path, [(stem, f"{stem}.jpg")], [281])


def test_a_folder_is_listed_once_and_a_record_read_once(tmp_path, monkeypatch):
    for number in range(50):
        result(tmp_path, f"cam/{number}.1", f"{number}.jpg")
    listed, read = [], []
    listdir, read_text = os.listdir, Path.read_text
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listdir(path))
    monkeypatch.setattr(Path, "read_text", lambda path, *a: read.append(path) or read_text(path, *a))
    refuse_foreign_files(tmp_path, ((f"cam/{n}", f"{n}.jpg") for n in range(50)), range(1000))
    assert listed == [tmp_path / "cam"]
    assert len(read) == len({*read}) == 50


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    def denied(_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "cam").write_bytes(b"")
    refuse_foreign_files(tmp_path, [("cam/a", "a.jpg")], [1])  # making the folder will be refused
    monkeypatch.setattr(os, "listdir", denied)
    with pytest.raises(OutputError, match="cannot be read: Permission denied"):
        refuse_foreign_files(tmp_path, [("a", "a.jpg")], [1])
