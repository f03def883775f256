"""Masked scoring in bfloat16: masks keep their shape, and what was not found good enough is warned of.

The processor is said to be a 64-bit Arm with bfloat16, where ONNX Runtime's own provider takes a session
option for it; elsewhere the option does nothing, so that numbers are those of float32.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

import sise_rt
from sise_rt.bundle import MANIFEST
from sise_rt.drawing.png import save_png
from sise_rt.errors import ArgumentError, OutputError, ParityError, ProviderError
from sise_rt.phases import rounded_scoring as module
from sise_rt.phases.gate import drawn_pictures
from sise_rt.phases.rounded_scoring import RoundedScorer, judge, make_scorer
from sise_rt.pictures.picture import prepare
from sise_rt.running import gate_record, provider, providers
from sise_rt.running.engine import Engine, Scorer
from sise_rt.running.machine import Processor
from sise_rt.running.passes import OpenGraph
from sise_rt.running.provider import BF16_ON_ARM
from sise_rt.running.sessions import Sessions

ARM = Processor("an Arm", ("NEON", "BF16"))


@pytest.fixture
def arm(monkeypatch):
    monkeypatch.setattr(provider.platform, "machine", lambda: "aarch64")
    for where in (provider, gate_record):
        monkeypatch.setattr(where, "processor", lambda: ARM)


@pytest.fixture
def bundle(small_bundle, tmp_path, arm):
    """A bundle of its own, beside which figures may be kept."""
    from shutil import copytree

    return copytree(small_bundle, tmp_path / "own.sise")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(4)
    for name in "abc":
        save_png(folder / f"{name}.png", random.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    return folder


def engines(bundle):
    return [sise_rt.load(bundle, "cpu", 1, precision=one).engine for one in ("fp32", "bf16")]


def in_bfloat16(values):
    """Truncated, which is coarser than rounding."""
    return (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def test_only_the_scores_are_rounded(bundle):
    engine = sise_rt.load(bundle, "cpu", 1, precision="bf16").engine
    options = {
        graph.spec.name: graph.session.get_session_options()
        for graph in (engine.features_graph, engine.score_graph, engine.require("forward"))
    }
    assert options["score"].get_session_config_entry(BF16_ON_ARM) == "1"
    for name in ("features", "forward"):
        with pytest.raises(RuntimeError, match="does not have"):
            options[name].get_session_config_entry(BF16_ON_ARM)


def test_masks_far_from_zero_keep_their_shape(bundle, monkeypatch):
    """Maps that differ by less than bfloat16 tells apart at their height."""
    exact, rounded = engines(bundle)
    image = prepare(
        np.random.default_rng(2).integers(0, 256, (40, 40, 3), dtype=np.uint8), exact.manifest.preprocess
    ).tensor
    targets = np.array([1, 3])
    maps = 100 + np.random.default_rng(3).random((6, 8, 8), np.float32)
    maps[5] = 7
    truth = Scorer(exact, image, targets)(maps)
    run = OpenGraph.run
    monkeypatch.setattr(
        OpenGraph, "run", lambda graph, inputs: run(graph, inputs | {"maps": in_bfloat16(inputs["maps"])})
    )
    found = make_scorer(rounded, image, targets)(maps)
    flattened = Scorer(exact, image, targets)(maps)
    assert isinstance(make_scorer(rounded, image, targets), RoundedScorer)
    assert not isinstance(make_scorer(exact, image, targets), RoundedScorer)
    mine, theirs = (np.abs(scores[0] - truth[0])[:5].max() for scores in (found, flattened))
    assert mine < theirs / 10
    for mine, theirs in zip(found[1:], truth[1:], strict=True):
        assert np.allclose(mine, theirs, rtol=1e-5)


def test_what_was_not_compared_is_warned_of(bundle, photos, tmp_path):
    exact, rounded = engines(bundle)
    assert exact.warnings == exact.unproven == []
    assert rounded.unproven == [gate_record.UNPROVEN]
    agreement = judge(exact, rounded, drawn_pictures(photos, "images"))
    assert agreement.pictures == tuple(str(photos / f"{name}.png") for name in "abc")
    file = tmp_path / "own.sise.bf16.json"
    (record,) = json.loads(file.read_text())
    assert record.keys() == gate_record.GateRecord.__dataclass_fields__.keys()
    assert (record["processor"], record["images"], record["passed"]) == ("an Arm (NEON BF16)", 3, True)
    assert min(record["correlation"], record["lowest_correlation"], record["jaccard"]) > 0.999
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.sise", "own.sise.bf16.json", "photos"]
    explanation = sise_rt.load(bundle, "cpu", precision="bf16").explain(photos / "a.png")
    told = {warning.code for warning in explanation.warnings} - {"map-at-border"}  # of a network of noise
    assert (told, explanation.precision) == (set(), "bf16")
    judge(exact, rounded, drawn_pictures(photos, "images"))
    assert len(json.loads(file.read_text())) == 1, "its own earlier record is replaced"


@pytest.mark.parametrize(
    ("method", "precision"),
    [
        ("sise", "bf16"),
        ("score-cam", "bf16"),
        ("sise:scores=log-odds", "fp32"),
        ("rise:masks=10", "fp32"),
        ("grad-cam", "fp32"),
        ("extremal-perturbation:steps=2", "fp32"),
    ],
)
def test_a_record_tells_what_its_own_masks_were_scored_in(bundle, photos, method, precision):
    explanation = sise_rt.load(bundle, "cpu", 1, precision="bf16").explain(photos / "a.png", 1, method=method)
    assert explanation.precision == precision
    assert (gate_record.UNPROVEN in explanation.warnings) == (precision == "bf16")
    assert any("this was computed in float32" in text for text in explanation.warnings) == (
        precision == "fp32"
    )
    assert sise_rt.load(bundle, "cpu", 1).explain(photos / "a.png", 1, method=method).precision == "fp32"


def test_bfloat16_that_was_asked_for_is_never_float32_instead(bundle, monkeypatch):
    def fail(sessions, name):
        raise ProviderError("no")

    monkeypatch.setattr(Sessions, "open", fail)
    with pytest.raises(ProviderError, match="no"):
        sise_rt.load(bundle, precision="bf16")


@pytest.mark.parametrize("change", ["processor", "version", "bundle", "damaged", "empty", "list"])
def test_what_was_compared_holds_for_the_same_things_alone(bundle, photos, tmp_path, monkeypatch, change):
    exact, rounded = engines(bundle)
    judge(exact, rounded, drawn_pictures(photos, "images"))
    file = tmp_path / "own.sise.bf16.json"
    if change == "processor":
        monkeypatch.setattr(gate_record, "processor", lambda: replace(ARM, name="another"))
    elif change == "version":
        rounded.sessions.provider = replace(rounded.sessions.provider, version="9.9")
    elif change == "bundle":
        rename(bundle)
        _, rounded = engines(bundle)
    else:
        file.write_text({"damaged": file.read_text()[:40], "empty": "", "list": '[{"passed": true}]'}[change])
    assert gate_record.unproven(rounded.sessions) == [gate_record.UNPROVEN]
    if change in ("processor", "version"):
        gate_record.write_record(
            rounded.sessions, gate_record.GateRecord.of(rounded.sessions, **figures(passed=True))
        )
        assert len(json.loads(file.read_text())) == 2, "records of other machines are kept"
        assert gate_record.unproven(rounded.sessions) == []


def test_figures_are_of_the_bundle_that_was_loaded(bundle, photos):
    exact, rounded = engines(bundle)
    rename(bundle)  # another one takes its place meanwhile
    judge(exact, rounded, drawn_pictures(photos, "images"))
    assert gate_record.unproven(rounded.sessions) == []
    assert engines(bundle)[1].unproven == [gate_record.UNPROVEN]


def test_verified_is_bfloat16_where_it_was_found_good_enough(bundle, photos):
    def verified(name="auto"):
        sessions = sise_rt.load(bundle, name, 1, precision="verified").engine.sessions
        return sessions.precision, sessions.warnings

    assert verified() == ("fp32", ()), "nobody has compared anything"
    exact, rounded = engines(bundle)
    judge(exact, rounded, drawn_pictures(photos, "images"))
    assert verified() == verified("cpu") == ("bf16", ())
    explanation = sise_rt.load(bundle, precision="verified").explain(photos / "a.png", preset="fast")
    told = {warning.code for warning in explanation.warnings} - {"map-at-border"}  # of a network of noise
    assert (explanation.precision, told) == ("bf16", set())
    rename(bundle)
    assert verified() == ("fp32", ()), "another bundle"


def test_verified_is_float32_where_bfloat16_does_not_start(bundle, photos, monkeypatch):
    judge(*engines(bundle), drawn_pictures(photos, "images"))
    load = Sessions._load

    def failing(sessions, graph, provider, precision):
        if precision == "bf16":
            raise ProviderError("its driver is broken")
        return load(sessions, graph, provider, precision)

    monkeypatch.setattr(Sessions, "_load", failing)
    engine = sise_rt.load(bundle, threads=1, precision="verified").engine
    assert (engine.provider, engine.sessions.precision) == ("cpu", "fp32")
    assert engine.warnings == ["running on the CPU: its driver is broken"]
    for named in ({"provider": "cpu", "precision": "verified"}, {"precision": "bf16"}):
        with pytest.raises(ProviderError, match="its driver is broken"):
            sise_rt.load(bundle, threads=1, **named)


@pytest.mark.parametrize("change", ["refused", "version", "gone"])
def test_verified_is_float32_elsewhere_and_says_why(bundle, photos, tmp_path, monkeypatch, change):
    exact, rounded = engines(bundle)
    judge(exact, rounded, drawn_pictures(photos, "images"))
    file = tmp_path / "own.sise.bf16.json"
    if change == "refused":
        file.write_text(file.read_text().replace('"passed": true', '"passed": false'))
    elif change == "version":
        text = file.read_text()
        file.write_text(text.replace(rounded.sessions.provider.version, "0.1"))
        assert file.read_text() != text
    else:
        monkeypatch.setattr(provider.platform, "machine", lambda: "riscv64")  # which has no such option
        able = replace(providers.processor(), features=("AVX512-BF16",))  # or the processor would be blamed
        monkeypatch.setattr(providers, "processor", lambda: able)
    engine = sise_rt.load(bundle, "cpu", 1, precision="verified").engine
    assert engine.sessions.precision == "fp32"
    said = {
        "refused": [],
        "version": ["verified was CPUExecutionProvider 0.1, not"],
        "gone": ["bf16 was asked for, but cpu does not compute in it"],
    }[change]
    assert len(engine.warnings) == len(said)
    for warning, part in zip(engine.warnings, said, strict=True):
        assert warning.code == "bfloat16-left"
        assert warning.startswith("masked copies are scored in float32, though bfloat16 was found good")
        assert part in warning


def rename(bundle):
    """Make another bundle of it."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps(manifest | {"name": "another"}))


