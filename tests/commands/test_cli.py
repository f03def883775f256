"""The command line: what it writes, what it prints where, and how it ends, for good input and bad."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from sise_rt.bulk import keeping
from sise_rt.bundle import LATER
from sise_rt.commands.console import rate
from sise_rt.commands.group import MODULES
from sise_rt.errors import ModelError, OutputError
from sise_rt.methods import METHODS
from sise_rt.metrics.check import check_region

COMMANDS = sorted(MODULES)


@pytest.fixture
def picture(tmp_path) -> Path:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    return path


# ---------------------------------------------------------------------------------------------- good input


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(sise, command):
    code, out, _ = sise(command, "--help")
    assert code == 0
    assert f"sise-rt {command}" in out.split("Example")[1]


def test_commands_are_those_of_the_design(sise):
    assert COMMANDS == [
        "accuracy",
        "amend",
        "augment",
        "demo",
        "evaluate",
        "explain",
        "export",
        "inspect",
        "methods",
        "providers",
        "serve",
        "verify",
    ]


def test_export_inspect_verify_explain(sise, small_model, picture, tmp_path):
    bundle, out = tmp_path / "a.sise", tmp_path / "out"
    labels = tmp_path / "labels.txt"
    labels.write_text("one\ntwo\nthree\nfour\nfive\n")
    code, printed, notes = sise(
        "export",
        small_model,
        "-o",
        bundle,
        "--labels",
        labels,
        "--mean",
        "0.5,0.5,0.5",
        "--std",
        "0.25",
        "--crop-pct",
        1,
        "--activation",
        "softmax",
    )
    assert code == 0
    assert "3 blocks, 36 maps" in printed
    assert "largest relative error" in printed
    assert "assumed: color RGB (see --color)\n" in notes
    assert "assumed: mean" not in notes
    leads = "its preprocessing is assumed; labelled pictures tell whether it is right: sise-rt accuracy "
    assert printed.endswith(f"{leads}{bundle} PHOTOS\n")
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["preprocess"]["mean"] == [0.5, 0.5, 0.5]
    assert manifest["preprocess"]["std"] == [0.25, 0.25, 0.25]
    assert "color RGB" in manifest["assumed"]

    code, printed, _ = sise("inspect", bundle)
    assert code == 0
    assert "labels: 5: one; two; three; four; five\n" in printed
    assert sise("inspect", bundle, "--classes") == (0, "0 one\n1 two\n2 three\n3 four\n4 five\n", "")
    assert "block2      12 maps    16x16   a.relu" in printed
    code, printed, _ = sise("verify", bundle)
    assert code == 0
    assert "is sound on cpu" in printed

    code, printed, err = sise(
        "explain", picture, "-m", bundle, "-t", "two", "-t", 4, "-o", out, "--blocks", "--json"
    )
    assert code == 0
    assert err == ""
    records = [json.loads(line) for line in printed.splitlines()]
    assert [record["target"] for record in records] == [
        {"index": 1, "label": "two"},
        {"index": 4, "label": "five"},
    ]
    suffixes = (".png", ".npy", ".json", ".blocks.png")
    assert sorted(p.name for p in out.iterdir()) == sorted(
        f"picture.{t}{s}" for t in (1, 4) for s in suffixes
    )
    map_ = np.load(out / "picture.1.npy")
    assert map_.dtype == np.float32
    assert map_.shape == (32, 32)
    assert map_.min() == 0
    assert map_.max() == 1
    height, width, _ = cv2.imread(str(out / "picture.1.png")).shape
    assert min(height, width) > 512
    written = json.loads((out / "picture.1.json").read_text())
    assert written == {key: value for key, value in records[0].items() if key != "files"}


def test_several_methods_are_put_side_by_side_and_checked(sise, small_bundle, picture, tmp_path):
    out = tmp_path / "out"
    methods = "ada-sise,grad-cam++,rise:masks=20:seed=3"
    code, printed, err = sise(
        "explain", picture, "-m", small_bundle, "-t", "b", "-o", out, "--method", methods, "--check",
        "--fusion", "otsu-soft",
    )  # fmt: skip
    assert (code, err) == (0, "")
    stems = ["picture.1.ada-sise-fusion-otsu-soft", "picture.1.grad-cam++", "picture.1.rise-masks-20-seed-3"]
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["picture.1.methods.png"] + [f"{stem}.{kind}" for stem in stems for kind in ("png", "npy", "json")]
    )
    lines = [line.split(", ") for line in printed.splitlines() if " -> " in line]
    assert [line[2] for line in lines] == ["ada-sise", "grad-cam++", "rise"]
    record = json.loads((out / f"{stems[2]}.json").read_text())
    assert (record["method"], record["masks"], record["passes"]) == ("rise", 20, 21)
    assert record["settings"] == {"masks": 20, "cells": 7, "share": 0.5, "seed": 3}
    assert list(record["check"]) == ["region", "drop", "increase", "insertion", "deletion", "kept"]
    checks = [line for line in printed.splitlines() if line.startswith("  check: ")]
    assert len(checks) == 4 * 3
    assert f"{record['check']['kept']:.1%} alone: drop {record['check']['drop']:.3f} of" in checks[10]
    assert "insertion" in checks[11]
    assert "(higher is better), deletion" in checks[11]
    strip = cv2.imread(str(out / "picture.1.methods.png"))
    assert strip.shape[1] > 4 * 240


def test_a_line_tells_how_many_masks_there_were_where_not_all_were_scored(
    sise, small_bundle, picture, tmp_path
):
    _, printed, _ = sise("explain", picture, "-m", small_bundle, "--budget", "0.5", "-o", tmp_path)
    (file,) = tmp_path.glob("*.json")
    record = json.loads(file.read_text("utf-8"))
    assert record["guessed"] > 0
    assert f", {record['masks']} of {record['masks'] + record['guessed']} masks in " in printed


def test_two_classes_are_compared(sise, small_bundle, picture, tmp_path):
    explain = ["explain", picture, "-m", small_bundle, "-o", tmp_path, "--compare", "--size", "64"]
    for _ in range(2):  # a comparison of the same picture may be replaced
        code, printed, err = sise(*explain, "-t", "b", "-t", "4")
        assert (code, err) == (0, "")
    compared = tmp_path / "picture.1.4.compare.png"
    assert f"compared: {compared}" in printed
    assert cv2.imread(str(compared)).shape[1] > 3 * 64
    code, printed, _ = sise(*explain, "--method", "grad-cam++", "--top-k", "2")
    assert code == 0
    assert len(list(tmp_path.glob("picture.*.grad-cam++.compare.png"))) == 1
    assert sise(*explain, "-t", "b", "-t", "4", "--plain")[0] == 0  # of which --size is the comparison's
    assert cv2.imread(str(tmp_path / "picture.1.png")).shape == cv2.imread(str(picture)).shape
    assert cv2.imread(str(compared)).shape[1] > 3 * 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compare", "-t", "b"], "give two -t, or none, not 1"),
        (["--compare", "-t", "b", "-t", "1"], "both -t name the same"),
        (["--compare", "--top-k", "3"], "not the best 3"),
        (["--plain", "--transparent"], "give one of them"),
        (["--plain", "--size", "600"], "--size says nothing to --plain"),
        (["--transparent", "--outline", "0.4"], "--outline says nothing to --transparent"),
        (["--outline", "0"], "neither none nor a number above 0"),
        (["--outline", "nan"], "neither none nor a number above 0"),
        (["--palette", "jet"], "is not one of"),
        (["--size", "5"], "not in the range"),
    ],
)
def test_drawing_options_that_cannot_be(sise, small_bundle, picture, tmp_path, arguments, message):
    code, _, err = sise("explain", picture, "-m", small_bundle, "-o", tmp_path / "out", *arguments)
    assert code == 2
    assert message in " ".join(err.split())


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        (["--plain", "--outline", "none"], (40, 60, 3)),
        (["--transparent", "--palette", "cividis"], (40, 60, 4)),
    ],
)
def test_bare_pictures_have_the_pictures_own_size(sise, small_bundle, picture, tmp_path, arguments, shape):
    code, _, _ = sise("explain", picture, "-m", small_bundle, "-t", "b", "-o", tmp_path, *arguments)
    assert code == 0
    assert cv2.imread(str(tmp_path / "picture.1.png"), cv2.IMREAD_UNCHANGED).shape == shape


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["--preset", "fast"], {"budget": 0.1}),
        (["--max-passes", "6"], {"max_passes": 6}),
        (["--budget", "0.5", "--max-seconds", "60"], {"budget": 0.5, "max_seconds": 60.0}),
    ],
)
def test_a_budget_bounds_the_passes(sise, small_bundle, picture, tmp_path, arguments, settings):
    explain = ["explain", picture, "-m", small_bundle, "--json", "--memory", "80MB", "-o", tmp_path]
    (whole,) = map(json.loads, sise(*explain)[1].splitlines())
    code, out, err = sise(*explain[:-1], tmp_path / "in part", *arguments)
    assert (code, err) == (0, "")
    (record,) = map(json.loads, out.splitlines())
    assert {key: record["settings"][key] for key in settings} == settings
    assert 0 < record["masks"] < whole["masks"]
    assert record["passes"] <= settings.get("max_passes", whole["passes"])
    assert [block["kept"] for block in record["blocks"]] == [block["kept"] for block in whole["blocks"]]


def test_an_older_bundle_is_refused_before_anything_is_explained(sise, small_bundle, picture, tmp_path):
    old = tmp_path / "old.sise"
    shutil.copytree(small_bundle, old)
    manifest = json.loads((old / "manifest.json").read_text("utf-8"))
    for name in LATER:
        path = manifest["graphs"].pop(name)
        del manifest["files"][path]
        (old / path).unlink()
    (old / "manifest.json").write_text(json.dumps(manifest | {"schema_version": "1.0"}), "utf-8")
    out = tmp_path / "out"
    code, printed, err = sise("explain", picture, "-m", old, "-o", out, "--check")
    assert (code, printed) == (2, "")
    assert "older sise-rt: export it again" in err
    assert not out.exists()
    assert sise("explain", picture, "-m", old, "-o", out)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--method", "lime"], "no method 'lime'; known are sise, ablation-cam, ada-sise"),
        (["--method", "rise:masks"], "an option is written name=value"),
        (["--method", "rise:masks=many"], "masks is 'many', where int is needed"),
        (["--method", "grad-cam:mu=0.3"], "grad-cam has no option 'mu'"),
        (["--method", "grad-cam,grad-cam"], "none twice"),
        (["--method", ","], "name at least one method"),
        (["--method", "grad-cam", "--mu", "0.3"], "--mu says nothing to grad-cam"),
        (["--method", "grad-cam", "--max-passes", "9"], "--max-passes says nothing to grad-cam"),
        (
            ["--method", "grad-cam", "--preset", "fast"],
            "preset 'fast' says nothing to grad-cam: it sets budget (see --preset)",
        ),
        (
            ["--preset", "fast", "--budget", "0.3"],
            "sets budget as well: give one of them (see --preset, --budget)",
        ),
        (["--preset", "exact", "--budget", "0.3"], "preset 'exact' sets budget as well: give one of them"),
        (["--method", "sise:budget=0.5", "--preset", "fast"], "preset 'fast' sets budget as well"),
        (["--max-passes", "1"], "max_passes 1 leaves none for masks"),
        (["--method", "sise:mu=0.2", "--mu", "0.3"], "sise:mu=0.2 says otherwise: give one of them"),
        (["--method", "rise:masks=0"], "'rise:masks=0': masks is 0"),
        (["--method", "sise:mu=0.90,sise", "--mu", "0.9"], "--mu 0.9 makes two of the methods the same"),
        (["--method", "grad-cam,rise", "--blocks"], "--blocks: no maps of single blocks from grad-cam, rise"),
        (["--method", "rise:masks=0"], "masks is 0"),
        (["--method", "sise:mu=2"], "mu is 2.0"),
    ],
)
def test_a_method_that_is_not_usable_is_wrong_use(sise, small_bundle, picture, tmp_path, arguments, says):
    code, out, err = sise("explain", picture, "-m", small_bundle, "-o", tmp_path / "out", *arguments)
    assert (code, out) == (2, "")
    assert says in " ".join(err.split())


def test_methods_lists_them_with_their_options(sise):
    code, out, _ = sise("methods")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if not line.startswith(" ")] == list(METHODS)
    assert "  fusion=otsu|otsu-soft          The paper" in out
    assert "  areas=0.025+0.05+0.1+0.2       Shares of the picture.\n" in out


def test_top_k_explains_by_falling_confidence(sise, small_bundle, picture, tmp_path):
    code, printed, _ = sise(
        "explain", picture, "-m", small_bundle, "--top-k", 3, "-o", tmp_path / "o", "--json"
    )
    assert code == 0
    confidences = [json.loads(line)["confidence"] for line in printed.splitlines()]
    assert len(confidences) == 3
    assert confidences == sorted(confidences, reverse=True)
    code, printed, _ = sise("explain", picture, "-m", small_bundle, "--top-k", 9, "-o", tmp_path / "o")
    assert code == 0
    says = "  note: 9 classes were asked for, and the model has 5: all of them are explained"
    assert printed.splitlines().count(says) == 5


def test_quiet_prints_nothing(sise, small_bundle, picture, tmp_path):
    assert sise("explain", picture, "-m", small_bundle, "-o", tmp_path / "o", "-q") == (0, "", "")


def test_a_command_that_inspect_names_can_be_pasted(sise, small_model, tmp_path):
    model = shutil.copy(small_model, tmp_path / "my model.onnx")
    line = sise("inspect", model)[1].splitlines()[-1]
    assert shlex.split(line.removeprefix("can be exported: ")) == ["sise-rt", "export", str(model)]


def test_inspect_of_a_model_names_the_blocks(sise, small_model):
    code, printed, err = sise("inspect", small_model)
    assert (code, err) == (0, "")
    assert "b.relu" in printed
    assert "not tried" not in printed
    assert f"sise-rt export {small_model}" in printed


def test_a_published_folder_needs_no_option(sise, small_model, tmp_path, monkeypatch):
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(small_model.read_bytes())
    labels = {str(index): name for index, name in enumerate("abcde")}
    config = {"id2label": labels, "problem_type": "single_label_classification"}
    (folder / "config.json").write_text(json.dumps(config))
    line = "from config.json: 5 labels (id2label); activation softmax (problem_type)"
    code, printed, err = sise("inspect", folder)
    assert (code, err) == (0, "")
    assert line in printed.splitlines()
    assert "preprocessing: The short side is resized to 32 pixels (bilinear), and the middle" in printed
    monkeypatch.chdir(tmp_path)
    code, printed, err = sise("export", "net/")
    assert code == 0
    assert line in err.splitlines()
    assert (tmp_path / "net.sise" / "manifest.json").is_file()
    assert line in sise("inspect", "net.sise")[1].splitlines()
    (folder / "other.onnx").write_bytes(b"")
    code, _, err = sise("export", folder, "--overwrite")
    assert (code, err.count("\n")) == (2, 1)
    assert "holds 2 models (model.onnx, other.onnx): name the file of one" in err
    (tmp_path / "empty").mkdir()
    assert "empty holds no ONNX model" in sise("inspect", tmp_path / "empty")[2]


def test_inspect_takes_what_an_export_is_told_of_a_model(sise, small_model, tmp_path):
    options = ["--mean", "0.5", "--std", 0.25, "--scale", 127.5, "--crop-pct", 1, "--color", "BGR"]
    options += ["--interpolation", "bicubic", "--crop-mode", "squash", "--bit-depth", 8]
    code, printed, err = sise("inspect", small_model, *options)
    assert (code, err) == (0, "")
    assumed = [line for line in printed.splitlines() if line.startswith("assumed")]
    assert assumed == ["assumed: activation softmax, as the model ends in 5 logits (see --activation)"]
    (tmp_path / "two.txt").write_text("a\nb\n")
    for arguments in (["--std", 0.25], ["--labels", tmp_path / "two.txt"]):
        refused = sise("inspect", small_model, *arguments)
        assert refused[0] == 2
        assert refused == sise("export", small_model, "-o", tmp_path / "a.sise", *arguments)


def test_classes_are_shown_of_a_bundle_only_and_without_labels_by_index(
    sise, small_model, small_bundle, tmp_path
):
    code, _, err = sise("inspect", small_model, "--classes")
    assert code == 2
    assert "is no bundle, whose classes could be shown" in err
    bare = shutil.copytree(small_bundle, tmp_path / "bare.sise")
    manifest = json.loads((bare / "manifest.json").read_text())
    (bare / "manifest.json").write_text(json.dumps(manifest | {"labels": []}))
    assert "labels: none: classes are called by their indices\n" in sise("inspect", bare)[1]
    assert sise("inspect", bare, "--classes")[1] == "0\n1\n2\n3\n4\n"


@pytest.mark.parametrize("options", [["--input-size", 64], ["--scale", 1, "--weights", "none"]])
def test_inspect_refuses_to_ignore_options_of_a_bundle(sise, small_bundle, options):
    code, printed, err = sise("inspect", small_bundle, *options)
    assert (code, printed) == (2, "")
    given = ", ".join(option for option in reversed(options) if str(option).startswith("--"))
    assert f"{small_bundle} is a bundle, which is shown as it is: {given} say" in err


def without_gradients(bundle, path, **source):
    """A copy of a bundle that has no heads any more."""
    shutil.copytree(bundle, path)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["graphs"]["heads"] = []
    manifest["source"] |= source
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def test_inspect_says_that_a_bundle_has_no_gradients(sise, small_bundle, tmp_path):
    bare = without_gradients(small_bundle, tmp_path / "bare.sise", producer="")
    said = "gradients: none (exported --without-gradients)"
    code, printed, _ = sise("inspect", bare)
    assert code == 0
    assert said in printed
    assert said not in sise("inspect", small_bundle)[1]


def test_inspect_leaves_out_an_empty_producer(sise, small_bundle, tmp_path):
    code, printed, _ = sise("inspect", without_gradients(small_bundle, tmp_path / "a.sise", producer=""))
    assert code == 0
    assert "producer" not in printed
    known = without_gradients(small_bundle, tmp_path / "b.sise", producer="maker 1.2")
    assert ", producer maker 1.2\n" in sise("inspect", known)[1]


def test_one_block_is_no_blocks(sise, tmp_path):
    code, printed, _ = sise("export", one_block(tmp_path / "m.onnx"), "-o", tmp_path / "m.sise")
    assert code == 0
    assert "\n1 block, 8 maps\n" in printed
    assert "1 blocks" not in printed


def one_block(path):
    rng = np.random.default_rng(0)
    nodes = [
        node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
        node("Relu", ["c"], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("MatMul", ["f", "v"], ["y"]),
    ]
    w, v = 0.1 * rng.standard_normal((8, 12, 3, 3)), rng.standard_normal((8, 5))
    return write_model(path, nodes, [("x", ["N", 12, 32, 32])], w=w, v=v)


def test_arrays_of_twelve_channels_are_explained_from_the_command_line(sise, tmp_path):
    bundle, out = tmp_path / "m.sise", tmp_path / "out"
    assert sise("export", one_block(tmp_path / "m.onnx"), "-o", bundle, "-q")[0] == 0
    pixels = np.random.default_rng(1).integers(0, 256, (40, 60, 12), dtype=np.uint8)
    np.save(tmp_path / "twelve.npy", pixels)
    code, printed, err = sise("explain", tmp_path / "twelve.npy", "-m", bundle, "-o", out, "--json")
    assert (code, err) == (0, "")
    (record,) = map(json.loads, printed.splitlines())
    from sise_rt import load

    expected = load(bundle).confidences(pixels)
    assert record["confidence"] == pytest.approx(expected.max())
    assert sorted(file.suffix for file in out.iterdir()) == [".json", ".npy", ".png"]
    np.save(tmp_path / "three.npy", pixels[..., :3])
    np.save(tmp_path / "floats.npy", pixels / 255)
    for name, words in (("three", "12 channels"), ("floats", "array of float64")):
        code, _, err = sise("explain", tmp_path / f"{name}.npy", "-m", bundle, "-o", out)
        assert code == 1
        assert words in err
        assert "1 of 1 image failed" in err


def test_a_report_is_a_page_with_the_region_asked(sise, small_bundle, picture, tmp_path):
    code, printed, err = sise("explain", picture, "-m", small_bundle, "-o", tmp_path, "--report", "--json")
    assert (code, err) == (0, "")
    record = json.loads(printed)
    page = Path(record["files"][-1])
    assert page.name == f"picture.{record['target']['index']}.html"
    assert list(record["check"]) == ["region"]
    assert record["picture"]["sha256"] in page.read_text("utf-8")
    assert "as much hidden elsewhere" in page.read_text("utf-8")


def test_a_report_of_an_output_leaves_the_region_out(sise, small_bundle, picture, tmp_path):
    shutil.copytree(small_bundle, bundle := tmp_path / "output.sise")
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"activation": "none"}))
    code, printed, err = sise("explain", picture, "-m", bundle, "-o", tmp_path, "--report", "--json")
    assert (code, err) == (0, "")
    record = json.loads(printed)
    assert record["check"] is None
    assert "hidden elsewhere" not in Path(record["files"][-1]).read_text("utf-8")


def test_demo_writes_an_explanation(sise, tmp_path):
    code, printed, _ = sise("demo", "-o", tmp_path / "demo")
    assert code == 0
    assert "confidence" in printed
    assert list((tmp_path / "demo").glob("surface.*.blocks.png"))


@pytest.mark.parametrize(("there", "first"), [(True, ""), (False, "pip install 'sise-rt[export]', then ")])
def test_the_last_line_of_the_demo_works(sise, tmp_path, monkeypatch, there, first):
    monkeypatch.setattr("sise_rt.commands.demo.find_spec", lambda _: there or None)
    line = sise("demo", "-o", tmp_path / "demo")[1].splitlines()[-1]
    command = line.removeprefix(f"Next, a model of your own: {first}").split()
    assert command[0] == "sise-rt"
    code, printed, _ = sise(*command[1:])
    assert code == 0
    assert "sise-rt export model.onnx" in printed


# ---------------------------------------------------------------------------------------------- bad input


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, name=outputs[0], **attributes)


def write_model(path, nodes, inputs, outputs=(("y", ["N", 5]),), **weights):
    values = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs],
        values,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def transformer(path):
    """A patch embedding and two layers of attention over its tokens."""
    rng = np.random.default_rng(0)
    nodes = [
        node("Conv", ["x", "patch"], ["patches"], strides=[8, 8]),
        node("Reshape", ["patches", "rows"], ["flat"]),
        node("Transpose", ["flat"], ["t0"], perm=[0, 2, 1]),
    ]
    values = {"patch": rng.standard_normal((16, 3, 8, 8)), "head": rng.standard_normal((16, 5))}
    for i in range(2):
        for name in "qkv":
            values[f"w{name}{i}"] = rng.standard_normal((16, 16)) / 4
            nodes.append(node("MatMul", [f"t{i}", f"w{name}{i}"], [f"{name}{i}"]))
        nodes += [
            node("Transpose", [f"k{i}"], [f"kt{i}"], perm=[0, 2, 1]),
            node("MatMul", [f"q{i}", f"kt{i}"], [f"scores{i}"]),
            node("Softmax", [f"scores{i}"], [f"attention{i}"]),
            node("MatMul", [f"attention{i}", f"v{i}"], [f"mixed{i}"]),
            node("Add", [f"mixed{i}", f"t{i}"], [f"t{i + 1}"]),
        ]
    nodes += [
        node("ReduceMean", ["t2", "axis"], ["pooled"], keepdims=0),
        node("MatMul", ["pooled", "head"], ["y"]),
    ]
    write_model(path, nodes, [("x", ["N", 3, 32, 32])], **values)
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axis"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 16, 16]), "rows"))
    onnx.save(model, path)
    return path


def without_rule(path):
    """A small CNN with an operator behind its only block that has no gradient rule."""
    rng = np.random.default_rng(0)
    nodes = [
        node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
        node("Relu", ["c"], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("QuickGelu", ["f"], ["a"], domain="com.microsoft"),
        node("MatMul", ["a", "v"], ["y"]),
    ]
    w, v = 0.01 * rng.standard_normal((8, 3, 3, 3)), rng.standard_normal((8, 5))
    write_model(path, nodes, [("x", ["N", 3, 32, 32])], w=w, v=v)
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, path)
    return path


BAD_IMAGES = {
    "missing image": (None, "no such file"),
    "empty image": (b"", "empty"),
    "truncated image": ("truncated", "truncated|damaged|cannot be decoded"),
    "not an image": (b"hello, I am text", "is no picture"),
    "30,000 x 30,000 pixels": ("huge", "pixel"),
}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], " left; --preset fast takes about a tenth of it\n"),
        (["--budget", 0.9], " left\n"),
        (["--method", "rise:masks=40"], " left\n"),
        (["--quiet"], None),
        (["--json"], None),
    ],
)
def test_a_long_run_is_foretold(sise, small_bundle, picture, tmp_path, monkeypatch, options, told):
    monkeypatch.setattr("sise_rt.commands.progress.LONG", 0)  # seconds
    common = ["-m", small_bundle, "-o", tmp_path / "out", "-t", 0, "--batch-size", 4]
    code, _, err = sise("explain", picture, *common, *options)
    assert code == 0
    lines = [line for line in err.splitlines(keepends=True) if " to be scored, about " in line]
    assert len(lines) == (told is not None)
    assert all(line.startswith("note: ") and line.endswith(told) for line in lines)


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_a_bad_image_is_one_line_and_the_others_are_done(sise, small_bundle, picture, tmp_path, case):
    content, says = BAD_IMAGES[case]
    bad, out = tmp_path / "bad.png", tmp_path / "out"
    if content == "truncated":
        bad.write_bytes(picture.read_bytes()[:2000])
    elif content == "huge":
        bad.write_bytes(huge_png(30_000))
    elif content is not None:
        bad.write_bytes(content)
    started = time.perf_counter()
    code, printed, err = sise("explain", bad, picture, "-m", small_bundle, "-o", out, "-t", 0)
    report(case, code, err)
    assert code == 1
    assert err.count("\n") == 2
    assert err.startswith("error: ")
    assert any(word in err for word in says.split("|"))
    assert "1 of 2 images failed" in err
    assert "picture.png" in printed
    assert (out / "picture.0.npy").is_file()
    assert not list(out.glob("bad.*"))
    assert time.perf_counter() - started < 30


def huge_png(side):
    """A PNG whose header promises side x side pixels."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 100)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_constant_image_is_explained_or_refused_without_nan(sise, small_bundle, tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((50, 50, 3), 128, np.uint8))
    code, _, err = sise("explain", tmp_path / "grey.png", "-m", small_bundle, "-o", tmp_path / "out")
    report("constant image", code, err)
    assert code in (0, 1)
    for file in (tmp_path / "out").glob("*.npy"):
        assert np.isfinite(np.load(file)).all()


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("zebra", "no label"),
        ("5", "out of range"),
        ("-1", "out of range"),
        ("", "neither"),
        ("twin", "2 classes"),
    ],
)
def test_a_target_that_is_no_class(sise, small_model, picture, tmp_path, target, says):
    labels = tmp_path / "labels.txt"
    labels.write_text("a, twin\nb, twin\nc\nd\ne\n")
    bundle = tmp_path / "b.sise"
    assert sise("export", small_model, "-o", bundle, "--labels", labels, "-q")[0] == 0
    code, _, err = sise("explain", picture, "-m", bundle, f"--target={target}")
    report(f"target {target!r}", code, err)
    assert code == 2
    assert says in err
    assert err.count("\n") == 1


