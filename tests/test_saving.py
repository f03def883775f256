"""What is written of an explanation: what is asked for, and nothing else is made."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

import sise_rt
from sise_rt.errors import ArgumentError, OutputError
from sise_rt.saving import OUTPUTS, USUAL, map_bytes, outputs_of, record_bytes, smaller_map, smaller_size


@pytest.fixture(scope="module")
def explainer(small_bundle):
    return sise_rt.load(small_bundle, "cpu")


@pytest.fixture
def explanation(explainer):
    pixels = np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)
    return explainer.explain(explainer.prepare(pixels), 1)


def forbidden(*_, **__):
    raise AssertionError("nobody asked for that")


def test_outputs_are_parsed():
    assert outputs_of("map, overlay,record") == USUAL
    assert outputs_of("none") == frozenset()
    assert outputs_of(",".join(OUTPUTS)) == {*OUTPUTS}


@pytest.mark.parametrize(
    ("text", "says"),
    [("maps", "no output 'maps': choose of"), ("", "no output ''"), ("map,none", "'none' stands alone")],
)
def test_other_outputs_are_refused(text, says):
    with pytest.raises(ArgumentError, match=says) as refused:
        outputs_of(text)
    assert refused.value.settings == ("outputs",)


@pytest.mark.parametrize(
    "outputs", [["map"], ["record"], ["overlay"], ["blocks"], ["report"], [], [*OUTPUTS]]
)
def test_what_is_asked_for_is_written(outputs, explanation, tmp_path):
    files = explanation.save(tmp_path / "out", stem="cam1/0001", outputs=outputs)
    assert {*files} == {tmp_path / f"out/cam1/0001.1{OUTPUTS[output]}" for output in outputs}
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {*files}


def test_nothing_is_drawn_that_nobody_asked_for(explanation, tmp_path, monkeypatch):
    for name in ("pixels", "overlay", "strip", "html"):
        monkeypatch.setattr(sise_rt.Explanation, name, forbidden)
    explanation.save(tmp_path, outputs=["map", "record"], draw=forbidden)
    assert explanation.save(tmp_path / "none", outputs=[]) == []
    assert not (tmp_path / "none").exists()


def test_the_record_comes_first(explanation, tmp_path):
    """An interrupted run that did not get further knows by it that the rest is its own."""

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    with pytest.raises(Killed):
        explanation.save(tmp_path, stem="a", draw=die)
    assert (tmp_path / "a.1.json").exists()
    assert len(explanation.save(tmp_path, stem="a")) == 3


def test_a_file_without_its_record_stays(explanation, tmp_path):
    explanation.save(tmp_path, stem="a", outputs=["overlay"])
    before = (tmp_path / "a.1.png").read_bytes()
    with pytest.raises(OutputError, match="nothing is recorded of"):
        explanation.save(tmp_path, stem="a", outputs=["overlay"], draw=lambda *_: b"")
    assert (tmp_path / "a.1.png").read_bytes() == before


def test_a_method_without_blocks_has_no_strip(explainer, tmp_path):
    pixels = np.zeros((32, 32, 3), np.uint8)
    found = explainer.explain(explainer.prepare(pixels + 9), 1, method="rise:masks=8")
    assert [path.name for path in found.save(tmp_path, outputs=["map", "blocks"])] == ["image.1.npy"]


def test_without_a_picture_nothing_is_drawn(explanation, tmp_path):
    gone = replace(explanation, picture=None)
    assert [path.suffix for path in gone.save(tmp_path)] == [".npy", ".json"]
    with pytest.raises(ArgumentError, match="does not hold its picture"):
        gone.save(tmp_path, outputs=["report"])


def test_unknown_outputs_and_sizes_are_refused(explanation, tmp_path):
    with pytest.raises(ArgumentError, match="no output 'gif'"):
        explanation.save(tmp_path, outputs=["gif"])
    with pytest.raises(ArgumentError, match="leads out"):
        explanation.save(tmp_path, stem="../a")
    for size in (0, -1, 2.5, "8"):
        with pytest.raises(ArgumentError, match="1 pixel large or more"):
            explanation.save(tmp_path, outputs=["map"], map_size=size)
    assert not [*tmp_path.iterdir()]


def test_names_that_are_no_utf8_survive(explanation, tmp_path):
    stem = os.fsdecode(b"caf\xe9")
    files = replace(explanation, name=f"{stem}.png").save(tmp_path, stem=f"{stem}/{stem}")
    assert os.fsencode(files[0].name) == b"caf\xe9.1.png"
    record = json.loads((tmp_path / stem / f"{stem}.1.json").read_text("utf-8"))
    assert record["picture"]["name"] == f"{stem}.png"


def test_a_smaller_map_is_the_mean_of_areas():
    map_ = np.random.default_rng(0).random((8, 12), np.float32)
    means = map_.reshape(4, 2, 6, 2).mean((1, 3))
    np.testing.assert_allclose(smaller_map(map_, 4), means, atol=1e-6)
    for same in (None, 8, 100):
        assert smaller_map(map_, same) is map_


@pytest.mark.parametrize("shape", [(224, 224), (7, 300), (299, 1)])
@pytest.mark.parametrize("size", [1, 5, 56])
def test_a_smaller_map_stays_within_0_and_1(shape, size):
    for map_ in (np.ones(shape, np.float32), np.random.default_rng(0).random(shape, np.float32)):
        smaller = smaller_map(map_, size)
        assert smaller.shape == smaller_size(shape, size)
        assert smaller.dtype == np.float32
        assert 0 <= smaller.min() <= smaller.max() <= 1
    assert min(smaller.shape) == min(size, *shape)


def test_the_file_has_the_smaller_map(explanation, tmp_path):
    (path,) = explanation.save(tmp_path, outputs=["map"], map_size=8)
    np.testing.assert_array_equal(np.load(path), smaller_map(explanation.map, 8))
    assert map_bytes(smaller_map(explanation.map, 8)) == path.read_bytes()
    assert record_bytes({"a": "\udcff"}) == b'{\n  "a": "\\udcff"\n}\n'