def figures(passed):
    names = ("images", "left_out", "masks", "correlation", "lowest_correlation", "jaccard", "confidence")
    return dict.fromkeys(names, 1) | {"passed": passed}


def test_explanations_that_differ_are_refused_and_the_figures_kept(bundle, photos, tmp_path, monkeypatch):
    real, random = RoundedScorer.__call__, np.random.default_rng(6)

    def noisy(scorer, maps, most=0):
        confidences, *others = real(scorer, maps, most)
        return (random.random(confidences.shape, np.float32), *others)

    monkeypatch.setattr(module.RoundedScorer, "__call__", noisy)
    exact, rounded = engines(bundle)
    with pytest.raises(
        ParityError, match=r"bfloat16 scores are refused: on 3 pictures, .*0\.99 is needed.*: score in fp32"
    ):
        judge(exact, rounded, drawn_pictures(photos, "images"))
    (record,) = json.loads((tmp_path / "own.sise.bf16.json").read_text())
    assert not record["passed"]
    assert gate_record.unproven(rounded.sessions) == [gate_record.UNPROVEN]


def test_figures_that_cannot_be_kept(bundle, photos, tmp_path):
    (tmp_path / "own.sise.bf16.json").mkdir()
    with pytest.raises(OutputError, match=r"own\.sise\.bf16\.json"):
        judge(*engines(bundle), drawn_pictures(photos, "images"))


def test_a_bundle_in_half_precision_has_no_other(bundle):
    from sise_rt.bundle import read_bundle

    half = replace(read_bundle(bundle), precision="fp16")
    with pytest.raises(ArgumentError, match="the bundle scores in fp16: export it in fp32 to score in bf16"):
        Engine(Sessions(bundle, half, "cpu", precision="bf16"))
