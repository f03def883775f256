"""The engine: how a model is run does not change what it says."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

import sise_rt
from sise_rt.bundle import read_bundle
from sise_rt.errors import BundleError, ModelError, OutOfMemory
from sise_rt.running import engine as module
from sise_rt.running.engine import Engine, Scorer
from sise_rt.running.sessions import Sessions


@pytest.fixture(scope="module")
def engine(small_bundle) -> Engine:
    return Engine(Sessions(small_bundle, read_bundle(small_bundle), "cpu"))


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((1, 3, 32, 32)).astype(np.float32)


@pytest.fixture
def maps() -> np.ndarray:
    return np.random.default_rng(4).random((11, 8, 8), np.float32)


def test_what_does_not_fit_is_a_model_error(engine, image, maps):
    with pytest.raises(ModelError, match="the model cannot be run: "):
        engine.features(image[:, :, :16], np.zeros(1, np.int64))
    with pytest.raises(ModelError, match="the model cannot be run: "):
        engine.scorer(image, np.array([99]))(maps[:4])


def test_graphs_must_be_those_of_the_manifest(small_bundle):
    manifest = read_bundle(small_bundle)
    swapped = replace(manifest, graphs=replace(manifest.graphs, score=manifest.graphs.features))
    with pytest.raises(BundleError, match="does not fit the manifest"):
        Engine(Sessions(small_bundle, swapped, "cpu"))


@pytest.mark.parametrize("batch", [1, 3, 11, 16])
def test_batches_give_the_same_scores(engine, image, maps, batch):
    alone = [engine.scorer(image, np.array([0, 3]))(m[None]) for m in maps]
    scorer = engine.scorer(image, np.array([0, 3]))
    parts = [scorer(maps[i : i + batch]) for i in range(0, len(maps), batch)]
    for together, one_by_one in zip(zip(*parts, strict=True), zip(*alone, strict=True), strict=True):
        assert np.allclose(np.concatenate(together), np.concatenate(one_by_one), rtol=1e-5, atol=1e-7)


def test_threads_and_repetition_give_the_same_bits(small_bundle):
    explainer = sise_rt.load(small_bundle, "cpu")
    pictures = np.random.default_rng(5).integers(0, 256, (8, 40, 40, 3), dtype=np.uint8)
    alone = [explainer.explain(picture, batch_size=4).raw for picture in pictures]
    with ThreadPoolExecutor(8) as pool:
        together = list(
            pool.map(lambda picture: explainer.explain(picture, batch_size=4).raw, [*pictures] * 3)
        )
    again = sise_rt.load(small_bundle, "cpu")
    for i, raw in enumerate(alone):
        assert all(np.array_equal(raw, other) for other in together[i::8])
        assert np.array_equal(raw, again.explain(pictures[i], batch_size=4).raw)


def test_what_is_found_out_about_batches_is_kept_for_the_process(small_bundle, monkeypatch):
    monkeypatch.setattr(module, "_batches", {})
    first, again, other = (
        sise_rt.load(small_bundle, "cpu", threads, oversubscribe=True).engine for threads in (1, 1, 2)
    )
    assert first.batches("score") is again.batches("score")
    assert first.batches("score") is not other.batches("score"), "another number of threads"
    assert first.batches("score") is not first.batches("forward"), "another graph"
    assert first.batches("score", 3).size == 3


class Binding:
    """Stands in for an IO binding on a GPU; runs on the CPU, and remembers the shapes that it was given."""

    def __init__(self, session):
        self.session, self.inputs, self.outputs, self.shapes = session, {}, [], []

    def bind_ortvalue_input(self, name, value):
        self.inputs[name] = value

    def bind_cpu_input(self, name, value):
        self.inputs[name] = value
        self.shapes.append(value.shape)

    def bind_output(self, name):
        self.outputs.append(name)

    def copy_outputs_to_cpu(self):
        return self.results


class GpuSession:
    """A session of which only the bound run is there."""

    def __init__(self, session):
        self.get_outputs, self._run, self.bindings = session.get_outputs, session.run, []

    def io_binding(self):
        self.bindings.append(Binding(self))
        return self.bindings[-1]

    def run_with_iobinding(self, binding):
        names = [slot.name for slot in self.get_outputs()]
        assert binding.outputs[-len(names) :] == names
        binding.results = self._run(names, binding.inputs)


def test_the_gpu_path_pads_the_last_batch_and_cuts_the_results(engine, image, maps, monkeypatch):
    held = []

    def from_numpy(value, device, number):
        held.append((device, number))
        return value

    monkeypatch.setattr(onnxruntime, "OrtValue", SimpleNamespace(ortvalue_from_numpy=from_numpy))
    session = GpuSession(engine.score_graph.session)
    gpu = SimpleNamespace(provider="cuda", score_graph=replace(engine.score_graph, session=session))
    scorer = Scorer(gpu, image, np.array([1, 2]))
    on_cpu = engine.scorer(image, np.array([1, 2]))
    for start in (0, 4, 8):
        found, expected = scorer(maps[start : start + 4]), on_cpu(maps[start : start + 4])
        assert [a.shape for a in found] == [a.shape for a in expected]
        assert all(np.allclose(a, b, rtol=1e-5) for a, b in zip(found, expected, strict=True))
    assert [len(found_part) for found_part in found] == [3] * 4
    assert session.bindings[0].shapes == [(4, 1, 8, 8)] * 3, "a new shape would search for kernels again"
    assert held == [("cuda", 0)] * 2
    for count, most in ((3, 6), (5, 6), (6, 6), (2, 1)):
        scorer(maps[:count], most)
    assert [shape[0] for shape in session.bindings[0].shapes[3:]] == [4, 6, 6, 2], "never above the batch"


@pytest.mark.parametrize("place", ["run", "bind_cpu_input", "copy_outputs_to_cpu", "ortvalue_from_numpy"])
def test_a_gpu_that_fails_is_a_model_error(engine, image, maps, monkeypatch, place):
    def fail(*_):
        raise RuntimeError("out of memory")

    session, held = (
        GpuSession(engine.score_graph.session),
        SimpleNamespace(ortvalue_from_numpy=lambda value, *_: value),
    )
    if place == "run":
        session.run_with_iobinding = fail
    elif place == "ortvalue_from_numpy":
        held.ortvalue_from_numpy = fail
    else:
        monkeypatch.setattr(Binding, place, fail)
    monkeypatch.setattr(onnxruntime, "OrtValue", held)
    gpu = SimpleNamespace(provider="cuda", score_graph=replace(engine.score_graph, session=session))
    with pytest.raises(OutOfMemory, match="out of memory"):
        Scorer(gpu, image, np.array([1]))(maps[:4])


def test_what_ran_out_in_one_call_is_not_told_of_the_next(small_bundle, monkeypatch):
    monkeypatch.setattr(module, "_batches", {})
    real, room = Scorer.__call__, [3]

    def little(scorer, maps, most=0):
        if len(maps) > room[0]:
            raise OutOfMemory("full")
        return real(scorer, maps, most)

    monkeypatch.setattr(Scorer, "__call__", little)
    explainer = sise_rt.load(small_bundle, "cpu")
    picture = np.random.default_rng(5).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    first = explainer.explain_targets(picture, [0, 1, 2], batch_size=8)[0]
    assert any("the device's memory was full" in warning for warning in first.warnings)
    assert first.batch <= 3, "the largest that was run"
    explainer.engine.batches("score").notes.append("the device's memory was full at 16 images a pass")
    room[0] = 99
    again = explainer.explain_targets(picture, [0, 1, 2])[0]
    assert not any("the device's memory was full" in warning for warning in again.warnings)


def test_an_image_beyond_the_memory_is_said(small_bundle):
    manifest = read_bundle(small_bundle)
    forward, backward = manifest.memory["forward"], manifest.memory["backward"]
    assert backward > forward

    def warnings(memory):
        return Engine(Sessions(small_bundle, manifest, "cpu"), memory=memory).warnings

    assert warnings(backward) == []
    (gradients,) = warnings(backward - 1)
    assert re.match(
        r"the pass for an image's gradients may take [\d.]+ [kM]?B, more than the [\d.]+ [kM]?B", gradients
    )
    assert len(warnings(forward)) == 1
    single, _ = warnings(forward - 1)
    assert single.startswith("a single image takes about")
