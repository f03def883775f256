"""Batches that processes die of: here the process is one that the test starts for each attempt."""

import json
import subprocess
import sys

from sise_rt.bulk.items import Item
from sise_rt.bulk.ray.attempts import with_care

BATCH = """
import json, os, sys
from pathlib import Path
from sise_rt.bulk.items import Item
from sise_rt.bulk.ray.attempts import with_care

def work(items):
    done = []
    for item in items:
        if item.problem is None and item.id in sys.argv[2:]:
            os._exit(9)
        done.append((item.id, None if item.problem is None else str(item.problem)))
    return done

items = [Item(id=name, picture=b"", stem=name) for name in "abcd"]
for attempt in range(9):
    if not (child := os.fork()):
        result = with_care(Path(sys.argv[1]), iter(items), work)
        print(json.dumps([attempt, result]), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def attempts(note, *killers):
    done = subprocess.run(
        [sys.executable, "-P", "-c", BATCH, note, *killers], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_a_picture_that_kills_processes_is_not_tried_for_ever(tmp_path):
    note = tmp_path / "note"
    attempt, result = attempts(note, "c")
    assert attempt == 3  # once among others, twice alone
    assert [name for name, _ in result] == list("abcd")
    assert [problem is None for _, problem in result] == [True, True, False, True]
    assert "the process ended 2 times" in result[2][1]
    assert not note.exists()


def test_two_such_pictures_are_both_found(tmp_path):
    attempt, result = attempts(tmp_path / "note", "b", "d")
    assert attempt == 5
    assert [name for name, problem in result if problem] == ["b", "d"]


def test_a_batch_of_which_nobody_died_is_done_at_once(tmp_path):
    seen = []
    items = [Item(id=name, picture=b"", stem=name) for name in "ab"]

    def work(given):
        seen.append([item.id for item in given])
        return seen[-1]

    assert with_care(tmp_path / "note", items, work) == ["a", "b"]
    assert seen == [["a", "b"]]


def test_an_error_is_no_death(tmp_path):
    note = tmp_path / "note"

    def work(_):
        assert note.exists()
        raise RuntimeError

    for _ in range(2):
        try:
            with_care(note, [], work)
        except RuntimeError:
            assert not note.exists()
