"""Runs on a real Ray of two cores: what comes out, and what a death of an actor or of the driver leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import sise_rt
from sise_rt.bulk.items import Item, Outcome
from sise_rt.bulk.ledger import opened, read_results
from sise_rt.bulk.lines import lines_of
from sise_rt.bulk.overview import side_file
from sise_rt.bulk.ray import Explain, ship
from sise_rt.bulk.ray.dealing import Plan
from sise_rt.bulk.ray.job import Finished, Finishing, IntoParts, run
from sise_rt.bulk.ray.reading import FinishedIds, stream_of
from sise_rt.errors import ArgumentError, BundleError, ImageError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
if sys.platform != "linux":
    pytest.skip("processes are found by /proc", allow_module_level=True)
pytest.importorskip("ray", reason="needs the extra ray")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # of what it sets itself
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # its sockets and log files
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

DEMO = Path(sise_rt.__file__).parent / "demo" / "surface.sise"
QUICK = {"mu": 0.9}
ARGUMENTS = {"provider": "cpu", "methods": ["sise:mu=0.9"]}
SETTINGS = {"bundle": "demo"}


@pytest.fixture(scope="module")
def listed(photos):
    """Twelve items: ten pictures, one that is broken, one whose target is no class."""
    paths = sorted(photos.rglob("*.png"))
    (photos / "bad.png").write_bytes(b"\x89PNG junk")
    items = [Item(id=path.relative_to(photos).as_posix(), picture=path, stem=path.stem) for path in paths]
    items.append(Item(id="bad.png", picture=photos / "bad.png", stem="bad"))
    return [*items, Item(id="odd", picture=paths[0], stem="odd", targets=("no class",), columns={"cam": 1})]


@pytest.fixture(scope="module")
def plain(listed):
    """What the explainer itself finds of the ten: by id the target, the confidence and the map."""
    explainer = sise_rt.load(DEMO, "cpu", 1)
    explained = {item.id: explainer.explain(item.picture, **QUICK) for item in listed[:-2]}
    return {name: (e.target, e.confidence, e.map) for name, e in explained.items()}


def explained(source, out, *, bundle=DEMO, tell=lambda _: None, threads=1, workers=1, **plan):
    """The lines that a run tells."""
    told = []

    def both(item):
        told.extend(item.lines)
        tell(item)

    thumbnails = side_file.side_file(out)
    side_file.begin(thumbnails)
    arguments = ARGUMENTS | {"bundle": bundle}
    with opened(out, SETTINGS) as ledger:
        plan = Plan(threads=threads, workers=workers, **plan)
        run(source, ledger, arguments, plan, thumbnails=thumbnails, tell=both, note=print)
    return told


def kept_maps(out):
    """The maps of a run's parts, by id; refuses one that is there twice."""
    maps = {}
    for path in (out / "parts").glob("*.parquet"):
        for row in parquet.read_table(path).to_pylist():
            assert row["id"] not in maps
            maps[row["id"]] = np.frombuffer(row["map"], "<f2").reshape(row["map_shape"])
    return maps


def hold_against(plain, out, cam=1):
    """What is kept of the twelve is what the explainer finds, once."""
    lines = list(read_results(out))
    assert Counter(line["id"] for line in lines) == Counter([*plain, "bad.png", "odd"])
    failed = {line["id"]: line["error"]["kind"] for line in lines if line["status"] != "done"}
    assert failed == {"bad.png": "ImageError", "odd": "TargetError"}
    assert {line["id"]: line["columns"] for line in lines}["odd"] == {"cam": cam}
    maps = kept_maps(out)
    assert maps.keys() == plain.keys()
    for line in lines:
        if line["status"] == "done":
            target, confidence, map_ = plain[line["id"]]
            assert line["target"]["index"] == target
            assert line["confidence"] == pytest.approx(confidence, abs=1e-6)
            np.testing.assert_allclose(maps[line["id"]], map_, atol=2e-3)
            assert (out / line["files"][0]).is_file()
    assert not [path for path in (out / "parts").iterdir() if path.name.startswith(".")]
    shown = {json.loads(line)["id"] for line in side_file.side_file(out).read_bytes().splitlines()}
    assert shown >= plain.keys()


