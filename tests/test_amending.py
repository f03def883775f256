"""What a bundle says is changed without an export: its graphs stay, its hash changes, and it tells."""

import json
from dataclasses import asdict, replace
from importlib import resources

import numpy as np
import pytest

import sise_rt
from sise_rt.amending import OUTDATED_GATE
from sise_rt.bundle import MANIFEST, read_bundle, sha256
from sise_rt.errors import ArgumentError, BundleError, ModelError, OutputError
from sise_rt.manifest import HalfPrecision
from sise_rt.writing import write_manifest

DEMO = resources.files("sise_rt") / "demo" / "surface.sise"
GATE = HalfPrecision(
    images=9, left_out=0, masks=9, correlation=1, lowest_correlation=1, jaccard=1, confidence=0, peak=9
)
LABELS = ("fine", "a scratch", "a pit", "a stain", "a crack")


@pytest.fixture
def amended(tmp_path):
    """The function that amends the demo's bundle, or a manifest like its own with other values."""

    def made(before=None, **stated):
        bundle = DEMO
        if before:
            bundle = sise_rt.amend(DEMO, tmp_path / "before.sise", name="before").path
            write_manifest(bundle, replace(read_bundle(DEMO), **before))
        return sise_rt.amend(bundle, tmp_path / "a.sise", **stated)

    return made


def test_what_is_stated_is_in_the_new_bundle(amended):
    before = sha256(DEMO / MANIFEST)
    made = amended(labels=LABELS, preprocess={"mean": 0.25, "color": "bgr"}, licence="MIT", name="steel")
    manifest = read_bundle(made.path)
    assert manifest == made.manifest
    assert (manifest.labels, manifest.licence, manifest.name) == (LABELS, "MIT", "steel")
    assert (manifest.preprocess.mean, manifest.preprocess.color) == ((0.25,) * 3, "BGR")
    old = read_bundle(DEMO)
    assert manifest.preprocess.std == old.preprocess.std
    assert (manifest.files, manifest.schema_version) == (old.files, old.schema_version)
    (entry,) = manifest.amended
    assert entry.manifest == before == sha256(DEMO / MANIFEST)
    assert entry.before == {
        "color": "RGB",
        "labels": list(old.labels),
        "licence": "Apache-2.0",
        "mean": list(old.preprocess.mean),
        "name": old.name,
    }
    assert entry.time.endswith("+00:00")
    assert sha256(made.path / MANIFEST) != before
    assert manifest.amended_settings == ("color", "labels", "licence", "mean", "name")


def test_pictures_are_prepared_as_it_says(amended):
    grey = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    stated = {"mean": [value * 2 for value in read_bundle(DEMO).preprocess.mean], "scale": 127.5, "std": 0.25}
    made = sise_rt.load(amended(preprocess=stated).path, "cpu").prepare(grey).tensor
    mean = np.array(stated["mean"], np.float32)[:, None, None]
    wanted = (grey.transpose(2, 0, 1) / np.float32(127.5) - mean) / 0.25
    np.testing.assert_allclose(made[0], wanted, rtol=1e-4, atol=1e-5)


def test_records_tell(amended):
    picture = np.zeros((160, 160, 3), np.uint8)
    made = amended(labels=LABELS, preprocess={"mean": 0.5})
    explained = sise_rt.load(made.path, "cpu").explain(picture, 1, method="rise:masks=2")
    assert explained.record()["bundle"] == {
        "name": "surface",
        "sha256": sha256(made.path / MANIFEST),
        "amended": ["labels", "mean"],
        "source": asdict(made.manifest.source),
    }
    assert explained.record()["target"]["label"] == "a scratch"


def test_a_manifest_that_was_not_amended_says_nothing_of_it(small_bundle):
    assert "amended" not in json.loads((small_bundle / MANIFEST).read_text())
    assert read_bundle(small_bundle).amended == ()


def test_amended_again(amended, tmp_path):
    first = amended(name="one")
    second = sise_rt.amend(first.path, tmp_path / "b.sise", name="two")
    assert [entry.before for entry in second.manifest.amended] == [{"name": "surface"}, {"name": "one"}]
    assert second.manifest.amended[1].manifest == sha256(first.path / MANIFEST)


def test_it_lies_beside_the_old_one_however_that_is_named(amended, monkeypatch):
    made = amended(name="old").path
    for here, named in ((made, "."), (made / "blocks", "..")):
        monkeypatch.chdir(here)
        new = sise_rt.amend(named, name="new", overwrite=True)
        assert new.path.resolve() == made.with_name("a.amended.sise").resolve()


def test_the_files_are_copies(amended):
    """ONNX refuses weights that have a second name."""
    onnx = pytest.importorskip("onnx")
    made = amended(name="steel").path
    assert all(path.stat().st_nlink == 1 for path in made.rglob("*") if path.is_file())
    onnx.load(made / "features.onnx")


def test_what_was_assumed_is_not_any_more(amended):
    lines = (
        "mean 0.5",
        "std 0.1",
        "crop_pct 1.0, as said",
        "labels, as for another",
        "color RGB",
        "scale 255",
    )
    before = {"assumed": lines, "preprocess": replace(read_bundle(DEMO).preprocess, crop_assumed=True)}
    made = amended(before, labels=LABELS, preprocess={"crop_pct": 1, "color": "RGB"}).manifest
    assert made.assumed == ("mean 0.5", "std 0.1", "scale 255")
    assert not made.preprocess.crop_assumed
    assert made.preprocess.color == "RGB"


def test_half_a_normalisation_that_was_assumed(amended):
    with pytest.raises(ModelError, match=r"go together, and one of them was only assumed.*\(see mean, std\)"):
        amended({"assumed": ("mean 0.5", "std 0.1")}, preprocess={"mean": 0.5})


