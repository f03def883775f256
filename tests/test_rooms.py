"""The order of the house, which CONTRIBUTING.md tells: who may import whom, and what every file keeps to."""

import ast
import importlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from sise_rt.errors import SiseError

ROOT = Path(__file__).resolve().parents[1]

# Each room may import itself and those before it in its row.
RUNTIME = (
    *("base", "pictures", "running", "phases", "methods", "explaining", "bulk", "evaluation", "augmenting"),
    "serve",
    "commands",
)
EXPORT = ("ir", "origins", "intake", "canonical", "gradients", "graphs", "proof", "exporting")
# What each room of the export may import of the runtime; of the runtime, only the commands import the export.
BORROWED = dict.fromkeys(EXPORT, ("base",)) | {
    "canonical": ("base", "running"),  # shapes are measured by running the network
    "graphs": ("base", "pictures"),  # what is flat is said in one place
    "proof": ("base", "pictures", "running", "phases"),
    "exporting": ("base", "pictures", "running", "phases"),
}
TRAINING = ("training",)
BORROWED |= dict.fromkeys(TRAINING, RUNTIME[: RUNTIME.index("explaining") + 1])  # nobody imports it
# The modules that lie in no folder of their room.
LOOSE = {
    **dict.fromkeys(("bundle", "cautions", "errors", "files", "graphs", "manifest", "memory"), "base"),
    **dict.fromkeys(("amending", "preprocessing", "stated", "wording", "writing"), "base"),
    **dict.fromkeys(("label_files", "literals", "single_file"), "base"),
    **dict.fromkeys(
        ("answering", "captions", "comparing", "drawing", "explainer", "explanation", "metrics"), "explaining"
    ),
    **dict.fromkeys(("foreign", "naming", "records", "report", "saving", "self_explained"), "explaining"),
    "targets": "explaining",
    "cli": "commands",
}

FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
LONGEST = 60  # lines of a function, from `def` to its end, without its docstring
LONGER = {  # files::functions that may be longer, and why
    "benchmarks/fuzz/operators.py::hostile_operators",  # a table
}


@dataclass(frozen=True)
class Module:
    """A file of the package.

    Attributes:
        name: as it is imported.
        path: in the checkout.
        room: one of RUNTIME, EXPORT or TRAINING.
    """

    name: str
    path: Path
    room: str


