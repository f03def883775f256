"""Names of results, and that nothing else is replaced by one."""

import json
from pathlib import Path

import pytest

from sise_rt.errors import OutputError
from sise_rt.saving import (
    base_name,
    file_label,
    other_settings,
    read_record,
    refuse_foreign,
    refuse_foreign_files,
)

RECORD = {"image": "cat.jpg", "model": "m", "target": {"index": 1, "label": "b"}, "method": "sise", "mu": 0.0}


def test_names():
    assert base_name("cat", 281) == "cat.281"
    assert base_name("cat", 281, "sise:mu=0.3") == "cat.281.sise-mu-0.3"
    assert file_label("a b/c") == "a-b-c"


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


def test_an_earlier_result_is_known_by_its_record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.281.png").write_bytes(b"")
    (tmp_path / "cat.281.json").write_text(json.dumps(RECORD | {"image": str(tmp_path / "cat.jpg")}))
    refuse_foreign(tmp_path, "cat.281", RECORD)  # the same picture, however its path is written
    refuse_foreign(tmp_path, "dog.281", RECORD)  # nothing there
    for key, value in (("image", "dog.jpg"), ("model", "n"), ("target", {"index": 2, "label": "c"})):
        with pytest.raises(OutputError, match=f"is a result of another {key}"):
            refuse_foreign(tmp_path, "cat.281", RECORD | {key: value})


def test_settings_that_differ_are_told(tmp_path):
    (tmp_path / "cat.281.json").write_text(json.dumps(RECORD | {"mu": 0.3}))
    assert other_settings(tmp_path, "cat.281", RECORD, ["mu"]) == ["mu 0.3"]
    assert other_settings(tmp_path, "cat.281", RECORD | {"mu": 0.3}, ["mu"]) == []
    assert other_settings(tmp_path, "dog.281", RECORD, ["mu"]) == []
    assert read_record(tmp_path / "dog.281.json") is None


@pytest.mark.parametrize("name", ["cat.281.243.compare.png", "cat.281.243.grad-cam.compare.png"])
def test_a_comparison_is_replaced_only_beside_records_of_its_picture(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    picture = tmp_path / "cat.jpg"
    with pytest.raises(OutputError, match="is no result of"):
        refuse_foreign_files(tmp_path, [picture], [281, 243])
    (tmp_path / "cat.281.json").write_text(json.dumps(RECORD | {"image": "elsewhere/cat.jpg"}))
    (tmp_path / "cat.281.png").write_bytes(b"")
    with pytest.raises(OutputError, match="is no result of"):
        refuse_foreign_files(tmp_path, [picture], [281, 243])
    (tmp_path / "cat.281.json").write_text(json.dumps(RECORD | {"image": str(picture)}))
    refuse_foreign_files(tmp_path, [picture], [281, 243])
    refuse_foreign_files(tmp_path, [Path("dog.jpg")], [281, 243])  # no result of that picture
