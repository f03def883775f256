"""What is written of each picture: where its map lies, in its own size and bits, whatever becomes of it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import sise_rt
from sise_rt.augmenting import one_picture, run
from sise_rt.augmenting.occlusion import highest_share, random_map
from sise_rt.bulk.ledger import opened, read_results
from sise_rt.errors import ArgumentError, NoEvidence, OutputError, Unwritable
from sise_rt.evaluation.datasets import read_dataset
from sise_rt.methods import parse
from sise_rt.pictures.placement import to_original

DEMO = Path(sise_rt.__file__).parent / "demo" / "surface.sise"


@pytest.fixture(scope="module")
def explainer():
    return sise_rt.load(DEMO, "cpu")


@pytest.fixture
def data(photos, tmp_path):
    """Three pictures of two classes."""
    for name in ("pit/0.png", "pit/1.png", "patch/0.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / name, tmp_path / "data" / name)
    return tmp_path / "data"


def planned(explainer, data, **changed):
    targets = {name: (explainer.manifest.labels.index(name),) for name in ("pit", "patch", "scratch")}
    plan = one_picture.Plan(
        request=parse("grad-cam"), targets=targets, area=0.2, threshold=None, fill="mean",
        salient_label="background", kept=(), every=False, seed=0, batch_size=8,
    )  # fmt: skip
    return replace(plan, **changed)


@pytest.fixture
def augment(explainer, data, tmp_path):
    """Augment the data; gives the lines."""

    def augmented(out="out", **changed):
        plan = planned(explainer, data, **changed)
        dataset = read_dataset(data, "folder")
        settings = run.settings_of_run(explainer, data, "folder", plan)
        with opened(tmp_path / out, settings) as ledger:
            return run.augment(explainer, data, run.jobs_of(dataset, plan), plan, ledger)

    return augmented


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]


def test_three_pictures_of_each_whose_hidden_parts_are_the_map_s(explainer, data, augment, tmp_path):
    lines = augment()
    assert {line["id"] for line in lines} == {"pit/0.png", "pit/1.png", "patch/0.png"}
    assert lines == list(read_results(tmp_path / "out"))
    for line in lines:
        source = np.asarray(Image.open(data / line["id"]).convert("RGB"))
        original, rest, salient = (read(tmp_path / "out" / file) for file in line["files"])
        np.testing.assert_array_equal(original, source)
        found = explainer.explain(data / line["id"], line["target"], method="grad-cam")
        placed, seen = to_original(found.map, found.placement)
        marked = highest_share(placed, seen, 0.2)
        assert seen.all()
        assert marked.sum() == round(0.2 * marked.size)
        assert line["area"] == marked.mean()
        np.testing.assert_array_equal(rest[marked], source[marked])
        np.testing.assert_array_equal(salient[~marked], source[~marked])
        assert len(np.unique(rest[~marked], axis=0)) == len(np.unique(salient[marked], axis=0)) == 1


def test_what_the_model_does_not_see_stays_as_it_is(explainer, data, augment, tmp_path):
    (only,) = (path for path in data.rglob("*.png") if path.match("patch/*"))
    wide = np.hstack([np.asarray(Image.open(only).convert("RGB"))] * 3)
    for path in data.rglob("*.png"):
        path.unlink()
    Image.fromarray(wide).save(only)
    cropped = replace(explainer.manifest.preprocess, crop_mode="center", crop_pct=1.0, crop_assumed=False)
    explainer = sise_rt.load(DEMO, "cpu")
    explainer.manifest = replace(explainer.manifest, preprocess=cropped)
    plan = planned(explainer, data, every=True)
    jobs = run.jobs_of(read_dataset(data, "folder"), plan)
    with opened(tmp_path / "out", {}) as ledger:
        (line,) = run.augment(explainer, data, jobs, plan, ledger)
    _, rest, salient = (read(tmp_path / "out" / file) for file in line["files"])
    height = wide.shape[0]
    changed = (rest != wide).any(axis=2) | (salient != wide).any(axis=2)
    inside = slice(wide.shape[1] // 3, 2 * wide.shape[1] // 3)
    assert changed[:, inside].mean() > 0.9
    changed[:, inside] = False
    assert not changed.any()
    assert line["area"] == round(0.2 * height * height) / (height * height)


def test_all_bits_and_the_way_up_stay(explainer, data, augment, tmp_path):
    for path in data.rglob("*.png"):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        path.unlink()
        deep = pixels.astype(np.uint16) * 257 - (pixels > 0)  # which 8 bits do not hold
        cv2.imwrite(str(path), deep[..., ::-1])
    turned = Image.fromarray(pixels[:, : pixels.shape[1] // 2])
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(data / "patch" / "turned.jpg", exif=exif)
    lines = {line["id"]: line for line in augment(every=True)}
    deep = cv2.imread(str(data / "pit" / "0.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    line = lines["pit/0.png"]
    assert line["bit_depth"] == 16
    original, rest, salient = (read(tmp_path / "out" / file) for file in line["files"])
    assert original.dtype == rest.dtype == np.uint16
    np.testing.assert_array_equal(original, deep)
    assert ((rest == deep) | (salient == deep)).all(axis=2).all()
    upright = read(tmp_path / "out" / lines["patch/turned.jpg"]["files"][0])
    assert upright.shape[:2] == (turned.width, turned.height)


def test_the_control_hides_as_much_elsewhere_and_the_same_each_time(explainer, data, augment, tmp_path):
    explained, control = augment(), augment("control", request=None)
    assert [line["area"] for line in explained] == [line["area"] for line in control]
    assert [len(line["files"]) for line in control] == [3, 3, 3]
    job = control[0]["id"]
    size = explainer.prepare(data / job).placement
    placed, seen = to_original(random_map(size.input, one_picture.chance(0, job, "random")), size)
    changed = (
        read(tmp_path / "control" / control[0]["files"][2])
        != read(tmp_path / "control" / control[0]["files"][0])
    ).any(axis=2)
    assert not (changed & ~highest_share(placed, seen, 0.2)).any()
    again = augment("again", request=None)
    for one, other in zip(control, again, strict=True):
        for file in one["files"]:
            assert (tmp_path / "control" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
        assert one == other
    other_seed = augment("seed", request=None, seed=1)
    assert (tmp_path / "seed" / other_seed[0]["files"][1]).read_bytes() != (
        tmp_path / "again" / again[0]["files"][1]
    ).read_bytes()


def test_pictures_that_cannot_be_occluded_keep_their_originals(data, augment, explainer, monkeypatch):
    (data / "scratch").mkdir()
    shutil.copy(data / "pit" / "0.png", data / "scratch" / "wrong.png")
    (data / "pit" / "1.png").write_bytes(b"nonsense")
    explain = sise_rt.Explainer.explain_methods

    def flat(self, picture, targets, requests, **more):
        if targets == [explainer.manifest.labels.index("patch")]:
            return {"grad-cam": [NoEvidence("nothing speaks for it")]}
        return explain(self, picture, targets, requests, **more)

    monkeypatch.setattr(sise_rt.Explainer, "explain_methods", flat)
    lines = {line["id"]: line for line in augment()}
    ends = {name: (line["status"], len(line["files"])) for name, line in lines.items()}
    assert ends == {
        "pit/0.png": ("done", 3),
        "pit/1.png": ("failed", 0),
        "patch/0.png": ("no evidence", 1),
        "scratch/wrong.png": ("skipped", 1),
    }
    assert lines["scratch/wrong.png"]["message"] == "the model says pit"
    assert lines["patch/0.png"]["message"] == "nothing speaks for it"
    assert "is no picture" in lines["pit/1.png"]["message"]


def test_a_threshold_that_marks_everything_is_no_augmentation(augment):
    few = augment(threshold=0.9, area=None)
    assert all(0 < line["area"] < 0.2 for line in few)
    assert {line["message"] for line in augment("all", threshold=1e-9, area=None, request=None)} == {
        one_picture.NOTHING
    }


def test_a_picture_with_another_class_is_done_anew(data, augment, tmp_path):
    before = augment(every=True)
    (data / "scratch").mkdir()
    shutil.copy(data / "pit" / "1.png", data / "scratch" / "1.png")
    results = tmp_path / "out" / "results.jsonl"
    old = results.read_text()
    changed = old.replace('"present": [4]', '"present": [0]').replace("0.4.original", "0.0.original")
    assert changed != old
    images = tmp_path / "out" / "images" / "patch"
    (images / "0.4.original.png").rename(images / "0.0.original.png")
    results.write_text(changed)
    after = augment(every=True)
    assert len(after) == len(before) + 1
    assert [line for line in after if line["id"] != "scratch/1.png"] == before
    assert len(results.read_text().splitlines()) == 4
    written = {path.relative_to(tmp_path / "out").as_posix() for path in images.parent.rglob("*.png")}
    assert written == {file for line in after for file in line["files"]}


def test_a_full_disk_ends_the_run_and_keeps_what_is_finished(augment, tmp_path, monkeypatch):
    write, count = one_picture.write, 0

    def full(path, content):
        nonlocal count
        count += 1
        if count > 4:
            raise Unwritable(f"{path} cannot be written: No space left on device")
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(one_picture, "write", full)
        with pytest.raises(Unwritable, match="No space left"):
            augment()
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 1
    assert len(augment()) == 3


def test_folders_that_hold_something_else_or_lie_among_the_data_are_refused(data, tmp_path):
    with pytest.raises(OutputError, match="would take its pictures for data"):
        run.refuse_folder(data / "out", data)
    (tmp_path / "other" / "images").mkdir(parents=True)
    with pytest.raises(OutputError, match="has images of something else"):
        run.refuse_folder(tmp_path / "other", data)
    (tmp_path / "other" / "run.json").write_text(json.dumps({}))
    run.refuse_folder(tmp_path / "other", data)


def test_without_a_class_of_the_model_there_is_nothing_to_do(explainer, data):
    with pytest.raises(ArgumentError, match=r"no picture in .* has a class that the model has"):
        run.jobs_of(read_dataset(data, "folder"), planned(explainer, data, targets={}))
