"""The fuzzer: damaged models and bundles are refused in good order, and no defect escapes it."""

import random
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import onnx
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
from benchmarks.fuzz import cases, children, contents, outputs, running, structure
from benchmarks.fuzz.__main__ import report
from benchmarks.fuzz.classifiers import MODELS
from benchmarks.fuzz.mutations import MUTATIONS, write_case
from sise_rt import explainer
from sise_rt.bundle import Bundle, read_bundle
from sise_rt.errors import BundleError


def test_damaged_models_and_bundles_are_refused_in_good_order():
    command = [sys.executable, "-m", "benchmarks.fuzz", "--cases", "150", "--seed", "8"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=children.ROOT)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = re.findall(r"^(\w+(?: \w+)?)((?: +\d+){4})$", run.stdout, re.MULTILINE)
    counts = {kind: list(map(int, numbers.split())) for kind, numbers in rows}
    assert counts["cases"] == [113, 19, 9, 9]
    assert [sum(column) for column in zip(*counts.values(), strict=True)] == [2 * 113, 2 * 19, 2 * 9, 2 * 9]
    # Some damage does no harm, most of it does.
    assert counts["ModelError"][0] > counts["exported"][0] > 3
    assert counts["BundleError"][1] > counts["loaded"][1] > 0
    # An output that is another one never passes, and changed weights are never used.
    assert counts["BundleError"][2] + counts["ModelError"][2] == counts["cases"][2]
    assert counts["refused"][3] == counts["cases"][3]


def test_a_case_is_the_same_each_time(tmp_path):
    written = [
        write_case(tmp_path / name, 5, seed).read_bytes() for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert written[0] == written[1] != written[2]


def test_what_is_damaged_is_sound(monkeypatch, tmp_path):
    for build in MODELS:
        onnx.checker.check_model(build(), full_check=True)
        onnx.save(build(), tmp_path / f"{build.__name__}.onnx")
        assert cases.export_model(tmp_path / f"{build.__name__}.onnx", tmp_path / build.__name__) == (
            "exported",
            "",
        )


def test_every_way_to_damage_a_model_is_drawn_from():
    ways = [
        value
        for module in (structure, contents)
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    ]
    assert set(ways) == set(MUTATIONS)
    assert len(MUTATIONS) == len(set(MUTATIONS))


def failing():
    raise ValueError("oh")


def writing():
    Path("stray").write_text("")
    return "exported", ""


def overwriting():
    Path("../in/model.onnx").write_bytes(b"")
    return "exported", ""


def filling():
    bytearray(2 * cases.MEMORY)
    return "exported", ""


def stopped():
    return "ModelError", "ONNX Runtime cannot load the model: std::bad_alloc"


DEFECTS = {failing: "exception", writing: "stray file", overwriting: "stray file", stopped: "memory"}
if cases.peak(reset=True):
    DEFECTS[filling] = "memory"


@pytest.mark.parametrize("work", DEFECTS, ids=lambda function: function.__name__)
def test_defects_are_found(work, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # the case goes elsewhere
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(cases, "MEMORY", 1 << 26)
    monkeypatch.setattr(cases, "export_model", lambda path, output: work())
    result = cases.run_case(0, 1, tmp_path / "0", tmp_path)
    assert result.kind == DEFECTS[work], result.text
    assert "--seed 1 --only 0" in report([result], 1)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    children.export_sound(folder)
    return folder / cases.SOUND


def numbered(kind):
    return next(case for case in range(100) if cases.family(case) == kind)


def test_an_output_that_nobody_notices_is_found(sound, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(cases, "change_output", lambda sound, folder, _: shutil.copytree(sound, folder))
    result = cases.run_case(numbered("outputs"), 1, tmp_path / "0", sound)
    assert result.kind == "unnoticed", result.text


def test_another_answer_is_found(sound, monkeypatch, tmp_path):
    """As of a process that goes back to the files."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(running, "CHANGES", (running.overwrite,))  # a file that is cut off ends a process
    case = numbered("running")
    monkeypatch.chdir(tmp_path)
    assert cases.run_case(case, 1, tmp_path / "held", sound).kind == "refused"

    def unheld(folder):
        return nullcontext(Bundle(read_bundle(folder), None))

    monkeypatch.setattr(explainer, "load_bundle", unheld)
    monkeypatch.chdir(tmp_path)
    result = cases.run_case(case, 1, tmp_path / "unheld", sound)
    assert result.kind == "another answer", result.text


def test_what_is_open_may_not_be_refused(sound, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", None)

    def refuse(*_, **__):
        raise BundleError("no")

    def change(folder, rng):
        monkeypatch.setattr(explainer.Explainer, "explain_methods", refuse)

    monkeypatch.setattr(cases, "change_files", change)
    result = cases.run_case(numbered("running"), 1, tmp_path / "0", sound)
    assert (result.kind, result.text) == ("another answer", "of sise")


@pytest.mark.parametrize("change", outputs.CHANGES + running.CHANGES)
def test_every_change_is_one(sound, change, tmp_path):
    rng = random.Random(1)
    if change in running.CHANGES:
        path = Path(shutil.copyfile(sound / "weights.bin", tmp_path / "weights.bin"))
        shutil.copyfile(sound / "score.onnx", tmp_path / "score.onnx")
        change(path, rng)
        assert not path.exists() or path.read_bytes() != (sound / "weights.bin").read_bytes()
    else:
        graph = onnx.load(sound / "forward.onnx", load_external_data=False).graph
        before = graph.SerializeToString()
        change(graph, graph.output[0], rng)
        assert graph.SerializeToString() != before
        assert graph.node[-1].output[0] == "logits"


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ("os.abort()", "crash", "SIGABRT"),
        ("os._exit(3)", "crash", "exit status 3"),
        ("time.sleep(60)", "hang", "last words"),
    ],
)
def test_crashes_and_hangs_are_found(line, kind, words, tmp_path):
    script = tmp_path / "child.py"
    script.write_text(
        "import os, sys, time\nprint('\"ready\"', flush=True)\nsys.stdin.readline()\n"
        f"print('last words', file=sys.stderr, flush=True)\n{line}\n"
    )
    child = children.Child(tmp_path, 1, [sys.executable, str(script)], seconds=1)
    try:
        for case in (4, 5):  # a new process takes over
            result = child.run(case)
            assert (result.case, result.kind) == (case, kind)
            assert words in result.text
    finally:
        child.stop()
