"""A run without records knows its own files after a kill, and replaces no others."""

import pytest

from sise_rt.bulk.own_files import NAMES, OwnFiles
from sise_rt.errors import OutputError

RECORD = {
    "schema": "sise-rt/record/1",
    "picture": {"name": "cat.jpg"},
    "bundle": {"name": "m"},
    "target": 1,
    "method": "sise",
    "settings": {},
}


def test_a_name_that_was_taken_stays_the_runs(tmp_path):
    OwnFiles(tmp_path).protect(tmp_path, "cam\udcff/1.281", RECORD)
    (tmp_path / "cam\udcff").mkdir()
    for name in ("1.281.png", "1.282.png"):
        (tmp_path / "cam\udcff" / name).write_bytes(b"half a picture")
    later = OwnFiles(tmp_path)
    assert "cam\udcff/1.281" in later
    later.protect(tmp_path, "cam\udcff/1.281", RECORD)
    with pytest.raises(OutputError, match="nothing is recorded of"):
        later.protect(tmp_path, "cam\udcff/1.282", RECORD)
    assert "cam\udcff/1.282" not in OwnFiles(tmp_path)


def test_a_torn_name_is_none(tmp_path):
    own = OwnFiles(tmp_path)
    for base in ("a.1", "b.1"):
        own.protect(tmp_path, base, RECORD)
    path = tmp_path / NAMES
    path.write_bytes(path.read_bytes()[:-2])
    own = OwnFiles(tmp_path)
    assert "a.1" in own
    assert "b.1" not in own
    own.protect(tmp_path, "c.1", RECORD)
    assert "c.1" in OwnFiles(tmp_path)


@pytest.mark.parametrize("content", [b"{\n", b"[1]\n", b"\xff\n"])
def test_a_damaged_list_is_named(tmp_path, content):
    (tmp_path / NAMES).write_bytes(content)
    with pytest.raises(OutputError, match="cannot be read"):
        OwnFiles(tmp_path)


def test_parts_of_a_run_have_lists_of_their_own(tmp_path):
    OwnFiles(tmp_path, (1, 2)).protect(tmp_path, "a.1", RECORD)
    assert "a.1" not in OwnFiles(tmp_path, (2, 2))
    assert "a.1" in OwnFiles(tmp_path, (1, 2))
