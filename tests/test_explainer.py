"""The explainer: what it does with pictures, targets, options and gaps in the evidence."""

import inspect
import io
import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import sise_rt
from sise_rt.bundle import MANIFEST, WEIGHTS, read_again, sha256
from sise_rt.errors import BundleError, ImageError, ModelError, NoEvidence, OutputError, TargetError
from sise_rt.pictures.picture import Picture
from sise_rt.pictures.placement import to_original
from sise_rt.running import sessions
from sise_rt.running.engine import Scorer
from sise_rt.running.verify import verify

PHASES = ["preprocess", "features", "masks", "scoring", "loading", "fusion"]


@pytest.fixture(scope="module")
def explainer(small_bundle) -> sise_rt.Explainer:
    return sise_rt.load(small_bundle, "cpu")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A bright disc on noise, uint8 (48, 40, 3)."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:48, :40]
    disc = 150 * ((y - 20) ** 2 + (x - 25) ** 2 < 80)[..., None]
    return (disc + rng.integers(0, 100, (48, 40, 3))).astype(np.uint8)


@pytest.fixture(scope="module")
def explanation(explainer, picture) -> sise_rt.Explanation:
    return explainer.explain(picture, "b", batch_size=4)


def check(explanation: sise_rt.Explanation) -> None:
    """What holds for every explanation."""
    assert explanation.map.dtype == np.float32
    assert explanation.map.shape == (32, 32)
    assert np.isfinite(explanation.map).all()
    assert explanation.map.min() == 0
    assert explanation.map.max() in (0, 1)
    assert np.isfinite(explanation.raw).all()
    assert 0 <= explanation.confidence <= 1
    for block in explanation.blocks:
        assert block.constant <= block.kept <= block.maps
        if block.visualization is not None:
            assert (block.visualization.min(), block.visualization.max()) == (0, 1)
            assert np.isfinite(block.visualization).all()


# ---------------------------------------------------------------------------------------------- targets


def test_several_targets_are_separate_calls_bit_for_bit(explainer, picture):
    """With one mask a batch: other batches hold other masks together, which changes the last bits."""
    together = explainer.explain_targets(picture, [4, "b", 0], batch_size=1)
    assert [e.target for e in together] == [4, 1, 0]
    for found in together:
        alone = explainer.explain(picture, found.target, batch_size=1)
        assert np.array_equal(found.raw, alone.raw)
        assert np.array_equal(found.map, alone.map)
        assert found.blocks[0].kept == alone.blocks[0].kept
        assert found.masks >= alone.masks
        assert found.warnings == alone.warnings


def test_several_targets_in_batches_agree_to_rounding(explainer, picture):
    for found in explainer.explain_targets(picture, [4, 1, 0], batch_size=4):
        alone = explainer.explain(picture, found.target, batch_size=1)
        for a, b in zip(found.blocks, alone.blocks, strict=True):
            assert np.abs(a.visualization - b.visualization).max() < 1e-5


def test_top_k_is_by_falling_confidence(explainer, picture):
    found = explainer.explain_targets(picture, top_k=3, batch_size=4)
    confidences = explainer.confidences(picture)
    assert [e.target for e in found] == np.argsort(-confidences)[:3].tolist()
    assert [e.confidence for e in found] == pytest.approx(np.sort(confidences)[:-4:-1])
    every = explainer.explain_targets(picture, top_k=99, batch_size=4)
    says = "99 classes were asked for, and the model has 5: all of them are explained"
    assert [says in explanation.warnings for explanation in every] == [True] * 5
    assert not any("asked for" in warning for explanation in found for warning in explanation.warnings)
    assert explainer.explain(picture, batch_size=4).target == found[0].target