def test_a_target_without_evidence_leaves_the_others_theirs(
    sise, small_bundle, picture, tmp_path, monkeypatch
):
    from sise_rt.running.engine import Engine

    real = Engine.features

    def features(self, images, targets):
        maps, alphas, logits = real(self, images, targets)
        return maps, [np.where(targets[:, None] == 1, -np.abs(a), a) for a in alphas], logits

    monkeypatch.setattr(Engine, "features", features)
    out = tmp_path / "out"
    code, _, err = sise("explain", picture, "-m", small_bundle, "-t", 1, "-t", 0, "-o", out)
    report("no evidence for one of two targets", code, err)
    assert code == 1
    assert "no feature map speaks for target 1" in err
    assert (out / "picture.0.npy").is_file()


def damaged(bundle, how):
    manifest = json.loads((bundle / "manifest.json").read_text())
    if how == "missing file":
        (bundle / "heads" / "02.onnx").unlink()
    elif how == "flipped byte":
        data = bytearray((bundle / "weights.bin").read_bytes())
        data[len(data) // 2] ^= 1
        (bundle / "weights.bin").write_bytes(data)
    elif how == "future schema":
        (bundle / "manifest.json").write_text(json.dumps(manifest | {"schema_version": "9.0"}))
    elif how == "no manifest":
        (bundle / "manifest.json").unlink()
    elif how == "path outside":
        manifest["files"]["../secret"] = "0" * 64
        (bundle / "manifest.json").write_text(json.dumps(manifest))
    elif how == "external data outside":
        path = bundle / "features.onnx"
        model = onnx.load(path, load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = "../weights.bin"
        path.write_bytes(model.SerializeToString())
        import hashlib

        manifest["files"]["features.onnx"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing file", "heads/02.onnx is missing"),
        ("flipped byte", "weights.bin was altered"),
        ("future schema", "schema 9.0"),
        ("no manifest", "no manifest.json"),
        ("path outside", "outside the bundle"),
        ("external data outside", "../weights.bin not found"),
    ],
)
def test_a_damaged_bundle(sise, small_bundle, picture, tmp_path, how, says):
    bundle = tmp_path / "damaged.sise"
    shutil.copytree(small_bundle, bundle)
    (tmp_path / "weights.bin").write_bytes((bundle / "weights.bin").read_bytes())
    damaged(bundle, how)
    code, out, err = sise("explain", picture, "-m", bundle)
    report(f"bundle: {how}", code, err)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def with_vector_input(path):
    return write_model(path, [node("MatMul", ["x", "w"], ["y"])], [("x", ["N", 8])], w=np.ones((8, 5)))


def with_two_inputs(path):
    inputs = [("a", ["N", 3, 8, 8]), ("b", ["N", 3, 8, 8])]
    return write_model(path, [node("Add", ["a", "b"], ["y"])], inputs)


MODELS = {
    "truncated ONNX": (lambda path, small: path.write_bytes(small.read_bytes()[:5000]), "damaged"),
    "no ONNX": (lambda path, small: path.write_text("just text"), "no ONNX model"),
    "no image input": (lambda path, small: with_vector_input(path), "no image input"),
    "two inputs": (lambda path, small: with_two_inputs(path), "it has 2"),
    "transformer": (lambda path, small: transformer(path), "transformer"),
    "operator without a rule": (lambda path, small: without_rule(path), "QuickGelu"),
}


@pytest.mark.parametrize("case", MODELS)
def test_a_model_that_cannot_be_exported(sise, small_model, tmp_path, case):
    make, says = MODELS[case]
    path, bundle = tmp_path / "model.onnx", tmp_path / "bundle.sise"
    make(path, small_model)
    code, out, err = sise("export", path, "-o", bundle)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    code, _, err = sise("inspect", path)
    assert code == 2
    assert says in err
    report(f"model: {case}", code, err)


def test_weights_that_do_not_fit(sise, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    code = "import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))\n"
    (tmp_path / "mynet.py").write_text(code)
    torch.save({"0.weight": torch.zeros(4, 3, 5, 5), "other": torch.zeros(1)}, tmp_path / "w.pth")
    monkeypatch.chdir(tmp_path)
    code, _, err = sise("export", "mynet:make", "--weights", "w.pth")
    report("weights that do not fit", code, err)
    assert code == 2
    assert "0.bias" in err
    assert "other" in err
    assert "(4, 3, 5, 5) for (4, 3, 3, 3)" in err


def test_cuda_asked_for_and_not_there(sise, small_bundle, picture):
    from sise_rt.running.provider import PROVIDERS
    from sise_rt.running.runtime import onnxruntime

    if PROVIDERS["cuda"] in onnxruntime().get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    code, _, err = sise("explain", picture, "-m", small_bundle, "--provider", "cuda")
    report("CUDA not there", code, err)
    assert code == 2
    assert "the package onnxruntime-gpu" in err


@pytest.mark.parametrize("name", ["gpu", "openvino2", "plugin"])
def test_a_provider_that_cannot_be(sise, small_bundle, picture, name):
    code, _, err = sise("explain", picture, "-m", small_bundle, "--provider", name)
    report("no such provider", code, err)
    assert code == 2
    assert f"'{name}' is none of auto, cpu, cuda, tensorrt, openvino and plugin:NAME" in err


def test_providers_says_what_there_is_and_how_fast(sise, small_bundle):
    from sise_rt.running import runtime
    from sise_rt.running.machine import processor
    from sise_rt.running.sessions import available_threads
    from sise_rt.wording import counted

    code, out, err = sise("providers")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"processor: {processor()}, {counted(available_threads(), 'core')}"
    assert lines[1].startswith("devices: CPU (")
    version = runtime.onnxruntime().__version__
    assert lines[2].startswith(f"cpu        CPUExecutionProvider {version} on {processor().name}, float32")
    assert [line.split()[0] for line in lines[2:6]] == ["cpu", "cuda", "tensorrt", "openvino"]
    code, out, err = sise("providers", "-m", small_bundle)
    assert (code, err) == (0, "")
    assert " ms a mask" in out.splitlines()[2]
    assert out.count("(fastest)") == 1


def test_providers_measures_a_bundle_of_float16_in_that_alone(sise, small_bundle, tmp_path, monkeypatch):
    from sise_rt.running import provider
    from sise_rt.running.machine import Processor

    monkeypatch.setattr(provider.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(provider, "processor", lambda: Processor("an Arm", ("BF16",)))
    assert "; bf16 " in sise("providers", "-m", small_bundle)[1]
    manifest = shutil.copytree(small_bundle, tmp_path / "half.sise") / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"precision": "fp16"}))
    code, out, err = sise("providers", "-m", manifest.parent)
    assert (code, err) == (0, "")
    assert "; fp16 " in out
    assert "; bf16 " not in out


