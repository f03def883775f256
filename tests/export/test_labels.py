"""Labels of classes: those that the user gives, and those of the model's own files."""

import pytest
from sise_rt.export.labels import class_labels
from sise_rt.export.origins.description import Description

from sise_rt.errors import ModelError

NOTHING = Description()
TWO = Description.of("config.json", labels=["c", "d"])


def test_labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("\ufeffcat\r\n  dog \n\nWürfel\n", "utf-8")
    assert class_labels(path, NOTHING, 3, False) == (("cat", "dog", "Würfel"), None, None)
    path.write_text("n02123159 tiger cat\nn02123045 tabby, tabby cat\n")
    labels = ("tiger cat", "tabby, tabby cat")
    assert class_labels(path, TWO, 2, False) == (
        labels,
        None,
        f"labels of {path} are taken without WordNet ids",
    )
    assert class_labels(["a", "b"], TWO, 2, False) == (("a", "b"), None, None)
    assert class_labels(None, TWO, 2, False) == (("c", "d"), None, None)
    assert class_labels(None, NOTHING, 3, False) == ((), None, None)


def test_labels_of_other_weights():
    others = Description.of("timm abc", of_other_weights=True, labels=["c", "d"])
    assert class_labels(None, others, 2, False) == (("c", "d"), "labels, as for timm abc", None)
    assert class_labels(None, others, 3, False) == (
        (),
        None,
        "labels of timm abc left out: 2 labels for a model with 3 classes; the first are 'c', 'd'",
    )


def test_labels_of_two_sides():
    assert class_labels(["scratch"], NOTHING, 2, True)[0] == ("not scratch", "scratch")
    assert class_labels(["good", "bad"], NOTHING, 2, True)[0] == ("good", "bad")
    assert class_labels(None, NOTHING, 2, True)[0] == ("negative", "positive")
    assert class_labels(None, Description.of("a", labels=["x"]), 2, True)[0] == ("not x", "x")


def test_labels_that_are_refused(tmp_path):
    words = r"^2 labels for a model with 3 classes; the first are 'a', 'b' \(see labels\)$"
    with pytest.raises(ModelError, match=words):
        class_labels(["a", "b"], NOTHING, 3, False)
    words = r"^config.json: labels has 2 labels for a model with 3 classes; the first are 'c', 'd' \(see"
    with pytest.raises(ModelError, match=words):
        class_labels(None, TWO, 3, False)
    path = tmp_path / "labels.txt"
    path.write_text("a\nb\nc\nd")
    words = r"labels\.txt: 4 labels for a model with 3 classes; the first are 'a', 'b', 'c' \(see labels\)$"
    with pytest.raises(ModelError, match=words):
        class_labels(path, NOTHING, 3, False)
    path.write_text("Class\na\nb\nc")
    words = "4 labels for a model with 3 classes: leave out line 1, 'Class', if it is a heading; the first"
    with pytest.raises(ModelError, match=words):
        class_labels(path, NOTHING, 3, False)
    with pytest.raises(ModelError, match=r"labels: .*missing.txt cannot be read: No such file"):
        class_labels(tmp_path / "missing.txt", NOTHING, 3, False)
    path.write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ModelError, match=r"labels: .*labels\.txt cannot be read: 'utf-8' codec"):
        class_labels(path, NOTHING, 3, False)
