"""Shards of maps: what was told as done is in them, once, whenever the run was killed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sise_rt.bulk import map_shards, pending_maps
from sise_rt.bulk.map_shards import MapShards, is_there, kept_maps, read_maps
from sise_rt.errors import OutputError, Unwritable

ODD = ["a/b.png", "../../etc/passwd", "caf\udce9", "line\nbreak", 'quo"te', "\0", "\u732b|1|sise", ""]


def everything(_):
    return True


def map_of(number, shape=(6, 8)):
    return np.random.default_rng(number).random(shape, np.float32)


def fill(folder, numbers, done=everything, **options):
    with MapShards(folder, done, **options) as shards:
        return [shards.add(f"{n}.png", [(n, "sise", map_of(n))]) for n in numbers]


def names(folder):
    return sorted(path.name for path in (folder / "maps").iterdir())


@pytest.fixture
def few(monkeypatch):
    """Shards of three maps."""
    monkeypatch.setattr(map_shards, "MOST", 3)


def test_maps_are_read_as_they_were_added(tmp_path, few):
    files = fill(tmp_path, range(7))
    assert names(tmp_path) == ["000001.npz", "000002.npz", "000003.npz"]
    assert files == [f"maps/{1 + n // 3:06}.npz" for n in range(7)]
    for folder in (tmp_path, tmp_path / "maps", str(tmp_path)):
        kept = list(read_maps(folder))
        assert [(k.id, k.target, k.method) for k in kept] == [(f"{n}.png", n, "sise") for n in range(7)]
        for n, k in enumerate(kept):
            assert k.map.dtype == np.float16
            np.testing.assert_array_equal(k.map, map_of(n).astype(np.float16))


def test_numpy_reads_a_shard_alone(tmp_path):
    fill(tmp_path, range(2))
    with np.load(tmp_path / "maps/000001.npz", allow_pickle=False) as stored:
        assert [json.loads(key) for key in stored["keys"]] == [["0.png", 0, "sise"], ["1.png", 1, "sise"]]
        np.testing.assert_array_equal(stored["1"], map_of(1).astype(np.float16))
    assert zipfile.ZipFile(tmp_path / "maps/000001.npz").testzip() is None


def test_the_lines_of_the_docs_read_a_shard(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(Path("out"), [1, 2, 1])  # the first one twice, of which the last counts
    text = (Path(__file__).parents[2] / "docs" / "bulk.md").read_text("utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "np.load" in block]
    names = {}
    exec(code, names)
    assert names["keys"] == [("1.png", 1, "sise"), ("2.png", 2, "sise"), ("1.png", 1, "sise")]
    assert list(names["maps"]) == [("1.png", 1, "sise"), ("2.png", 2, "sise")]
    np.testing.assert_array_equal(names["maps"]["2.png", 2, "sise"], map_of(2).astype(np.float16))


def test_any_id_and_any_shape_is_kept(tmp_path):
    shapes = [(1, 1), (3, 500), (224, 224)]
    with MapShards(tmp_path, everything) as shards:
        for name in ODD:
            shards.add(name, [(n, "sise:mu=0.3", map_of(n, shape)) for n, shape in enumerate(shapes)])
    kept = list(read_maps(tmp_path))
    assert [k[:3] for k in kept] == [(name, n, "sise:mu=0.3") for name in ODD for n in range(3)]
    assert [k.map.shape for k in kept] == shapes * len(ODD)


def test_half_a_float_is_off_by_a_4096th():
    values = np.concatenate([np.linspace(0, 1, 100_001), [np.nextafter(np.float32(1), 0)]])
    kept = pending_maps.half(values.astype(np.float32)[None])
    assert kept.max() == 1
    assert kept.min() == 0
    off = np.abs(kept.astype(np.float64) - values).max()
    assert 2**-13 < off <= 2**-12


@pytest.mark.parametrize(
    "map_", [np.full((2, 2), np.nan), np.full((2, 2), 1.001), -np.ones((2, 2)), np.ones(3)]
)
def test_what_is_no_map_is_refused(map_, tmp_path):
    with MapShards(tmp_path, everything) as shards:
        with pytest.raises(ValueError, match="numbers from 0 to 1"):
            shards.add("a", [(1, "sise", map_)])
    assert names(tmp_path) == []


def test_maps_are_kept_smaller(tmp_path):
    fill(tmp_path, [1], map_size=3)
    (kept,) = read_maps(tmp_path)
    np.testing.assert_allclose(kept.map, map_of(1).reshape(3, 2, 4, 2).mean((1, 3)), atol=2**-12)


def test_a_run_goes_on_with_its_last_shard(tmp_path, few):
    fill(tmp_path, range(4))
    fill(tmp_path, range(4, 6))
    assert names(tmp_path) == ["000001.npz", "000002.npz"]
    fill(tmp_path, [6])
    assert names(tmp_path) == ["000001.npz", "000002.npz", "000003.npz"]
    assert [kept.target for kept in read_maps(tmp_path)] == list(range(7))


def test_parts_of_a_run_do_not_meet(tmp_path, few):
    one = MapShards(tmp_path, everything, part=(1, 2))
    two = MapShards(tmp_path, everything, part=(2, 2))
    for n in range(4):
        assert one.add(f"{n}", [(n, "sise", map_of(n))]) == f"maps/{1 + n // 3:06}-1-of-2.npz"
        two.add(f"{n + 10}", [(n + 10, "sise", map_of(n))])
    one.close()
    assert len(list(read_maps(tmp_path))) == 8  # the other one is still being filled
    two.close()
    assert names(tmp_path) == [f"{n:06}-{part}-of-2.npz" for n in (1, 2) for part in (1, 2)]
    assert {kept.target for kept in read_maps(tmp_path)} == {0, 1, 2, 3, 10, 11, 12, 13}


def test_what_was_explained_anew_counts_once(tmp_path, few):
    fill(tmp_path, range(5))
    with MapShards(tmp_path, everything) as shards:
        shards.add("1.png", [(1, "sise", map_of(99)), (1, "rise", map_of(98))])
    kept = {k[:3]: k.map for k in read_maps(tmp_path)}
    assert len(kept) == len(list(read_maps(tmp_path))) == 6
    np.testing.assert_array_equal(kept["1.png", 1, "sise"], map_of(99).astype(np.float16))


def test_maps_that_the_run_does_not_tell_of_are_dropped(tmp_path):
    shards = MapShards(tmp_path, everything)
    for n in range(3):
        shards.add(f"{n}", [(n, "sise", map_of(n))])
    del shards  # killed before it told of the last one
    assert names(tmp_path) == ["000001.pending"]
    assert is_there(str(tmp_path / "maps/000001.npz"))
    assert not is_there(str(tmp_path / "maps/000002.npz"))
    with MapShards(tmp_path, {"0", "1"}.__contains__):
        assert [kept.id for kept in read_maps(tmp_path)] == ["0", "1"]
    assert [kept.id for kept in read_maps(tmp_path)] == ["0", "1"]
    with MapShards(tmp_path, {"1"}.__contains__):  # also of one that was full or closed
        pass
    assert [kept.id for kept in read_maps(tmp_path)] == ["1"]


@pytest.mark.parametrize("cut", [1, 40, 95, 96, 97, 130])
def test_a_torn_end_is_cut_off(tmp_path, cut):
    shards = MapShards(tmp_path, everything)
    for n in range(3):
        shards.add(f"{n}", [(n, "sise", map_of(n))])
    path = tmp_path / "maps/000001.pending"
    size = path.stat().st_size
    os.truncate(path, size - cut)
    left = 2 if cut <= size // 3 else 1
    with MapShards(tmp_path, everything) as shards:
        shards.add("9", [(9, "sise", map_of(9))])
    assert [kept.id for kept in read_maps(tmp_path)] == [*map(str, range(left)), "9"]


class Killed(BaseException):
    """Stands for SIGKILL: nothing runs after it, as everything is patched to raise it."""


@pytest.mark.parametrize("moment", range(60))
def test_a_kill_at_any_step_loses_nothing(tmp_path, few, monkeypatch, moment):
    """Each change of the disk may be the last one; what was told before is there, once; the rest follows."""
    steps = iter(range(1000))
    with monkeypatch.context() as patch:
        for owner, name in [(os, "fsync"), (os, "replace"), (Path, "unlink"), (Path, "open")]:
            real = getattr(owner, name)

            def step(*args, real=real, **options):
                if next(steps) >= moment:
                    raise Killed
                return real(*args, **options)

            patch.setattr(owner, name, step)
        told = []
        try:
            fill(tmp_path, range(2))
            told = ["0.png", "1.png"]
            with MapShards(tmp_path, told.__contains__) as shards:
                for n in range(2, 9):
                    shards.add(f"{n}.png", [(n, "sise", map_of(n))])
                    told.append(f"{n}.png")
        except Killed:
            pass
    if moment == 59:
        assert len(told) == 9  # else this table is too short
    if told:
        assert [kept.id for kept in read_maps(tmp_path)][: len(told)] == told
    fill(tmp_path, [n for n in range(9) if f"{n}.png" not in told], told.__contains__)
    kept = {k.id: k.map for k in read_maps(tmp_path)}
    assert len(list(read_maps(tmp_path))) == len(kept) == 9
    for n in range(9):
        np.testing.assert_array_equal(kept[f"{n}.png"], map_of(n).astype(np.float16))
    assert not [name for name in names(tmp_path) if name.endswith((".pending", ".tmp"))]


WRITER = """
import sys
from pathlib import Path
import numpy as np
from sise_rt.bulk import map_shards
map_shards.MOST = 5
with map_shards.MapShards(Path(sys.argv[1]), lambda _: True) as shards:
    for n in range(10_000):
        shards.add(f"{n}", [(n, "sise", np.full((30, 30), n / 10_000, np.float32))])
        print(n, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_a_killed_process_leaves_all_that_it_told_of(tmp_path):
    with subprocess.Popen([sys.executable, "-P", "-c", WRITER, tmp_path], stdout=subprocess.PIPE) as process:
        for _ in range(23):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        told = 23 + len(process.stdout.read().splitlines())
    kept = list(read_maps(tmp_path))
    assert told <= len(kept) <= told + 1
    assert [int(k.id) for k in kept] == list(range(len(kept)))
    assert all((k.map == np.float16(int(k.id) / 10_000)).all() for k in kept)


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from sise_rt.bulk.map_shards import MapShards
from sise_rt.errors import Unwritable
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    with MapShards(Path(sys.argv[1]), lambda _: True) as shards:
        for n in range(10_000):
            shards.add(f"{n}", [(n, "sise", np.ones((30, 30), np.float32))])
            print(n, flush=True)
except Unwritable as error:
    print("Unwritable", error.message)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_full_disk_ends_the_run_and_tears_nothing(tmp_path):
    run = subprocess.run(
        [sys.executable, "-P", "-c", FULL, tmp_path], capture_output=True, text=True, check=True
    )
    *told, says = run.stdout.splitlines()
    assert says.startswith("Unwritable")
    assert "File too large; what was finished is kept" in says
    assert [kept.id for kept in read_maps(tmp_path)] == told
    pending = tmp_path / "maps/000001.pending"
    again = tmp_path / "again"
    pending_maps.write(again, pending_maps.read(pending))
    assert again.read_bytes() == pending.read_bytes()  # there is no half a map at its end
    with MapShards(tmp_path, everything) as shards:  # there is room again
        shards.add("more", [(1, "sise", map_of(1))])
    assert [kept.id for kept in read_maps(tmp_path)] == [*told, "more"]


def test_what_ends_the_run_is_told_and_not_that_closing_fails_too(tmp_path, monkeypatch):
    def full(*_):
        raise Unwritable("full")

    shards = MapShards(tmp_path, everything)
    shards.add("a", [(1, "sise", map_of(1))])
    monkeypatch.setattr(map_shards, "_write", full)
    with pytest.raises(KeyError), shards:
        raise KeyError
    with pytest.raises(Unwritable), MapShards(tmp_path, everything):
        pass
    assert [kept.id for kept in read_maps(tmp_path)] == ["a"]


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY", b"x" * 100])
def test_a_damaged_shard_is_named(tmp_path, content):
    fill(tmp_path, [1])
    path = tmp_path / "maps/000001.npz"
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"000001\.npz' is damaged"):
        list(read_maps(tmp_path))
    with pytest.raises(OutputError, match=r"000001\.npz' is damaged"):
        MapShards(tmp_path, everything)


