"""Labels of classes, and label files whose lines are not in their order."""

import pytest
from sise_rt.export.labels import class_labels
from sise_rt.export.origins.description import Description

from sise_rt.errors import ModelError

NOTHING = Description()


def test_labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("\ufeffcat\r\n  dog \n\nWürfel\n", "utf-8")
    assert class_labels(path, NOTHING, 3, False) == (("cat", "dog", "Würfel"), None, None)
    assert class_labels(["a", "b"], Description.of("x", labels=["c", "d"]), 2, False) == (
        ("a", "b"),
        None,
        None,
    )
    assert class_labels(None, Description.of("x", labels=["c", "d"]), 2, False) == (("c", "d"), None, None)
    assert class_labels(None, NOTHING, 3, False) == ((), None, None)
    with pytest.raises(
        ModelError, match="the file: labels has 2 labels for a model with 3 classes; the first"
    ):
        class_labels(None, Description.of("the file", labels=["c", "d"]), 3, False)
    others = Description.of("timm abc", of_other_weights=True, labels=["c", "d"])
    assert class_labels(None, others, 2, False) == (("c", "d"), "labels, as for timm abc", None)
    left_out = "labels of timm abc left out: 2 labels for a model with 3 classes"
    assert class_labels(None, others, 3, False) == ((), None, left_out)


def test_labels_of_two_sides():
    assert class_labels(["scratch"], NOTHING, 2, True)[0] == ("not scratch", "scratch")
    assert class_labels(["good", "bad"], NOTHING, 2, True)[0] == ("good", "bad")
    assert class_labels(None, NOTHING, 2, True)[0] == ("negative", "positive")


def test_labels_that_are_refused(tmp_path):
    with pytest.raises(ModelError, match="2 labels for a model with 3 classes"):
        class_labels(["a", "b"], NOTHING, 3, False)
    with pytest.raises(ModelError, match=r"labels cannot be read from .*missing"):
        class_labels(tmp_path / "missing.txt", NOTHING, 3, False)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ModelError, match="labels cannot be read from"):
        class_labels(tmp_path / "bytes.txt", NOTHING, 3, False)


def written(folder, *lines):
    path = folder / "labels.txt"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("lines", "first", "due"),
    [
        (("5: a", "4: b", "3: c", "2: d", "1: e", "0: f"), "label 1, '5: a', should have 0", 0),
        (("f,5", "a,0", "b,1", "c,2", "d,3", "e,4"), "label 1, 'f,5', should have 0", 0),
        (("0 a", "1 b", "2 c", "3 d", "5 e", "4 f"), "label 5, '5 e', should have 4", 4),
        (("a\t1", "b\t3", "c\t2"), r"label 2, 'b\\t3', should have 2", 1),
        (("[1] green", "[0] red", "[2] blue"), "should have 0", 0),
        (("class 1: green", "class 0: red", "class 2: blue"), "should have 0", 0),
        (("1-green", "0-red", "2-blue"), "should have 0", 0),
        (("1_green", "0_red", "2_blue"), "should have 0", 0),
        (("1|green", "0|red", "2|blue"), "should have 0", 0),
        (("#1 green", "#0 red", "#2 blue"), "should have 0", 0),
        (('"1","green"', '"0","red"', '"2","blue"'), "should have 0", 0),
        (('{"1": "green",', '"0": "red",', '"2": "blue"}'), "should have 0", 0),
        (('{"green": 1,', '"red": 0,', '"blue": 2}'), "should have 0", 0),
        (("green (1)", "red (0)", "blue (2)"), "should have 0", 0),
        (("id:1 name:green", "id:0 name:red", "id:2 name:blue"), "should have 0", 0),
        (("1 - 3d print", "0 - grade 7", "2 - x"), "should have 0", 0),
    ],
)
def test_lines_that_are_numbered_in_another_order_are_refused(tmp_path, lines, first, due):
    path = written(tmp_path, *lines)
    with pytest.raises(ModelError, match="numbers its labels in another order than that of its lines"):
        class_labels(path, NOTHING, len(lines), False)
    with pytest.raises(ModelError, match=first):
        class_labels(path, NOTHING, len(lines), False)
    assert class_labels(list(lines), NOTHING, len(lines), False)[0] == lines


@pytest.mark.parametrize(
    "lines",
    [
        ("0: a", "1: b", "2: c"),
        ("1 a", "2 b", "3 c"),
        ("grade 2", "grade 1", "grade 0"),
        ("2", "1", "0"),
        ("7 up", "3 d", "4 x"),
        ("background", "1 a", "2 b", "3 c"),
        ("#1", "#2", "# 3"),
        ("1 b", "0 a"),
        ("[0] a", "[1] b", "[2] c"),
        ("grade 2,0", "grade 1,1", "grade 0,2"),
        ("1 cat 0", "0 dog 1", "2 owl 2"),
        ("n2 red", "n1 green", "n3 blue"),
        ("2nd gear", "1st one", "3rd of them"),
        ("1-2 years", "0-1 year", "2-3 summers"),
        ("1.5 m tall", "0.5 m wide", "2.5 m deep"),
        ("type 1 b", "kind 0 a", "sort 2 c"),
        ("tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark"),
        ("airplane", "automobile", "bird", "cat"),
    ],
)
def test_other_numbers_are_part_of_the_labels(tmp_path, lines):
    assert class_labels(written(tmp_path, *lines), NOTHING, len(lines), False)[0] == lines


@pytest.mark.parametrize(
    "line", ["a" + " " * 10**5 + "b", "1" * 10**5, "1 " * 10**5, "1" + " " * 10**5 + "1"]
)
def test_long_lines_are_read_at_once(tmp_path, line):
    lines = tuple(f"{name}{line}{name}" for name in "xyz")
    assert class_labels(written(tmp_path, *lines), NOTHING, 3, False)[0] == lines


def test_headings_are_no_labels(tmp_path):
    for heading in ("# classes", "label,index", "Class"):
        with pytest.raises(ModelError, match="4 labels for a model with 3 classes: leave out line 1, '"):
            class_labels(written(tmp_path, heading, "a", "b", "c"), NOTHING, 3, False)
    with pytest.raises(ModelError, match=r"4 labels for a model with 3 classes(?!:)"):
        class_labels(written(tmp_path, "cat", "a", "b", "c"), NOTHING, 3, False)
    for lines in (("# classes", "b", "c"), ("label,index", "a,0", "b,1", "c,2")):
        with pytest.raises(ModelError, match=r"line 1, '.*', is a heading"):
            class_labels(written(tmp_path, *lines), NOTHING, len(lines), False)