def test_wrong_targets(explainer, picture):
    with pytest.raises(TargetError, match="out of range"):
        explainer.explain(picture, 5)
    with pytest.raises(TargetError, match="is no label"):
        explainer.explain_targets(picture, [0, "zebra"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mu": 1.0}, "0 <= mu < 1"),
        ({"mu": -0.1}, "0 <= mu < 1"),
        ({"mu": float("nan")}, "0 <= mu < 1"),
        ({"fusion": "mean"}, "known are otsu, otsu-soft"),
        ({"batch_size": 0}, "at least 1"),
        ({"top_k": 0}, "at least 1"),
        ({"targets": []}, "targets is empty"),
    ],
)
def test_options_out_of_range(explainer, picture, options, message):
    with pytest.raises(ValueError, match=message):
        explainer.explain_targets(picture, **options)


# ---------------------------------------------------------------------------------------------- pictures


PICTURES = {
    "black": np.zeros((32, 32, 3), np.uint8),
    "white": np.full((50, 70, 3), 255, np.uint8),
    "one pixel": np.full((1, 1, 3), 90, np.uint8),
    "one row": np.arange(300, dtype=np.uint8).reshape(1, 100, 3),
    "grey": np.arange(1600, dtype=np.uint16).astype(np.uint8).reshape(40, 40),
    "alpha": np.random.default_rng(0).integers(0, 256, (40, 40, 4), dtype=np.uint8),
    "not contiguous": np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)[::-2, ::2, ::-1],
    "Pillow": Image.new("L", (20, 30), 77),
}


@pytest.mark.parametrize("case", PICTURES)
def test_any_picture_gives_a_finite_map_or_says_why_not(explainer, case):
    for target in range(5):
        try:
            explanation = explainer.explain(PICTURES[case], target, batch_size=8)
        except NoEvidence as error:
            assert f"target {target} ({'abcde'[target]})" in str(error)  # noqa: PT017
        else:
            check(explanation)
            rows, columns = np.shape(PICTURES[case])[:2]
            assert explanation.overlay(PICTURES[case]).shape == (rows, columns, 3)


