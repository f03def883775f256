"""`sise-rt --version`."""

import platform
import sys
import types

import pytest

import sise_rt
from sise_rt.commands.group import run
from sise_rt.running import runtime


@pytest.fixture
def lines(capsys):
    def invoke():
        assert run(["--version"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out.splitlines()

    return invoke


def test_what_is_used_is_told(lines):
    first, second, third = lines()
    assert first == f"sise-rt {sise_rt.__version__}"
    assert second.startswith(f"Python {platform.python_version()}, ")
    assert third.startswith(f"ONNX Runtime {runtime.onnxruntime().__version__}, providers: cpu")


def test_providers_are_called_as_they_are_asked_for(lines, monkeypatch):
    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "AzureExecutionProvider"]
    built = types.SimpleNamespace(__version__="1.99", get_available_providers=lambda: names)
    monkeypatch.setattr("sise_rt.commands.versions.onnxruntime", lambda: built)
    monkeypatch.setattr("sise_rt.commands.versions.find_spec", lambda _: True)
    assert lines()[2] == "ONNX Runtime 1.99, providers: cuda, tensorrt, openvino"


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (None, "no ONNX Runtime: ONNX Runtime cannot be imported"),
        (types.SimpleNamespace(__path__=["/a/onnxruntime"]), "ONNX Runtime is not whole in /a/onnxruntime"),
    ],
)
def test_without_onnx_runtime_the_reason_is_told(lines, monkeypatch, module, says):
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    assert len(lines()) == 3
    assert says in lines()[2]