def actors():
    """The processes of actors that this Ray has, which was started here: not those of another one."""
    names, above = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            names[int(path.name)] = (path / "cmdline").read_bytes()
            above[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue

    def is_below_this(process):
        while process in above and process != os.getpid():
            process = above[process]
        return process == os.getpid()

    return [one for one, name in names.items() if name.startswith(b"ray::MapWorker") and is_below_this(one)]


def test_rows_of_a_dataset(ray, listed):
    """The class as others use it: bytes and paths, a bad row, their columns, and a bundle that is shipped."""
    rows = [{"bytes": item.picture.read_bytes(), "path": None, "cam": i} for i, item in enumerate(listed[:4])]
    rows += [
        {"bytes": None, "path": str(listed[4].picture), "cam": 4},
        {"bytes": b"junk", "path": None, "cam": 5},
    ]
    blocks = [pyarrow.Table.from_pylist(rows[at : at + 2]) for at in (0, 2, 4)]
    dataset = ray.data.from_arrow(blocks).map_batches(
        Explain,
        fn_constructor_kwargs=ARGUMENTS | {"bundle": ship(DEMO)},
        compute=ray.data.ActorPoolStrategy(size=1),
        num_cpus=1,
        batch_size=2,
        batch_format="pyarrow",
    )
    found = sorted(dataset.take_all(), key=lambda row: row["cam"])
    assert [row["status"] for row in found] == ["done"] * 5 + ["failed"]
    assert [row["cam"] for row in found] == list(range(6))
    threads = {json.loads(row["record"])["runtime"]["threads"] for row in found[:5]}
    assert threads == {1}  # num_cpus of the actor


def test_a_run_and_an_actor_that_is_killed(ray, listed, plain, tmp_path):
    killed = []

    def kill(_):
        if not killed:
            killed.extend(actors()[:1])
            os.kill(killed[0], signal.SIGKILL)

    explained(listed, tmp_path, tell=kill, workers=2, part_rows=2, ship_bundle=True)
    assert killed
    hold_against(plain, tmp_path)


def test_a_driver_that_is_killed_is_gone_on_with(ray, photos, plain, tmp_path):
    """The command, on a cluster that is there, killed when its first lines are out, and started again."""
    command = [
        Path(sys.executable).with_name("sise-rt"),
        "explain",
        "-m",
        DEMO,
        "--provider",
        "cpu",
        "--mu",
        "0.9",
    ]
    command += [
        "--engine",
        "ray",
        "--address",
        ray.get_runtime_context().gcs_address,
        "--workers",
        "1",
        "--threads",
        "1",
        "--json",
        "--from",
        photos / "list.csv",
        "-o",
        tmp_path / "out",
    ]
    (photos / "list.csv").write_text(
        "path,id,target,cam\n"
        + "".join(f"{name},{name},,\n" for name in [*plain, "bad.png"])
        + f"{next(iter(plain))},odd,no class,1\n"
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as driver:
        first = json.loads(driver.stdout.readline())["id"]
        driver.kill()
    before = {line["id"] for line in read_results(tmp_path / "out")}
    assert first in before
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 1, again.stderr  # as two failed
    after = {json.loads(line)["id"] for line in again.stdout.splitlines()}
    assert not before & after
    assert before | after == {*plain, "bad.png", "odd"}
    hold_against(plain, tmp_path / "out", cam="1")


def test_a_stream_is_gone_on_with(ray, photos, plain, tmp_path):
    source, ids = as_parquet(photos, [*plain][:3], tmp_path)
    done, *left = ids
    with opened(tmp_path / "out", SETTINGS) as ledger:
        ledger.append(lines_of(Outcome(Item(done, b"", done), error=ImageError("torn"))))
    lines = explained(stream_of([source]), tmp_path / "out", part_rows=2)
    assert sorted(line["id"] for line in lines) == sorted(left)
    hold_maps(kept_maps(tmp_path / "out"), {name: name for name in left}, plain)


@pytest.mark.parametrize("kind", ["webdataset", "pictures"])
def test_streams_of_other_kinds(ray, photos, plain, tmp_path, kind):
    """As Ray reads them, with the work of an actor in this process: what takes long is to start one."""
    source, ids = STREAMS[kind](photos, [*plain][:2], tmp_path)
    out, stream = tmp_path / "out", stream_of([source])
    assert stream.kind == kind
    (out / "parts").mkdir(parents=True)
    batches = list(stream.dataset(ray).iter_batches(batch_size=8, batch_format="pyarrow"))
    explain = ARGUMENTS | {"bundle": DEMO, "threads": 1}
    actor = IntoParts(out, explain, overview=False, done=FinishedIds(ray, ["another"]))
    assert [num for batch in batches for num in actor(batch)["fatal"].to_pylist()] == [""] * 2
    hold_maps(kept_maps(out), ids, plain)
    again = IntoParts(out, explain, overview=False, done=FinishedIds(ray, ids))
    assert [len(again(batch)) for batch in batches] == [0] * len(batches)


def hold_maps(maps, ids, plain):
    """The maps of a run are those that the explainer finds of the pictures that its ids stand for."""
    assert maps.keys() == ids.keys()
    for name, picture in ids.items():
        np.testing.assert_allclose(maps[name], plain[picture][2], atol=2e-3)


def as_parquet(photos, names, folder):
    rows = [{"id": name, "bytes": (photos / name).read_bytes(), "cam": 1} for name in names]
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "some.parquet")
    return str(folder / "some.parquet"), {name: name for name in names}


def as_shards(photos, names, folder):
    with tarfile.open(folder / "some.tar", "w") as shard:
        for number, name in enumerate(names):
            shard.add(photos / name, f"{number}.png")
    return str(folder / "some.tar"), {f"some/{number}": name for number, name in enumerate(names)}


def as_pictures(photos, names, folder):
    (folder / "some").mkdir()
    for number, name in enumerate(names):
        shutil.copy(photos / name, folder / "some" / f"{number}.png")
    return f"file://{folder}/some", {f"{number}.png": name for number, name in enumerate(names)}


STREAMS = {"webdataset": as_shards, "pictures": as_pictures}


def test_two_rows_of_one_id_are_refused(tmp_path):
    told = []
    with opened(tmp_path, {"a": 1}) as ledger:
        finishing = Finishing(ledger, None, told.append)
        same = Finished(lines_of(Outcome(Item("same", b"", "same"), error=ImageError("torn"))))
        finishing.enter(same)
        with pytest.raises(ArgumentError, match="two rows have the id 'same'"):
            finishing.enter(same)
    assert told == [same]
    assert len(list(read_results(tmp_path))) == 1


def test_an_actor_that_cannot_load_the_bundle_ends_the_run(ray, listed, tmp_path):
    broken = tmp_path / "broken.sise"
    shutil.copytree(DEMO, broken)
    (broken / "score.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="altered") as told:
        explained(listed[:4], tmp_path / "out", bundle=broken)
    assert "\n" not in str(told.value)


def test_more_cores_than_a_node_has_are_refused(ray, listed, tmp_path):
    with pytest.raises(ArgumentError, match="no node of the Ray cluster has 64 cores"):
        explained(listed[:4], tmp_path / "out", threads=64)