def test_pictures_that_are_none(explainer, tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        explainer.explain(tmp_path / "none.png")
    with pytest.raises(ImageError, match="float64"):
        explainer.explain(np.zeros((4, 4, 3)))
    with pytest.raises(ImageError, match="more than 100 pixels"):
        explainer.explain(Image.new("RGB", (20, 20)), max_pixels=100)


def test_a_tensor_that_gives_no_array_says_why(explainer):
    torch = pytest.importorskip("torch")
    with pytest.raises(ImageError, match=r"this Tensor gives no array: .*detach\(\)\.numpy\(\) instead"):
        explainer.explain(torch.zeros(20, 20, 3, requires_grad=True))


def test_the_picture_is_left_alone(explainer, picture):
    before = picture.copy()
    explainer.explain(picture, 0, batch_size=8).strip(picture)
    assert np.array_equal(picture, before)


def test_path_bytes_and_array_are_the_same_picture(explainer, picture, explanation, tmp_path):
    path = tmp_path / "p.png"
    Image.fromarray(picture).save(path)
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        found = explainer.explain(source, "b", batch_size=4)
        assert np.array_equal(found.map, explanation.map)
        assert found.name == ("image" if isinstance(source, bytes) else str(path))


# ---------------------------------------------------------------------------------------------- evidence


def test_an_explanation(explanation):
    check(explanation)
    assert (explanation.target, explanation.label) == (1, "b")
    assert [b.maps for b in explanation.blocks] == [8, 12, 16]
    assert explanation.masks == sum(b.kept - b.constant for b in explanation.blocks)
    assert explanation.raw.max() <= 3
    assert explanation.map == pytest.approx(explanation.raw / explanation.raw.max(), abs=1e-6)


def test_soft_fusion_is_another_map_of_the_same_evidence(explainer, picture, explanation):
    soft = explainer.explain(picture, "b", batch_size=4, fusion="otsu-soft")
    check(soft)
    assert soft.record()["settings"]["fusion"] == "otsu-soft"
    assert not np.array_equal(soft.map, explanation.map)
    for a, b in zip(soft.blocks, explanation.blocks, strict=True):
        assert np.array_equal(a.visualization, b.visualization)


def test_a_higher_mu_keeps_fewer_maps(explainer, picture):
    kept = [
        [b.kept for b in explainer.explain(picture, 2, mu=mu, batch_size=8).blocks] for mu in (0, 0.3, 0.9)
    ]
    assert all(a >= b >= c >= 1 for a, b, c in zip(*kept, strict=True))
    assert sum(kept[0]) > sum(kept[2])


def test_a_block_of_flat_maps_is_skipped_and_said(blind, picture):
    explanation = sise_rt.load(blind("stem.conv.weight"), "cpu").explain(picture, batch_size=8)
    check(explanation)
    first = explanation.blocks[0]
    assert first.visualization is None
    assert first.kept == first.constant > 0
    said = f"block1 is skipped: all {first.kept} maps with a positive gradient score are flat"
    skipped, unmoved = explanation.warnings[:2]  # behind a blind stem, no mask changes anything
    assert [skipped.code, unmoved.code] == ["block-skipped", "masks-alike"]
    assert explanation.record()["warnings"][0] == {"code": "block-skipped", "message": said}
    assert skipped == said
    assert unmoved.startswith("no mask changes the confidence in the target (it is 0.")
    assert unmoved.endswith(
        "the map shows the masks alone. The model may not look at the picture, or its outputs may be "
        "saturated, or may rise and fall together, which a softmax does not show"
    )
    assert explanation.record()["blocks"][0]["used"] is False
    assert explanation.strip(picture).dtype == np.uint8


def test_no_evidence_says_for_which_target_and_why(blind, picture):
    explainer = sise_rt.load(blind("head.weight"), "cpu")
    with pytest.raises(NoEvidence) as caught:
        explainer.explain(picture, 3)
    assert str(caught.value) == (
        "image: no feature map speaks for target 3 (3): "
        "block1 is skipped: none of its 8 maps has a positive gradient score; "
        "block2 is skipped: none of its 12 maps has a positive gradient score; "
        "block3 is skipped: none of its 16 maps has a positive gradient score. "
        "The picture may be blank, or the class may not be in it"
    )


def test_a_target_without_evidence_leaves_the_others_theirs(explainer, picture, monkeypatch):
    """Target 1 gets scores alpha <= 0 everywhere: its error stands in its place."""
    real = explainer.engine.features

    def features(images, targets):
        maps, alphas, logits = real(images, targets)
        return maps, [np.where(targets[:, None] == 1, -np.abs(a), a) for a in alphas], logits

    monkeypatch.setattr(explainer.engine, "features", features)
    found, none = explainer.explain_targets(picture, [0, 1], batch_size=4)
    check(found)
    assert np.array_equal(found.raw, explainer.explain(picture, 0, batch_size=4).raw)
    assert isinstance(none, NoEvidence)
    assert "no feature map speaks for target 1" in str(none)


@pytest.mark.parametrize(("value", "error"), [(0.0, NoEvidence), (0.5, None), (np.nan, ModelError)])
def test_what_the_masked_copies_say(explainer, picture, monkeypatch, value, error):
    def said(_scorer, maps, _most):
        column = np.full((len(maps), 1), value, np.float32)
        return column, maps.min((1, 2)), maps.max((1, 2)), np.ones(len(maps))

    monkeypatch.setattr(Scorer, "__call__", said)
    if error is None:
        check(explainer.explain(picture, 0, batch_size=8))
        return
    message = "gives no masked copy any confidence" if error is NoEvidence else "confidences are not finite"
    with pytest.raises(error, match=message):
        explainer.explain(picture, 0, batch_size=8)


def test_a_fused_map_that_is_constant_is_zero_and_said(explainer, picture, monkeypatch):
    monkeypatch.setattr("sise_rt.methods.sise.fuse", lambda maps, _: np.zeros_like(maps[0]))
    explanation = explainer.explain(picture, 0, batch_size=8)
    assert not explanation.map.any()
    assert explanation.warnings == ("the map is constant: the explanation is all zero",)


def test_weights_that_are_no_numbers_are_a_model_error(small_bundle, picture, tmp_path):
    bundle = Path(shutil.copytree(small_bundle, tmp_path / "copy.sise"))
    model = onnx.load(bundle / "features.onnx", load_external_data=False)
    kernel = next(t for t in model.graph.initializer if t.external_data and len(t.dims) == 4)
    place = {entry.key: entry.value for entry in kernel.external_data}
    weights = bytearray((bundle / WEIGHTS).read_bytes())
    start = int(place["offset"])
    weights[start : start + 4] = np.float32(np.nan).tobytes()
    (bundle / WEIGHTS).write_bytes(weights)
    data = json.loads((bundle / MANIFEST).read_text("utf-8"))
    data["files"][WEIGHTS] = sha256(bundle / WEIGHTS)
    (bundle / MANIFEST).write_text(json.dumps(data), "utf-8")
    explainer = sise_rt.load(bundle, "cpu")
    for act in (explainer.explain, explainer.confidences):
        with pytest.raises(ModelError, match="not finite for this image"):
            act(picture)


# ---------------------------------------------------------------------------------------------- results


def test_progress_counts_up_to_the_masks(explainer, picture):
    calls = []
    explanation = explainer.explain(picture, 1, batch_size=4, progress=lambda *call: calls.append(call))
    scored, totals = zip(*calls, strict=True)
    assert list(scored) == sorted(set(scored))
    assert set(totals) == {explanation.masks} == {scored[-1]}
    assert len(calls) == sum(-(-(b.kept - b.constant) // 4) for b in explanation.blocks)


def test_targets_may_be_an_array(explainer, picture):
    found = explainer.explain_targets(picture, np.array([1, 2]), batch_size=4)
    assert [explanation.target for explanation in found] == [1, 2]


def test_an_exception_from_progress_ends_the_call(explainer, picture):
    def stop(scored, _total):
        if scored > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explainer.explain(picture, 1, batch_size=4, progress=stop)
    check(explainer.explain(picture, 1, batch_size=4))


def test_passes_and_seconds_are_what_a_method_needs_alone(explainer, picture):
    methods = ["sise", "sise:mu=0.5", "score-cam", "grad-cam", "integrated-grad-cam:steps=5", "rise:masks=6"]
    best = explainer.explain(picture).target
    for targets in (None, [best]):
        found = explainer.explain_methods(picture, targets, methods, batch_size=4)
        one = {name: explanations[0] for name, explanations in found.items()}
        for name in methods[:3]:  # and one pass for the features
            assert one[name].passes == one[name].masks + 1
            assert "features" in one[name].seconds
        assert [one[name].passes for name in methods[3:]] == [2, 7, 7], "the confidence needs one of its own"
        assert all("features" not in one[name].seconds for name in methods[3:])
        assert all("prediction" in one[name].seconds for name in methods[3:])
        assert all("prediction" not in one[name].seconds for name in methods[:3])
        masks = {name: one[name].masks for name in methods[:2]}
        assert 0 < masks["sise:mu=0.5"] < masks["sise"]
        assert one["sise:mu=0.5"].seconds["scoring"] < one["sise"].seconds["scoring"]
        alone = {m: explainer.explain_methods(picture, targets, [m], batch_size=4)[m][0] for m in methods}
        assert [alone[name].passes for name in methods] == [one[name].passes for name in methods]
        for name in methods:
            assert alone[name].seconds.keys() == one[name].seconds.keys()


def test_the_best_classes_are_told_best_first(explainer, explanation, picture, cnn, tmp_path):
    from sise_rt.export import export

    trust = explainer.confidences(picture)
    order = sorted(range(5), key=lambda index: -trust[index])
    assert [(p.index, p.label) for p in explanation.best] == [(i, "abcde"[i]) for i in order]
    assert [p.confidence for p in explanation.best] == [trust[i] for i in order]
    assert explanation.predicted == explanation.best[0]
    assert explanation.record()["best"][1] == {
        "index": order[1],
        "label": "abcde"[order[1]],
        "confidence": trust[order[1]],
    }
    for classes, told in ((2, 2), (7, 5)):
        model = cnn(tmp_path / f"{classes}.onnx", classes=classes)
        other = sise_rt.load(export(model, tmp_path / f"{classes}.sise").path, "cpu")
        best = other.explain(picture, method="score-cam").best
        assert [p.index for p in best] == np.argsort(-other.confidences(picture)).tolist()[:told]


def test_a_model_that_sees_nothing_by_what_was_assumed_is_cautioned_of(picture, cnn, tmp_path):
    from sise_rt.export import export

    def codes(bundle):
        told = sise_rt.load(bundle, "cpu").explain(picture, method="score-cam")
        return told.best[0].confidence, [warning.code for warning in told.warnings]

    whole = export(cnn(tmp_path / "a.onnx", classes=300), tmp_path / "a.sise").path
    confidence, warnings = codes(whole)
    assert confidence > 0.1
    assert "sure-of-nothing" not in warnings
    dark = sise_rt.amend(whole, tmp_path / "b.sise", preprocess={"mean": 0, "std": 1000}).path
    confidence, warnings = codes(dark)
    assert confidence < 0.1
    assert warnings.count("sure-of-nothing") == 1  # the order of colours is assumed as yet
    stated = sise_rt.amend(dark, tmp_path / "c.sise", preprocess={"color": "RGB", "scale": 255}).path
    assert codes(stated) == (confidence, [code for code in warnings if code != "sure-of-nothing"])


def test_saving(explanation, picture, tmp_path):
    files = explanation.save(tmp_path / "new" / "out", picture, blocks=True)
    names = ["image.1.png", "image.1.npy", "image.1.json", "image.1.blocks.png"]
    assert [f.name for f in files] == names
    assert sorted(p.name for p in (tmp_path / "new/out").iterdir()) == sorted(names)
    stored = np.load(files[1], allow_pickle=False)
    assert stored.dtype == np.float32
    assert np.array_equal(stored, explanation.map)
    assert json.loads(files[2].read_text("utf-8")) == explanation.record()
    assert files[0].read_bytes() == explanation.png(picture)
    (plain, *_) = explanation.save(tmp_path / "plain", picture, draw=sise_rt.Explanation.plain_png)
    with Image.open(plain) as overlay:
        assert overlay.size == (40, 48)
        assert np.array_equal(np.array(overlay), explanation.overlay())
    assert [f.name for f in explanation.save(tmp_path, picture, "other")] == [
        f"other.1.{suffix}" for suffix in ("png", "npy", "json")
    ]


def test_an_explanation_travels_without_its_picture(explanation, picture, tmp_path):
    """What is stored or sent needs the picture only where it is drawn."""
    assert np.shares_memory(explanation.picture.pixels, picture)
    assert np.array_equal(explanation.overlay(), explanation.overlay(picture))
    assert np.array_equal(explanation.strip(), explanation.strip(picture))
    sent = pickle.dumps(explanation)
    assert len(sent) < 3 * picture.nbytes + explanation.raw.nbytes + explanation.map.nbytes * 5
    arrived = pickle.loads(sent)
    assert [f.name for f in arrived.save(tmp_path)] == ["image.1.npy", "image.1.json"]
    assert np.array_equal(arrived.overlay(picture), explanation.overlay(picture))
    for drawn in (arrived.overlay, arrived.strip, lambda: arrived.save(tmp_path, blocks=True)):
        with pytest.raises(sise_rt.ArgumentError, match="does not hold its picture"):
            drawn()
    assert replace(explanation, picture=None).picture is arrived.picture is None
    assert replace(explanation).picture is explanation.picture
    for other in (picture[1:], Image.fromarray(picture).resize((80, 96))):
        with pytest.raises(sise_rt.ArgumentError, match=r"is not the one that was explained.*40 x 48"):
            arrived.overlay(other)


def test_a_notebook_shows_an_explanation_while_it_has_its_picture(explanation):
    assert explanation._repr_png_() == explanation.png()
    assert replace(explanation, picture=None)._repr_png_() is None


def test_the_transparent_map_lies_over_the_picture_as_the_map_does(explanation):
    with Image.open(io.BytesIO(explanation.transparent_png())) as image:
        alpha = np.array(image)[..., 3]
    placed, _ = to_original(explanation.map, explanation.placement)
    np.testing.assert_array_equal(alpha, np.rint(255 * placed.clip(0, 1)))


def test_a_picture_is_prepared_once(explainer, picture, explanation, monkeypatch):
    prepared = explainer.prepare(picture, name="part 7")
    monkeypatch.setattr("sise_rt.pictures.picture.read_picture", None)  # from here on nothing is read
    again = explainer.explain(prepared, "b", batch_size=4)
    assert np.array_equal(again.raw, explanation.raw)
    assert again.name == "part 7"
    assert again.seconds["preprocess"] == prepared.seconds > 0
    assert np.array_equal(explainer.confidences(prepared)[1], again.confidence)
    assert np.array_equal(again.overlay(prepared), explanation.overlay(picture))
    assert explainer.prepare(prepared) is prepared


def test_explanations_are_told_apart_without_comparing_arrays(explanation):
    assert explanation == explanation
    assert explanation != replace(explanation)


def test_saving_replaces_no_file_of_the_users(explanation, picture, tmp_path):
    (tmp_path / "image.1.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already and is no result"):
        explanation.save(tmp_path, picture)
    assert (tmp_path / "image.1.png").read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 1
    explanation.save(tmp_path / "new", picture)
    explanation.save(tmp_path / "new", picture)
    for changes, key in (
        ({"model": "other"}, "model"),
        ({"method": "rise"}, "method"),
        ({"name": "x"}, "picture"),
    ):
        with pytest.raises(OutputError, match=f"is a result of another {key}"):
            replace(explanation, **changes).save(tmp_path / "new", picture, "image")


def test_pictures_say_of_what_they_are(explanation):
    assert explanation.heading() == f"b (1), {explanation.said(explanation.confidence)}"
    unnamed = replace(explanation, target=3, label="3", confidence=0.281)
    assert unnamed.heading() == "class 3, confidence 0.281"
    assert replace(unnamed, confidence=0.0004).heading() == "class 3, confidence below 0.001"
    raw = replace(unnamed, activation="none")
    assert raw.heading() == "class 3, output 0.281"
    assert raw.said(0.0004) == "output 0.0004"


def test_what_it_is_shows_in_an_interpreter(explainer, explanation):
    assert repr(explainer) == ("<Explainer of 'small': 3 x 32 x 32, 5 classes (softmax), 3 blocks, on cpu>")
    assert repr(explanation).startswith(
        "<Explanation of 'image': b (1), confidence below 0.001, by sise with "
    )
    assert repr(explanation).endswith(f"by sise with {explanation.masks} masks, map 32 x 32>")


@pytest.mark.parametrize("call", [sise_rt.Explainer.explain, sise_rt.Explainer.explain_targets])
def test_the_options_are_named_and_typed(call):
    signature = inspect.signature(call)
    named = "method preset mu fusion budget max_passes max_seconds batch_size progress preview".split()
    assert set(named) < signature.parameters.keys()
    assert all(signature.parameters[name].annotation != "Any" for name in named)


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        *(({"batch_size": size}, "batch_size") for size in (0, 1.5, True, "4")),
        *(({"top_k": count}, "top_k") for count in (0, 2.0, None)),
        *(({"targets": targets}, "targets") for targets in ([], "abc", 3)),
        ({"method": None}, "a method is a name or a Request, not None"),
    ],
)
def test_arguments_that_cannot_be(explainer, picture, arguments, setting):
    with pytest.raises(ValueError, match=setting) as caught:
        explainer.explain_targets(picture, **arguments)
    assert isinstance(caught.value, sise_rt.ArgumentError)


def test_a_picture_of_other_channels_is_shown_in_grey(explanation, picture, tmp_path):
    planes = np.random.default_rng(0).integers(0, 256, (*picture.shape[:2], 4), dtype=np.uint8)
    four = Picture(planes, np.zeros((1, 4, 32, 32), np.float32), explanation.placement, "planes")
    files = explanation.save(tmp_path, four, "planes", blocks=True)
    assert [file.exists() for file in files] == [True] * 4


def test_file_names_that_are_no_text_are_kept(explanation, picture, tmp_path):
    odd = replace(explanation, name="caf\udce9.png", label="Straße")
    *_, record = odd.save(tmp_path, picture, "x")
    assert json.loads(record.read_text("utf-8"))["picture"]["name"] == "caf\udce9.png"
    assert "Straße" in record.read_text("utf-8")


def test_where_nothing_can_be_written(explanation, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    says_of = {
        "file": "is a file: name a folder",
        "file/below": "lies below a file: name a folder",
        "nul\0": "cannot be made: embedded null",
        "x" * 300: "cannot be made: File name too long",
    }
    for folder, says in says_of.items():
        with pytest.raises(OutputError, match=says):
            explanation.save(tmp_path / folder)


def test_pictures_of_an_explanation(explanation, picture):
    assert explanation.overlay(picture).shape == picture.shape
    strip = explanation.strip(picture)
    assert strip.dtype == np.uint8
    assert strip.shape[1] > 5 * picture.shape[1]


# ---------------------------------------------------------------------------------------------- models


@pytest.fixture
def blind(small_model, tmp_path):
    """Makes a bundle of the small network with one of its weights at zero."""
    from sise_rt.export import export

    def make(name: str) -> Path:
        model = onnx.load(small_model)
        (tensor,) = [t for t in model.graph.initializer if t.name == name]
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(tensor.dims, np.float32), name))
        onnx.save(model, tmp_path / "blind.onnx")
        return export(tmp_path / "blind.onnx", tmp_path / "blind.sise", activation="softmax").path

    return make