def test_a_shard_with_a_map_changed_is_damaged(tmp_path):
    fill(tmp_path, [1])
    path = tmp_path / "maps/000001.npz"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(OutputError, match="is damaged"):
        list(read_maps(tmp_path))


def test_no_maps_are_told(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(OutputError, match="there are no maps of a run"):
            list(read_maps(folder))
    (tmp_path / "maps").mkdir()
    shutil.copy(__file__, tmp_path / "maps")
    with pytest.raises(OutputError, match="there are no maps of a run"):
        list(read_maps(tmp_path))


def test_each_map_is_found_by_what_it_is_of(tmp_path, few):
    fill(tmp_path, range(7))
    with MapShards(tmp_path, everything, part=(2, 2)) as shards:
        for name in ODD:
            shards.add(name, [(1, "sise", map_of(len(name))), (1, "sise:mu=0.3", map_of(50))])
    later = MapShards(tmp_path, everything, part=(2, 3))  # under way
    later.add("2.png", [(2, "sise", map_of(70))])
    with kept_maps(tmp_path) as find:
        for n in (6, 0, 1):
            np.testing.assert_array_equal(find(f"{n}.png", n, "sise"), map_of(n).astype(np.float16))
        for name in ODD:
            np.testing.assert_array_equal(find(name, 1, "sise"), map_of(len(name)).astype(np.float16))
            np.testing.assert_array_equal(find(name, 1, "sise:mu=0.3"), map_of(50).astype(np.float16))
        np.testing.assert_array_equal(find("2.png", 2, "sise"), map_of(70).astype(np.float16))
        for missing in (
            ("4.png", 5, "sise"),
            ("1.png", 2, "sise"),
            ("1.png", 1, "rise"),
            ("7.png", 7, "sise"),
        ):
            assert find(*missing) is None


def test_of_several_maps_of_one_thing_the_last_is_found(tmp_path, few):
    fill(tmp_path, range(4))
    with MapShards(tmp_path, everything) as shards:
        for number in (8, 9):
            shards.add("1.png", [(1, "sise", map_of(number))])
    with kept_maps(tmp_path) as find:
        np.testing.assert_array_equal(find("1.png", 1, "sise"), map_of(9).astype(np.float16))
        assert {kept.id: kept.map.tobytes() for kept in read_maps(tmp_path)} == {
            f"{n}.png": find(f"{n}.png", n, "sise").tobytes() for n in range(4)
        }


def test_where_no_maps_are_none_is_found(tmp_path):
    with kept_maps(tmp_path) as find:
        assert find("1.png", 1, "sise") is None
