"""Maps of others: the same figures as for the same maps of ours, whatever they are called; what is no map."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from sise_rt.commands.group import run
from sise_rt.errors import ArgumentError, ImageError, NoEvidence
from sise_rt.evaluation.given_maps import MapFolder, map_folder, read_map, without_picture
from sise_rt.pictures.picture import Picture
from sise_rt.pictures.placement import Placement
from sise_rt.pictures.resizing import resize_map

for needed in ("matplotlib", "jinja2"):
    pytest.importorskip(needed, reason="pip install '.[evaluate]'")

SIZE = (32, 32)  # of the small model's input
METRICS = "ebpg,miou,bbox,pointing-game,drop,increase,insertion,deletion"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four pictures with boxes, one of them in a folder."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(5)
    lines = ["image,class,x0,y0,x1,y1"]
    for i, name in enumerate(("cam1/0.png", "1.png", "2.png", "3.jpg.png")):
        (folder / name).parent.mkdir(exist_ok=True)
        array = np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        Image.fromarray(array).save(folder / name)
        lines.append(f"{name},{'abcd'[i]},{10 + i},5,40,30")
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def sise(capsys):
    """A function that runs the command: its exit code, and all that it printed."""

    def of(*arguments):
        code = run([*map(str, arguments)])
        return code, "".join(capsys.readouterr())

    return of


@pytest.fixture
def evaluated(sise, small_bundle, data):
    """A function that evaluates the small bundle on the data."""

    def of(report, *options):
        asked = ("--format", "csv-boxes", "--metric", METRICS, *options)
        return sise("evaluate", "-m", small_bundle, "--data", data, "-o", report, *asked)

    return of


def rows(report, method):
    with (report / "results.csv").open(newline="") as stream:
        kept = [row for row in csv.DictReader(stream) if row["method"] == method]
    leave = ("method", "seconds", "passes", "note")
    return [{key: value for key, value in row.items() if key not in leave} for row in kept]


def test_maps_that_explain_saved_have_the_figures_of_their_methods(
    sise, evaluated, small_bundle, data, tmp_path
):
    maps, report = tmp_path / "theirs", tmp_path / "report"
    code, printed = sise(
        *("explain", data, "-m", small_bundle, "--method", "grad-cam,sise", "-o", maps),
        *("--outputs", "map,overlay", *(f"-t{k}" for k in range(5))),
    )
    assert code == 0, printed
    for name in ("grad-cam", "sise"):  # of several methods the files bear the method's name
        for path in list(maps.rglob(f"*.{name}.npy")):
            kept = (
                tmp_path / name / path.relative_to(maps).with_name(path.name.replace(f".{name}.npy", ".npy"))
            )
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(path.read_bytes())
    code, printed = evaluated(
        report, "--method", "grad-cam,sise",
        "--maps", f"G={tmp_path / 'grad-cam'}", "--maps", f"S={tmp_path / 'sise'}",
    )  # fmt: skip
    assert code == 0, printed
    for ours, theirs in (("grad-cam", "G"), ("sise", "S")):
        assert rows(report, ours) == rows(report, theirs)
        assert len(rows(report, ours)) > 4
    assert "S: " in (report / "report.html").read_text()
    alone = tmp_path / "alone"
    code, printed = evaluated(alone, "--maps", f"grad-cam={maps}")
    assert code == 0, printed
    assert json.loads((alone / "summary.json").read_text())["settings"]["methods"] == ["grad-cam"]
    assert rows(alone, "grad-cam") == rows(report, "grad-cam")
    code, printed = evaluated(tmp_path / "other", "--maps", f"nobody={maps}")
    assert code == 1
    assert "map that is not there, or cannot be used" in printed


def test_changed_maps_are_measured_again_and_others_are_not(evaluated, tmp_path):
    maps, report, rng = tmp_path / "maps", tmp_path / "report", np.random.default_rng(0)
    (maps / "cam1").mkdir(parents=True)
    for stem in ("cam1/0", "1", "2", "3.jpg"):
        np.save(maps / f"{stem}.npy", rng.random(SIZE))
    first = evaluated(report, "--maps", maps)
    assert first[0] == 0, first[1]
    before = (report / "rows.jsonl").read_text().splitlines()
    assert evaluated(report, "--maps", maps)[0] == 0
    assert (report / "rows.jsonl").read_text().splitlines() == before
    old = rows(report, "maps")
    np.save(maps / "1.npy", rng.random(SIZE))
    assert evaluated(report, "--maps", maps, "--method", "grad-cam")[0] == 0
    changed = [row["image"] for row, other in zip(rows(report, "maps"), old, strict=True) if row != other]
    assert set(changed) == {"1.png"}
    assert {row["image"] for row in rows(report, "grad-cam")} == {row["image"] for row in old}


def test_what_is_missing_flat_or_no_map_is_told_and_counted(evaluated, tmp_path):
    maps = tmp_path / "maps"
    maps.mkdir()
    np.save(maps / "1.npy", np.full(SIZE, 0.5))
    np.save(maps / "2.npy", np.where(np.eye(32) > 0, np.nan, 1))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)).save(maps / "3.jpg.png")
    np.save(maps / "other.npy", np.eye(32))
    code, printed = evaluated(tmp_path / "report", "--maps", maps)
    assert code == 1  # no metric has a value
    assert f"{maps}: 1 file of no picture in" in printed
    text = (tmp_path / "report" / "summary.json").read_text()
    for words in ("has no map of it: cam1/0.", "one value everywhere", "not finite", "in colours"):
        assert words in text, words
    assert json.loads(text)["methods"]["maps"]["no_evidence"] >= 4


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("nowhere", "no such folder"),
        ("a:b={data}/cam1", "has none of"),
        ("={data}/cam1", "has none of"),
        ("{data}", "these are the pictures"),
        ("grad-cam={data}/cam1", "is there twice"),
    ],
)
def test_folders_that_cannot_be_are_refused(evaluated, data, tmp_path, option, words):
    code, printed = evaluated(tmp_path / "r", "--method", "grad-cam", "--maps", option.format(data=data))
    assert code == 2
    assert words in " ".join(printed.split())


def picture(placement, name="a.png"):
    pixels, tensor = np.zeros((*placement.original, 3), np.uint8), np.zeros((1, 3, *placement.input))
    return Picture(pixels, tensor, placement, name)


WHOLE = Placement((48, 64), SIZE, 0, 0, SIZE)


@pytest.mark.parametrize(
    "name", ["a.7.npy", "a.7.mine.npy", "a.png.7.npy", "a.npy", "a.7.png", "a.png.7.mine.png"]
)
def test_names(tmp_path, name):
    map_ = np.arange(1024).reshape(SIZE) % 256
    if name.endswith(".npy"):
        np.save(tmp_path / name, map_)
    else:
        Image.fromarray(map_.astype(np.uint8)).save(tmp_path / name)
    found = MapFolder("mine", tmp_path).map(picture(WHOLE), 7)
    np.testing.assert_allclose(found.map, map_ / 255)
    assert bool(found.warnings) == (".7." not in name)
    other = MapFolder("mine", tmp_path).map(picture(WHOLE), 8)
    assert isinstance(other, NoEvidence) == (".7." in name)


def test_an_array_comes_before_the_drawing_beside_it(tmp_path):
    np.save(tmp_path / "a.7.npy", np.eye(32))
    Image.new("RGB", (64, 48), (200, 30, 30)).save(tmp_path / "a.7.png")
    assert np.array_equal(MapFolder("mine", tmp_path).map(picture(WHOLE), 7).map, np.eye(32))


def test_a_map_over_the_picture_is_cropped_as_the_picture_is(tmp_path):
    placement = Placement((48, 64), (40, 53), 4, 10, SIZE)
    over = np.random.default_rng(0).random((48, 64))
    np.save(tmp_path / "a.npy", over)
    found = MapFolder("mine", tmp_path).map(picture(placement), 7).map
    expected = resize_map(over, (40, 53))[4:36, 10:42]
    np.testing.assert_allclose(found, (expected - expected.min()) / np.ptp(expected))
    beyond = Placement((48, 64), (24, 32), -4, 0, SIZE)
    found = MapFolder("mine", tmp_path).map(picture(beyond), 7).map
    assert found.shape == SIZE
    assert not found[:4].any()
    assert not found[28:].any()
    small = resize_map(over, (24, 32))
    np.testing.assert_allclose(found[4:28], (small - small.min()) / np.ptp(small))


def test_any_other_size_lies_over_the_input(tmp_path):
    small = np.random.default_rng(0).random((7, 7))
    np.save(tmp_path / "a.npy", small.astype(np.float32)[None])
    found = MapFolder("mine", tmp_path).map(picture(WHOLE), 7)
    expected = resize_map(small, SIZE)
    np.testing.assert_allclose(found.map, (expected - expected.min()) / np.ptp(expected), atol=1e-6)
    assert "7 x 7, resized to the model's input" in found.warnings


def test_negative_values_are_brought_to_0_to_1(tmp_path):
    np.save(tmp_path / "a.npy", np.linspace(-3, 5, 1024).reshape(SIZE))
    found = MapFolder("mine", tmp_path).map(picture(WHOLE), 7).map
    np.testing.assert_allclose(found, np.linspace(0, 1, 1024).reshape(SIZE))


@pytest.mark.parametrize("mode", ["L", "I;16", "RGB", "1"])
def test_grey_in_any_depth(tmp_path, mode):
    values = np.arange(1024).reshape(SIZE) % 200
    if mode == "I;16":
        image = Image.fromarray((values * 300).astype(np.uint16))
    else:
        image = Image.fromarray(values.astype(np.uint8)).convert(mode)
    image.save(tmp_path / "a.png")
    found = read_map(tmp_path / "a.png")
    assert found.dtype == np.float64
    assert np.array_equal(found, np.asarray(image.convert("L") if mode == "RGB" else image))


@pytest.mark.parametrize("value", [np.zeros((2, 32, 32)), np.zeros(5), np.zeros((0, 3)), np.array([["a"]])])
def test_arrays_that_are_no_map(tmp_path, value):
    np.save(tmp_path / "a.npy", value)
    with pytest.raises(ImageError, match="is no map"):
        read_map(tmp_path / "a.npy")


def test_files_that_cannot_be_read(tmp_path):
    for name in ("a.npy", "a.png"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(ImageError, match="this map cannot be read"):
            read_map(tmp_path / name)


def test_names_of_folders(tmp_path):
    (tmp_path / "theirs").mkdir()
    assert map_folder(str(tmp_path / "theirs"), tmp_path).name == "theirs"
    assert map_folder(f"x={tmp_path / 'theirs'}", tmp_path) == MapFolder("x", tmp_path / "theirs")
    with pytest.raises(ArgumentError, match="no such folder"):
        map_folder("x=y", tmp_path)


def test_files_of_no_picture(tmp_path):
    (tmp_path / "cam1").mkdir()
    for name in ("cam1/0.3.npy", "1.npy", "1.png.4.grad-cam.npy", "other.npy", "1.json", "0.3.npy"):
        (tmp_path / name).write_bytes(b"")
    assert without_picture(MapFolder("x", tmp_path), ["cam1/0.png", "1.png"]) == 2


def test_a_name_that_is_too_long_is_no_map(tmp_path):
    found = MapFolder("x", tmp_path).map(picture(WHOLE, f"{'n' * 250}.png"), 7)
    assert isinstance(found, NoEvidence)


def test_the_mark_is_that_of_the_pictures_own_files(tmp_path):
    maps, images = MapFolder("x", tmp_path), ("cam1/1.png", "1.png", "2.png")
    (tmp_path / "cam1").mkdir()
    for name in ("cam1/1.3.npy", "1.npy", "2.4.npy"):
        (tmp_path / name).write_bytes(b"a")
    before = [maps.mark(image, maps.listed()) for image in images]
    assert len(set(before)) == 3
    (tmp_path / "1.npy").write_bytes(b"b")
    (tmp_path / "2.5.png").write_bytes(b"")
    after = [maps.mark(image, maps.listed()) for image in images]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, False]