# ------------------------------------------------------------------------- what becomes of the bundle's files


def truncated(folder, other):
    for path in files_of(folder):
        os.truncate(path, path.stat().st_size // 3)


def replaced_in_place(folder, other):
    for path in files_of(folder):
        path.write_bytes((other / path.relative_to(folder)).read_bytes())


def deleted(folder, other):
    shutil.rmtree(folder)


def files_of(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def other_bundle(small_bundle, tmp_path_factory):
    """The same network with other weights, so that each of its files fits where the first one's lay."""
    folder = Path(shutil.copytree(small_bundle, tmp_path_factory.mktemp("other") / "small.sise"))
    weights = np.fromfile(folder / "weights.bin", np.float32)
    (folder / "weights.bin").write_bytes((weights[::-1].copy() * np.float32(0.9)).tobytes())
    return folder


@pytest.mark.parametrize("become", [truncated, replaced_in_place, deleted])
def test_what_becomes_of_the_files_changes_no_answer(small_bundle, other_bundle, tmp_path, become):
    """SISE goes by what was loaded. A graph that is opened late needs the same weights, no others."""
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    folder = Path(shutil.copytree(small_bundle, tmp_path / "small.sise"))
    explainer = sise_rt.load(folder, "cpu", 1)
    expected = explainer.explain(picture, 1, batch_size=2)
    become(folder, other_bundle)
    assert np.array_equal(explainer.explain(picture, 1, batch_size=2).raw, expected.raw)
    with pytest.raises(BundleError, match=r"weights\.bin (has changed since|is missing)"):
        explainer.explain(picture, 1, method="grad-cam")


def test_weights_are_read_again_wherever_the_process_has_gone(small_bundle, tmp_path, monkeypatch):
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    monkeypatch.chdir(small_bundle.parent)
    explainer = sise_rt.load(small_bundle.name, "cpu", 1)
    monkeypatch.chdir(tmp_path)
    assert explainer.explain(picture, 1, method="grad-cam").map.shape == (32, 32)


def test_verify_reads_the_weights_again_once(small_bundle, monkeypatch):
    engine, read = sise_rt.load(small_bundle, "cpu", 1).engine, []
    monkeypatch.setattr(sessions, "read_again", lambda *of: read.append(of[1]) or read_again(*of))
    verify(engine)
    assert read == ["weights.bin"]
    assert engine.require("forward")
    assert read == ["weights.bin"] * 2, "verify has let them go"


@pytest.mark.parametrize("become", [truncated, replaced_in_place, deleted])
def test_what_becomes_of_the_other_files_changes_nothing(small_bundle, other_bundle, tmp_path, become):
    """Graphs that are opened late, and verify, go by what was loaded."""
    methods = ("sise", "grad-cam", "integrated-gradients:steps=4", "rise:masks=20")
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)

    def answers(explainer, become):
        explainer.explain(picture, 1, batch_size=2)
        become()
        found = explainer.explain_methods(picture, [1], methods, batch_size=2)
        return [answer.raw for (answer,) in found.values()], verify(explainer.engine)

    folder = Path(shutil.copytree(small_bundle, tmp_path / "small.sise"))

    def but_for_the_weights():
        become(folder, other_bundle)
        folder.mkdir(exist_ok=True)
        shutil.copy(small_bundle / "weights.bin", folder)

    expected, errors = answers(sise_rt.load(small_bundle, "cpu", 1), lambda: None)
    found, found_errors = answers(sise_rt.load(folder, "cpu", 1), but_for_the_weights)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert found_errors == errors


def test_a_branch_that_names_a_file_is_not_read_from_the_disk(small_bundle, tmp_path, monkeypatch):
    """ONNX Runtime looks for what branches name where the process runs, if it is not told otherwise."""
    folder = Path(shutil.copytree(small_bundle, tmp_path / "small.sise"))
    model = onnx.load(folder / "forward.onnx", load_external_data=False)
    bias = onnx.TensorProto(name="bias", data_type=1, dims=[5], data_location=1)
    for key, value in (("location", "secret.bin"), ("offset", "0"), ("length", "20")):
        bias.external_data.add(key=key, value=value)
    shape = model.graph.output[0].type
    made = onnx.ValueInfoProto(name="made", type=shape)
    adds = onnx.helper.make_node("Add", ["inner", "bias"], ["made"])
    branch = onnx.helper.make_graph([adds], "branch", [], [made], [bias])
    for node in model.graph.node:
        node.output[:] = ["inner" if name == "logits" else name for name in node.output]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "always"))
    model.graph.node.append(
        onnx.helper.make_node("If", ["always"], ["logits"], then_branch=branch, else_branch=branch)
    )
    (folder / "forward.onnx").write_bytes(model.SerializeToString())
    data = json.loads((folder / "manifest.json").read_text("utf-8"))
    data["files"]["forward.onnx"] = sha256(folder / "forward.onnx")
    (folder / "manifest.json").write_text(json.dumps(data), "utf-8")
    for place in (tmp_path, folder):
        (place / "secret.bin").write_bytes(np.ones(5, np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match=r"forward\.onnx cannot be loaded"):
        sise_rt.load(folder, "cpu").explain(np.zeros((32, 32, 3), np.uint8), 0, method="rise:masks=4")
