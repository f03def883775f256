"""The package: light to import, with exactly the names that it says."""

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sise_rt

HEAVY = ("onnx", "torch", "torchvision", "timm", "onnxruntime", "skimage", "scipy")


LIGHT = (
    "numpy",
    "cv2",
    "PIL",
    "msgspec",
    "click",
)  # for whom only names, or the first line of a command, matter
MODULES = {
    **dict.fromkeys(("sise_rt", "sise_rt.cli"), (*LIGHT, *HEAVY)),
    **dict.fromkeys(("sise_rt.running.verify", "sise_rt.metrics", "sise_rt.commands.evaluate"), HEAVY),
}


@pytest.mark.parametrize(("module", "heavy"), MODULES.items())
def test_importing_is_light(module, heavy, tmp_path):
    code = f"import sys, {module}; print(*(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_all_is_what_is_exposed(tmp_path):
    code = "import sise_rt; print(*(name for name in dir(sise_rt) if name[0] != '_'))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == sise_rt.__all__ == sorted(sise_rt.__all__)


def test_type_checkers_see_what_is_exposed():
    """Each name in the branch that only they read comes from the module that it is imported from."""
    tree = ast.parse(Path(sise_rt.__file__).read_text())
    (branch,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in branch.body for alias in node.names}
    assert sorted(seen) == sise_rt.__all__
    for name, module in seen.items():
        assert getattr(sise_rt, name) is getattr(importlib.import_module(f"sise_rt.{module}"), name)


def test_there_is_nothing_else():
    with pytest.raises(AttributeError, match="module 'sise_rt' has no attribute 'explain'"):
        sise_rt.explain  # noqa: B018


def test_the_version_is_the_projects():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert sise_rt.__version__ == project["version"]


@pytest.mark.parametrize(
    ("missing", "module", "told"),
    [
        ("onnx", "sise_rt.export", "needs onnx: pip install 'sise-rt[export]'"),
        (
            "torch",
            "sise_rt.export.intake.from_torch",
            "needs torch: pip install 'sise-rt[torch]'",
        ),
    ],
)
def test_what_is_missing_is_told_as_the_readme_tells_it(missing, module, told):
    code = f"import sys; sys.modules[{missing!r}] = None; import {module}"
    failed = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.rstrip().endswith(told)
