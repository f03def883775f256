"""The ledger of a run: what a kill, a full disk or another run may do to it, and what it refuses."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from sise_rt.bulk.ledger import SETTINGS, has_run, opened, read_results, result_files, root_of_run
from sise_rt.errors import ArgumentError, OutputError, Unwritable

SETTINGS_OF_RUN = {"bundle": "12ab", "mu": 0.0}
ITEMS = [f"cam1/{number:04}" for number in range(300)]

WRITER = """
import sys, time
from pathlib import Path
from sise_rt.bulk.ledger import opened
folder, count = Path(sys.argv[1]), int(sys.argv[2])
with opened(folder, {"bundle": "12ab", "mu": 0.0}) as ledger:
    print("opened", flush=True)
    for number in range(count):
        name = f"cam1/{number:04}"
        if name not in ledger.statuses:
            parts = 1 + number % 3
            files = [f"{number:04}.{part}.png" for part in range(1, parts + 1)]
            for file in files:
                (folder / file).write_text("drawn")
            head = {"id": name, "status": "done", "time": time.time(), "number": number}
            ledger.append(
                [head | {"part": [part, parts], "files": [file]} for part, file in enumerate(files, 1)]
            )
            print(name, flush=True)
            time.sleep(0.0005)
print("finished", flush=True)
sys.stdin.read()
"""

FULL = """
import resource, sys
from pathlib import Path
from sise_rt.bulk.ledger import opened
from sise_rt.errors import OutputError, Unwritable
with opened(Path(sys.argv[1]), {"bundle": "12ab", "mu": 0.0}) as ledger:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
    try:
        for number in range(100):
            line = {"id": f"{number}", "status": "done", "part": [1, 1], "files": [], "more": "x" * 100}
            ledger.append([line])
    except Unwritable as error:
        print(number, isinstance(error, OutputError), error)