def test_bf16_on_a_cpu_without_it(sise, small_bundle, picture, monkeypatch):
    from sise_rt.running import provider, providers
    from sise_rt.running.machine import Processor

    for module in (provider, providers):
        monkeypatch.setattr(module, "processor", lambda: Processor("an older one", ("AVX2",)))
    explain = ["explain", picture, "-m", small_bundle]
    for arguments in (explain, ["verify", small_bundle, "--images", picture.parent]):
        code, _, err = sise(*arguments, "--provider", "cpu", "--precision", "bf16")
        assert code == 2
        report("bf16 where there is none", code, err)
        assert err == (
            "error: bf16 was asked for, but this processor does not compute in it: an older one (AVX2) "
            "(see --precision)\n"
        )


def test_fast_is_in_bf16_where_that_was_verified(sise, small_bundle, picture, tmp_path, monkeypatch):
    from sise_rt.running import gate_record, provider
    from sise_rt.running.machine import Processor

    monkeypatch.setattr(provider.platform, "machine", lambda: "aarch64")
    for module in (provider, gate_record):
        monkeypatch.setattr(module, "processor", lambda: Processor("an Arm", ("BF16",)))
    bundle = shutil.copytree(small_bundle, tmp_path / "own.sise")

    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(picture, photos)

    def scored_in(*options):
        code, _, err = sise("explain", picture, "-m", bundle, "-o", tmp_path / "maps", *options)
        assert code == 0
        (record,) = (tmp_path / "maps").glob("*.json")
        return json.loads(record.read_text())["runtime"]["precision"], "bf16 by cpu, as verified" in err

    assert scored_in("--preset", "fast") == ("fp32", False)
    code, _, err = sise("verify", bundle, "--precision", "bf16", "--images", photos)
    assert code == 0, err
    assert scored_in("--preset", "fast") == ("bf16", True)
    assert scored_in("--preset", "fast", "--precision", "fp32") == ("fp32", False)
    assert scored_in() == scored_in("--preset", "exact") == ("fp32", False)
    assert scored_in("--precision", "verified") == ("bf16", True)


