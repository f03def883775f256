"""`sise-rt amend` and `sise-rt accuracy`, and the line that leads from one to the other."""

import json
import shlex
import subprocess
import sys
from importlib import resources

import numpy as np
import pytest
from PIL import Image

from examples.surface import generate as surface
from sise_rt.bundle import read_bundle

DEMO = resources.files("sise_rt") / "demo" / "surface.sise"


def test_wrong_preprocessing_is_seen_and_mended_by_the_line_that_is_printed(sise, photos, tmp_path):
    wrong = tmp_path / "wrong.sise"
    code, out, err = sise("amend", DEMO, "-o", wrong, "--mean", 0, "--std", 1)
    assert (code, err) == (0, "")
    assert f"{wrong}: amended mean, std\npreprocessing: The short side" in out
    assert "+00:00: mean, std\n" in sise("inspect", wrong)[1]
    code, out, _ = sise("accuracy", wrong, photos)
    assert code == 0
    assert f"{wrong}: right on " in out
    assert "clearly better: " in out
    (line,) = (line for line in out.splitlines() if line.startswith("to take it: "))
    command, *arguments = shlex.split(line.removeprefix("to take it: "))
    assert command == "sise-rt"
    assert sise(*arguments)[0] == 0
    mended = tmp_path / "wrong.amended.sise"
    assert read_bundle(mended).preprocess.std in ((0.229, 0.224, 0.225), (0.225, 0.224, 0.229))
    code, out, _ = sise("accuracy", mended, photos)
    assert "clearly better:" not in out
    assert "on 10 pictures: none is clearly better; so few show gross mistakes only\n" in out


def test_where_no_picture_can_be_used_the_exit_code_tells(sise, tmp_path):
    (tmp_path / "pit").mkdir()
    (tmp_path / "pit" / "torn.png").write_bytes(b"\x89PNG")
    code, out, err = sise("accuracy", DEMO, tmp_path)
    assert code == 1
    assert "no picture could be used" in out
    assert "torn.png: " in err


def test_a_label_file_takes_the_runtime_alone(tmp_path):
    names = [f"kind {index}" for index in range(len(surface.CLASSES))]
    (tmp_path / "labels.json").write_text(json.dumps(dict(enumerate(names))))
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('onnx', 'onnxruntime', 'torch', 'sise_rt.export')))\n"
        "from sise_rt.commands.group import run\n"
        f"sys.exit(run(['amend', {str(DEMO)!r}, '-o', 'b.sise', '--labels', 'labels.json']))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("b.sise: amended labels\n", "")
    assert read_bundle(tmp_path / "b.sise").labels == tuple(names)


