"""Label files of every form: what they hold in the order of the classes, and what is refused."""

import json

import pytest

from sise_rt.errors import ModelError
from sise_rt.label_files.reading import read_labels
from sise_rt.literals import LARGEST_FILE

NAMES = ["red", "green", "blue"]


def write(folder, name, content):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", "red\ngreen\nblue\n"),
        ("labels.txt", "\ufeffred\r\n\r\n  green \nblue"),
        ("labels.txt", "0 red\n1 green\n2 blue\n"),
        ("labels.txt", "0\tred\n1\tgreen\n2\tblue\n"),
        ("labels.txt", "{2: 'blue', 0: 'red',\n 1: 'green'}"),
        ("labels.txt", '{"green": 1,\n"red": 0,\n"blue": 2}'),
        ("labels.txt", "['red', 'green', 'blue']"),
        ("labels.json", NAMES),
        ("labels.json", {"0": "red", "1": "green", "2": "blue"}),
        ("labels.json", {"2": "blue", "0": "red", "1": "green"}),
        ("labels.json", {"blue": 2, "red": 0, "green": 1}),
        ("labels.json", {"blue": "2", "red": "0", "green": "1"}),
        ("labels.json", {"0": ["n0", "red"], "1": ["n1", "green"], "2": ["n2", "blue"]}),
        ("config.json", {"model_type": "resnet", "id2label": {"1": "green", "0": "red", "2": "blue"}}),
        ("metadata.json", {"labels": NAMES, "imageSize": 224}),
        ("config.json", {"num_classes": 3, "label_names": NAMES}),
        ("args.json", {"class_to_idx": {"blue": 2, "green": 1, "red": 0}}),
        ("labels.csv", "index,name\n2,blue\n0,red\n1,green\n"),
        ("labels.csv", "name\nred\ngreen\nblue\n"),
        ("labels.csv", "index,mid,display_name\n0,/m/0,red\n1,/m/1,green\n2,/m/2,blue\n"),
        ("labels.csv", "label,class_name\n1,green\n0,red\n2,blue\n"),
        ("labels.csv", "id,label\nn9,red\nn5,green\nn7,blue\n"),
        ("labels.csv", 'Class ID;Label\n0;"red"\n1;green\n2;blue\n'),
        ("labels.tsv", "name\tid\nred\t0\ngreen\t1\nblue\t2\n"),
    ],
)
def test_every_form_gives_the_labels_in_the_order_of_the_classes(tmp_path, name, content):
    assert read_labels(write(tmp_path, name, content)) == NAMES


@pytest.mark.parametrize(
    ("name", "content", "labels"),
    [
        ("labels.txt", "0 red\n1 red\n2 blue\n", ["0 red", "1 red", "2 blue"]),
        ("labels.txt", "0 defects\n1 defect\n", ["0 defects", "1 defect"]),
        ("labels.txt", "[0] a\n[1] b\n[2] c\n", ["[0] a", "[1] b", "[2] c"]),
        ("labels.csv", "label\n7\n3\n", ["7", "3"]),
        ("labels.csv", 'name\n"tench, Tinca tinca"\n"a ""b"""\n', ["tench, Tinca tinca", 'a "b"']),
        ("labels.csv", "", []),
        ("labels.json", {"1": 0, "10": 1, "2": 2}, ["1", "10", "2"]),
        ("labels.json", {"0": 0, "1": 1}, ["0", "1"]),
        ("labels.json", [0, 1.5, "x"], ["0", "1.5", "x"]),
        ("labels.json", [], []),
    ],
)
def test_what_could_be_taken_for_something_else(tmp_path, name, content, labels):
    assert read_labels(write(tmp_path, name, content)) == labels


def test_an_index_column_of_two_lines_is_one_where_the_origin_writes_them(tmp_path):
    path = write(tmp_path, "labels.txt", "0 Class 1\n1 Class 2\n")
    assert read_labels(path, fewest_numbered=1) == ["Class 1", "Class 2"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "labels.json",
            {"0": "a", "2": "c"},
            "has no label of class 1: there are 2 labels, with indices from 0 to 2",
        ),
        (
            "labels.json",
            {"1": "a", "2": "c"},
            "has no label of class 0: there are 2 labels, with indices from 1 to 2",
        ),
        ("labels.json", {"0": "a", "00": "c"}, "has index 0 twice, for 'a' and 'c'"),
        ("labels.json", {"a": 0, "b": 0}, "has index 0 twice, for 'a' and 'b'"),
        ("labels.json", '{"crane": 0, "dog": 1, "crane": 2}', "has no label of class 0"),
        ("labels.json", {"0": 1, "1": 0}, "numbers to numbers, which may be read both ways"),
        ("labels.json", {"id2label": {"0": "a", "3": "b"}}, "labels.json: id2label has no label of class 1"),
        (
            "labels.json",
            {"a": "b", "c": "d"},
            r"has no indices for keys \('a', 'c', ...\), and none of id2",
        ),
        ("labels.json", {"a": True, "b": False}, "has no indices for keys"),
        ("labels.json", {"0": {"x": 1}}, "which is no label"),
        ("labels.json", ["a", ""], "holds '', which is no label"),
        ("labels.json", ["a", None], "holds 'None', which is no label"),
        ("labels.json", "3", "where a list of labels, or labels by index from 0, is needed"),
        ("labels.json", "red\ngreen", "where a list of labels, or labels by index from 0, is needed"),
        (
            "labels.json",
            "__import__('os').system('id')",
            "where a list of labels, or labels by index from 0, is needed",
        ),
        ("labels.json", "[" * 10**5, "where a list of labels, or labels by index from 0, is needed"),
        ("labels.csv", "index,name\n0,a\n2,c\n", "has no label of class 1"),
        ("labels.csv", "index,name\n0,a\n0,c\n", "has index 0 twice, for 'a' and 'c'"),
        ("labels.csv", "0,red\n1,green\n", "has no column of labels by its first line, '0,red'"),
        ("labels.csv", "index,name\n0,a\n1,b,c\n", "has 3 fields in '1,b,c', and 2 in its heading"),
        ("labels.csv", 'name\n"a\n', "is no table: unexpected end of data"),
        ("labels.csv", "index,name\n0,a\n1, \n", "has a row without a label in its column 'name'"),
        ("labels.csv", f"name\n{'x' * 200000}\n", "field larger than field limit"),
    ],
)
def test_what_is_refused(tmp_path, name, content, words):
    path = write(tmp_path, name, content)
    with pytest.raises(ModelError, match=words) as caught:
        read_labels(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert caught.value.settings == ("labels",)


def test_a_file_that_is_no_label_file(tmp_path):
    with (tmp_path / "model.bin").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(ModelError, match=r"model\.bin is larger than 16.8 MB, more than"):
        read_labels(tmp_path / "model.bin")
    with pytest.raises(ModelError, match=r"labels: .* cannot be read: Is a directory"):
        read_labels(tmp_path)
