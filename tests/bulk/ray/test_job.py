"""Runs on a real Ray of two cores: what comes out, and what a death of an actor or of the driver leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import sise_rt
from sise_rt.bulk.items import Item
from sise_rt.bulk.ledger import opened, read_results
from sise_rt.bulk.overview import side_file
from sise_rt.bulk.ray import Explain, ship
from sise_rt.bulk.ray.cluster import connected
from sise_rt.bulk.ray.dealing import Plan
from sise_rt.bulk.ray.job import run
from sise_rt.bulk.ray.reading import stream_of
from sise_rt.errors import ArgumentError, BundleError, SiseError

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
SETTINGS = {"bundle": "demo"}
VARYING = {"time", "seconds", "runtime", "files"}


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    with pytest.warns() if False else _quiet(), connected(None, cpus=2) as started:
        yield started


def _quiet():
    import warnings

    return warnings.catch_warnings(action="ignore")


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
    explained = {item.id: explainer.explain(item.picture) for item in listed[:-2]}
    return {name: (e.target, e.confidence, e.map) for name, e in explained.items()}


def explained(ray, items, out, **plan):
    """The lines that are told of a run, after which it is held against its parts."""
    told = []
    thumbnails = side_file.side_file(out)
    side_file.begin(thumbnails)
    with opened(out, SETTINGS) as ledger:
        if isinstance(items, list):
            items = [item for item in items if item.id not in ledger.statuses]
        run(
            items,
            ledger,
            {"bundle": DEMO, "provider": "cpu"},
            Plan(threads=1, **plan),
            thumbnails=thumbnails,
            tell=told.extend,
            note=lambda _: None,
        )
    return told


def kept_maps(out):
    """The maps of a run's parts, by id; refuses one that is there twice."""
    maps = {}
    for path in (out / "parts").glob("*.parquet"):
        for row in parquet.read_table(path).to_pylist():
            assert row["id"] not in maps
            maps[row["id"]] = np.frombuffer(row["map"], "<f2").reshape(row["map_shape"])
    return maps


def hold_against(plain, out):
    """What is kept of the twelve is what the explainer finds, once."""
    lines = list(read_results(out))
    assert Counter(line["id"] for line in lines) == Counter([*plain, "bad.png", "odd"])
    failed = {line["id"]: line["error"]["kind"] for line in lines if line["status"] != "done"}
    assert failed == {"bad.png": "ImageError", "odd": "TargetError"}
    assert {line["id"]: line["columns"] for line in lines}["odd"] == {"cam": 1}
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
    """The processes of actors that this Ray has."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::MapWorker"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_rows_of_a_dataset(ray, photos, listed):
    """The class as others use it: bytes and paths, a bad row, their columns, and a bundle that is shipped."""
    rows = [{"bytes": item.picture.read_bytes(), "path": None, "cam": i} for i, item in enumerate(listed[:4])]
    rows += [{"bytes": None, "path": str(listed[4].picture), "cam": 4}, {"bytes": b"junk", "path": None, "cam": 5}]
    blocks = [pyarrow.Table.from_pylist(rows[at : at + 2]) for at in (0, 2, 4)]
    dataset = ray.data.from_arrow(blocks).map_batches(
        Explain,
        fn_constructor_kwargs={"bundle": ship(DEMO), "provider": "cpu"},
        compute=ray.data.ActorPoolStrategy(size=2),
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

    def tell(_):
        if not killed:
            killed.extend(actors()[:1])
            os.kill(killed[0], signal.SIGKILL)

    thumbnails = side_file.side_file(tmp_path)
    side_file.begin(thumbnails)
    with opened(tmp_path, SETTINGS) as ledger:
        arguments = {"bundle": DEMO, "provider": "cpu"}
        plan = Plan(threads=1, part_rows=2, ship_bundle=True)
        run(listed, ledger, arguments, plan, thumbnails=thumbnails, tell=tell, note=print)
    assert killed
    hold_against(plain, tmp_path)


def test_a_driver_that_is_killed_is_gone_on_with(photos, listed, plain, tmp_path):
    out = tmp_path / "out"
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-P", "-c", DRIVER, str(out), str(photos)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as driver:
        first = driver.stdout.readline()
        driver.kill()
    before = {line["id"] for line in read_results(out)}
    assert first.strip() in before
    assert len(before) < 12
    done = subprocess.run(command, capture_output=True, env=environment, text=True, check=True)
    assert not before & {*done.stdout.split()}
    hold_against(plain, out)


DRIVER = """
import sys, time
from pathlib import Path
sys.path.append("tests/bulk/ray")
from sise_rt.bulk.ray.cluster import connected
from test_job import explained, DEMO, Item
folder = Path(sys.argv[2])
paths = sorted(folder.rglob("*.png"))
paths.remove(folder / "bad.png")
items = [Item(id=path.relative_to(folder).as_posix(), picture=path, stem=path.stem) for path in paths]
items.append(Item(id="bad.png", picture=folder / "bad.png", stem="bad"))
items.append(Item(id="odd", picture=paths[0], stem="odd", targets=("no class",), columns={"cam": 1}))
for lines in explained(None, items, Path(sys.argv[1]), part_rows=2, tell=True):
    print(lines["id"], flush=True)
"""
