"""Targets: what a user may write for a class."""

from dataclasses import replace

import numpy as np
import pytest

from sise_rt.bundle import Manifest, read_bundle
from sise_rt.errors import TargetError
from sise_rt.targets import resolve_target

LABELS = ("tench, Tinca tinca", "crane", "tabby, tabby cat", "crane", "Straße", "7", "tiger cat", "tiger")


@pytest.fixture(scope="module")
def manifest(small_bundle) -> Manifest:
    return replace(read_bundle(small_bundle), labels=LABELS, classes=len(LABELS))


@pytest.mark.parametrize(
    ("target", "index"),
    [
        (2, 2),
        (np.int64(2), 2),
        ("2", 2),
        (" +2 ", 2),
        ("0", 0),
        ("tabby, tabby cat", 2),
        ("tabby cat", 2),
        ("TABBY", 2),
        ("tinca TINCA", 0),
        ("STRASSE", 4),
        (7, 7),
        ("index:7", 7),
        ("label:7", 5),
        ("index: 2", 2),
        ("label:tabby", 2),
        ("tiger", 7),
        ("tiger cat", 6),
    ],
)
def test_what_names_a_class(manifest, target, index):
    assert resolve_target(target, manifest) == index


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("crane", r"names 2 classes: 1 \(crane\), 3 \(crane\); give the index"),
        (8, "out of range: the model has classes 0 to 7"),
        (-1, "out of range"),
        ("-1", "out of range"),
        ("99999999", "out of range"),
        ("tabbi", "is no label of this model; close: tabby, tabby cat"),
        ("cat", "close: tabby, tabby cat; tiger cat$"),
        (["tabby", "tiger"], "no label and no index; for several there is explain_targets$"),
        ("qqqqqq", r"is no label of this model; its labels are tench, Tinca tinca; crane; .*; \.\.\.$"),
        ("7", "both an index and a label: give index:7 or label:7"),
        ("index:tabby", "no class index"),
        ("label:2", "is no label"),
        ("", "neither a class index nor a label"),
        ("  ", "neither"),
        (True, "neither"),
        (None, "is no label"),
        (1.5, "is no label"),
        ("--5", "is no label"),
        ("9" * 5000, "is no label"),
        pytest.param(10**5000, "more than 9 digits is out of range: the model has classes 0 to ", id="large"),
        pytest.param(-(10**5000), "more than 9 digits is out of range", id="small"),
        ("²", "is no label"),
    ],
)
def test_what_does_not(manifest, target, message):
    with pytest.raises(TargetError, match=message):
        resolve_target(target, manifest)


def test_without_labels_only_indices_name_classes(manifest):
    bare = replace(manifest, labels=())
    assert resolve_target("3", bare) == 3
    assert bare.label(3) == "3"
    with pytest.raises(TargetError, match="no labels: give a class index"):
        resolve_target("tabby", bare)


def test_close_matches_of_imagenet_labels(manifest, material):
    lines = (material / "images/imagenet_val/synset_words.txt").read_text().splitlines()
    labels = tuple(line.split(" ", 1)[1] for line in lines)
    imagenet = replace(manifest, labels=labels, classes=1000)
    assert resolve_target("tabby", imagenet) == 281
    with pytest.raises(TargetError, match=r"names 2 classes: 134 .*517 "):
        resolve_target("crane", imagenet)
    with pytest.raises(TargetError, match=r"close: .*golden retriever"):
        resolve_target("golden retreiver", imagenet)
    with pytest.raises(TargetError) as caught:
        resolve_target("dog", imagenet)
    near = str(caught.value).partition("close: ")[2].split("; ")
    assert len(near) == 5
    assert all("dog" in label.split() or "dog," in label.split() for label in near)
