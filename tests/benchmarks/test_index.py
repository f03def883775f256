"""The benchmarks' index: every one is in it, and starts as it says."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
INDEX = (FOLDER / "README.md").read_text("utf-8")
PARTS = {path.stem: path for path in FOLDER.glob("*.py")} | {
    path.parent.name: path for path in FOLDER.glob("*/__main__.py")
}
BENCHMARKS = sorted(name for name, path in PARTS.items() if "__main__" in path.read_text("utf-8"))
NEEDED = {
    "curve": ("matplotlib",),
    "described": ("torch",),
    "exactness": ("torch",),
    "given_maps": ("torch",),
    "industrial": ("torch",),
    "origins": ("torch",),
    "parity": ("torch",),
    "rivals": ("torch",),
    "training": ("torch",),
    "zoo": ("torch",),
}


def test_the_index_has_every_benchmark_once():
    assert re.findall(r"^\| `(\w+)` \|", INDEX, re.MULTILINE) == BENCHMARKS
    shared = PARTS.keys() - set(BENCHMARKS) - {"__init__"}
    assert {name for name in shared if f"`{name}`" in INDEX} == shared


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_starts(name, capsys):
    place = f"{name}.__main__" if PARTS[name].name == "__main__.py" else name
    for package in NEEDED.get(name, ()):
        pytest.importorskip(package)
    module = importlib.import_module(f"benchmarks.{place}")
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])
    assert ended.value.code == 0
    assert f"python -m benchmarks.{name}" in module.__doc__
    assert module.__doc__.splitlines()[0][:40] in capsys.readouterr().out


def test_what_the_pages_tell_to_run_is_there():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *FOLDER.rglob("*.md"), *FOLDER.rglob("*.py")]
    texts = [page.read_text("utf-8") for page in pages]
    told = {name for text in texts for name in re.findall(r"python -m benchmarks\.([\w.]+)", text)}
    assert set(BENCHMARKS) <= told
    for name in told - {"NAME"}:
        place = FOLDER.joinpath(*name.split("."))
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), name
    assert not [page for page, text in zip(pages, texts, strict=True) if "python benchmarks/" in text]
