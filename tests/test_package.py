"""The package: light to import, with exactly the names that it says."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sise_rt

HEAVY = ("onnx", "torch", "torchvision", "timm", "onnxruntime", "skimage", "scipy")


MODULES = ("sise_rt", "sise_rt.cli", "sise_rt.running.verify", "sise_rt.metrics", "sise_rt.commands.evaluate")


@pytest.mark.parametrize("module", MODULES)
def test_importing_is_light(module, tmp_path):
    code = f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_all_is_what_is_exposed(tmp_path):
    code = "import sise_rt, types; print(*(n for n, v in vars(sise_rt).items() if n[0] != '_' and not "
    code += "isinstance(v, types.ModuleType)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert sorted(done.stdout.split()) == sise_rt.__all__ == sorted(sise_rt.__all__)


def test_the_version_is_the_projects():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert sise_rt.__version__ == project["version"]
