"""What a shell is told of the command line, by click's way of asking."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sise_rt.commands.group import run


@pytest.fixture
def completed(monkeypatch, capsys):
    """What is offered for the last word."""

    def invoke(*words):
        monkeypatch.setenv("_SISE_RT_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(["sise-rt", *map(str, words)]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        assert run([]) == 0
        return [line.split(",", 1) for line in capsys.readouterr().out.split("\n") if line]

    return invoke


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ex"], ["export", "explain"]),
        (["explain", "--max-"], ["--max-passes", "--max-seconds", "--max-pixels"]),
        (["explain", "--preset", "f"], ["fast"]),
        (["explain", "--provider", "c"], ["cpu", "cuda"]),
        (["explain", "--method", "grad"], ["grad-cam", "grad-cam++"]),
        (["explain", "--method", "sise,ri"], ["sise,rise"]),
        (["evaluate", "--format", "c"], ["coco", "csv-boxes", "csv-labels"]),
    ],
)
def test_names_are_completed(completed, words, offered):
    assert [value for _, value in completed(*words)] == offered


def test_labels_are_completed_of_the_bundle_that_stands_before(completed, small_bundle):
    assert completed("explain", "a.png", "-m", small_bundle, "-t", "b") == [["plain", "b"]]
    assert completed("explain", "a.png", "-t", "b") == []
    assert completed("explain", "a.png", "-m", "model.onnx", "-t", "b") == []


@pytest.mark.parametrize(
    "words",
    [["explain", "-m", "a"], ["verify", "a"], ["accuracy", "a"], ["amend", "a"], ["providers", "-m", "a"]],
)
def test_a_bundle_is_a_folder(completed, words):
    assert completed(*words) == [["dir", "a"]]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(monkeypatch, capsys, shell):
    if not shutil.which("bash"):
        pytest.skip("click asks bash of what version it is")
    monkeypatch.setenv("_SISE_RT_COMPLETE", f"{shell}_source")
    assert run([]) == 0
    assert "_SISE_RT_COMPLETE" in capsys.readouterr().out


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_the_installed_command():
    command = Path(sys.executable).with_name("sise-rt")
    if not command.is_file():
        pytest.skip("the command is not beside this Python")
    script = f"""
        eval "$(_SISE_RT_COMPLETE=bash_source "{command}")"
        COMP_WORDS=(sise-rt explain --pres) COMP_CWORD=2
        _sise_rt_completion "{command}"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("--preset\n", "")
