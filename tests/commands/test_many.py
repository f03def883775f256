"""`sise-rt explain` of many pictures: what is kept of each, whatever became of it, and how it goes on."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sise_rt
from sise_rt.bulk import keeping
from sise_rt.errors import Unwritable

DEMO = Path(sise_rt.__file__).parent / "demo" / "surface.sise"
QUICK = ("--mu", 0.9, "--no-overview")


@pytest.fixture
def cameras(photos, tmp_path, monkeypatch):
    """Three pictures below a folder, two of one name, one of them no picture; the working folder is above."""
    for name, source in (("cam1/0.png", "pit/0.png"), ("cam2/0.png", "patch/0.png")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        shutil.copy(photos / source, tmp_path / "photos" / name)
    (tmp_path / "photos" / "cam2" / "bad.png").write_bytes(b"nonsense")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


@pytest.fixture
def explain(sise):
    """Explain with the demo's model, quickly."""
    return lambda *arguments: sise("explain", "-m", DEMO, *QUICK, *arguments)


def lines(out, name="results.jsonl"):
    return [json.loads(line) for line in (out / name).read_text("ascii").splitlines()]


def ends(out, name="results.jsonl"):
    """What became of each item."""
    return {line["id"]: line["status"] for line in lines(out, name)}


def files(out):
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def test_a_folder_is_a_run(explain, cameras, tmp_path):
    out = tmp_path / "out"
    code, printed, err = explain("photos", "-o", out)
    assert code == 1
    assert ends(out) == {"cam1/0.png": "done", "cam2/0.png": "done", "cam2/bad.png": "failed"}
    assert [line["files"] for line in lines(out)] == [
        [f"cam1/0.2.{end}" for end in ("png", "npy", "json")],
        [f"cam2/0.4.{end}" for end in ("png", "npy", "json")],
        [],
    ]
    assert files(out) == sorted(
        [*lines(out)[0]["files"], *lines(out)[1]["files"], "results.jsonl", "run.json"]
    )
    assert err.splitlines()[0].startswith("error: photos/cam2/bad.png: is no picture")
    assert err.splitlines()[1:] == ["error: 1 of 3 images failed; --retry-failed tries again"]
    assert f"{out / 'results.jsonl'}: 2 done, 1 failed" in printed.splitlines()


def test_the_same_command_does_what_is_not_there(explain, cameras, tmp_path):
    out = tmp_path / "out"
    explain("photos", "-o", out)
    before = (out / "results.jsonl").read_bytes()
    code, printed, err = explain("photos", "-o", out)
    assert code == 1  # one failed before
    assert "->" not in printed
    assert (
        "note: 3 of 3 pictures are in this run already, 1 of them failed: --retry-failed tries again\n" in err
    )
    assert (out / "results.jsonl").read_bytes() == before
    code, _, err = explain("photos/cam1", "-o", out)
    assert (code, "failed" in err) == (0, False)  # what failed is in the other folder
    code, _, err = explain("photos/cam2", "-o", out)
    assert code == 1
    assert "error: 1 of 2 images failed; --retry-failed tries again\n" in err
    shutil.copy(cameras / "cam1" / "0.png", cameras / "cam2" / "bad.png")
    assert explain("photos", "-o", out)[0] == 1
    code, printed, err = explain("photos", "-o", out, "--retry-failed")
    assert code == 0
    assert [line.split(":")[0] for line in printed.splitlines() if "->" in line] == ["cam2/bad.png"]
    assert ends(out)["cam2/bad.png"] == "done"
    shutil.copy(cameras / "cam1" / "0.png", cameras / "more.png")
    assert "note: 3 of 4 pictures are in this run already\n" in explain("photos", "-o", out)[2]
    assert len(lines(out)) == 4


def test_all_are_explained_again_where_that_is_asked_for(explain, cameras, tmp_path):
    out = tmp_path / "out"
    explain("photos", "-o", out)
    times = [line.get("time") for line in lines(out)]
    code, printed, _ = explain("photos", "-o", out, "--no-skip-existing")
    assert code == 1
    assert printed.count("->") == 2
    assert len(lines(out)) == 3
    assert [line.get("time") for line in lines(out)][:2] != times[:2]


