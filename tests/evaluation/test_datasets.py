"""Readers of data sets, on tiny ones with every kind of fault; and how classes become the model's."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from sise_rt.errors import ArgumentError, SiseError, TargetError
from sise_rt.evaluation.classes import match_classes, read_class_map
from sise_rt.evaluation.coco import unpacked
from sise_rt.evaluation.datasets import read_dataset, read_labelled
from sise_rt.evaluation.measure import Plan
from sise_rt.evaluation.run import fingerprint
from sise_rt.evaluation.samples import NO_PICTURE, DataError, Files, Sample, Truth, shuffled
from sise_rt.methods import parse
from sise_rt.pictures.reading import load_image

pytest.importorskip("defusedxml", reason="pip install '.[evaluate]'")


def picture(path, size=(40, 30), value=120):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


def mask(path, size=(40, 30), box=(5, 5, 20, 15), value=255):
    array = np.zeros(size[::-1], np.uint8)
    x0, y0, x1, y1 = box
    array[y0:y1, x0:x1] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def voc_xml(path, objects, filename=None, size=(40, 30)):
    items = "".join(
        f"<object><name>{name}</name><difficult>{int(hard)}</difficult><bndbox><xmin>{b[0]}</xmin>"
        f"<ymin>{b[1]}</ymin><xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox></object>"
        for name, b, hard in objects
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<annotation><filename>{filename or path.stem + '.jpg'}</filename><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height></size>{items}</annotation>"
    )


def kinds(dataset):
    return sorted((p.kind, p.where) for p in dataset.problems)


def by_name(dataset):
    return {sample.image: sample.present for sample in dataset.samples}


def test_a_table_of_classes(tmp_path):
    for name in ("a.png", "deep/b.png", "c.png", "d.png"):
        picture(tmp_path / name)
    table = tmp_path / "labels.csv"
    table.write_text("path,label\na.png,dog\na.png,cat\ndeep/b.png,3\nlost.png,dog\nd.png,\n")
    dataset = read_labelled(tmp_path)
    assert by_name(dataset) == {"a.png": {"dog": None, "cat": None}, "deep/b.png": {"3": None}}
    assert kinds(dataset) == [
        ("annotation without image", "lost.png"),
        ("broken annotation", "d.png"),
        ("image without annotation", "c.png"),
    ]
    table.rename(tmp_path / "other.csv")
    assert by_name(read_labelled(tmp_path / "other.csv")) == by_name(dataset)
    assert by_name(read_dataset(tmp_path, "csv-labels", tmp_path / "other.csv")) == by_name(dataset)


def test_a_table_without_a_heading(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("a.png,dog\na.png,cat\n")
    assert by_name(read_labelled(tmp_path)) == {"a.png": {"dog": None, "cat": None}}
    (tmp_path / "labels.csv").write_text("b.png,dog\n")
    with pytest.raises(DataError, match=r"labels.csv needs columns for image .* it has b.png, dog"):
        read_labelled(tmp_path)


def test_a_folder_for_each_class(tmp_path):
    picture(tmp_path / "dog" / "a.png")
    (tmp_path / "cat" / "deep").mkdir(parents=True)
    dataset = read_labelled(tmp_path)
    assert by_name(dataset) == {"dog/a.png": {"dog": None}}
    assert kinds(dataset) == [("folder without pictures", "cat")]


def test_a_list_names_pictures_wherever_they_are(tmp_path):
    for name in ("lab/x.png", "far/y.png", "linked/z.png", "lists/here.png", "lists/deep/only.png"):
        picture(tmp_path / name)
    for name in ("unnamed.png", "notes.bin"):
        (tmp_path / "lists" / name).write_bytes(b"")
    (tmp_path / "lists" / "data").symlink_to(tmp_path / "linked")
    (tmp_path / "lists" / "link.png").symlink_to(tmp_path / "lab" / "x.png")
    table = tmp_path / "lists" / "mine.csv"
    names = [
        "../lab/x.png",
        f"{tmp_path}/far/y.png",
        "data/z.png",
        "link.png",
        "./here.png",
        "..\\lab\\x.png",
    ]
    names += ["only.png", "../lab/lost.png", "../lab", ""]
    table.write_text("path,label\n" + "".join(f"{name},dog\n" for name in names))
    dataset = read_labelled(table)
    expected = [
        "../lab/x.png",
        f"{tmp_path}/far/y.png",
        "data/z.png",
        "link.png",
        "here.png",
        "deep/only.png",
    ]
    assert sorted(by_name(dataset)) == sorted(expected)
    assert all((dataset.folder / sample.image).is_file() for sample in dataset.samples)
    # Nothing is said of unnamed.png and notes.bin.
    assert {p.kind for p in dataset.problems} == {"annotation without image"}
    assert details(dataset) == {
        "../lab/lost.png": "line 9 of mine.csv",
        "../lab": "line 10 of mine.csv",
        "line 11 of mine.csv": "it names no picture",
    }
    table.write_text("../lab/x.png,dog\n")  # without a heading
    assert by_name(read_labelled(table)) == {"../lab/x.png": {"dog": None}}
    table.write_text("path,label\n../lab/lost.png,dog\n")
    with pytest.raises(DataError, match=r"mine.csv: names no picture .* image: ../lab/lost.png"):
        read_labelled(table)


def test_the_table_of_a_data_set_leads_not_out_of_it(tmp_path):
    for name in ("lab/x.png", "set/a.png"):
        picture(tmp_path / name)
    (tmp_path / "set" / "labels.csv").write_text(
        f"path,label\na.png,dog\n../lab/x.png,dog\n{tmp_path}/lab/x.png,dog\nlost.png,dog\n"
    )
    dataset = read_labelled(tmp_path / "set")
    assert by_name(dataset) == {"a.png": {"dog": None}}
    assert kinds(dataset) == [
        ("annotation without image", "lost.png"),
        ("image outside of the list's folder", "../lab/x.png"),
        ("image outside of the list's folder", f"{tmp_path}/lab/x.png"),
    ]


def test_loose_pictures_have_no_classes(tmp_path):
    picture(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a folder for each class is expected, .* or a labels\.csv"):
        read_labelled(tmp_path)
    assert len(read_dataset(tmp_path, "folder").samples) == 1  # which evaluate takes


def test_a_file_that_the_format_has_not(tmp_path):
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(ArgumentError, match="is a file, and the format voc has none"):
        read_labelled(tmp_path / "a.csv", "voc")


@pytest.mark.parametrize(("images", "notes"), [("JPEGImages", "Annotations"), ("IMAGES", "ANNOTATIONS")])
def test_voc(tmp_path, images, notes):
    picture(tmp_path / images / "a.jpg")
    voc_xml(
        tmp_path / notes / "a.xml",
        [("dog", (1, 1, 40, 30), False), ("dog", (3, 4, 5, 6), True), ("cat", (2, 2, 9, 9), True)],
        filename="something_else.jpg",  # common in converted data sets
    )
    dataset = read_dataset(tmp_path, "voc")
    assert by_name(dataset) == {
        f"{images}/a.jpg": {
            "dog": Truth(boxes=((0, 0, 40, 30), (2, 3, 5, 6)), size=(30, 40)),
            "cat": Truth(boxes=((1, 1, 9, 9),), size=(30, 40), difficult=True),
        }
    }
    assert (dataset.classes, dataset.problems) == (["cat", "dog"], [])


def test_voc_faults_are_collected(tmp_path):
    notes = tmp_path / "Annotations"
    for name in ("good", "alone", "bare"):
        picture(tmp_path / "JPEGImages" / f"{name}.jpg")
    picture(tmp_path / "SegmentationClass" / "good.png")  # belongs to another task
    voc_xml(notes / "good.xml", [("dog", (1, 1, 4, 4), False)])
    voc_xml(notes / "bare.xml", [])
    voc_xml(notes / "lost.xml", [("dog", (1, 1, 4, 4), False)])
    voc_xml(notes / "outside.xml", [("dog", (1, 1, 4, 4), False)], filename="../../etc/passwd")
    (notes / "torn.xml").write_text("<annotation><object>")
    (notes / "bomb.xml").write_text('<!DOCTYPE a [<!ENTITY b "bbbb">]><annotation>&b;</annotation>')
    (notes / "huge.xml").write_bytes(b" " * ((4 << 20) + 1))
    voc_xml(notes / "words.xml", [("dog", ("left", 1, 4, 4), False)])
    voc_xml(notes / "infinite.xml", [("dog", ("inf", 1, 4, 4), False)])
    for encoding in ("foo", "hex", "utf-32"):
        text = f'<?xml version="1.0" encoding="{encoding}"?><annotation/>'
        (notes / f"{encoding}.xml").write_text(text)
    dataset = read_dataset(tmp_path, "voc")
    assert list(by_name(dataset)) == ["JPEGImages/good.jpg"]
    broken = [
        ("broken annotation", f"Annotations/{n}.xml")
        for n in ("bomb", "foo", "hex", "huge", "infinite", "torn", "utf-32", "words")
    ]
    assert kinds(dataset) == [
        ("annotation without image", "Annotations/lost.xml"),
        ("annotation without image", "Annotations/outside.xml"),
        *broken,
        ("image without annotation", "JPEGImages/alone.jpg"),
        ("image without annotation", "JPEGImages/bare.jpg"),
    ]


@pytest.mark.parametrize("photos", ["JPEGImages", "data", "."])
def test_voc_takes_its_pictures_from_their_folder_only(tmp_path, photos):
    picture(tmp_path / photos / "1.jpg")
    picture(tmp_path / "SegmentationClass" / "2.png")
    if photos != ".":
        picture(tmp_path / "3.jpg")
    for name in ("1", "2", "3"):
        voc_xml(tmp_path / "Annotations" / f"{name}.xml", [("dog", (1, 1, 4, 4), False)])
    dataset = read_dataset(tmp_path, "voc")
    assert list(by_name(dataset)) == [f"{photos}/1.jpg".removeprefix("./")]
    assert kinds(dataset) == [("annotation without image", f"Annotations/{name}.xml") for name in "23"]


def test_voc_finds_pictures_below_a_picture_folder(tmp_path):
    for name in ("a", "train/b"):
        picture(tmp_path / "images" / f"{name}.jpg")
    for name in ("a", "b"):
        voc_xml(tmp_path / "xml" / f"{name}.xml", [("dog", (1, 1, 4, 4), False)])
    dataset = read_dataset(tmp_path, "voc")
    assert (sorted(by_name(dataset)), dataset.problems) == (["images/a.jpg", "images/train/b.jpg"], [])


@pytest.mark.parametrize(("height", "read"), [("60.0", 60), (" 60 ", 60), ("0", None), ("", None)])
def test_voc_states_the_size_of_a_picture(tmp_path, height, read):
    picture(tmp_path / "a.jpg")
    voc_xml(tmp_path / "a.xml", [("dog", (1, 1, 4, 4), False)], size=(80, height))
    assert by_name(read_dataset(tmp_path, "voc"))["a.jpg"]["dog"].size == (read and (read, 80))


@pytest.mark.parametrize("height", ["60.5", "-60", "nan", "sixty", "9" * 5000])
def test_a_size_that_cannot_be_read_is_a_broken_annotation(tmp_path, height):
    for name in "ab":
        picture(tmp_path / f"{name}.jpg")
    voc_xml(tmp_path / "a.xml", [("dog", (1, 1, 4, 4), False)], size=(80, height))
    voc_xml(tmp_path / "b.xml", [("dog", (1, 1, 4, 4), False)])
    dataset = read_dataset(tmp_path, "voc")
    assert list(by_name(dataset)) == ["b.jpg"]
    assert kinds(dataset) == [("broken annotation", "a.jpg: a.xml")]
    assert dataset.problems[0].detail.endswith("is no width or height") or len(height) > 300


def details(dataset):
    return {p.where: p.detail for p in dataset.problems}


def test_a_broken_xml_is_one_problem_in_plain_words(tmp_path):
    box = "<xmin>1</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>4</ymax>"
    faults = {
        "torn": ("<annotation><object", "it is no XML: unclosed token: line 1, column 12"),
        "bomb": (
            '<!DOCTYPE a [<!ENTITY b "bbbb">]><annotation>&b;</annotation>',
            "it declares entities, which are not read",
        ),
        "foo": (
            '<?xml version="1.0" encoding="foo"?><annotation/>',
            "it is in an encoding that cannot be read: write it in UTF-8",
        ),
        "nobody": ("<annotation><object/></annotation>", "an object has no name"),
        "bare": (
            "<annotation><object><name>dog</name></object></annotation>",
            "dog has no bndbox with xmin, ymin, xmax, ymax",
        ),
    }
    for name, edge in (("words", "left"), ("nan", "nan")):
        item = f"<object><name>dog</name><bndbox>{box.format(edge)}</bndbox></object>"
        faults[name] = f"<annotation>{item}</annotation>", f"the bndbox of dog: '{edge}' is no coordinate"
    for name, (text, _) in faults.items():
        picture(tmp_path / "JPEGImages" / f"{name}.jpg")
        (tmp_path / "JPEGImages" / f"{name}.xml").write_text(text)
    picture(tmp_path / "JPEGImages" / "good.jpg")
    voc_xml(tmp_path / "JPEGImages" / "good.xml", [("dog", (1, 1, 4, 4), False)])
    dataset = read_dataset(tmp_path, "voc")
    assert {p.kind for p in dataset.problems} == {"broken annotation"}
    assert len(dataset.problems) == len(faults)
    assert details(dataset) == {
        f"JPEGImages/{name}.jpg: JPEGImages/{name}.xml": text for name, (_, text) in faults.items()
    }
    dataset = read_dataset(tmp_path, "voc", only=["torn.jpg", "good"])  # it is found, though it is of no use
    assert kinds(dataset) == [("broken annotation", "JPEGImages/torn.jpg: JPEGImages/torn.xml")]


def test_a_broken_xml_belongs_to_the_picture_that_it_names(tmp_path):
    for name in ("a", "good"):
        picture(tmp_path / f"{name}.jpg")
    voc_xml(tmp_path / "other.xml", [("dog", (1, 1, "nan", 4), False)], filename="a.jpg")
    voc_xml(tmp_path / "good.xml", [("dog", (1, 1, 4, 4), False)])
    assert kinds(read_dataset(tmp_path, "voc")) == [("broken annotation", "a.jpg: other.xml")]


def test_hidden_files_and_folders_are_skipped(tmp_path):
    picture(tmp_path / "dog" / "a.png")
    (tmp_path / "dog" / "._a.png").write_bytes(b"\x00\x05\x16\x07")
    picture(tmp_path / ".cache" / "dog" / "b.png")
    (tmp_path / "dog" / ".link.png").symlink_to("/etc/passwd")
    (tmp_path / ".trash").symlink_to("/etc")
    dataset = read_dataset(tmp_path, "folder")
    assert (list(by_name(dataset)), dataset.problems) == (["dog/a.png"], [])
    picture(tmp_path / ".set" / "dog" / "a.png")  # only below the folder that the user names
    assert list(by_name(read_dataset(tmp_path / ".set", "folder"))) == ["dog/a.png"]


def test_links_out_of_the_folder_are_not_read(tmp_path):
    picture(tmp_path / "elsewhere" / "secret.jpg")
    picture(tmp_path / "data" / "dog" / "a.jpg")
    (tmp_path / "data" / "dog" / "link.jpg").symlink_to(tmp_path / "elsewhere" / "secret.jpg")
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "dog" / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "data" / "dog" / "same.jpg").symlink_to("a.jpg")
    dataset = read_dataset(tmp_path / "data", "folder")
    assert sorted(by_name(dataset)) == ["dog/a.jpg", "dog/same.jpg"]
    assert kinds(dataset) == [
        ("link out of the folder", "dog/link.jpg"),
        ("link out of the folder", "dog/loop.jpg"),
        ("link to a folder", "cat"),
    ]


# What pycocotools 2.0.11 gives for rows 3 to 8 of columns 4 to 16 and 12 to 17 of 20 to 28, without (13, 22).
COMPRESSED = "c26>00000000000000000000000U20kM00KC3=200000000008"


def coco(path, annotations, images=None):
    images = images or [{"id": 7, "file_name": "a.jpg", "width": 40, "height": 30}]
    categories = [{"id": 1, "name": "dog"}, {"id": 3, "name": "cat"}]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def test_compressed_run_lengths():
    expected = np.zeros((20, 30), bool)
    expected[3:9, 4:17] = expected[12:18, 20:29] = True
    expected[13, 22] = False
    runs = unpacked(COMPRESSED)
    np.testing.assert_array_equal(np.repeat(np.arange(len(runs)) % 2, runs).reshape(30, 20).T, expected)


def test_run_lengths_are_read_as_coco_itself_reads_them():
    coco_masks = pytest.importorskip("pycocotools.mask", reason="pip install '.[test]'")
    rng = np.random.default_rng(7)
    for share in (0, 0.01, 0.5, 0.99, 1):
        for height, width in ((1, 1), (1, 50), (37, 20), (300, 200)):
            expected = rng.random((height, width)) < share
            runs = unpacked(coco_masks.encode(np.asfortranarray(expected, np.uint8))["counts"].decode())
            values = np.repeat(np.arange(len(runs)) % 2, runs)
            np.testing.assert_array_equal(values.reshape(width, height).T, expected)


@pytest.mark.parametrize("text", ["c26>P", "c2\x7f", "é", "oooooooooooo0"])
def test_broken_run_lengths_are_refused(text):
    with pytest.raises(ValueError, match="run lengths"):
        unpacked(text)


def test_coco(tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    coco(
        tmp_path / "annotations" / "instances_val.json",
        [
            {"id": 1, "image_id": 7, "category_id": 1, "bbox": [2, 3, 10, 5], "segmentation": []},
            {
                "id": 2,
                "image_id": 7,
                "category_id": 1,
                "segmentation": [[1, 1, 9, 1, 9, 9]],
                "bbox": [0, 0, 1, 1],
            },
            {
                "id": 3,
                "image_id": 7,
                "category_id": 3,
                "iscrowd": 1,
                "segmentation": {"size": [30, 40], "counts": [600, 60, 540]},
            },
        ],
    )
    (tmp_path / "annotations" / "captions_val.json").write_text("{}")
    dataset = read_dataset(tmp_path, "coco")
    assert by_name(dataset) == {
        "images/a.jpg": {
            "dog": Truth(boxes=((2, 3, 12, 8),), polygons=((1, 1, 9, 1, 9, 9),), size=(30, 40)),
            "cat": Truth(runs=(((600, 60, 540), (30, 40)),), size=(30, 40)),
        }
    }


def test_coco_faults_are_collected(tmp_path):
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "empty.jpg")
    faults = [
        {"id": 2, "image_id": 99, "category_id": 1, "bbox": [0, 0, 5, 5]},
        {"id": 3, "image_id": 7, "category_id": 42, "bbox": [0, 0, 5, 5]},
        {"id": 4, "image_id": 7, "category_id": 1, "segmentation": [[1, 2, 3]]},
        {"id": 5, "image_id": 7, "category_id": 1, "segmentation": {"size": [30, 40], "counts": [5, -5]}},
        {"id": 6, "image_id": 7, "category_id": 1, "segmentation": {"size": [10**9, 10**9], "counts": "1"}},
        {"id": 7, "image_id": 7, "category_id": 1, "bbox": [0, 0, float("nan"), 5]},
        {"id": 8, "image_id": 7, "category_id": 1},
        {"id": 9, "image_id": 7, "category_id": 1, "bbox": [10**400, 1, 5, 5]},
        {"id": 10, "image_id": 7, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 10**400]]},
        {
            "id": 11,
            "image_id": 7,
            "category_id": 1,
            "segmentation": {"size": [30, 40], "counts": [float("inf")]},
        },
        "none",
    ]
    images = [
        {"id": 7, "file_name": "a.jpg"},
        {"id": 8, "file_name": "../b.jpg"},
        {"id": 9, "file_name": "empty.jpg"},
    ]
    good = {"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 5, 5]}
    coco(tmp_path / "notes.json", [good, *faults], images)
    dataset = read_dataset(tmp_path, "coco")
    assert by_name(dataset) == {"a.jpg": {"dog": Truth(boxes=((0, 0, 5, 5),))}}
    assert kinds(dataset) == [
        ("annotation without image", "../b.jpg"),
        ("annotation without image", "annotation 2"),
        *(("broken annotation", f"a.jpg: annotation {i}") for i in (10, 11, *range(3, 10))),
        ("broken annotation", "an annotation"),
        ("image without annotation", "empty.jpg"),
    ]


def test_what_coco_states_must_be_whole_numbers(tmp_path):
    sizes = {"a": (30.0, 40), "b": ("high", 40), "c": ([30], 40), "d": (30.5, 40), "e": (None, None)}
    images = [
        {"id": i, "file_name": f"{name}.jpg", "height": size[0], "width": size[1]}
        for i, (name, size) in enumerate(sizes.items())
    ]
    counts = [[600, 600.0], [6.9, 1194], ["600", "600"], [True, 1199], [float("nan")]]
    runs = [{"size": [30, 40], "counts": count} for count in counts]
    objects = [{"id": i, "image_id": 0, "category_id": 1, "segmentation": run} for i, run in enumerate(runs)]
    objects += [{"id": 9, "image_id": i, "category_id": 3, "bbox": [0, 0, 5, 5]} for i in range(5)]
    for name in sizes:
        picture(tmp_path / f"{name}.jpg")
    coco(tmp_path / "notes.json", objects, images)
    dataset = read_dataset(tmp_path, "coco")
    box = ((0, 0, 5, 5),)
    assert by_name(dataset) == {
        "a.jpg": {
            "dog": Truth(runs=(((600, 600), (30, 40)),), size=(30, 40)),
            "cat": Truth(boxes=box, size=(30, 40)),
        },
        "e.jpg": {"cat": Truth(boxes=box)},
    }
    broken = [*(f"a.jpg: annotation {i}" for i in range(1, 5)), "b.jpg", "c.jpg", "d.jpg"]
    assert kinds(dataset) == [("broken annotation", where) for where in broken]


def test_faults_of_coco_in_plain_words(tmp_path):
    runs = {"size": [30, 40], "counts": [600, 600]}
    faults = [
        ({"category_id": 99, "bbox": [0, 0, 5, 5]}, "category 99 is not in categories"),
        ({"category_id": [1], "bbox": [0, 0, 5, 5]}, "its category_id is no number and no text"),
        ({"bbox": [0, 0, 5, 5]}, "it has no category_id"),
        ({"category_id": 1}, "it has no segmentation and no bbox"),
        ({"category_id": 1, "bbox": [0, 0, 5]}, "its bbox is not four numbers"),
        ({"category_id": 1, "bbox": 5}, "its bbox is not four numbers"),
        ({"category_id": 1, "bbox": [0, 0, "wide", 5]}, "'wide' is no coordinate"),
        ({"category_id": 1, "bbox": [0, 0, None, 5]}, "null is no coordinate"),
        ({"category_id": 1, "bbox": [0, 0, [5], 5]}, "a list or object is no coordinate"),
        ({"category_id": 1, "segmentation": [7]}, "its segmentation is neither polygons nor run lengths"),
        ({"category_id": 1, "segmentation": {"counts": [9]}}, "run lengths without a size"),
        ({"category_id": 1, "segmentation": {"size": [30, 40]}}, "with a size and without counts"),
        ({"category_id": 1, "segmentation": runs | {"size": [10**5] * 2}}, "which is too large"),
        ({"category_id": 1, "segmentation": runs | {"counts": [None]}}, "no whole number"),
        ({"category_id": 1, "segmentation": runs | {"counts": [600]}}, "do not fill their mask"),
        ({"category_id": 1, "segmentation": runs | {"counts": COMPRESSED}}, "do not fill their mask"),
        ({"category_id": 1, "segmentation": runs | {"counts": "c26>P"}}, "end too early"),
    ]
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "b.jpg")
    objects = [{"id": i, "image_id": 7, **item} for i, (item, _) in enumerate(faults)]
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}, {"id": 9}]
    good = {"id": 50, "image_id": 8, "category_id": 1, "bbox": [0, 0, 5, 5]}
    coco(tmp_path / "notes.json", [*objects, {"id": 60, "category_id": 1}, good], images)
    dataset = read_dataset(tmp_path, "coco")
    assert list(by_name(dataset)) == ["b.jpg"]
    found = details(dataset)
    assert found.pop("image 9") == "it has no file_name"
    assert found.pop("annotation 60") == "it has no image_id"
    # Not as `image without annotation` too.
    assert list(found) == [f"a.jpg: annotation {i}" for i in range(len(faults))]
    for i, (_, text) in enumerate(faults):
        assert text in found[f"a.jpg: annotation {i}"]


def test_a_file_that_coco_lists_twice(tmp_path):
    for name in "abcd":
        picture(tmp_path / f"{name}.jpg")
    sized = {"width": 40, "height": 30}
    images = [
        {"id": 1, "file_name": "a.jpg", **sized},
        {"id": 2, "file_name": "a.jpg", **sized},
        {"id": 3, "file_name": "b.jpg", **sized},
        {"id": 4, "file_name": "b.jpg", "width": 80, "height": 60},
        {"id": 5, "file_name": "c.jpg", **sized},
        {"id": 5, "file_name": "d.jpg", **sized},
        {"id": 6, "file_name": "d.jpg", **sized},
        {"id": 6, "file_name": "d.jpg", **sized},
    ]
    objects = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [i, i, 5, 5]} for i in (*range(1, 6), *range(1, 3))
    ]
    coco(tmp_path / "notes.json", objects, images)
    dataset = read_dataset(tmp_path, "coco")
    boxes = ((1, 1, 6, 6), (2, 2, 7, 7))
    assert {name: set(t["dog"].boxes) for name, t in by_name(dataset).items()} == {"a.jpg": set(boxes)}
    assert kinds(dataset) == [("broken annotation", f"{name}.jpg") for name in "bcd"]
    assert all("listed twice" in problem.detail for problem in dataset.problems)


@pytest.mark.parametrize("text", ["{", "[]", '{"images": [], "annotations": []}', "[" * 100_000])
def test_a_table_that_is_not_cocos_is_refused(tmp_path, text):
    picture(tmp_path / "a.jpg")
    (tmp_path / "notes.json").write_text(text)
    with pytest.raises(DataError, match="not COCO's"):
        read_dataset(tmp_path, "coco")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no JSON at line 1, column 1: Expecting value"),
        (b'{"images": [],\n nonsense}', "no JSON at line 2, column 2: "),
        (b"[" * 100_000, "it is nested too deeply"),
        (b"[\xff]", "it is no text in UTF-8"),
        (b"9" * 5000, "it has a number of thousands of digits"),
        (b"[]", "it has no list of categories"),
        (b'{"categories": {}}', "it has no list of categories"),
        (b'{"categories": [], "images": 5}', "it has no list of images"),
        (b'{"categories": [], "images": []}', "it has no list of annotations"),
        (b'{"categories": [{"name": "a"}]}', "entry 1 of its categories: it has no id"),
        (b'{"categories": [{"id": 4}]}', "category 4 has no name"),
        (b'{"categories": [], "images": ["a.jpg"]}', "entry 1 of its images: it is no object of JSON"),
        (
            b'{"categories": [], "images": [{"id": 1}, {"id": []}]}',
            "entry 2 of its images: its id is no number and no text",
        ),
    ],
)
def test_a_refused_table_says_where_it_is_wrong(tmp_path, text, reason):
    picture(tmp_path / "a.jpg")
    path = tmp_path / "notes.json"
    path.write_bytes(text)
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path, "coco")
    start = f"{path}: is not COCO's JSON of images, annotations and categories: {reason}"
    assert str(caught.value).startswith(start)


@pytest.mark.parametrize("form", ["coco", "csv-boxes"])
def test_annotations_are_named_as_seen_from_here(tmp_path, monkeypatch, form):
    picture(tmp_path / "data" / "a.jpg")
    objects = [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 5, 5]}]
    if form == "coco":
        coco(tmp_path / "data" / "notes", objects)
    else:
        (tmp_path / "data" / "notes").write_text("image,class,x0,y0,x1,y1\na.jpg,dog,0,0,5,5\n")
    monkeypatch.chdir(tmp_path)
    there = Path("data", "notes")
    with pytest.raises(
        DataError, match=f"^notes: no such file, but there is {there}: give that path "
    ) as caught:
        read_dataset(Path("data"), form, Path("notes"))
    assert caught.value.settings == ("annotations",)
    assert len(read_dataset(Path("data"), form, there).samples) == 1
    with pytest.raises(DataError, match=r"^none: cannot be read: No such file or directory$"):
        read_dataset(Path("data"), form, Path("none"))


def test_several_tables_must_be_told_apart(tmp_path):
    picture(tmp_path / "a.jpg")
    annotation = [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 5, 5]}]
    coco(tmp_path / "x.json", annotation)
    coco(tmp_path / "y.json", annotation)
    with pytest.raises(DataError, match=r"x\.json, y\.json: name the file") as caught:
        read_dataset(tmp_path, "coco")
    assert caught.value.settings == ("annotations",)
    assert len(read_dataset(tmp_path, "coco", tmp_path / "y.json").samples) == 1


def test_csv_boxes(tmp_path):
    picture(tmp_path / "pics" / "a.jpg")
    picture(tmp_path / "b.jpg")
    (tmp_path / "boxes.csv").write_text(
        "image,class,xmin,ymin,xmax,ymax\na.jpg,dog,1,2,3,4\npics/a.jpg,dog,5,6,7,8\na.jpg,cat,0,0,1,1\n"
        "b.jpg,dog,1,2,3,\nb.jpg,,1,2,3,4\n../c.jpg,dog,1,2,3,4\n"
    )
    dataset = read_dataset(tmp_path, "csv-boxes")
    assert by_name(dataset) == {
        "pics/a.jpg": {"dog": Truth(boxes=((1, 2, 3, 4), (5, 6, 7, 8))), "cat": Truth(boxes=((0, 0, 1, 1),))}
    }
    assert kinds(dataset) == [
        ("annotation without image", "../c.jpg"),
        ("broken annotation", "b.jpg"),
        ("broken annotation", "b.jpg"),
    ]


def test_lines_without_their_picture(tmp_path):
    picture(tmp_path / "a.jpg")
    (tmp_path / "labels.csv").write_text("image,class\na.jpg,dog\nlost.jpg,dog\n,dog\n")
    boxes = (
        "image,x0,y0,x1,y1\na.jpg,1,2,3,4\n,1,2,3,4\nlost.jpg,1,2,3,4\ngone.jpg,1,2,3,4\ngone.jpg,5,6,7,8\n"
    )
    (tmp_path / "boxes.csv").write_text(boxes)
    dataset = read_dataset(tmp_path, "csv-boxes")
    assert {p.kind for p in dataset.problems} == {"annotation without image"}
    assert len(dataset.problems) == 4  # a picture that is missing is named once, by whatever table
    assert details(dataset) == {
        "lost.jpg": "line 3 of labels.csv",
        "line 4 of labels.csv": "it names no picture",
        "line 3 of boxes.csv": "it names no picture",
        "gone.jpg": "line 5 of boxes.csv",
    }


def test_a_broken_box_of_a_labelled_picture_is_one_problem(tmp_path):
    picture(tmp_path / "a.jpg")
    (tmp_path / "labels.csv").write_text("image,class\na.jpg,dog\n")
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\na.jpg,1,2,three,4\n")
    dataset = read_dataset(tmp_path, "csv-boxes")
    assert by_name(dataset) == {"a.jpg": {"dog": None}}
    assert kinds(dataset) == [("broken annotation", "a.jpg")]


def test_a_table_in_another_encoding_is_refused(tmp_path):
    picture(tmp_path / "a.jpg")
    (tmp_path / "boxes.csv").write_bytes(b"image,class\xff,x0,y0,x1,y1\n")
    with pytest.raises(DataError, match=r"^boxes\.csv: is no text in UTF-8 at byte 12$"):
        read_dataset(tmp_path, "csv-boxes")


def test_a_picture_in_another_folder_is_another_picture(tmp_path):
    picture(tmp_path / "line1" / "000.png")
    (tmp_path / "boxes.csv").write_text(
        "image,class,x0,y0,x1,y1\nline1/000.png,dog,1,1,5,5\nline2/000.png,dog,20,20,39,29\n"
    )
    dataset = read_dataset(tmp_path, "csv-boxes")
    assert by_name(dataset) == {"line1/000.png": {"dog": Truth(boxes=((1, 1, 5, 5),))}}
    assert kinds(dataset) == [("annotation without image", "line2/000.png")]

    images = [{"id": i, "file_name": f"line{i}/000.png"} for i in (1, 2)]
    objects = [{"id": i, "image_id": i, "category_id": 1, "bbox": [i, i, 5, 5]} for i in (1, 2)]
    coco(tmp_path / "notes.json", objects, images)
    dataset = read_dataset(tmp_path, "coco")
    assert by_name(dataset) == {"line1/000.png": {"dog": Truth(boxes=((1, 1, 6, 6),))}}
    assert kinds(dataset) == [("annotation without image", "line2/000.png")]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.jpg", "old/set/pics/a.jpg"),
        ("pics/a.jpg", "old/set/pics/a.jpg"),
        (r"set\pics\a.jpg", "old/set/pics/a.jpg"),
        ("./b.jpg", "b.jpg"),
        ("pics/b.jpg", "pics/b.jpg"),
        ("data/pics/b.jpg", "pics/b.jpg"),  # the folder's own name first
        ("HERE/pics/b.jpg", "pics/b.jpg"),
        ("LINK/pics/b.jpg", "pics/b.jpg"),
        ("/home/x/images/a.jpg", "old/set/pics/a.jpg"),  # of another machine
        (r"C:\x\a.jpg", "old/set/pics/a.jpg"),
        (r"\\server\x\a.jpg", "old/set/pics/a.jpg"),
        ("s3://x/a.jpg", "old/set/pics/a.jpg"),
        ("/home/x/images/b.jpg", None),  # there are two
        ("ics/a.jpg", None),
        ("images/a.jpg", None),
        ("data/a.jpg", None),
        ("../a.jpg", None),
        ("HERE/a.jpg", None),
        ("HERE/images/a.jpg", None),
        ("LINK/images/a.jpg", None),
        ("a.png", None),
        ("", None),
    ],
)
def test_names_that_annotations_give_their_pictures(tmp_path, name, found):
    folder, link = tmp_path / "data", tmp_path / "link"
    for path in ("old/set/pics/a.jpg", "pics/b.jpg", "b.jpg"):
        picture(folder / path)
    link.symlink_to(folder)
    files = Files(link if name.startswith("LINK") else folder, [])
    name = name.replace("HERE", str(folder)).replace("LINK", str(link))
    assert files.find(name) == found
    assert files.find(name, ["boxes.csv", "pics/c.jpg"]) is None
    if found:
        assert files.find(name, ["boxes.csv", found]) == found


def test_csv_boxes_with_labels_beside_and_corners_at_another_size(tmp_path):
    for name in ("a.JPEG", "b.JPEG"):
        picture(tmp_path / "data" / name.replace("JPEG", "jpeg"))
    (tmp_path / "labels.csv").write_text("file,class_index,wnid\na.jpeg,3,n1\nb.jpeg,4,n2\nc.jpeg,5,n3\n")
    (tmp_path / "boxes.csv").write_text("file,x0_20,y0_20,x1_20,y1_20,x0_orig\na.jpeg,1,2,3,4,9\n")
    dataset = read_dataset(tmp_path, "csv-boxes")
    assert by_name(dataset) == {
        "data/a.jpeg": {"3": Truth(boxes=((1, 2, 3, 4),), size=(20, 20), scaled=True)},
        "data/b.jpeg": {"4": None},
    }
    assert kinds(dataset) == [
        ("annotation without image", "c.jpeg"),
        ("image without annotation", "data/b.jpeg"),
    ]


@pytest.mark.parametrize("table", ["image,class,x0\na.jpg,dog,1\n", "", "image,class\n"])
def test_a_table_without_its_columns_is_refused(tmp_path, table):
    picture(tmp_path / "a.jpg")
    (tmp_path / "boxes.csv").write_text(table)
    with pytest.raises(DataError, match="needs columns for image, class and corners"):
        read_dataset(tmp_path, "csv-boxes")


@pytest.mark.parametrize("table", ["picture,kind\na.jpg,cat\n", "image\na.jpg\n", ""])
def test_labels_without_their_columns_are_refused(tmp_path, table):
    picture(tmp_path / "images" / "a.jpg")
    mask(tmp_path / "masks" / "a.png")
    (tmp_path / "labels.csv").write_text(table)
    (tmp_path / "boxes.csv").write_text("image,class,x0,y0,x1,y1\na.jpg,dog,1,2,3,4\n")
    for form in ("masks", "csv-boxes"):
        with pytest.raises(DataError, match=r"labels\.csv needs columns for image .* and class"):
            read_dataset(tmp_path, form)


def test_a_picture_with_two_labels_keeps_the_first(tmp_path):
    for name in "ab":
        picture(tmp_path / "images" / f"{name}.jpg")
        mask(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "labels.csv").write_text("image,class\na.jpg,cat\nb.jpg,pit\na.jpg,dog\nimages/b.jpg,pit\n")
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\na.jpg,1,2,3,4\nb.jpg,1,2,3,4\n")
    for form in ("masks", "csv-boxes"):
        dataset = read_dataset(tmp_path, form)
        classes = {name: list(present) for name, present in by_name(dataset).items() if "images" in name}
        assert classes == {"images/a.jpg": ["cat"], "images/b.jpg": ["pit"]}
        problem = next(p for p in dataset.problems if p.where.startswith("images"))
        assert (problem.kind, problem.where) == ("broken annotation", "images/a.jpg")
        assert "line 4 of labels.csv says dog" in problem.detail


def test_masks_beside_their_pictures(tmp_path):
    for name in ("MT_Break/Imgs/a", "MT_Free/Imgs/b", "MT_Break/Imgs/c"):
        picture(tmp_path / f"{name}.jpg")
    mask(tmp_path / "MT_Break" / "Imgs" / "a.png")
    mask(tmp_path / "MT_Break" / "Imgs" / "c_mask.png")
    mask(tmp_path / "MT_Break" / "Imgs" / "d_mask.png")
    picture(tmp_path / "stray.jpg")
    dataset = read_dataset(tmp_path, "masks")
    assert by_name(dataset) == {
        "MT_Break/Imgs/a.jpg": {"MT_Break": Truth(masks=("MT_Break/Imgs/a.png",))},
        "MT_Break/Imgs/c.jpg": {"MT_Break": Truth(masks=("MT_Break/Imgs/c_mask.png",))},
        "MT_Free/Imgs/b.jpg": {"MT_Free": None},
    }
    assert kinds(dataset) == [
        ("annotation without image", "MT_Break/Imgs/d_mask.png"),
        ("image without annotation", "MT_Free/Imgs/b.jpg"),
        ("image without annotation", "stray.jpg"),
    ]


@pytest.mark.parametrize(
    "name", ["c_mask.bmp", "c_label.bmp", "c_label.png", "c_gt.PNG", "c_GT.png", "c_seg.tif"]
)
def test_names_of_masks_beside_their_pictures(tmp_path, name):
    picture(tmp_path / "pit" / "c.png")
    mask(tmp_path / "pit" / name)
    mask(tmp_path / "pit" / name.replace("c_", "lost_"))
    dataset = read_dataset(tmp_path, "masks")
    assert by_name(dataset) == {"pit/c.png": {"pit": Truth(masks=(f"pit/{name}",))}}
    assert kinds(dataset) == [("annotation without image", f"pit/{name.replace('c_', 'lost_')}")]


def test_of_several_masks_beside_a_picture_one_is_taken(tmp_path):
    picture(tmp_path / "pit" / "c.jpg")
    for name in ("c_gt.png", "c_mask.bmp", "c_mask.png", "c_mask.tif"):
        mask(tmp_path / "pit" / name)
    dataset = read_dataset(tmp_path, "masks")
    assert by_name(dataset) == {"pit/c.jpg": {"pit": Truth(masks=("pit/c_mask.png",))}}
    others = ("c_gt.png", "c_mask.bmp", "c_mask.tif")
    assert kinds(dataset) == [("annotation without image", f"pit/{name}") for name in others]


def test_pictures_may_be_named_like_masks_where_these_have_their_folder(tmp_path):
    for form, truth in (("mvtec/test", "mvtec/ground_truth"), ("two/images", "two/masks")):
        picture(tmp_path / form / "pit" / "c_seg.png")
        mask(tmp_path / truth / "pit" / "c_seg.png")
    (tmp_path / "two" / "labels.csv").write_text("image,class\npit/c_seg.png,pit\n")
    for name, folder in (("mvtec", "test"), ("two", "images")):
        dataset = read_dataset(tmp_path / name, "masks")
        assert (list(by_name(dataset)), dataset.problems) == ([f"{folder}/pit/c_seg.png"], [])


def test_masks_as_mvtec_has_them(tmp_path):
    for name in ("test/crack/000", "test/good/000", "train/good/000"):
        picture(tmp_path / f"{name}.png")
    mask(tmp_path / "ground_truth" / "crack" / "000_mask.png")
    mask(tmp_path / "ground_truth" / "crack" / "001_mask.png")
    dataset = read_dataset(tmp_path, "masks")
    assert by_name(dataset) == {
        "test/crack/000.png": {"crack": Truth(masks=("ground_truth/crack/000_mask.png",))},
        "test/good/000.png": {"good": None},
    }
    assert kinds(dataset) == [
        ("annotation without image", "ground_truth/crack/001_mask.png"),
        ("image without annotation", "test/good/000.png"),
    ]


def test_masks_as_mvtec_loco_has_them(tmp_path):
    for name in ("test/logical_anomalies/000", "test/logical_anomalies/001", "test/good/000"):
        picture(tmp_path / f"{name}.png")
    truth = "ground_truth/logical_anomalies"
    for name in ("000/000", "000/001", "001/000", "002/000"):
        mask(tmp_path / truth / f"{name}.png")
    dataset = read_dataset(tmp_path, "masks")
    both = (f"{truth}/000/000.png", f"{truth}/000/001.png")
    assert by_name(dataset) == {
        "test/good/000.png": {"good": None},
        "test/logical_anomalies/000.png": {"logical_anomalies": Truth(masks=both)},
        "test/logical_anomalies/001.png": {"logical_anomalies": Truth(masks=(f"{truth}/001/000.png",))},
    }
    assert kinds(dataset) == [
        ("annotation without image", f"{truth}/002/000.png"),
        ("image without annotation", "test/good/000.png"),
    ]


def test_a_mask_without_its_picture_is_one_problem(tmp_path):
    for folder in ("a/test", "b/images"):
        picture(tmp_path / folder / "pit" / "000.png")
    for folder in ("a/test/ground_truth", "a/ground_truth", "b/masks"):
        mask(tmp_path / folder / "pit" / "000_mask.png")
    mask(tmp_path / "b" / "masks" / "pit" / "gone.png")
    mask(tmp_path / "b" / "masks" / "pit" / "lost_mask.png")
    names = ("000", "gone", "images/pit/lost")
    lines = (f"pit/{name}.png,pit\n".replace("pit/images", "images") for name in names)
    (tmp_path / "b" / "labels.csv").write_text("image,class\n" + "".join(lines))
    dataset = read_dataset(tmp_path / "a", "masks")
    assert kinds(dataset) == [("annotation without image", "test/ground_truth/pit/000_mask.png")]
    dataset = read_dataset(tmp_path / "b", "masks")
    assert kinds(dataset) == [
        ("annotation without image", "images/pit/lost.png"),
        ("annotation without image", "pit/gone.png"),
    ]


def test_masks_in_a_folder_of_their_own(tmp_path):
    for name in ("a", "b", "c", "odd"):
        picture(tmp_path / "images" / f"{name}.png")
    for name in ("a", "b", "lost"):
        mask(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "labels.csv").write_text("file,label\na.png,scratch\nb.png,pit\nc.png,pit\ngone.png,pit\n")
    dataset = read_dataset(tmp_path, "masks")
    assert by_name(dataset) == {
        "images/a.png": {"scratch": Truth(masks=("masks/a.png",))},
        "images/b.png": {"pit": Truth(masks=("masks/b.png",))},
        "images/c.png": {"pit": None},
    }
    assert kinds(dataset) == [
        ("annotation without image", "gone.png"),
        ("annotation without image", "masks/lost.png"),
        ("image without annotation", "images/c.png"),
        ("image without annotation", "images/odd.png"),
    ]


def test_masks_are_no_pictures(tmp_path):
    mask(tmp_path / "masks" / "a.png")
    (tmp_path / "labels.csv").write_text("file,label\na.png,scratch\n")
    with pytest.raises(DataError, match="no usable picture"):
        read_dataset(tmp_path, "masks")
    picture(tmp_path / "images" / "a.png")
    assert len(read_dataset(tmp_path, "masks").samples) == 1
    (tmp_path / "labels.csv").unlink()
    with pytest.raises(DataError, match=r"needs labels\.csv, with columns for image .*path\) and class"):
        read_dataset(tmp_path, "masks")


def test_folder(tmp_path):
    picture(tmp_path / "dog" / "deep" / "a.jpg")
    picture(tmp_path / "b.jpg")
    (tmp_path / "dog" / "notes.txt").write_text("no picture")
    dataset = read_dataset(tmp_path, "folder")
    assert by_name(dataset) == {"dog/deep/a.jpg": {"dog": None}, "b.jpg": {}}  # a class is not needed
    assert (dataset.classes, dataset.problems) == (["dog"], [])


def test_every_file_that_can_be_read_is_a_picture(tmp_path):
    rgb = Image.new("RGB", (40, 30), (9, 90, 200))
    names = {
        "JPEG": "a.jpe b.jfif",
        "PNG": "c.PNG d.apng",
        "PPM": "e.pnm",
        "WEBP": "f.webp",
        "TIFF": "g.tiff",
    }
    for form, called in names.items():
        for name in called.split():
            rgb.save(tmp_path / name, format=form)
    np.save(tmp_path / "h.npy", np.zeros((30, 40, 5), np.uint8))
    for name in ("i.heic", "j.HEIC", "k.dcm", "scan", "notes.txt", "labels.csv"):
        (tmp_path / name).write_bytes(b"something")
    dataset = read_dataset(tmp_path, "folder")
    assert sorted(by_name(dataset)) == [*sorted(" ".join(names.values()).split()), "h.npy"]
    for name in by_name(dataset):
        assert load_image(tmp_path / name, channels=5).shape[:2] == (30, 40)
    left_out = [(p.where, p.detail) for p in dataset.problems if p.kind == NO_PICTURE]
    assert left_out == [("i.heic", ".heic"), ("j.HEIC", ".heic"), ("k.dcm", ".dcm"), ("scan", "no suffix")]


@pytest.mark.parametrize("form", ["voc", "masks", "folder"])
def test_nothing_to_use_is_refused(tmp_path, form):
    with pytest.raises(DataError, match="no usable picture") as caught:
        read_dataset(tmp_path, form)
    assert caught.value.settings == ("form",)
    with pytest.raises(DataError, match="no such folder") as caught:
        read_dataset(tmp_path / "missing", form)
    assert caught.value.settings == ("folder",)


def test_a_format_that_there_is_not(tmp_path):
    formats = "voc, coco, csv-boxes, masks, csv-labels, folder"
    with pytest.raises(ArgumentError, match=f"no format 'yolo'; known are {formats}"):
        read_dataset(tmp_path, "yolo")


def test_only_the_pictures_that_are_named(tmp_path):
    for name in "abc":
        picture(tmp_path / "dog" / f"{name}.jpg")
    dataset = read_dataset(tmp_path, "folder", only=["a", "dog/b.jpg", "z"])
    assert sorted(by_name(dataset)) == ["dog/a.jpg", "dog/b.jpg"]
    assert kinds(dataset) == [("image not found", "z")]


def test_only_keeps_the_problems_of_the_pictures(tmp_path):
    names = ["12:30.jpg", "b.jpg", "gone.jpg"]
    for name in names[:2]:
        picture(tmp_path / name)
    objects = [{"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 5, 5]} for i in range(2)]
    objects += [{"id": 10 + i, "image_id": i, "category_id": 1, "segmentation": [[1, 2]]} for i in range(3)]
    coco(tmp_path / "notes.json", objects, [{"id": i, "file_name": name} for i, name in enumerate(names)])
    dataset = read_dataset(tmp_path, "coco", only=["12:30", "gone.jpg"])
    assert list(by_name(dataset)) == ["12:30.jpg"]
    assert kinds(dataset) == [
        ("annotation without image", "gone.jpg"),
        ("broken annotation", "12:30.jpg: annotation 10"),
        ("broken annotation", "gone.jpg: annotation 12"),
        ("image not found", "gone.jpg"),
    ]


def test_the_first_pictures_are_a_fair_sample():
    samples = [Sample(f"{label}/{i:03}.jpg", {label: None}) for label in "abcd" for i in range(100)]
    order = shuffled(samples)
    assert order == shuffled(samples[::-1])
    assert sorted(s.image for s in order) == [s.image for s in samples]
    first = [next(iter(sample.present)) for sample in order[:100]]
    assert all(15 <= first.count(label) <= 35 for label in "abcd")


def test_the_fingerprint_follows_pictures_masks_and_annotations(tmp_path):
    def made(folder, box=(5, 5, 20, 15), size=(40, 30)):
        picture(folder / "x" / "a.jpg", size)
        mask(folder / "x" / "a.png", size, box)
        (sample,) = read_dataset(folder, "masks").samples
        return fingerprint(folder, sample, Plan((parse("sise"),), ("drop",), {"x": (1,)}))

    same = made(tmp_path / "1")
    assert made(tmp_path / "2") == same
    assert made(tmp_path / "3", size=(400, 300)) != same
    assert made(tmp_path / "4", box=(5, 5, 20, 16)) != same


# -------------------- classes


MANIFEST = SimpleNamespace(
    labels=("tabby, tabby cat", "tiger cat", "beagle", "1-2", "boat"), classes=5, label=lambda i: str(i)
)


def test_classes_by_name_and_by_map(tmp_path):
    (tmp_path / "map.csv").write_text('cat,tabby,1\ndog,2-3\nship,index:4,\n\nodd,1-2\n"a, b",boat\n')
    class_map = read_class_map(tmp_path / "map.csv")
    names = ["cat", "dog", "ship", "odd", "a, b", "Beagle", "4", "horse"]
    matched, missing = match_classes(names, MANIFEST, class_map)
    assert matched == {
        **{"cat": (0, 1), "dog": (2, 3), "ship": (4,), "odd": (3,), "a, b": (4,), "Beagle": (2,), "4": (4,)}
    }
    assert list(missing) == ["horse"]
    assert "no label of this model" in missing["horse"]


@pytest.mark.parametrize("text", ["dog", "dog,2\ndog,3", ",2", "\xff"])
def test_a_broken_class_map_is_refused(tmp_path, text):
    (tmp_path / "map.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(SiseError, match=r"map\.csv"):
        read_class_map(tmp_path / "map.csv")


@pytest.mark.parametrize("target", ["horse", "3-9", "4-2", "9"])
def test_a_class_map_must_name_the_models_classes(target):
    with pytest.raises(TargetError):
        match_classes(["dog"], MANIFEST, {"dog": (target,)})