@pytest.mark.parametrize("arguments", [["--precision", "bf16"], ["--images", "."]])
def test_bf16_is_judged_by_pictures(sise, small_bundle, arguments):
    code, _, err = sise("verify", small_bundle, *arguments)
    report("bf16 without pictures", code, err)
    assert code == 2
    assert "--precision bf16 and --images go together" in err


def test_verify_compares_bf16_with_fp32(sise, small_bundle, picture, tmp_path, monkeypatch):
    """Where the processor is said to be an Arm that has it; elsewhere the option changes nothing."""
    from sise_rt.running import provider
    from sise_rt.running.machine import Processor

    monkeypatch.setattr(provider.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(provider, "processor", lambda: Processor("an Arm", ("BF16",)))
    bundle, photos = shutil.copytree(small_bundle, tmp_path / "own.sise"), tmp_path / "photos"
    photos.mkdir()
    shutil.copy(picture, photos)
    options = ["--provider", "cpu", "--precision", "bf16", "--threads", 1]
    code, out, _ = sise("explain", picture, "-m", bundle, "-o", tmp_path / "out", *options)
    assert code == 0
    assert "note: masked copies are scored in bfloat16, which was not found good enough" in out
    code, out, err = sise("verify", bundle, "--images", photos, *options)
    assert code == 0, err
    assert "bf16 against fp32 on 1 picture: explanations correlate at 1.0000 in the mean" in out
    assert str(tmp_path / "own.sise.bf16.json") in out
    code, out, _ = sise("explain", picture, "-m", bundle, "-o", tmp_path / "out", *options)
    assert code == 0
    assert "bfloat16" not in out


@pytest.mark.parametrize(
    ("installed", "says"), [((), "pip install"), (("onnxruntime", "onnxruntime-gpu"), "both installed")]
)
def test_no_onnxruntime_or_both(sise, small_bundle, picture, monkeypatch, installed, says):
    from sise_rt.running import runtime

    monkeypatch.setattr(runtime, "installed", lambda name: name in installed)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, _, err = sise("explain", picture, "-m", small_bundle)
    report(f"ONNX Runtime wheels: {len(installed)}", code, err)
    assert code == 2
    assert says in err


def test_mu_of_a_bundle_without_gradients_is_wrong_use(sise, small_model, picture, tmp_path):
    bare = tmp_path / "bare.sise"
    assert sise("export", small_model, "-o", bare, "--without-gradients", "-q")[0] == 0
    code, out, err = sise("explain", picture, "-m", bare, "--mu", 0.3, "-o", tmp_path / "out")
    assert (code, out) == (2, "")
    assert "was exported without gradients, which sise:mu=0.3 needs: leave mu out" in err
    assert not (tmp_path / "out").exists()
    code, _, err = sise("explain", picture, "-m", bare, "--budget", 0.3, "-o", tmp_path / "out")
    assert (code, err) == (0, ""), "a budget needs none"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("json:dumps", "json:dumps raised TypeError"),
        ("json:decoder", "json:decoder is of type module, where a function without arguments"),
        ("json:nothing", "module 'json' has no 'nothing'"),
        ("nowhere_at_all:make", "cannot import 'nowhere_at_all'"),
        (
            "resnet18",
            "a source is model.onnx, the folder of a published model, torchvision:NAME, timm:NAME or",
        ),
        ("missing.sise", "missing.sise is no bundle: no such folder"),
    ],
)
def test_inspect_of_what_is_no_source(sise, source, says):
    pytest.importorskip("torch")
    code, out, err = sise("inspect", source)
    report(f"inspect {source}", code, err)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("source", ["torchvision:resnet18", "timm:resnet18", "json:dumps"])
