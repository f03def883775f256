"""ONNX Runtime as it may be installed."""

import sys
import types

import pytest

from sise_rt.errors import ProviderError
from sise_rt.running.runtime import onnxruntime


def test_a_folder_that_an_uninstall_left_is_no_onnx_runtime(monkeypatch):
    left = types.ModuleType("onnxruntime")
    left.__path__ = ["/somewhere/onnxruntime"]
    monkeypatch.setitem(sys.modules, "onnxruntime", left)
    with pytest.raises(ProviderError, match="not whole in /somewhere/onnxruntime: remove that folder"):
        onnxruntime()