def test_warnings_about_earlier_values_go(amended):
    old = read_bundle(DEMO).preprocess
    about = f"the model itself divides by 255, and mean {','.join(map(str, old.mean))} and std "
    about += f"{','.join(map(str, old.std))} are assumed on top"
    before = {"warnings": (about, "a single output is taken for a logit")}
    made = amended(before, preprocess={"mean": 0, "std": 1})
    assert made.manifest.warnings == ("a single output is taken for a logit",)
    assert made.notes == (f"left out, as it was about the earlier values: {about}",)


def test_a_warning_of_what_is_stated(amended):
    made = amended(preprocess={"scale": 1})
    says = "scale 1, mean 0.51,0.5,0.5 and std 0.13,0.12,0.12 make values up to 2,121 of pixels of 0 to 255"
    assert made.manifest.warnings[0].startswith(says)


def test_the_gate_of_half_precision_is_outdated(amended):
    before = {"parity": replace(read_bundle(DEMO).parity, gate=GATE), "precision": "fp16"}
    made = amended(before, preprocess={"mean": 0.5}).manifest
    assert (made.parity.gate, made.warnings) == (None, (OUTDATED_GATE,))


def test_labels_leave_the_gate(amended):
    before = {"parity": replace(read_bundle(DEMO).parity, gate=GATE), "precision": "fp16"}
    made = amended(before, labels=LABELS).manifest
    assert (made.parity.gate, made.warnings) == (GATE, ())


def test_another_order_of_colours_is_said(amended):
    note = (
        "mean and std stay as they were, now in the order B, G, R: state them as well if they are of colours"
    )
    assert amended(preprocess={"color": "BGR"}).notes == (note,)


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({}, "nothing is to be amended"),
        ({"preprocess": {"mean": None}}, "nothing is to be amended"),
        ({"preprocess": {"tint": 1}}, "preprocessing has no 'tint'; there are bit_depth, color"),
    ],
)
def test_wrong_arguments(amended, stated, says):
    with pytest.raises(ArgumentError, match=says):
        amended(**stated)


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({"labels": ["a"]}, r"1 label for a model with 5 classes; the first is 'a' \(see labels\)"),
        ({"labels": "abcde"}, "labels: abcde cannot be read: No such file"),
        ({"preprocess": {"mean": (1, 2)}}, "mean has 2 values for 3 channels: give one, or one a channel"),
        ({"preprocess": {"std": 0}}, "std 0.0, where 1e-9 to 1e9 is needed"),
        ({"preprocess": {"scale": "big"}}, "scale is 'big', where a number is needed"),
        ({"preprocess": {"mean": 123}}, "mean 123,123,123 is above the brightest pixel, 1 by scale 255"),
        ({"preprocess": {"scale": 65535}}, "above the largest pixel of 8 bits"),
        ({"preprocess": {"bit_depth": 40}}, "bit_depth is '40', where 8 to 16 is needed"),
        ({"preprocess": {"color": "GRAY"}}, "color GRAY does not go with 3 channels"),
        ({"preprocess": {"crop_mode": "fit"}}, "crop_mode 'fit'; known are center, squash"),
    ],
)
def test_values_that_do_not_fit(amended, tmp_path, stated, says):
    with pytest.raises(ModelError, match=says):
        amended(**stated)
    assert not list(tmp_path.iterdir())


def test_nothing_is_replaced_unless_asked(amended, tmp_path):
    made = amended(name="one").path
    with pytest.raises(OutputError, match=r"a\.sise exists already, .* \(see overwrite\)"):
        amended(name="two")
    assert read_bundle(made).name == "one"
    in_place = sise_rt.amend(made, made, name="two", overwrite=True)
    assert read_bundle(in_place.path).name == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["a.sise"]
    assert sise_rt.amend(made, name="three").path == tmp_path / "a.amended.sise"
    (tmp_path / "mine").mkdir()
    with pytest.raises(OutputError, match="is no bundle, so it stays"):
        sise_rt.amend(made, tmp_path / "mine", name="four", overwrite=True)


def test_a_bundle_that_was_altered(amended, tmp_path):
    made = amended(name="one").path
    (made / "weights.bin").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"weights\.bin was altered"):
        sise_rt.amend(made, name="two")
    assert [path.name for path in tmp_path.iterdir()] == ["a.sise"]


def test_a_bundle_is_not_written_into_itself(tmp_path):
    bundle = sise_rt.amend(DEMO, tmp_path / "a.sise", name="a").path
    for inside in (bundle / "b.sise", tmp_path / "a.sise" / "blocks" / ".." / "b"):
        with pytest.raises(OutputError, match="lies inside the bundle"):
            sise_rt.amend(bundle, inside, name="b")
    assert read_bundle(bundle).name == "a"


def test_the_folder_where_one_is_gets_its_new_bundle_beside(tmp_path, monkeypatch):
    bundle = sise_rt.amend(DEMO, tmp_path / "a.sise", name="a").path
    monkeypatch.chdir(bundle)
    assert sise_rt.amend(".", name="b").path == tmp_path / "a.amended.sise"


def test_a_manifest_holds_names_that_are_no_text(tmp_path):
    odd = {"name": "steel\udcff", "licence": "\udcff", "labels": ["\ud800", "a", "b", "c", "d"]}
    made = sise_rt.amend(DEMO, tmp_path / "a.sise", **odd)
    assert read_bundle(made.path).name == "steel\udcff"
    assert read_bundle(made.path).labels[0] == "\ud800"
    assert b"\\ud800" in (made.path / MANIFEST).read_bytes()
