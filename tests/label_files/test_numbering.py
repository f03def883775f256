"""Lines that are numbered, in the order of the classes or in another; and headings."""

import pytest

from sise_rt.errors import ModelError
from sise_rt.label_files.numbering import heading_hint, without_wordnet_ids
from sise_rt.label_files.reading import read_labels


def test_wordnet_ids_in_front_of_all_labels_are_left_out():
    lines = ["n01440764 tench, Tinca tinca", "n02012849 crane", "n03126707\tcrane"]
    assert without_wordnet_ids(lines) == ["tench, Tinca tinca", "crane", "crane"]
    for others in ([*lines, "cat"], ["n01440764", "n02012849"], ["n0144 tench"], ["cat"]):
        assert without_wordnet_ids(others) == others
    assert without_wordnet_ids([]) == []


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
        (("green (1)", "red (0)", "blue (2)"), "should have 0", 0),
        (("id:1 name:green", "id:0 name:red", "id:2 name:blue"), "should have 0", 0),
        (("1 - 3d print", "0 - grade 7", "2 - x"), "should have 0", 0),
    ],
)
def test_lines_that_are_numbered_in_another_order_are_refused(tmp_path, lines, first, due):
    path = written(tmp_path, *lines)
    with pytest.raises(ModelError, match="numbers its labels in another order than that of its lines"):
        read_labels(path)
    with pytest.raises(ModelError, match=first):
        read_labels(path)


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
    assert read_labels(written(tmp_path, *lines)) == list(lines)


@pytest.mark.parametrize(
    "line", ["a" + " " * 10**5 + "b", "1" * 10**5, "1 " * 10**5, "1" + " " * 10**5 + "1"]
)
def test_long_lines_are_read_at_once(tmp_path, line):
    lines = tuple(f"{name}{line}{name}" for name in "xyz")
    assert read_labels(written(tmp_path, *lines)) == list(lines)


def test_headings_are_no_labels(tmp_path):
    for lines in (
        ("# classes", "b", "c"),
        ("# classes", "a", "b", "c"),
        ("label,index", "a,0", "b,1", "c,2"),
    ):
        with pytest.raises(ModelError, match=r"line 1, '.*', is a heading"):
            read_labels(written(tmp_path, *lines))


def test_a_line_too_many_may_be_a_heading():
    for heading in ("#classes", "label,index", "Class"):
        assert heading_hint([heading, "a", "b", "c"], 3).startswith(": leave out line 1, '")
    assert heading_hint(["cat", "a", "b", "c"], 3) == ""
    assert heading_hint(["Class", "a", "b"], 3) == ""