def test_a_torch_source_without_torch_names_what_to_install(source):
    code = "import sys; sys.modules['torch'] = None; from sise_rt.cli import main; main()"
    for command in (["inspect", source], ["export", source, "--weights", "none"]):
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *command], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2
        assert done.stderr == ("error: exporting a torch model needs torch: pip install 'sise-rt[torch]'\n")


def test_what_a_library_warns_of_reaches_no_terminal(small_bundle, tmp_path):
    broken = b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12"  # five entries are announced, and half of one is there
    Image.new("RGB", (40, 40), (200, 30, 60)).save(tmp_path / "odd.jpg", exif=broken)
    with pytest.warns(UserWarning, match="Corrupt EXIF"), Image.open(tmp_path / "odd.jpg") as odd:
        odd.getexif().get(0x0112)
    code = "from sise_rt.cli import main; main()"
    arguments = ["explain", tmp_path / "odd.jpg", "-m", small_bundle, "-o", tmp_path / "out", "-t", "0"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *map(str, arguments), "-q"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_grey_of_a_model_of_three_channels_is_refused(sise, small_model, tmp_path):
    code, _, err = sise("export", small_model, "-o", tmp_path / "a.sise", "--color", "GRAY")
    report("grey of three channels", code, err)
    assert code == 2
    assert "color GRAY does not go with 3 channels of the model's input: use RGB or BGR" in err
    assert not (tmp_path / "a.sise").exists()


@pytest.mark.parametrize("command", ["explain", "demo", "evaluate", "export"])
def test_an_output_folder_that_cannot_be(sise, small_bundle, small_model, picture, tmp_path, command):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "photos").mkdir()
    shutil.copy(picture, tmp_path / "photos")
    arguments = {
        "explain": [picture, "-m", small_bundle],
        "demo": [],
        "evaluate": ["-m", small_bundle, "--data", tmp_path / "photos", "--format", "folder"],
        "export": [small_model],
    }[command]
    file = "exists already and is no bundle" if command == "export" else "is a file: name a folder"
    for out, says in (("file", file), ("file/deep/out", "lies below a file: name a folder")):
        code, printed, err = sise(command, *arguments, "-o", tmp_path / out)
        assert (code, printed, err.count("\n")) == (2, "", 1)
        assert says in err
        assert "Errno" not in err
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("command", ["explain", "demo"])
def test_an_output_folder_without_rights(sise, small_bundle, picture, tmp_path, monkeypatch, command):
    def refuse(**_):
        raise PermissionError(13, "Permission denied", str(tmp_path / "tmpabc"))

    monkeypatch.setattr("sise_rt.commands.results.tempfile.TemporaryFile", refuse)
    arguments = [picture, "-m", small_bundle] if command == "explain" else []
    code, printed, err = sise(command, *arguments, "-o", tmp_path)
    assert (code, printed) == (2, "")
    says = (
        f"error: folder {str(tmp_path)!r} cannot be written: Permission denied: name another one (see --out)"
    )
    assert err == f"{says}\n"


