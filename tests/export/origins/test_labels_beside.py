"""A `labels.txt` beside a model of any origin, and labels in its own properties."""

import pytest


def test_labels_beside_a_model(folder_of, prepared):
    folder = folder_of({}, {"labels.txt": "a\nb\nc\nd\ne\n"})
    for source in (folder, folder / "model.onnx"):
        made = prepared(source)
        assert made.labels == tuple("abcde")
        assert made.described == ("from labels.txt: 5 labels",)


def test_labels_beside_a_model_that_do_not_fit(folder_of, prepared, refused):
    folder = folder_of({}, {"labels.txt": "a\nb\n"})
    assert refused(folder) == (
        "labels.txt: labels has 2 labels for a model with 5 classes; the first are 'a', 'b'; if that file is "
        "of another model, move it elsewhere, or give the labels (see labels)"
    )
    assert prepared(folder, labels=list("vwxyz")).labels == tuple("vwxyz")
    lines = [f"n0000000{index} {name}" for index, name in enumerate("abcde")]
    folder = folder_of({}, {"labels.txt": "\n".join(lines)})
    made = prepared(folder)
    assert made.labels == tuple("abcde")
    assert made.described == ("from labels.txt: 5 labels (labels without WordNet ids)",)
    folder = folder_of({}, {"labels.txt": "4: a\n3: b\n2: c\n1: d\n0: e\n"})
    assert "numbers its labels in another order than that of its lines" in refused(folder)


def test_labels_that_contradict_each_other(folder_of, refused):
    folder = folder_of({"names": "['a', 'b', 'c', 'd', 'e']"}, {"labels.txt": "e\nd\nc\nb\na\n"})
    assert refused(folder) == (
        "labels.txt: labels is 5 labels ('e', 'd', 'c', ...), and the model's metadata says 5 labels "
        "('a', 'b', 'c', ...) (names): say which (see labels)"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("names", "{0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e'}"),
        ("labels", '["a", "b", "c", "d", "e"]'),
        ("labels", "a,b, c,d,e"),
        ("classes", "a\nb\nc\nd\ne"),
        ("classes", '{"e": 4, "a": 0, "c": 2, "b": 1, "d": 3}'),
        ("class_names", "('a', 'b', 'c', 'd', 'e')"),
    ],
)
def test_labels_in_a_property(folder_of, prepared, key, value):
    made = prepared(folder_of({key: value}))
    assert made.labels == tuple("abcde")
    assert made.described[0].startswith("from the model's metadata: 5 labels")


def test_a_number_of_classes_is_none_of_labels(folder_of, prepared):
    assert prepared(folder_of({"classes": "5"})).labels == ()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            "print('x', 'y')",
            "labels is \"print('x', 'y')\", where a list of labels, or labels by index from 0, is needed",
        ),
        ("{0: 'a', 2: 'c'}", "labels has no label of class 1: there are 2 labels"),
        ("a,b", "labels has 2 labels for a model with 5 classes; the first are 'a', 'b'"),
    ],
)
def test_labels_in_a_property_that_are_refused(folder_of, refused, value, words):
    assert f"the model's metadata: {words}" in refused(folder_of({"labels": value}))
