"""The fuzzer: damaged models and bundles are refused in good order, and no defect escapes it."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
from benchmarks.fuzz import cases, children, contents, structure
from benchmarks.fuzz.__main__ import report
from benchmarks.fuzz.classifiers import MODELS
from benchmarks.fuzz.mutations import MUTATIONS, write_case


def test_damaged_models_and_bundles_are_refused_in_good_order():
    command = [sys.executable, "-m", "benchmarks.fuzz", "--cases", "150", "--seed", "7"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=children.ROOT)
    assert run.returncode == 0, run.stdout + run.stderr
    counts = dict(re.findall(r"^(\w+(?: \w+)?) +(\d+ +\d+)$", run.stdout, re.MULTILINE))
    models, bundles = zip(*(map(int, counts[kind].split()) for kind in counts), strict=True)
    assert counts["cases"].split() == ["113", "37"]
    assert sum(models) == 2 * 113
    assert sum(bundles) == 2 * 37
    # Some damage does no harm, most of it does.
    assert int(counts["ModelError"].split()[0]) > int(counts["exported"].split()[0]) > 3
    assert int(counts["BundleError"].split()[1]) > int(counts["loaded"].split()[1]) > 0


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