def test_an_existing_bundle_or_folder_is_not_replaced(sise, small_model, small_bundle, tmp_path):
    before = (small_bundle / "manifest.json").read_bytes()
    code, _, err = sise("export", small_model, "-o", small_bundle)
    assert code == 2
    assert "--overwrite" in err
    assert (small_bundle / "manifest.json").read_bytes() == before
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("years of work")
    code, _, err = sise("export", small_model, "-o", tmp_path / "folder", "--overwrite")
    assert code == 2
    assert (tmp_path / "folder" / "thesis.txt").is_file()


def test_two_images_of_one_name_have_results_of_their_own(sise, small_bundle, picture, tmp_path):
    other, out = tmp_path / "b" / "picture.png", tmp_path / "o"
    other.parent.mkdir()
    shutil.copy(picture, other)
    assert sise("explain", picture, other, "-m", small_bundle, "-t", 0, "-o", out)[0] == 0
    assert (out / "picture.0.npy").is_file()
    assert (out / "b" / "picture.0.npy").is_file()


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "x.png"],
        ["explain", "-m", "b"],
        ["export"],
        ["frobnicate"],
        ["export", "m.onnx", "--mean", "a,b"],
        ["export", "m.onnx", "--input-size", "0"],
        ["explain", "x.png", "-m", "b", "--mu", "1"],
        ["explain", "x.png", "-m", "b", "--mu", "nan"],
        ["explain", "x.png", "-m", "b", "--budget", "0"],
        ["explain", "x.png", "-m", "b", "--budget", "nan"],
        ["explain", "x.png", "-m", "b", "--max-passes", "0"],
        ["explain", "x.png", "-m", "b", "--max-seconds", "inf"],
        ["explain", "x.png", "-m", "b", "--preset", "slow"],
        ["explain", "x.png", "-m", "b", "--preset", "fast", "--budget", "0.3"],
        ["explain", "x.png", "-m", "b", "--preset", "exact", "--budget", "0.3"],
        ["explain", "x.png", "-m", "b", "--memory", "much"],
        ["explain", "x.png", "-m", "b", "--memory", "0GB"],
        ["explain", "x.png", "-m", "b", "--memory", "9" * 400 + "GB"],
        ["explain", "x.png", "-m", "b", "--preset", "fast", "--method", "sise:budget=0.5"],
        ["explain", "x.png", "-m", "b", "--batch-size", "0"],
        ["explain", "x.png", "-m", "b", "--batch-size", "9" * 5000],
        ["export", "m.onnx", "--input-size", "9" * 5000],
        ["explain", "x.png", "-m", "b", "-t", "1", "--top-k", "2"],
        ["export", "m.onnx", "--weights", "DEFAULT"],
        ["export", "nothing.onnx"],
        ["verify", "nothing"],
    ],
)
def test_wrong_use_ends_with_2(sise, arguments):
    code, out, err = sise(*arguments)
    assert (code, out) == (2, "")
    assert "Error" in err or "error" in err
    assert "Traceback" not in err


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_keeps_what_is_finished(small_bundle, tmp_path):
    for i in range(200):
        picture = np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{i:03}.png"), picture)
    command = [
        sys.executable,
        "-P",
        "-c",
        "from sise_rt.cli import main; main()",
        "explain",
        *sorted(map(str, tmp_path.glob("*.png"))),
        "-m",
        str(small_bundle),
        "-o",
        str(tmp_path / "out"),
        "-t",
        "0",
        "--batch-size",
        "1",
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background of a script ignores SIGINT, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    report("Ctrl-C", process.returncode, err)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    finished = list((tmp_path / "out").glob("*.npy"))
    assert 0 < len(finished) < 200
    assert all(np.load(file).shape == (32, 32) for file in finished)
    assert not list((tmp_path / "out").glob("*.tmp"))


# A Ctrl-C comes where a module is first looked for, in part by native code that is being initialised.
PRESS = """
import os, signal, sys
from sise_rt.cli import main
module = sys.argv.pop(1)
class Press:
    def find_spec(self, name, *_):
        if name == module:
            print(name, flush=True)
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Press())
main()
"""
NUMPY_CORE = "numpy._core" if np.__version__ >= "2" else "numpy.core"
IMPORTED = {
    "explain": (
        *(
            "sise_rt.commands.group",
            "click",
            "numpy",
            f"{NUMPY_CORE}._multiarray_umath",
            f"{NUMPY_CORE}._exceptions",
        ),
        *("cv2", "PIL.Image", "sise_rt.commands.explain", "onnxruntime"),
        "onnxruntime.capi.onnxruntime_pybind11_state",
    ),
    "export": ("onnx", "onnx.onnx_cpp2py_export", "torch", "torch._C"),
}


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(
    ("name", "module"), [(name, module) for name in IMPORTED for module in IMPORTED[name]]
)
def test_ctrl_c_during_imports(small_bundle, picture, tmp_path, name, module):
    """Ends the command without a word."""
    if name == "export":
        pytest.importorskip(module.partition(".")[0])
    arguments = {
        "explain": ["explain", picture, "-m", small_bundle, "-o", tmp_path / "out"],
        "export": ["export", "torchvision:squeezenet1_1", "--weights", "none", "-o", tmp_path / "a.sise"],
    }[name]
    done = subprocess.run(
        [sys.executable, "-P", "-c", PRESS, module, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, f"{module}\n", "")
    assert not (tmp_path / "a.sise").exists()


@pytest.fixture
def heard():
    """A Ctrl-C is not ignored, as it is where the tests run in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(("method", "presses"), [("sise", 1), ("sise", 2), ("rise:masks=20", 1)])
def test_ctrl_c_while_a_picture_is_explained(
    sise, small_bundle, picture, tmp_path, monkeypatch, method, presses
):
    """The first gives the map so far, marked partial, where the method has one."""
    pressed = []

    def press(scored, total):
        for _ in range(presses if not pressed else 0):
            pressed.append(scored)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("sise_rt.commands.progress.Progress.of", lambda *_: nullcontext(press))
    arguments = ["-t", "0", "--batch-size", "1", "--method", method, "-o", tmp_path / "out"]
    before = signal.getsignal(signal.SIGINT)
    code, _, err = sise("explain", picture, picture, "-m", small_bundle, *arguments)
    assert (code, len(pressed)) == (2, 0), "two of one name"
    code, printed, err = sise("explain", picture, "-m", small_bundle, *arguments)
    assert signal.getsignal(signal.SIGINT) is before
    assert code == 130
    assert "Ctrl-C again ends at once" in err
    assert "interrupted; what was finished is kept" in err
    records = [json.loads(file.read_text("utf-8")) for file in (tmp_path / "out").glob("*.json")]
    if method == "sise" and presses == 1:
        (record,) = records
        assert [file.name for file in (tmp_path / "out").glob("*.npy")] == ["picture.0.partial.npy"]
        assert record["partial"] is True
        assert record["masks"] == 1
        assert f"{Path(picture).name}: " in printed
    else:
        assert records == []


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_while_a_map_is_checked_loses_nothing(sise, small_bundle, picture, tmp_path, monkeypatch):
    def pressed(*arguments):
        signal.raise_signal(signal.SIGINT)
        return check_region(*arguments)

    monkeypatch.setattr("sise_rt.commands.explain.check_region", pressed)
    images, out = [picture, shutil.copy(picture, tmp_path / "next.png")], tmp_path / "out"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been ignored
    try:
        code, printed, _ = sise("explain", *images, "-m", small_bundle, "-t", "0", "--report", "-o", out)
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 130
    assert sorted(file.name for file in out.glob("picture.*")) == [
        f"picture.0.{end}" for end in ("html", "json", "npy", "png")
    ]
    (line,) = map(json.loads, (out / "results.jsonl").read_text().splitlines())
    assert (line["id"], line["status"]) == ("picture.png", "done")
    assert json.loads((out / "picture.0.json").read_text("utf-8"))["check"]["region"]["area"] > 0
    assert "next.png" not in printed


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_keeps_the_pictures_before_and_begins_none_after(
    sise, small_bundle, picture, tmp_path, monkeypatch
):
    images, steps = [shutil.copy(picture, tmp_path / f"{name}.png") for name in "abcd"], []

    def press(scored, total):
        steps.append(scored)
        if steps.count(1) == 2 and scored == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("sise_rt.commands.progress.Progress.of", lambda *_: nullcontext(press))
    out = tmp_path / "out"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been ignored
    try:
        code, printed, _ = sise(
            "explain", *images, "-m", small_bundle, "-t", "0", "--batch-size", "1", "-o", out
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 130
    assert sorted(file.name for file in out.glob("*.npy")) == ["a.0.npy", "b.0.partial.npy"]
    assert [line.split(":")[0] for line in printed.splitlines() if "->" in line] == ["a.png", "b.png"]


def test_lines_stand_in_the_order_of_the_pictures(sise, small_bundle, picture, tmp_path):
    images = [shutil.copy(picture, tmp_path / f"{name}.png") for name in "abc"]
    images.insert(1, tmp_path / "none.png")
    code, printed, err = sise("explain", *images, "-m", small_bundle, "-o", tmp_path / "o", "--json")
    assert code == 1
    assert [(line["id"], line["status"]) for line in map(json.loads, printed.splitlines())] == [
        ("a.png", "done"),
        ("none.png", "failed"),
        ("b.png", "done"),
        ("c.png", "done"),
    ]
    assert printed == (tmp_path / "o" / "results.jsonl").read_text()
    assert "none.png" in err.splitlines()[0]


def test_a_file_that_cannot_be_written_is_its_pictures_error(
    sise, small_bundle, picture, tmp_path, monkeypatch
):
    images = [shutil.copy(picture, tmp_path / f"{name}.png") for name in "abc"]
    real = keeping.write_explanation

    def write(explanation, *arguments, **options):
        if (Path(explanation.name).stem, explanation.method) == ("b", "grad-cam"):
            raise OutputError("it is in use")
        return real(explanation, *arguments, **options)

    monkeypatch.setattr(keeping, "write_explanation", write)
    arguments = ["-m", small_bundle, "-t", "0", "--method", "sise,grad-cam", "-o", tmp_path / "out"]
    code, printed, err = sise("explain", *images, *arguments)
    assert code == 1
    assert err.splitlines() == [
        f"error: {images[1]}: it is in use",
        "error: 1 of 3 images failed; --retry-failed tries again",
    ]
    assert [line.split(":")[0] for line in printed.splitlines() if "->" in line] == [
        *["a.png"] * 2,
        *["c.png"] * 2,
    ]


def test_the_rate_of_many_images_is_told(sise, small_bundle, picture, tmp_path):
    other = shutil.copy(picture, tmp_path / "other.png")
    arguments = ["-m", small_bundle, "-o", tmp_path / "out"]
    *_, rate, results, overview = sise("explain", picture, other, *arguments)[1].splitlines()
    assert rate.startswith("2 images in ")
    assert results == f"{tmp_path / 'out' / 'results.jsonl'}: 2 done"
    assert overview == f"{tmp_path / 'out' / 'overview.html'}"
    for others in ([], [other, "--quiet"], [other, "--json"], [tmp_path / "none.png"]):
        assert "images in " not in sise("explain", picture, *others, *arguments)[1]


@pytest.mark.parametrize(
    ("images", "seconds", "line"),
    [
        (2, 0.0125, "2 images in 12 ms, 160 a second"),
        (40, 10.0, "40 images in 10.0 s, 4.0 a second"),
        (3, 61.23, "3 images in 61.2 s, 20.4 s each"),
        (100_000, 2.0, "100000 images in 2.0 s, 50,000 a second"),
        (2, 0.0, "2 images in 0 ms, 2,000,000 a second"),
    ],
)
def test_a_rate_is_a_number_that_people_can_read(images, seconds, line):
    assert rate(images, seconds) == line


def report(case, code, err):
    """A line for whoever reads the tests' output (`pytest -rP`)."""
    print(f"| {case} | {code} | {' '.join(err.split())} |")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ((), "error: too much\n"),
        (("input_size",), "error: too much (see --input-size)\n"),
        (("output_name", "gradients"), "error: too much (see --output, --without-gradients)\n"),
        (("input_size", "no_option_here"), "error: too much (see --input-size)\n"),
    ],
)
def test_an_error_names_the_options_of_the_command_that_was_called(
    sise, tmp_path, monkeypatch, settings, line
):
    def refuse(*_, **__):
        raise ModelError("too much", settings=settings)

    monkeypatch.setattr("sise_rt.export.export", refuse)
    assert sise("export", tmp_path / "any.onnx") == (2, "", line)


