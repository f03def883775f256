"""The pages: short lines, links that lead somewhere, and examples that are the house's own."""

import ast
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

import sise_rt
from sise_rt.errors import SiseError
from sise_rt.methods import Method, Request

ROOT = Path(__file__).resolve().parents[1]
SHORT = ("README.md", "CONTRIBUTING.md", "SECURITY.md")  # pages of short lines
PAGES = (*SHORT, "CHANGELOG.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
LONGEST = 100  # characters a line; tables and addresses excepted
NEWCOMER = (
    "pip install '.[cpu]' && sise-rt demo",
    "pip install -c constraints.txt -e '.[cpu,torch,test]' && pytest -n 2 --dist loadfile",
)


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def code(page: str, heading: str) -> list[str]:
    """The Python examples under a heading."""
    section = text(page).partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@pytest.mark.parametrize("page", SHORT)
def test_lines_are_short(page):
    lines = enumerate(text(page).splitlines(), 1)
    long = [n for n, line in lines if len(line) > LONGEST and not line.startswith("|") and "://" not in line]
    assert not long


def test_what_a_newcomer_does_first_stays_on_top():
    top = text("README.md").split("\n## ")[1]
    assert top.startswith("Try it")
    assert all(f"\n{command}\n" in top for command in NEWCOMER)


def anchors(page: str) -> set[str]:
    """The addresses of a page's headings, as the forges make them."""
    headings = re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(str(target.resolve().relative_to(ROOT)))):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_files_and_names_that_a_page_tells_exist(page):
    files = re.findall(
        r"\b((?:sise_rt|export|tests|benchmarks|examples|docs)/[\w/.]+\.(?:py|md|json))\b", text(page)
    )
    # `xgrad_cam` is the example of a method, which the package does not have.
    assert [file for file in files if not (ROOT / file).exists() and "xgrad_cam" not in file] == []
    assert [name for name in set(DOTTED.findall(text(page))) if not exists(name)] == []


def test_names_that_a_docstring_tells_exist():
    wrong = []
    for folder in ("sise_rt", "export", "benchmarks", "examples"):
        for path in (ROOT / folder).rglob("*.py"):
            names = re.findall(rf"`({DOTTED.pattern})`", path.read_text(encoding="utf-8"))
            wrong += [f"{path.relative_to(ROOT)}: {name}" for name in names if not exists(name)]
    assert not wrong


DOTTED = re.compile(r"\bsise_rt(?:\.\w+)+")


def exists(name: str) -> bool:
    """Whether a dotted name is a module of the package, or something in one."""
    whole = name
    while name:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            name = name.rpartition(".")[0]
            continue
        except SiseError as error:  # tells which extra is not installed
            pytest.skip(str(error))
        for part in whole.removeprefix(name).split(".")[1:]:
            if not hasattr(module, part):
                return False
            module = getattr(module, part)
        return True
    return False


def test_the_example_of_a_rule_is_the_houses_own():
    rule, case = code("CONTRIBUTING.md", "A gradient rule")
    families = (ROOT / "export" / "gradients" / "rules").glob("*.py")
    assert any(rule in path.read_text() for path in families)
    assert case in (ROOT / "tests" / "export" / "gradients" / "test_rules.py").read_text()


def test_the_example_of_a_method_explains(small_bundle):
    program, test = code("CONTRIBUTING.md", "A method")
    names = {"__package__": "sise_rt.methods", "__name__": "sise_rt.methods.xgrad_cam"}
    exec(compile(ast.parse(program), "xgrad_cam.py", "exec"), names)
    method = names["METHOD"]
    assert isinstance(method, Method)
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    request = Request(method, method.settings({}), method.name)
    explanation = sise_rt.load(small_bundle, "cpu").explain(picture, "b", method=request)
    assert explanation.method == "xgrad-cam"
    ast.parse(test)
    assert explanation.map.max() == 1


def test_the_citation_names_the_version():
    assert f"\nversion: {sise_rt.__version__}\n" in text("CITATION.cff")