def installed_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "sise_rt" else ("sise_rt", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    """The room of a module; a folder that is none has to be given its place above."""
    _, *parts = name.split(".")
    if parts[:1] == ["export"]:
        return parts[1] if len(parts) > 1 and parts[1] in EXPORT else "exporting"
    here = LOOSE.get(parts[0], parts[0]) if parts else "explaining"
    assert here in (*RUNTIME, *TRAINING), f"{name} lies in no room: give {here!r} its place in the order"
    return here


def modules() -> dict[str, Module]:
    paths = [*(ROOT / "sise_rt").rglob("*.py"), *(ROOT / "export").rglob("*.py"), ROOT / "cli.py"]
    names = {installed_name(path): path for path in sorted(paths)}
    return {name: Module(name, path, room(name)) for name, path in names.items()}


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """What runs, also late inside functions: all but the branches that only type checkers read."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from statements(other)
        else:
            yield child
            yield from statements(child)


def imports(module: Module, house: dict[str, Module]) -> Iterator[tuple[Module, int]]:
    """The house's modules that one imports, and the line."""
    for node in statements(ast.parse(module.path.read_text())):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            here = module.name.split(".")
            if module.path.name != "__init__.py":
                here = here[:-1]
            above = here[: len(here) - node.level + 1] if node.level else []
            package = ".".join([*above, *([node.module] if node.module else [])])
            inside = [f"{package}.{alias.name}" for alias in node.names]
            targets = [name if name in house else package for name in inside]
        else:
            continue
        for name in dict.fromkeys(targets):
            if name in house:
                yield house[name], node.lineno


def allowed(room: str, other: str) -> bool:
    """Whether a room may import another."""
    if room in TRAINING:
        return other in (*TRAINING, *BORROWED[room])
    if room in EXPORT:
        return other in (*EXPORT[: EXPORT.index(room) + 1], *BORROWED[room])
    return other in RUNTIME[: RUNTIME.index(room) + 1] or (room == "commands" and other in EXPORT)


def plan() -> tuple[list[str], list[str]]:
    """The house in figures, a line each; and the imports that run backwards."""
    house = modules()
    files = Counter(module.room for module in house.values())
    between: Counter[tuple[str, str]] = Counter()
    backwards = []
    for module in house.values():
        for other, line in imports(module, house):
            if other.room == module.room:
                continue
            between[module.room, other.room] += 1
            if not allowed(module.room, other.room):
                where = f"{module.path.relative_to(ROOT)}:{line}"
                backwards.append(f"{where}: {module.room} imports {other.name} ({other.room})")
    lines = [f"{len(files)} rooms, {len(house)} files, {between.total()} imports between rooms"]
    for name in (*RUNTIME, *TRAINING, *EXPORT):
        others = ", ".join(f"{other} {count}" for (at, other), count in sorted(between.items()) if at == name)
        lines.append(f"{name}: {files[name]} files; imports {others or 'nothing'}")
    return [*lines, f"{len(backwards)} backwards"], backwards


def test_imports_run_one_way():
    figures, backwards = plan()
    print(*figures, sep="\n")
    assert not backwards, "\n".join(backwards)


def test_no_import_circle():
    house = modules()
    imported = {name: {other.name for other, _ in imports(module, house)} for name, module in house.items()}
    TopologicalSorter(imported).prepare()  # the error names the circle


def test_the_order_is_seen(tmp_path):
    """Late imports count, those for type checkers do not, and relative ones find their module."""
    path = tmp_path / "masks.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from sise_rt.explainer import Explainer\n"
        "def late():\n    from ..methods import sise\n    from . import scoring\n    import sise_rt.bundle\n"
    )
    module = Module("sise_rt.phases.masks", path, "phases")
    seen = [(other.name, line) for other, line in imports(module, modules())]
    assert seen == [("sise_rt.methods.sise", 5), ("sise_rt.phases.scoring", 6), ("sise_rt.bundle", 7)]
    assert allowed("methods", "phases")
    assert not allowed("phases", "methods")
    assert not allowed("evaluation", "exporting")
    assert not allowed("graphs", "running")
    assert allowed("training", "explaining")
    assert not allowed("training", "bulk")
    assert not allowed("commands", "training")


def test_torch_stays_in_its_rooms():
    """Also late inside functions: what explains needs none of it; only training and the export have it."""
    named = {}
    for module in modules().values():
        for node in statements(ast.parse(module.path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            if any(name.partition(".")[0] in ("torch", "torchvision", "timm") for name in names):
                named[f"{module.path.relative_to(ROOT)}:{node.lineno}"] = module.room
    assert set(named.values()) >= set(TRAINING)
    assert {where: room for where, room in named.items() if room in RUNTIME} == {}


def test_no_module_bears_the_name_of_a_function_of_its_package():
    pytest.importorskip("onnx")
    hidden = []
    for name in sorted(modules()):
        package, _, attribute = name.rpartition(".")
        try:
            module = importlib.import_module(name)
        except SiseError:  # it needs an extra that is not installed
            continue
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            continue
        if package and getattr(importlib.import_module(package), attribute) is not module:
            hidden.append(name)
    assert not hidden, "\n".join(hidden)


def test_only_commands_name_flags():
    named = []
    for module in modules().values():
        if module.room == "commands":
            continue
        for number, line in enumerate(module.path.read_text().splitlines(), 1):
            if flags := FLAG.findall(line):
                named.append(f"{module.path.relative_to(ROOT)}:{number}: {', '.join(flags)}")
    assert not named, "\n".join(named)


def test_no_function_is_long():
    long = {}
    folders = ("sise_rt", "export", "examples", "benchmarks", "docs")
    for path in [ROOT / "cli.py", *(path for name in folders for path in (ROOT / name).rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            if lines > LONGEST:
                long[f"{path.relative_to(ROOT)}::{node.name}"] = lines
    unexpected = [f"{name}: {lines} lines" for name, lines in long.items() if name not in LONGER]
    assert not unexpected, "\n".join(unexpected)
    assert LONGER <= set(long), "these are not long any more"
