"""Labels by their definitions, and the table as others read it."""

import csv
import io

import numpy as np
import pytest

from sise_rt.augmenting.labels import COLUMNS, KINDS, SALIENT_LABELS, Labelling, table

ABC = ("a", "b", "c")


def softs(labelling, target, present):
    return [labelling.soft(kind, target, present).tolist() for kind in KINDS]


@pytest.mark.parametrize(
    ("salient", "softmax", "hard", "weights"),
    [
        ("background", [[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], "background", [1, 1, 1]),
        ("uniform", [[0, 1, 0], [0, 1, 0], [1 / 3, 1 / 3, 1 / 3]], "", [1, 1, 1]),
        ("weight=0", [[0, 1, 0], [0, 1, 0], [0, 1, 0]], "b", [1, 1, 0]),
    ],
)
def test_labels_of_a_softmax(salient, softmax, hard, weights):
    labelling = Labelling(ABC, "softmax", salient)
    assert softs(labelling, 1, [1]) == softmax
    assert [labelling.hard(kind, 1) for kind in KINDS] == ["b", "b", hard]
    assert [labelling.weight(kind, 1) for kind in KINDS] == weights


@pytest.mark.parametrize(
    ("salient", "last"), [("background", [1, 0, 0]), ("uniform", [1, 0.5, 0]), ("weight=0", [1, 1, 0])]
)
def test_labels_of_a_sigmoid_of_several_classes(salient, last):
    labelling = Labelling(ABC, "sigmoid", salient)
    assert softs(labelling, 1, [0, 1]) == [[1, 1, 0], [0, 1, 0], last]
    assert labelling.width == 3


@pytest.mark.parametrize("salient", SALIENT_LABELS)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_class_of_nothing_wrong_keeps_its_label_whatever_is_hidden(salient, activation):
    labelling = Labelling(ABC, activation, salient, kept=(1,))
    assert {tuple(soft) for soft in softs(labelling, 1, [1])} == {(0, 1, 0, 0)[: labelling.width]}
    assert {labelling.hard(kind, 1) for kind in KINDS} == {"b"}
    assert {labelling.weight(kind, 1) for kind in KINDS} == {1}
    assert labelling.hard("salient_occluded", 0) == Labelling(ABC, activation, salient).hard(
        "salient_occluded", 0
    )


def test_a_class_that_is_called_background_is_the_background():
    labelling = Labelling(("a", "Background", "c"), "softmax", "background")
    assert labelling.soft("salient_occluded", 2, [2]).tolist() == [0, 1, 0]


@pytest.mark.parametrize("salient", SALIENT_LABELS)
def test_labels_of_a_softmax_are_distributions(salient):
    labelling = Labelling([str(index) for index in range(7)], "softmax", salient)
    for kind in KINDS:
        assert labelling.soft(kind, 3, [3]).sum() == pytest.approx(1, abs=1e-12)


def test_the_table_has_a_row_for_each_file():
    lines = [
        {"id": "x/=1.jpg", "files": ["images/x.png", "images/r.png", "images/s.png"], "target": 1,
         "present": [1], "area": 0.25},
        {"id": "wrong,\n.jpg", "files": ["images/w.png"], "target": 2, "present": [2], "area": None},
    ]  # fmt: skip
    text = table(lines, Labelling(("a", "=b", "c"), "softmax", "uniform"), "random").decode("utf-8")
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert tuple(head) == COLUMNS
    soft = "0.333333333 0.333333333 0.333333333"
    assert rows == [
        ["images/x.png", "'=b", "0 1 0", "1", "original", "x/=1.jpg", "", "0.000000"],
        ["images/r.png", "'=b", "0 1 0", "1", "rest_occluded", "x/=1.jpg", "random", "0.750000"],
        ["images/s.png", "", soft, "1", "salient_occluded", "x/=1.jpg", "random", "0.250000"],
        ["images/w.png", "c", "0 0 1", "1", "original", "wrong,\\n.jpg", "", "0.000000"],
    ]
    np.testing.assert_allclose(sum(map(float, rows[2][2].split())), 1, atol=1e-8)