# ---------------------------------------------------------------------------------------------- surroundings


def started(*arguments, **streams):
    """The command in a process of its own, whose standard streams are the test's."""
    code = "from sise_rt.cli import main; main()"
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=False, **streams)


def closed(number):
    return lambda: os.close(number)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_closed_stream_does_not_stop_the_work(small_bundle, picture, tmp_path, number):
    """And no file gets its number, into which a library would print."""
    arguments = ("explain", picture, "-m", small_bundle, "-o", tmp_path)
    assert started(*arguments, preexec_fn=closed(number)).returncode == 0
    assert {path.suffix for path in tmp_path.iterdir()} >= {".png", ".npy", ".json"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_standard_output_is_one_line(small_bundle, picture, tmp_path):
    with open("/dev/full", "w") as full:
        arguments = ("explain", picture, "-m", small_bundle, "-o", tmp_path / "out")
        done = started(*arguments, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: standard output cannot be written")
    assert len(done.stderr.splitlines()) == 1
    assert len(list((tmp_path / "out").iterdir())) == 3


FORGED = "ev\x1b[31mil\x9b\u202e\nerror: forged"


def test_names_do_nothing_to_a_terminal(sise, small_bundle, picture, tmp_path):
    """Neither a file's, nor a label's, nor one that is wrong."""
    hostile = Path(shutil.copy(picture, tmp_path / f"{FORGED}.png"))
    said = [
        sise("explain", hostile, "-m", small_bundle, "-o", tmp_path / "out"),
        sise("explain", hostile, "-m", small_bundle, "-o", tmp_path / "out", "--json"),
        sise("explain", tmp_path / f"{FORGED}.gif", "-m", small_bundle, "-o", tmp_path / "out"),
        sise("explain", picture, "-m", small_bundle, "-t", FORGED, "-o", tmp_path / "out"),
        sise("explain", picture, "-m", tmp_path / FORGED),
        sise("explain", picture, "-m", small_bundle, "--method", FORGED),
        sise(FORGED),
    ]
    for _, out, err in said:
        for line in (out + err).splitlines():
            assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", line)
            assert not line.startswith("error: forged")
    (record,) = map(json.loads, said[1][1].splitlines())
    assert record["picture"]["name"] == str(hostile)


def test_a_message_fits_on_a_screen(sise, small_bundle, picture):
    for arguments in (("-t", "1" * 5000), ("--method", f"rise:masks={'1' * 5000}"), ("--mu", "1" * 5000)):
        code, _, err = sise("explain", picture, "-m", small_bundle, *arguments)
        assert code == 2
        assert max(map(len, err.splitlines())) < 1200


# ---------------------------------------------------------------------------------------------- replacing


def test_a_picture_of_the_users_own_is_never_replaced(sise, small_bundle, picture, tmp_path):
    """Be it one that is to be explained, or any other file that a result would be called like."""
    mine = tmp_path / "mine"
    mine.mkdir()
    cell, other = (Path(shutil.copy(picture, mine / name)) for name in ("cell.png", "cell.0.png"))
    before = other.read_bytes()
    for arguments in ((cell, other, "-t", "0"), (cell, "-t", "0"), (cell,)):
        code, out, err = sise("explain", *arguments, "-m", small_bundle, "-o", mine)
        assert (code, out) == (2, "")
        assert "cell.0.png' exists already and is no result of" in err
        assert "(see --out)" in err
    assert other.read_bytes() == before
    assert sorted(path.name for path in mine.iterdir()) == ["cell.0.png", "cell.png"]
    assert sise("explain", cell, "-t", "1", "-m", small_bundle, "-o", mine)[0] == 0  # called otherwise


def test_a_result_is_replaced_by_one_of_the_same_thing(sise, small_bundle, picture, tmp_path):
    explain = ("explain", picture, "-t", "0", "-m", small_bundle, "-o", tmp_path / "out")
    assert sise(*explain)[0] == 0
    assert sise(*explain)[2] == ""
    code, _, err = sise(*explain, "--mu", "0.3")
    assert code == 0
    assert re.search(r"note: .*\.0\.png replaces an earlier result with mu 0\.0\n", err)


def test_a_result_of_another_picture_stays(sise, small_bundle, picture, tmp_path):
    other = tmp_path / "elsewhere" / picture.name
    other.parent.mkdir()
    shutil.copy(picture, other)
    assert sise("explain", picture, "-t", "0", "-m", small_bundle, "-o", tmp_path / "out")[0] == 0
    code, _, err = sise("explain", other, "-t", "0", "-m", small_bundle, "-o", tmp_path / "out")
    assert code == 2
    assert "is no result of" in err
    assert sise("explain", other, "-t", "1", "-m", small_bundle, "-o", tmp_path / "out")[0] == 0


def test_strips_of_methods_are_results_too(sise, small_bundle, picture, tmp_path):
    out = tmp_path / "out"
    explain = ("explain", picture, "-t", "0", "-m", small_bundle, "-o", out, "--method", "sise,grad-cam")
    assert sise(*explain)[0] == 0
    assert sise(*explain)[0] == 0
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / f"{picture.stem}.0.methods.png").write_bytes(b"mine")
    assert sise(*explain[:-3], mine, *explain[-2:])[0] == 2
    assert (mine / f"{picture.stem}.0.methods.png").read_bytes() == b"mine"


def test_an_output_that_is_no_class_is_asked_about_and_explained(sise, cnn, picture, tmp_path):
    model, bundle, out = (
        cnn(tmp_path / "count.onnx", classes=1, tail="Softplus"),
        tmp_path / "a.sise",
        tmp_path,
    )
    for command in (("export", model, "-o", bundle), ("inspect", model)):
        code, _, err = sise(*command)
        assert code == 2
        assert "unclear what the model's only output is: it cannot be negative" in err
        assert "(see --activation, --output)" in err
    assert sise("inspect", model, "--activation", "none")[0] == 0
    code, printed, _ = sise("export", model, "-o", bundle, "--activation", "none")
    assert code == 0
    assert "1 class, none" in printed
    code, printed, _ = sise("explain", picture, "-m", bundle, "-o", out)
    assert code == 0
    assert "class 0, output " in printed
    code, _, err = sise("explain", picture, "-m", bundle, "-o", out, "--check")
    assert code == 2
    assert "need probabilities (see --check)" in err


def test_a_warning_of_the_meaning_is_shown_whatever_is_quiet(sise, cnn, picture, tmp_path):
    from sise_rt.bundle import read_bundle

    model, bundle = cnn(tmp_path / "one.onnx", classes=1), tmp_path / "one.sise"
    code, printed, err = sise("export", model, "-o", bundle, "-q")
    assert (code, printed) == (0, "")
    (warning,) = read_bundle(bundle).warnings
    assert err == f"warning: {warning}\n"
    assert f"warning: {warning}" in sise("inspect", model)[2]
    assert f"warning: {warning}" in sise("inspect", bundle)[1]
    printed = sise(
        "explain", picture, "-m", bundle, "-o", tmp_path, "-t", "negative", "-t", "positive", "--json"
    )[1]
    for line in printed.splitlines():
        assert {"code": "bundle", "message": warning} in json.loads(line)["warnings"]


# ------------------------------------------------------------------------------------ what a pixel means


@pytest.fixture
def dark(tmp_path) -> Path:
    """A picture of 12 bits, stored in 16."""
    path = tmp_path / "dark.png"
    cv2.imwrite(str(path), np.random.default_rng(1).integers(0, 4096, (40, 50, 3)).astype(np.uint16))
    return path


def test_the_bit_depth_of_a_picture(sise, small_bundle, dark, tmp_path):
    told = ("explain", dark, "-m", small_bundle, "-o", tmp_path / "out")
    code, printed, _ = sise(*told)
    assert code == 0
    assert "note: the brightest value is 4095 of 65535: if the picture is 12-bit data" in printed
    code, printed, _ = sise(*told, "--bit-depth", 12, "--json")
    record = json.loads(printed)
    assert (code, record["picture"]["bit_depth"], record["warnings"]) == (0, 12, [])
    code, _, err = sise(*told, "--bit-depth", 10)
    assert code == 1
    assert err.startswith(f"error: {dark}: its brightest value is 4095, above the 1023 of 10 bits")
    assert "(see --bit-depth)" in err


def test_the_bit_depth_of_a_model(sise, small_model, dark, tmp_path):
    bundle = tmp_path / "deep.sise"
    told = ("export", small_model, "-o", bundle, "--activation", "softmax")
    code, _, err = sise(*told, "--scale", 65535)
    assert code == 2
    assert "a scale of 65535 is above the largest pixel of 8 bits, 255: give the bit depth" in err
    assert "(see --bit-depth, --scale)" in err
    code, _, notes = sise(*told, "--bit-depth", 12)
    assert code == 0
    assert "assumed: scale 4095.0" in notes
    assert "0 to 4095 at 12 bits, are divided by 4095" in sise("inspect", bundle)[1]
    assert sise("verify", bundle)[0] == 0
    record = json.loads(sise("explain", dark, "-m", bundle, "-o", tmp_path / "out", "--json")[1])
    assert (record["picture"]["bit_depth"], record["warnings"]) == (12, [])


def test_a_picture_that_is_hardly_seen_and_one_that_is_hostile(sise, small_model, picture, tmp_path):
    bundle, hostile = tmp_path / "a.sise", tmp_path / "hostile.npy"
    assert sise("export", small_model, "-o", bundle, "--activation", "softmax", "--crop-pct", 0.7)[0] == 0
    entries = {"descr": "|u1", "fortran_order": False, "shape": (True, True, 3)}
    with hostile.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, entries)
        stream.write(b"abc")
    code, printed, err = sise("explain", hostile, picture, "-m", bundle, "-o", tmp_path / "out")
    assert code == 1
    assert "of the picture: the rest is cropped" in printed  # of the second, which is done all the same
    assert err.splitlines()[0].startswith(
        f"error: {hostile}: an array of shape (True, True, 3) is no picture"
    )
