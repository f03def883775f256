"""Results that lie among pictures are known by their records, or by the run that wrote them."""

import json

import pytest

from sise_rt.bulk.earlier_results import results_among
from sise_rt.bulk.folders import search

RECORD = {"image": "cat.jpg", "model": "m", "target": {"index": 281, "label": "cat"}, "method": "sise"}
LINE = {"id": "cat.jpg", "status": "done", "part": [1, 1]}


def touch(folder, *names):
    folder.mkdir(exist_ok=True, parents=True)
    for name in names:
        (folder / name).touch()


def record(path, value=None):
    path.write_text(json.dumps(RECORD if value is None else value))


def test_files_beside_a_record_are_results(tmp_path):
    names = ["cat.281.png", "cat.281.npy", "cat.281.blocks.png", "cat.281.282.compare.png"]
    names += ["dog.3.sise-mu-0.3.png", "dog.3.methods.png", "dog.3.4.sise-mu-0.3.compare.png"]
    pictures = ["cat.jpg", "cat.282.png", "dog.png", "cat.28.png", "bird.methods.png", "cat.28.methods.png"]
    touch(tmp_path, *names, *pictures)
    record(tmp_path / "cat.281.json")
    record(tmp_path / "dog.3.sise-mu-0.3.json")
    found = search(tmp_path)
    assert found.pictures == sorted(pictures)
    assert found.results == len(names) + 2  # and the records


def test_annotations_beside_pictures_are_no_records(tmp_path):
    touch(tmp_path, "a.1.png", "b.1.png", "c.1.png", "d.1.png")
    record(tmp_path / "a.1.json", {"shapes": [], "imagePath": "a.1.png"})
    (tmp_path / "b.1.json").write_bytes(b"\xff{")
    (tmp_path / "c.1.json").write_text("[" * 100_000)
    record(tmp_path / "d.1.json", RECORD | {"imageData": "x" * (1 << 20)})  # no record is as large
    assert len(search(tmp_path).pictures) == 4


def test_a_folder_with_a_run_is_left_out_whole(tmp_path):
    touch(tmp_path / "explained" / "cam1", "0001.281.png")
    touch(tmp_path, "a.png")
    (tmp_path / "explained" / "run.json").write_text("{}")
    assert search(tmp_path).pictures == ["a.png", "explained/cam1/0001.281.png"]  # someone else's run.json
    (tmp_path / "explained" / "results-1-of-2.jsonl").write_text("")
    assert search(tmp_path).pictures == ["a.png"]


@pytest.mark.parametrize("searched", [".", "cam1"])
def test_results_without_records_among_pictures_are_known_by_their_run(tmp_path, searched):
    """Of a run into the folder of the pictures that wrote pictures alone."""
    touch(tmp_path / "cam1", "0001.png", "0001.281.png", "0002.png")
    touch(tmp_path, "a.png", "a.281.png")
    (tmp_path / "run.json").write_text("{}")
    files = [["cam1/0001.281.png"], ["a.281.png"], []]
    lines = [json.dumps(LINE | {"id": str(n), "files": some}) for n, some in enumerate(files)]
    (tmp_path / "results.jsonl").write_text("\n".join(lines) + '\n{"torn')
    pictures = search(tmp_path / searched).pictures
    assert pictures == (
        ["a.png", "cam1/0001.png", "cam1/0002.png"] if searched == "." else ["0001.png", "0002.png"]
    )


def test_nothing_is_read_where_nothing_may_be_a_result(tmp_path, monkeypatch):
    monkeypatch.setattr("sise_rt.bulk.earlier_results.read_result", None)
    touch(tmp_path, "a.png", "b.methods.png", "z.json")
    assert results_among(tmp_path, ["a.png", "b.methods.png"]) == set()
    with pytest.raises(TypeError):
        results_among(tmp_path, ["z.png", "z.json"])
