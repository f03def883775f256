"""How often a model is right on labelled pictures, and what is said of its preprocessing: on the demo's."""

from importlib import resources

import numpy as np
import pytest
from PIL import Image

import sise_rt
from examples.surface import generate as surface
from sise_rt.errors import ArgumentError, ImageError
from sise_rt.evaluation.accuracy import measure_accuracy
from sise_rt.evaluation.classes import match_classes
from sise_rt.evaluation.datasets import read_labelled
from sise_rt.evaluation.samples import DataError

DEMO = resources.files("sise_rt") / "demo" / "surface.sise"
WRONG = {"mean": 0, "std": 1}


def measured(bundle, data, **options):
    explainer, dataset = sise_rt.load(bundle, "cpu", 1), read_labelled(data)
    return measure_accuracy(
        explainer, dataset, match_classes(dataset.classes, explainer.manifest, {})[0], **options
    )


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    """The demo's bundle with preprocessing that it was not trained with."""
    folder = tmp_path_factory.mktemp("wrong")
    return sise_rt.amend(DEMO, folder / "wrong.sise", preprocess=WRONG).path


def test_ten_pictures_tell_wrong_preprocessing_from_right(photos, wrong):
    right = measured(DEMO, photos)
    assert (right.pictures, right.compared, right.better) == (10, 10, None)
    assert right.tried > 8
    assert right.right >= 9
    assert right.highest >= right.own > 0.8
    spoiled = measured(wrong, photos)
    assert spoiled.right <= 3
    assert spoiled.own < 0.3
    better = spoiled.better
    assert "ImageNet's mean and std" in better.words
    assert better.clear.right[0] == spoiled.right
    # What is said of the alternative is what a bundle with it says of itself.
    taken = sise_rt.amend(
        wrong,
        wrong.with_name("better.sise"),
        preprocess={key: getattr(better.preprocess, key) for key in ("mean", "std", "scale", "color")},
    )
    assert measured(taken.path, photos).right == better.clear.right[1]
    assert measured(taken.path, photos).own == pytest.approx(better.clear.own[1], rel=1e-4)


def test_the_confidences_are_the_explainer_s(photos):
    explainer = sise_rt.load(DEMO, "cpu", 1)
    picture = photos / surface.CLASSES[2] / "1.png"
    trust = explainer.confidences(picture)
    table = photos / "one.csv"
    table.write_text(f"{surface.CLASSES[2]}/1.png,{surface.CLASSES[1]}\n")
    told = measured(DEMO, table)
    assert (told.pictures, told.right, told.tried > 0, told.better) == (1, 0, True, None)
    assert told.own == pytest.approx(trust[1], rel=1e-4, abs=1e-9)
    assert told.highest == pytest.approx(trust.max(), rel=1e-4)


def test_of_several_classes_one_may_be_predicted(photos):
    table = photos / "two.csv"
    table.write_text(f"image,class\n{surface.CLASSES[2]}/1.png,index:2\n{surface.CLASSES[2]}/1.png,0\n")
    assert (measured(DEMO, table).right, measured(DEMO, table).pictures) == (1, 1)


def test_what_cannot_be_used_is_counted_and_named(photos, tmp_path):
    (tmp_path / "pit").mkdir()
    (tmp_path / "pit" / "torn.png").write_bytes(b"\x89PNG")
    (tmp_path / "zebra").mkdir()
    (tmp_path / "dent").mkdir()
    for name in ("zebra/a.png", "pit/b.png", "c.png"):
        (tmp_path / name).write_bytes((photos / "pit" / "0.png").read_bytes())
    told = measured(DEMO, tmp_path, limit=5)
    assert (told.pictures, told.right) == (1, 1)
    assert list(told.failed) == ["pit/torn.png"]
    assert isinstance(told.failed["pit/torn.png"], ImageError)
    assert sorted(told.unlabelled) == ["c.png", "zebra/a.png"]
    problems = [(problem.kind, problem.where) for problem in read_labelled(tmp_path).problems]
    assert problems == [("folder without pictures", "dent")]


def test_only_failures(tmp_path):
    (tmp_path / "pit").mkdir()
    (tmp_path / "pit" / "torn.png").write_bytes(b"\x89PNG")
    told = measured(DEMO, tmp_path)
    assert (told.pictures, told.right, len(told.failed)) == (0, 0, 1)


def test_refusals(tmp_path, photos):
    with pytest.raises(DataError, match="holds no usable picture"):
        measured(DEMO, tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        measured(DEMO, tmp_path / "lost")
    (tmp_path / "zebra").mkdir()
    (tmp_path / "zebra" / "a.png").write_bytes((photos / "pit" / "0.png").read_bytes())
    with pytest.raises(ArgumentError, match=r"no picture in .* has a class that the model has"):
        measured(DEMO, tmp_path)


def test_progress_and_limit(photos):
    seen = []
    told = measured(DEMO, photos, limit=3, progress=lambda *at: seen.append(at[:2]))
    assert told.pictures == 3
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(("tail", "activation"), [("Sigmoid", "sigmoid"), ("", "none")])
def test_sigmoids_and_outputs(cnn, tmp_path, tail, activation):
    from sise_rt.export import export

    model = cnn(tmp_path / "a.onnx", tail=tail)
    bundle = export(model, tmp_path / "a.sise", activation=None if tail else activation).path
    rng = np.random.default_rng(0)
    for name in "01":
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / "data" / name / "a.png")
    told = measured(bundle, tmp_path / "data")
    trust = [sise_rt.load(bundle, "cpu").confidences(tmp_path / "data" / name / "a.png") for name in "01"]
    assert (told.activation, told.pictures) == (activation, 2)
    assert told.right == sum(int(each.argmax() == index) for index, each in enumerate(trust))
    own = [each[index] for index, each in enumerate(trust)]
    assert told.own == pytest.approx(np.mean(own), rel=1e-4)
    assert told.listed == np.mean(np.array(own) >= 0.5)
    assert (told.tried > 0) == (activation == "sigmoid")