def test_other_settings_are_refused_with_both_named(explain, cameras, tmp_path):
    out = tmp_path / "out"
    explain("photos", "-o", out)
    before = files(out)
    for arguments, told in (
        (["--top-k", 2], "top_k: 1 there, 2 now"),
        (["-t", "pit"], "targets: null there, [2] now"),
        (["--outputs", "map"], 'outputs: ["map", "overlay", "record"] there, ["map"] now'),
        (["--palette", "viridis"], 'drawing, palette: "inferno" there, "viridis" now'),
        (["--maps", "shards"], '(maps: "files" there, "shards" now)'),
    ):
        code, _, err = explain("photos", "-o", out, *arguments)
        assert code == 2
        assert told in err
        assert "(see --out)" in err
    assert files(out) == before


def test_an_overview_of_somebody_else_stays(explain, cameras, tmp_path):
    page = tmp_path / "overview.html"
    page.write_text("mine")
    code, _, err = explain("photos", "-o", tmp_path, "--overview")
    assert code == 2
    assert "is no overview of a run, so it stays as it is" in err
    assert page.read_text() == "mine"
    assert not (tmp_path / "run.json").exists()


def test_one_picture_in_the_folder_of_a_run_is_an_item_of_it(explain, cameras, tmp_path):
    out = tmp_path / "out"
    explain("photos", "-o", out, "--limit", 1)
    assert explain("photos/cam1/0.png", "-o", out, "-t", 0)[0] == 2
    assert explain("photos/cam2/0.png", "-o", out)[0] == 0
    assert ends(out) == {"cam1/0.png": "done", "cam2/0.png": "done"}


def test_one_picture_is_no_run(explain, cameras, tmp_path):
    out = tmp_path / "out"
    assert explain("photos/cam1/0.png", "-o", out)[0] == 0
    assert files(out) == ["0.2.json", "0.2.npy", "0.2.png"]


def test_a_list_has_targets_truth_and_more(explain, cameras, tmp_path):
    (tmp_path / "list.csv").write_text(
        "path,id,target,truth,lot\n"
        "photos/cam1/0.png,first,pit;4,pit,A\n"
        "photos/cam2/0.png,second,no such class,patch,B\n"
        "photos/cam2/0.png,third,,patch,\n"
    )
    out = tmp_path / "out"
    code, _, err = explain("--from", "list.csv", "-o", out)
    assert code == 1
    assert [(line["id"], line["part"], line["status"]) for line in lines(out)] == [
        ("first", [1, 2], "done"),
        ("first", [2, 2], "done"),
        ("second", [1, 1], "failed"),
        ("third", [1, 1], "done"),
    ]
    assert [line["target"] and line["target"]["index"] for line in lines(out)] == [2, 4, None, 4]
    assert lines(out)[2]["error"]["kind"] == "TargetError"
    assert err.startswith("error: photos/cam2/0.png: target 'no such class' is no label of this model")
    assert [line["columns"]["lot"] for line in lines(out)] == ["A", "A", "B", lines(out)[3]["columns"]["lot"]]
    assert (out / "first.2.npy").is_file()


def test_only_what_the_model_gets_wrong(explain, cameras, tmp_path):
    (tmp_path / "list.csv").write_text(
        "path,truth\nphotos/cam1/0.png,pit\nphotos/cam2/0.png,normal\nphotos/cam2/bad.png,\n"
    )
    shutil.copy(cameras / "cam1" / "0.png", cameras / "cam2" / "bad.png")
    out = tmp_path / "out"
    code, printed, _ = explain("--from", "list.csv", "-o", out, "--only-wrong")
    assert code == 0
    right, wrong, unknown = lines(out)
    assert (right["status"], right["reason"]) == ("skipped", "the model is right: pit")
    assert right["predicted"]["label"] == "pit"
    assert (wrong["status"], wrong["predicted"]["label"], wrong["truth"]) == ("done", "patch", "normal")
    assert (unknown["status"], unknown["reason"]) == ("skipped", "its class is not known")
    assert printed.count("->") == 1
    assert "1 done, 2 skipped" in printed
    code, _, err = explain("photos", "-o", tmp_path / "other", "--only-wrong")
    assert code == 2
    assert "--only-wrong needs the class of each picture" in err
    assert not (tmp_path / "other").exists()


def test_only_where_the_model_is_not_sure(explain, cameras, tmp_path):
    cameras.joinpath("cam2", "bad.png").unlink()
    for threshold, status in ((1.0, "done"), (0.01, "skipped")):
        out = tmp_path / status
        assert explain("photos", "-o", out, "--below-confidence", threshold)[0] == 0
        assert set(ends(out).values()) == {status}
    assert lines(out)[0]["reason"].startswith("the model is sure enough: pit, ")
    assert files(out) == ["results.jsonl", "run.json"]


