"""`sise-rt augment`: what it writes and says, how it goes on, and what it refuses in one line."""

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sise_rt

DEMO = Path(sise_rt.__file__).parent / "demo" / "surface.sise"
QUICK = ("--format", "folder", "--method", "grad-cam", "--fill", "mean")


@pytest.fixture
def data(photos, tmp_path):
    for name in ("pit/0.png", "patch/0.png", "scratch/0.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        shutil.copy(photos / name, tmp_path / "data" / name)
    return tmp_path / "data"


@pytest.fixture
def augment(sise, data, tmp_path):
    """Augment the data with the demo's model into `out`."""
    return lambda *more, out="out": sise("augment", data, "-m", DEMO, *QUICK, "-o", tmp_path / out, *more)


def rows(out):
    with open(out / "labels.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def hashes(out):
    files = [path for path in out.rglob("*") if path.is_file()]
    return {path.relative_to(out): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_pictures_labels_and_a_page(augment, data, tmp_path):
    code, printed, err = augment()
    assert (code, err.splitlines()[-1]) == (0, "3 of 3 images")
    assert printed.splitlines()[0] == (
        "3 labelled pictures: 3 occluded in both ways; the original alone of 0 that the model gets wrong "
        "and 0 without evidence; 0 failed; 9 files"
    )
    table = rows(tmp_path / "out")
    assert [row["kind"] for row in table] == ["original", "rest_occluded", "salient_occluded"] * 3
    for row in table:
        folder = row["source"].split("/")[0]
        assert row["class"] == ("background" if row["kind"] == "salient_occluded" else folder)
        assert row["path"].startswith(f"images/{folder}/")
        assert (tmp_path / "out" / row["path"]).is_file()
        assert len(row["soft_label"].split()) == 6
        assert row["method"] == ("" if row["kind"] == "original" else "grad-cam")
    assert {row["area"] for row in table} == {"0.000000", "0.200000", "0.800000"}
    assert (tmp_path / "out" / "augment.html").is_file()
    before = hashes(tmp_path / "out")
    assert augment()[0] == 0
    assert hashes(tmp_path / "out") == before


KILLED = """
import os, signal
from sise_rt.augmenting import one_picture

write, files = one_picture.write, 0

def killed(path, data):
    global files
    files += 1
    if files == 6:
        path.with_name(f".{path.name}.tmp").write_bytes(data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, data)

one_picture.write = killed
from sise_rt.cli import main
main()
"""


def test_a_killed_run_goes_on_to_the_same_files(augment, data, tmp_path):
    assert augment()[0] == 0
    out = tmp_path / "killed"
    command = [sys.executable, "-P", "-c", KILLED, "augment", data, "-m", DEMO, *QUICK, "-o", out]
    done = subprocess.run(list(map(str, command)), capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert len((out / "results.jsonl").read_text().splitlines()) <= 1
    assert len([path for path in (out / "images").rglob("*") if path.is_file()]) == 6
    assert not (out / "labels.csv").exists()
    assert augment(out="killed")[0] == 0
    assert hashes(out) == hashes(tmp_path / "out")


@pytest.mark.skipif(sys.platform != "linux", reason="names are texts elsewhere")
def test_names_that_are_no_text_are_read_written_and_told(augment, data, tmp_path):
    os.rename(data / "pit" / "0.png", os.fsencode(data / "pit") + b"/\xff\n=.png")
    code, _, err = augment()
    assert code == 0, err
    table = [row for row in rows(tmp_path / "out") if row["class"] == "pit"]
    assert [row["source"] for row in table] == ["pit/\\udcff\\n=.png"] * 2
    assert all((tmp_path / "out" / row["path"]).is_file() for row in table)
    before = hashes(tmp_path / "out")
    assert augment()[0] == 0
    assert hashes(tmp_path / "out") == before


def test_another_run_s_folder_is_refused_and_both_are_named(augment, sise, data, tmp_path):
    assert augment("--limit", 1)[0] == 0
    before = hashes(tmp_path / "out")
    for more, told in (
        (("--area", 0.3), "area: 0.2 there, 0.3 now"),
        (("--salient-label", "uniform"), 'salient_label: "background" there, "uniform" now'),
        (("--method", "random"), 'method: "grad-cam" there, "random" now'),
    ):
        code, _, err = augment(*more)
        assert code == 2
        assert told in err
        assert err.count("\n") == 1
    code, _, err = sise("explain", data, "-m", DEMO, "-o", tmp_path / "out")
    assert code == 2
    assert 'schema: "sise-rt/augment/1" there, "sise-rt/run/1" now' in err
    assert hashes(tmp_path / "out") == before


def test_pictures_that_fail_are_told_and_tried_again_where_that_is_asked_for(augment, data, tmp_path):
    sound = (data / "pit" / "0.png").read_bytes()
    (data / "pit" / "0.png").write_bytes(sound[:100])
    code, printed, err = augment()
    assert code == 1
    assert "2 occluded in both ways" in printed
    assert "1 failed" in printed
    assert err.splitlines()[-1] == "error: 1 of 3 images failed; --retry-failed tries again"
    assert len(rows(tmp_path / "out")) == 6
    (data / "pit" / "0.png").write_bytes(sound)
    assert augment()[0] == 1
    assert augment("--retry-failed")[0] == 0
    assert len(rows(tmp_path / "out")) == 9


def test_where_no_picture_is_right_that_is_an_error_and_the_originals_are_kept(augment, data, tmp_path):
    (data / "normal").mkdir()
    for name in ("pit", "patch", "scratch"):
        os.rename(data / name / "0.png", data / "normal" / f"{name}.png")
        (data / name).rmdir()
    code, _, err = augment()
    assert code == 1
    assert "error: no picture was occluded: the model gets none right" in err
    assert [row["kind"] for row in rows(tmp_path / "out")] == ["original"] * 3
    code, _, _ = augment("--all", out="all")
    assert code == 0
    assert len(rows(tmp_path / "all")) == 9


def test_classes_that_the_model_lacks_are_left_out_named_or_mapped(augment, data, tmp_path):
    os.rename(data / "pit", data / "hole")
    code, printed, _ = augment()
    assert code == 0
    assert "left out: pictures without a class of the model 1 (hole)" in printed
    assert {row["class"] for row in rows(tmp_path / "out")} == {"patch", "scratch", "background"}
    (tmp_path / "map.csv").write_text("hole,pit\n")
    code, printed, _ = augment("--class-map", tmp_path / "map.csv")
    assert (code, "left out" in printed) == (0, False)
    assert len(rows(tmp_path / "out")) == 9


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--area", 0.2, "--threshold", 0.5), "--area and --threshold both say what is salient"),
        (("--method", "random", "--threshold", 0.5), "--threshold says nothing to --method random"),
        (("--method", "random", "--preset", "fast"), "--preset: says nothing to random"),
        (("--preset", "fast"), "says nothing to grad-cam"),
        (("--method", "nothing"), "no method 'nothing'"),
        (("--area", "nan"), "nan is no number"),
        (("--area", 1), "0<x<1"),
        (("--annotations", "a.csv"), "--format folder has no such file"),
        (("--only", "nowhere.txt"), "nowhere.txt: cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(augment, tmp_path, more, told):
    code, _, err = augment(*more)
    assert code == 2
    assert told in err.replace("'--preset'", "--preset")
    assert not (tmp_path / "out").exists()


def test_a_reader_that_is_not_installed_is_told(sise, data, tmp_path, monkeypatch):
    monkeypatch.setattr("sise_rt.commands.data_set.find_spec", lambda _: None)
    code, _, err = sise("augment", data, "-m", DEMO, "--format", "voc", "-o", tmp_path / "out")
    assert (code, err) == (2, "error: augment needs defusedxml: pip install 'sise-rt[evaluate]'\n")


def test_a_model_without_any_of_the_classes_is_refused(augment, data, tmp_path):
    for name in ("pit", "patch", "scratch"):
        os.rename(data / name, data / f"other-{name}")
    code, _, err = augment()
    assert code == 2
    assert "error: the model has none of the classes in" in err
    assert err.count("\n") == 1


def test_an_output_that_is_no_class_labels_nothing(sise, data, tmp_path):
    shutil.copytree(DEMO, tmp_path / "output.sise")
    manifest = json.loads((tmp_path / "output.sise" / "manifest.json").read_text())
    (tmp_path / "output.sise" / "manifest.json").write_text(json.dumps(manifest | {"activation": "none"}))
    code, _, err = sise("augment", data, "-m", tmp_path / "output.sise", *QUICK, "-o", tmp_path / "out")
    assert code == 2
    assert "has no classes to label pictures by" in err
    assert err.count("\n") == 1


def test_a_class_of_nothing_wrong_keeps_its_label(augment, tmp_path):
    assert augment("--keep-label", "pit")[0] == 0
    salient = [row for row in rows(tmp_path / "out") if row["kind"] == "salient_occluded"]
    assert sorted(row["class"] for row in salient) == ["background", "background", "pit"]
    code, _, err = augment("--keep-label", "nothing", out="other")
    assert code == 2
    assert "'nothing' is no label of this model" in err


def test_fast_is_the_preset_where_there_is_one(augment, tmp_path):
    augment("--method", "sise:mu=0.9", "--limit", 1)
    settings = json.loads((tmp_path / "out" / "run.json").read_text())
    assert settings["method"] == "sise:mu=0.9:budget=0.1"
    code, _, err = augment("--method", "sise:mu=0.9", "--preset", "exact", "--limit", 1)
    assert code == 2
    assert 'method: "sise:mu=0.9:budget=0.1" there, "sise:mu=0.9" now' in err
