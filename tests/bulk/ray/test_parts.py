"""Parts and ledger tell the same, whatever a kill left of either."""

import json
from collections import Counter

import pytest

from sise_rt.bulk.ledger import opened, read_results
from sise_rt.bulk.ray.parts import PARTS, mend, note_of, part_name, write_part
from sise_rt.errors import Unwritable

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

NAME = part_name(["a", "b"])


def line(name, part, status="done"):
    files = [part] if status == "done" else []
    return {"id": name, "status": status, "part": [1, 1], "files": files}


def table(*ids):
    return pyarrow.table({"id": pyarrow.array(ids, pyarrow.string()), "map": [b"m"] * len(ids)})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / PARTS).mkdir()
    return tmp_path


def ids_of(folder):
    """How often an id stands in the parts."""
    found = Counter()
    for path in (folder / PARTS).iterdir():
        found.update(parquet.read_table(path)["id"].to_pylist())
    return found


def test_names_depend_on_the_items_alone():
    assert part_name(["a", "b"]) == NAME != part_name(["b", "a"])
    assert part_name(["ab", "c"]) != part_name(["a", "bc"])
    assert part_name(["\udcff"]).startswith(f"{PARTS}/")
    assert note_of(NAME) not in (NAME, note_of(part_name(["c"])))


def test_what_goes_together_stays(folder):
    with opened(folder, {"a": 1}) as ledger:
        write_part(folder, NAME, table("a", "b"))
        for name in "ab":
            ledger.append([line(name, NAME)])
        before = (folder / NAME).read_bytes()
        assert mend(ledger) == []
        assert (folder / NAME).read_bytes() == before


def test_a_part_that_the_ledger_does_not_know_goes(folder):
    with opened(folder, {"a": 1}) as ledger:
        write_part(folder, NAME, table("a", "b"))
        (told,) = mend(ledger)
    assert NAME.removeprefix(f"{PARTS}/") in told
    assert not ids_of(folder)


def test_rows_whose_lines_were_not_noted_go(folder):
    with opened(folder, {"a": 1}) as ledger:
        write_part(folder, NAME, table("a", "b"))
        ledger.append([line("a", NAME)])
        assert len(mend(ledger)) == 1
        assert mend(ledger) == []
    assert ids_of(folder) == {"a": 1}


def test_rows_of_items_that_were_done_anew_go(folder):
    other = part_name(["b"])
    with opened(folder, {"a": 1}) as ledger:
        write_part(folder, NAME, table("a", "b"))
        for name in "ab":
            ledger.append([line(name, NAME)])
        write_part(folder, other, table("b"))
        ledger.append([line("b", other)])
        mend(ledger)
    assert ids_of(folder) == {"a": 1, "b": 1}
    assert {each["id"]: each["files"] for each in read_results(folder)} == {"a": [NAME], "b": [other]}


@pytest.mark.parametrize("kept", [0, 1, 100])
def test_items_of_a_torn_part_are_not_finished(folder, kept):
    with opened(folder, {"a": 1}) as ledger:
        write_part(folder, NAME, table("a", "b"))
        (folder / NAME).write_bytes((folder / NAME).read_bytes()[:kept])
        for name in "ab":
            ledger.append([line(name, NAME)])
        ledger.append([line("c", None, "failed")])
        (told,) = mend(ledger)
        assert told.startswith("removed 1 torn part")
        assert ledger.statuses == {"c": "failed"}
        write_part(folder, NAME, table("a", "b"))
        for name in "ab":
            ledger.append([line(name, NAME)])
    assert Counter(each["id"] for each in read_results(folder)) == {"a": 1, "b": 1, "c": 1}


def test_what_actors_left_half_done_goes(folder):
    for name in (".0123.tmp", note_of(NAME).removeprefix(f"{PARTS}/")):
        (folder / PARTS / name).write_text(json.dumps([None, {}]))
    with opened(folder, {"a": 1}) as ledger:
        assert mend(ledger) == []
    assert not [*(folder / PARTS).iterdir()]


def test_ids_that_are_no_utf8_are_known_again(folder):
    name = "caf\udce9"
    part = part_name([name, "b"])
    with opened(folder, {"a": 1}) as ledger:
        write_part(folder, part, table("caf\\udce9", "b"))  # as a table has it
        ledger.append([line(name, part)])
        mend(ledger)
    assert ids_of(folder) == {"caf\\udce9": 1}


def test_a_part_that_cannot_be_written_leaves_nothing(folder):
    (folder / NAME).mkdir()
    with pytest.raises(Unwritable, match="what was finished is kept"):
        write_part(folder, NAME, table("a"))
    assert [path.name for path in (folder / PARTS).iterdir()] == [NAME.removeprefix(f"{PARTS}/")]