def test_names_from_standard_input(explain, cameras, tmp_path, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(b"photos/cam1/0.png\0photos/cam2/0.png\0"))
    monkeypatch.setattr(sys, "stdin", stream)
    out = tmp_path / "out"
    assert explain("-", "-o", out)[0] == 0
    assert ends(out) == {"cam1/0.png": "done", "cam2/0.png": "done"}
    stream = io.TextIOWrapper(io.BytesIO(b'{"path": "photos/cam1/0.png", "lot": 7}\n'))
    monkeypatch.setattr(sys, "stdin", stream)
    assert explain("--from", "-", "-o", tmp_path / "list", "--json")[0] == 0
    assert lines(tmp_path / "list")[0]["columns"] == {"lot": 7}


@pytest.mark.parametrize("arguments", [["-"], ["--from", "-"]])
def test_a_closed_standard_input_names_nothing(explain, cameras, monkeypatch, arguments):
    monkeypatch.setattr(sys, "stdin", None)
    code, _, err = explain(*arguments)
    assert code == 2
    assert "standard input" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name pictures or folders, or a list (--from)"),
        (["photos", "--from", "list.csv"], "give one of them"),
        (["empty"], "'empty' has no pictures"),
        (["photos/*.tif"], "'photos/*.tif' matches no picture"),
        (["--from", "gone.csv"], "gone.csv: no such file"),
        (["--from", "columns.csv"], "(see --from)"),
        (["--from", "twice.csv"], "lines 2 and 3 are of the same picture"),
        (["photos", "--shard", "3/2"], "'3/2' is no part of a whole"),
        (["photos", "--shard", "1"], "'1' is no part of a whole"),
        (["photos", "--outputs", "maps"], "there is no output 'maps'"),
        (["photos", "--maps", "table"], "name its file"),
        (["photos", "--maps", "shards", "--outputs", "record"], "the --outputs have no map"),
        (["photos", "--below-confidence", "nan"], "--below-confidence"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(explain, cameras, tmp_path, arguments, told):
    (tmp_path / "empty").mkdir()
    (tmp_path / "columns.csv").write_text("picture,target\nphotos/cam1/0.png,0\n")
    (tmp_path / "twice.csv").write_text("path\nphotos/cam1/0.png\nphotos/cam1/0.png\n")
    code, printed, err = explain(*arguments, "-o", tmp_path / "out")
    assert (code, printed) == (2, "")
    assert told in err
    assert not (tmp_path / "out").exists()


def test_shards_share_a_folder(explain, cameras, tmp_path):
    out = tmp_path / "out"
    assert explain("photos", "-o", out, "--shard", "1/2")[0] == 1
    assert explain("photos", "-o", out, "--shard", "2/2")[0] == 0
    assert ends(out, "results-1-of-2.jsonl") == {"cam1/0.png": "done", "cam2/bad.png": "failed"}
    assert ends(out, "results-2-of-2.jsonl") == {"cam2/0.png": "done"}
    code, _, err = explain("photos", "-o", out, "--shard", "1/3")
    assert code == 2
    assert "shards: 2 there, 3 now" in err


def test_maps_of_many_in_one_file(explain, cameras, tmp_path):
    from sise_rt.bulk.map_shards import read_maps

    out = tmp_path / "out"
    explain("photos", "-o", out, "--outputs", "map", "--maps", "shards", "--map-size", 40)
    assert files(out) == ["maps/000001.npz", "results.jsonl", "run.json"]
    maps = {kept.id: kept.map for kept in read_maps(out)}
    assert {name: (map_.shape, map_.dtype) for name, map_ in maps.items()} == {
        name: ((40, 40), np.float16) for name in ("cam1/0.png", "cam2/0.png")
    }
    explain("photos", "-o", out, "--outputs", "map", "--maps", "shards", "--map-size", 40)
    assert len(list(read_maps(out))) == 2


def test_the_last_shard_writes_the_overview(sise, cameras, tmp_path):
    out = tmp_path / "out"
    command = ("explain", "-m", DEMO, "--mu", 0.9, "photos", "-o", out)
    assert "overview.html" not in sise(*command, "--shard", "1/2")[1]
    assert sise(*command, "--shard", "2/2")[1].splitlines()[-1] == str(out / "overview.html")
    page = (out / "overview.html").read_text("utf-8")
    assert all(name in page for name in ("cam1/0.png", "cam2/0.png", "cam2/bad.png"))


def test_a_full_disk_ends_the_run_and_keeps_what_is_finished(explain, cameras, tmp_path, monkeypatch):
    real, out = keeping.write_explanation, tmp_path / "out"

    def write(explanation, *arguments, **options):
        if "cam2" in explanation.name:
            raise Unwritable("the disk is full")
        return real(explanation, *arguments, **options)

    monkeypatch.setattr(keeping, "write_explanation", write)
    code, _, err = explain("photos", "-o", out)
    assert code == 2
    assert err.splitlines()[-1] == "error: the disk is full"
    kept = ends(out)  # where the unreadable one may be as well, which was read meanwhile
    assert kept.pop("cam1/0.png") == "done"
    assert kept in ({}, {"cam2/bad.png": "failed"})
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    explain("photos", "-o", out)
    assert sorted(ends(out).values()) == ["done", "done", "failed"]


def test_no_evidence_is_an_end_of_its_own(explain, cameras, tmp_path, monkeypatch):
    from sise_rt.running.engine import Engine

    real = Engine.features

    def features(self, images, targets):
        maps, alphas, logits = real(self, images, targets)
        return maps, [np.where(targets[:, None] == 4, -np.abs(a), a) for a in alphas], logits

    monkeypatch.setattr(Engine, "features", features)
    (tmp_path / "list.csv").write_text("path,target\nphotos/cam1/0.png,pit\nphotos/cam2/0.png,patch\n")
    out = tmp_path / "out"
    code, printed, err = explain("--from", "list.csv", "-o", out)
    assert code == 0
    assert list(ends(out).values()) == ["done", "no evidence"]
    assert lines(out)[1]["target"] == {"index": 4, "label": "patch"}
    assert err.startswith("warning: photos/cam2/0.png: no feature map speaks for target 4 (patch)")
    assert "1 done, 1 without evidence" in printed


def test_the_overview_is_written_at_the_end(sise, cameras, tmp_path):
    out = tmp_path / "out"
    code, printed, _ = sise("explain", "-m", DEMO, "--mu", 0.9, "photos", "-o", out)
    assert code == 1
    assert printed.splitlines()[-1] == str(out / "overview.html")
    page = (out / "overview.html").read_text("utf-8")
    assert "cam2/0.png" in page
    assert "cam2/bad.png" in page


TERMINATE = """
import os, signal, sys
from sise_rt.commands import interrupt
from sise_rt.cli import main
real = interrupt.Termination._take
def take(self, *arguments):
    os.write(1, b"taken\\n")
    real(self, *arguments)
interrupt.Termination._take = take
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_sigterm_finishes_the_picture_in_hand(photos, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-P", "-c", TERMINATE, "explain", photos, "-m", DEMO, "-o", out]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    first = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    printed, err = process.communicate(timeout=120)
    assert process.returncode == 143
    told = [line for line in (first + printed).splitlines() if "->" in line]
    assert "taken" in printed
    assert [line["status"] for line in lines(out)] == ["done"] * len(told)
    assert 2 <= len(told) < 10
    again = "what was finished is kept; the same command, given again, goes on"
    assert f"note: {out}: ended by SIGTERM, {again}" in err
    assert "error" not in err
    assert all((out / name).is_file() for line in lines(out) for name in line["files"])


def test_the_table_of_a_run_grows_with_it_and_has_its_maps(explain, cameras, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    from sise_rt.bulk.map_shards import read_maps

    out, path = tmp_path / "out", tmp_path / "tables" / "results.parquet"
    command = ("photos", "-o", out, "--outputs", "map", "--maps", "table", "--table", path)
    explain(*command, "--limit", 1)
    assert parquet.read_table(path).num_rows == 1
    explain(*command)
    rows = parquet.read_table(path).to_pylist()
    assert [row["id"] for row in rows] == [line["id"] for line in lines(out)]
    maps = {row["id"]: row["map"] for row in rows if row["map"] is not None}
    assert maps == {kept.id: kept.map.tobytes() for kept in read_maps(out)}
    assert len(maps) == 2
    assert [row["error"] for row in rows if row["map"] is None] == ["ImageError"]
    explain("photos", "-o", tmp_path / "shards", "--table", path.with_name("s.parquet"), "--shard", "1/3")
    assert parquet.read_table(path.with_name("s-1-of-3.parquet")).num_rows == 1


def test_a_table_of_something_else_stays(explain, cameras, tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "mine.parquet").write_text("mine")
    code, _, err = explain("photos", "-o", tmp_path / "out", "--table", tmp_path / "mine.parquet")
    assert code == 2
    assert "no table of a run, so it stays as it is: name another file (see --table)" in err
    assert (tmp_path / "mine.parquet").read_text() == "mine"
    assert not (tmp_path / "out" / "results.jsonl").exists()