def test_what_is_left_out_is_named(sise, photos, tmp_path):
    for name in ("pit/a.png", "zebra/b.png", "c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((photos / "pit" / "0.png").read_bytes())
    (tmp_path / "pit" / "torn.png").write_bytes(b"\x89PNG")
    (tmp_path / "dent").mkdir()
    code, out, err = sise("accuracy", DEMO, tmp_path)
    assert code == 1
    assert "torn.png: " in err
    assert "warning: target 'zebra' is no label of this model; its labels are " in err
    assert "right on 1 of 1 picture (100.0 %)" in out
    assert "too few pictures to tell" in out
    assert (
        "left out: 1 picture that cannot be used, "
        "2 pictures without a class (no class of the model: zebra), 1 folder without pictures (dent)\n"
    ) in out


def test_a_list_reads_pictures_of_other_folders_and_says_nothing_of_others(sise, photos, tmp_path):
    table = tmp_path / "list.csv"
    (tmp_path / "tool.exe").write_bytes(b"")
    Image.new("RGB", (9, 9)).save(tmp_path / "unnamed.png")
    table.write_text(f"path,label\n{photos / 'pit' / '0.png'},pit\n")
    code, out, err = sise("accuracy", DEMO, table)
    assert (code, err) == (0, "0 of 1 images\n1 of 1 images\n")
    assert "right on 1 of 1 picture" in out
    assert "left out" not in out


def test_a_class_spelt_wrong_is_told_with_those_that_are_close(sise, photos, tmp_path):
    table = tmp_path / "list.csv"
    table.write_text(f"path,label\n{photos / 'pit' / '0.png'},pit\n{photos / 'pit' / '1.png'},pitt\n")
    code, _, err = sise("accuracy", DEMO, table)
    assert code == 0
    assert "warning: target 'pitt' is no label of this model; close: pit\n" in err


def test_loose_pictures_are_told_what_is_expected(sise, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    code, _, err = sise("accuracy", DEMO, tmp_path)
    assert code == 2
    assert "a folder for each class is expected" in err


def test_no_class_at_all(sise, photos, tmp_path):
    table = tmp_path / "labels.csv"
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    table.write_text("path,label\na.png,zebra\n")
    code, _, err = sise("accuracy", DEMO, table)
    assert code == 2
    assert "target 'zebra' is no label of this model" in err
    assert "has a class that the model has (see --class-map)" in err
    mapping = tmp_path / "map.txt"
    mapping.write_text("zebra,pit,1\n")
    assert "right on " in sise("accuracy", DEMO, table, "--class-map", mapping)[1]
    assert sise("accuracy", DEMO, table, "--format", "folder")[0] == 2
    assert sise("accuracy", DEMO, tmp_path / "none")[0] == 2


def test_export_checks_images(sise, small_model, tmp_path):
    rng = np.random.default_rng(0)
    for name in "01":
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / "data" / name / "a.png")
    bundle = tmp_path / "a.sise"
    code, out, _ = sise("export", small_model, "-o", bundle, "--check-images", tmp_path / "data")
    assert code == 0
    assert "preprocessing: The short side is resized to 32 pixels" in out
    assert f"{bundle}: right on " in out
    code, _, err = sise("export", small_model, "-o", tmp_path / "b.sise", "--check-images", tmp_path / "lost")
    assert code == 2
    assert "lost: no such folder" in err
    assert not (tmp_path / "b.sise").exists()  # it is found out before the work


def test_amend_takes_labels_from_a_file(sise, tmp_path):
    pytest.importorskip("onnx")
    labels = tmp_path / "labels.txt"
    labels.write_text("one\ntwo\nthree\nfour\nfive\n")
    assert sise("amend", DEMO, "-o", tmp_path / "a.sise", "--labels", labels, "--quiet") == (0, "", "")
    assert read_bundle(tmp_path / "a.sise").labels == ("one", "two", "three", "four", "five")
    labels.write_text("".join(f"n0000000{index} {name}\n" for index, name in enumerate("abcde")))
    assert sise("amend", DEMO, "-o", tmp_path / "c.sise", "--labels", labels)[2] == (
        f"labels of {labels} are taken without WordNet ids\n"
    )
    assert read_bundle(tmp_path / "c.sise").labels == tuple("abcde")
    labels.write_text("one\ntwo\n")
    code, _, err = sise("amend", DEMO, "-o", tmp_path / "b.sise", "--labels", labels)
    assert code == 2
    assert "2 labels for a model with 5 classes" in err


def test_what_amend_refuses(sise, tmp_path):
    code, _, err = sise("amend", DEMO, "-o", tmp_path / "a.sise", "--activation", "sigmoid")
    assert code == 2
    assert "--activation" in err
    assert "part of the graphs" in err
    assert "nothing is to be amended" in sise("amend", DEMO, "-o", tmp_path / "a.sise")[2]
    sise("amend", DEMO, "-o", tmp_path / "a.sise", "--name", "one")
    code, _, err = sise("amend", DEMO, "-o", tmp_path / "a.sise", "--name", "two")
    assert code == 2
    assert "(see --overwrite)" in err
    assert sise("amend", DEMO, "-o", tmp_path / "a.sise", "--name", "two", "--overwrite")[0] == 0
