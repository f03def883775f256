"""Both engines of `sise-rt explain`, in the same situations: exit codes, and what is said at the end."""

import json
import shutil
import sys
from pathlib import Path

import pytest

import sise_rt
from sise_rt.commands import explain as command
from sise_rt.errors import ModelError

pytest.importorskip("ray", reason="needs the extra ray")
if sys.platform != "linux":
    pytest.skip("Ray is tested on Linux", allow_module_level=True)

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # of what it sets itself
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # its sockets and log files
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

DEMO = Path(sise_rt.__file__).parent / "demo" / "surface.sise"
ENGINES = {"here": (), "ray": ("--engine", "ray", "--workers", 1)}
QUICK = ("--mu", 0.9, "--no-overview", "--provider", "cpu", "--threads", 1)


@pytest.fixture
def folder(photos, tmp_path, monkeypatch):
    """The working folder: pictures, one of them broken and one that is grey all over, and lists of them."""
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    shutil.copy(photos / "pit" / "0.png", "pit.png")
    shutil.copy(photos / "patch" / "0.png", "patch.png")
    Path("bad.png").write_bytes(b"nonsense")
    Image.new("RGB", (64, 64), (128, 128, 128)).save("grey.png")
    write_list("mixed.csv", "pit.png,a,,pit", "bad.png,b,,", "patch.png,c,no class,", "pit.png,d,,no class")
    write_list("right.csv", "pit.png,a,,pit", "patch.png,b,,")
    write_list("twice.csv", "pit.png,a,,", "patch.png,a,,")
    write_list("gone.csv", "gone.png,a,,")
    Path("empty").mkdir()
    shutil.copytree(DEMO, "broken.sise")
    Path("broken.sise/score.onnx").write_bytes(b"")
    return tmp_path


def write_list(name, *rows):
    Path(name).write_text("path,id,target,truth\n" + "".join(f"{row}\n" for row in rows))


@pytest.fixture
def both(ray, sise):
    """Explain with both engines, each into a folder of its own; gives what came of it, which has to agree."""

    def invoke(out, *arguments, model=DEMO):
        ends = {}
        for engine, options in ENGINES.items():
            place = Path(engine) / out
            code, printed, err = sise("explain", "-m", model, *QUICK, *options, *arguments, "-o", place)
            assert "Traceback" not in err
            ends[engine] = code, became_of(place), at_the_end(printed, engine), errors(err, engine)
        assert ends["ray"] == ends["here"]
        return ends["here"]

    return invoke


def became_of(out):
    """What the lines say became of the items, whatever the order of finishing."""
    path = out / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text("ascii").splitlines()] if path.exists() else []
    return sorted((line["id"], line["status"], (line["error"] or {}).get("kind", "")) for line in lines)


def at_the_end(printed, engine):
    """The counts, as the summary tells them."""
    return [line.replace(f"{engine}/", "OUT/") for line in printed.splitlines() if "results.jsonl: " in line]


def errors(err, engine):
    """How many complaints and warnings there are, and all of the last complaint."""
    told = [line for line in err.splitlines() if line.startswith(("error: ", "warning: "))]
    return sorted(line.split(":")[0] for line in told), [
        line.replace(f"{engine}/", "OUT/") for line in told[-1:]
    ]


def test_pictures_that_fail(both, folder):
    code, became, (counts,), (_, last) = both("out", "--from", "mixed.csv")
    assert code == 1
    assert became == [
        ("a", "done", ""),
        ("b", "failed", "ImageError"),
        ("c", "failed", "TargetError"),
        ("d", "failed", "TargetError"),
    ]
    assert counts == "OUT/out/results.jsonl: 1 done, 3 failed"
    assert last == ["error: 3 of 4 images failed; --retry-failed tries again"]
    assert both("out", "--from", "mixed.csv")[0] == 1  # which failed before: nothing is left to do
    code, became, _, (_, (last,)) = both("out", "--from", "mixed.csv", "--mu", 0.8)
    assert (code, len(became)) == (2, 4)
    assert "with other settings" in last


def test_rows_that_are_left_out(both, folder):
    code, became, (counts,), told = both("out", "--from", "right.csv", "--only-wrong")
    assert (code, told) == (0, ([], []))
    assert became == [("a", "skipped", ""), ("b", "skipped", "")]
    assert counts == "OUT/out/results.jsonl: 2 skipped"


def test_a_map_that_cannot_be_checked(both, folder, monkeypatch):
    def check(*_):  # goes to the actors by value
        raise ModelError("the output is not finite")

    monkeypatch.setattr(command, "check", check)
    code, became, (counts,), (kinds, (last,)) = both("out", "pit.png", "patch.png", "--check")
    assert code == 1
    assert [status for _, status, _ in became] == ["done", "done"]
    assert counts == "OUT/out/results.jsonl: 2 done"
    assert kinds == ["error", "error"]
    assert last.endswith("patch.png: --check: the output is not finite")


@pytest.mark.parametrize(
    ("arguments", "model"),
    [
        (("pit.png", "patch.png", "-t", "no class"), DEMO),
        (("pit.png", "patch.png"), "broken.sise"),
        (("pit.png", "patch.png"), "missing.sise"),
        (("pit.png", "pit.png"), DEMO),
        (("empty",), DEMO),
        (("nothing-*.png",), DEMO),
        (("--from", "twice.csv"), DEMO),
        (("--from", "missing.csv"), DEMO),
        (("pit.png", "--method", "sise:mu=7"), DEMO),
        (("pit.png", "patch.png", "--provider", "nonsense"), DEMO),
    ],
)
def test_what_is_refused_before_the_work(both, folder, arguments, model):
    assert both("out", *arguments, model=model)[:2] == (2, [])