"""


def entry(name, status="done", *, parts=1, files=(), **more):
    """The lines of an item."""
    head = {"id": name, "status": status, "files": list(files), **more}
    return [head | {"part": [part, parts]} for part in range(1, parts + 1)]


def run(folder, *entries, settings=SETTINGS_OF_RUN, **options):
    """Go on with a run by these lines of items; gives what it knew before, and knows then."""
    with opened(folder, settings, **options) as ledger:
        before = dict(ledger.statuses)
        for lines in entries:
            ledger.append(lines)
    return before, ledger.statuses


def lines_in(folder):
    return [json.loads(line) for path in result_files(folder) for line in path.read_bytes().splitlines()]


def untimed(lines):
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


def writer(folder):
    command = [sys.executable, "-P", "-c", WRITER, str(folder), str(len(ITEMS))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finished(folder):
    with writer(folder) as process:
        process.communicate()
    assert process.returncode == 0
    return untimed(lines_in(folder))


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_at_ten_moments_a_run_is_what_it_is_undisturbed(tmp_path):
    moments = random.Random(17)
    for _ in range(10):
        with writer(tmp_path / "killed") as process:
            for _ in range(moments.randrange(1, 12)):
                process.stdout.readline()
            time.sleep(moments.uniform(0, 0.003))
            process.kill()
            process.communicate()
        assert process.returncode == -signal.SIGKILL
    found = finished(tmp_path / "killed")
    assert found == finished(tmp_path / "undisturbed")
    assert list(dict.fromkeys(line["id"] for line in found)) == ITEMS
    assert len(found) == sum(1 + number % 3 for number in range(len(ITEMS)))
    assert not [path for path in (tmp_path / "killed").iterdir() if path.name.startswith(".")]


def test_cut_at_any_byte_of_its_last_items_a_run_goes_on(tmp_path):
    last = [entry("c", parts=2, n=3), entry("d", "failed", n=4)]
    run(tmp_path, entry("a"), entry("b\udcff"), *last)
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes()
    ends = [end + 1 for end, byte in enumerate(whole) if byte == ord("\n")]
    assert len(ends) == 5
    for size in range(ends[1], len(whole) + 1):
        path.write_bytes(whole[:size])
        expected = ["a", "b\udcff"] + ["c"] * (size >= ends[3]) + ["d"] * (size == len(whole))
        assert [*dict.fromkeys(line["id"] for line in read_results(tmp_path))] == expected
        before, _ = run(tmp_path)
        assert list(before) == expected
        run(tmp_path, *(lines for lines in last if lines[0]["id"] not in before))
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "torn", [b"\0\0\0\0", b'{"id": "c", "status": "done"', b"nonsense\n", b"nonsense\n{"]
)
def test_what_a_crash_left_at_the_end_goes(tmp_path, torn):
    run(tmp_path, entry("a"), entry("b"))
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert [line["id"] for line in read_results(tmp_path)] == ["a", "b"]
    assert path.read_bytes() == whole + torn, "who reads changes nothing"
    run(tmp_path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [
        "{torn",
        "[]",
        '{"id": "b", "status": "done", "part": [1, 1]}',
        '{"id": "b", "status": "gone", "part": [1, 1], "files": []}',
        '{"id": 5, "status": "done", "part": [1, 1], "files": []}',
    ],
)
def test_a_damaged_line_in_the_middle_is_named(tmp_path, line):
    run(tmp_path, entry("a"), entry("b"))
    path = tmp_path / "results.jsonl"
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{line}\n{second}\n")
    with pytest.raises(OutputError, match=r"results\.jsonl, line 2, is damaged \(.*\): remove the line"):
        run(tmp_path)
    assert path.read_text() == f"{first}\n{line}\n{second}\n"


def test_an_item_that_lacks_a_part_is_done_again(tmp_path):
    run(tmp_path, entry("a", parts=3), entry("b"), entry("c", parts=2))
    path = tmp_path / "results.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:1] + lines[2:]))
    assert [line["id"] for line in read_results(tmp_path)] == ["b", "c", "c"]
    before, _ = run(tmp_path)
    assert before == {"b": "done", "c": "done"}
    assert path.read_text() == "".join(lines[3:])


def test_an_item_whose_files_are_gone_is_done_again(tmp_path):
    for name in ("a.png", "b.png", "b.json"):
        (tmp_path / name).write_text("drawn")
    run(tmp_path, entry("a", files=["a.png"]), entry("b", files=["b.png", "b.json"]), entry("c"))
    (tmp_path / "b.json").unlink()
    before, _ = run(tmp_path)
    assert list(before) == ["a", "c"]
    assert [line["id"] for line in lines_in(tmp_path)] == ["a", "c"]


def test_failed_items_are_finished_until_they_are_tried_again(tmp_path):
    parts = entry("b", "failed") + entry("c", parts=2)
    run(tmp_path, entry("a"), parts[:1], parts[1:], entry("d", "no evidence"), entry("e", "skipped"))
    before, _ = run(tmp_path)
    assert Counter(before.values()) == {"done": 2, "failed": 1, "no evidence": 1, "skipped": 1}
    before, after = run(tmp_path, entry("b", "done"), retry_failed=True)
    assert list(before) == ["a", "c", "d", "e"]
    assert after["b"] == "done"
    assert [line["id"] for line in lines_in(tmp_path)] == ["a", "c", "c", "d", "e", "b"]


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (["done", "no evidence"], "done"),
        (["no evidence", "no evidence"], "no evidence"),
        (["done", "failed"], "failed"),
    ],
)
def test_of_several_parts_one_is_enough(tmp_path, statuses, status):
    lines = [entry("a", each, parts=2)[number] for number, each in enumerate(statuses)]
    _, after = run(tmp_path, lines)
    assert run(tmp_path)[0] == after == {"a": status}


def test_what_is_done_anew_counts_once(tmp_path):
    run(tmp_path, entry("a", n=1), entry("b", n=1))
    with opened(tmp_path, SETTINGS_OF_RUN) as ledger:
        for number in (2, 3):
            ledger.append(entry("a", "no evidence", parts=2, n=number))
            seen = [(line["id"], line["n"]) for line in read_results(tmp_path)]
            assert seen == [("b", 1), ("a", number), ("a", number)], "while it is under way"
        assert ledger.counts() == {"done": 1, "no evidence": 1}
    assert [(line["id"], line["n"]) for line in lines_in(tmp_path)] == [("b", 1), ("a", 3), ("a", 3)]


def test_what_was_done_anew_before_a_kill_counts_once(tmp_path):
    run(tmp_path, entry("a", "failed", n=1), entry("b", n=1))
    path = tmp_path / "results.jsonl"
    with path.open("a") as stream:
        stream.write(json.dumps(entry("a", n=2)[0]) + "\n")
    before, _ = run(tmp_path, retry_failed=True)
    assert before == {"a": "done", "b": "done"}
    assert [(line["id"], line["n"]) for line in lines_in(tmp_path)] == [("b", 1), ("a", 2)]


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_a_full_disk_leaves_whole_lines(tmp_path):
    command = [sys.executable, "-P", "-c", FULL, str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    number, is_output_error, message = told.strip().split(" ", 2)
    path = tmp_path / "results.jsonl"
    assert is_output_error == "True"
    assert message == f"{str(path)!r} cannot be written: File too large; what was finished is kept"
    assert [line["id"] for line in lines_in(tmp_path)] == [str(i) for i in range(int(number))]
    assert 3800 < path.stat().st_size < 4000
    assert path.read_bytes().endswith(b"\n")
    before, _ = run(tmp_path, entry(number))
    assert len(before) == int(number)


def test_other_settings_are_refused_and_both_are_named(tmp_path):
    run(tmp_path, entry("a"))
    content = (tmp_path / SETTINGS).read_bytes()
    with pytest.raises(OutputError) as caught:
        run(tmp_path, settings={"bundle": "34cd", "mu": 0.3})
    assert caught.value.message == (
        f"{tmp_path} holds a run with other settings (another bundle; mu: 0.0 there, 0.3 now): give another "
        "folder, or the same settings to go on with it"
    )
    assert caught.value.settings == ("out",)
    assert (tmp_path / SETTINGS).read_bytes() == content
    assert run(tmp_path)[0] == {"a": "done"}


def test_of_groups_of_settings_what_differs_is_told(tmp_path):
    methods = {"sise": {"mu": 0.0, "fusion": "otsu", "max_passes": 0}}
    run(tmp_path, entry("a"), settings={"methods": methods, "drawing": {"size": 512}})
    for changed, told in (
        ({"methods": {"sise": methods["sise"] | {"mu": 0.3}}}, "methods, sise, mu: 0.0 there, 0.3 now"),
        ({"methods": {"rise": {}}}, 'methods: ["sise"] there, ["rise"] now'),
        ({"drawing": None}, 'drawing: {"size": 512} there, null now'),
    ):
        with pytest.raises(OutputError) as caught:
            run(tmp_path, settings={"methods": methods, "drawing": {"size": 512}} | changed)
        assert f"({told})" in caught.value.message


def test_a_run_without_results_binds_nobody(tmp_path):
    assert not has_run(tmp_path)
    run(tmp_path)
    run(tmp_path, settings={"bundle": "34cd", "mu": 0.5})
    assert not has_run(tmp_path)
    assert not has_run(tmp_path)
    assert json.loads((tmp_path / SETTINGS).read_text())["mu"] == 0.5
    assert [path.name for path in tmp_path.iterdir()] == [SETTINGS]
    assert root_of_run(tmp_path) is None


def test_a_run_knows_its_root(tmp_path):
    run(tmp_path, entry("a"), settings={"root": "/photos"})
    assert has_run(tmp_path)
    assert root_of_run(tmp_path) == Path("/photos")


def test_settings_that_are_no_numbers_are_not_kept(tmp_path):
    with pytest.raises(ArgumentError, match="settings cannot be kept"):
        run(tmp_path, settings={"mu": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["results.jsonl", "results-1-of-2.jsonl"])
def test_results_of_something_else_stay(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match=rf"has {name} and no run\.json: give another folder"):
        run(tmp_path, entry("a"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "mine"}


@pytest.mark.parametrize("content", ['{"theme": "dark"}', "{", "[]", "[" * 100_000])
def test_settings_of_something_else_stay(tmp_path, content):
    (tmp_path / SETTINGS).write_text(content)
    with pytest.raises(OutputError, match=r"other settings|run\.json is damaged"):
        run(tmp_path, entry("a"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {SETTINGS: content}


def test_shards_of_a_run_lie_beside_each_other(tmp_path):
    with opened(tmp_path, SETTINGS_OF_RUN, shard=(2, 2)) as second:
        second.append(entry("b"))
        with opened(tmp_path, SETTINGS_OF_RUN, shard=(1, 2)) as first:
            first.append(entry("a"))
            with pytest.raises(OutputError, match="is in use: process"):
                run(tmp_path, shard=(2, 2))
        assert (first.path.name, second.path.name) == ("results-1-of-2.jsonl", "results-2-of-2.jsonl")
    assert run(tmp_path, shard=(1, 2))[0] == {"a": "done"}
    assert [line["id"] for line in read_results(tmp_path)] == ["a", "b"]
    for other, told in ((None, "null"), ((1, 3), "3")):
        with pytest.raises(OutputError, match=rf"\(shards: 2 there, {told} now\)"):
            run(tmp_path, shard=other)
    with pytest.raises(OutputError, match=r"mu: 0\.0 there, 0\.1 now"):
        run(tmp_path, settings=SETTINGS_OF_RUN | {"mu": 0.1}, shard=(1, 2))


def test_a_folder_is_one_runs_at_a_time(tmp_path):
    with opened(tmp_path, SETTINGS_OF_RUN):
        with pytest.raises(OutputError, match="explains into it; wait until that has ended") as caught:
            run(tmp_path)
        assert caught.value.settings == ("out",)
    run(tmp_path)


def test_lines_that_cannot_be_written_are_told(tmp_path):
    with opened(tmp_path, SETTINGS_OF_RUN) as ledger:
        ledger.path.unlink()
        ledger.path.mkdir()
        with pytest.raises(Unwritable, match="what was finished is kept"):
            ledger.append(entry("a"))
        assert ledger.statuses == {}
        ledger.path.rmdir()
