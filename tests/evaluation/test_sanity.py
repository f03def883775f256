"""The parameter-randomisation check: its similarities, its verdicts, and the shuffled model itself."""

import json
import sys

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper
from PIL import Image
from sise_rt.export import export
from sise_rt.export.randomised import write_randomised

import sise_rt
from sise_rt.commands import evaluate as command
from sise_rt.errors import BundleError, ModelError, NoEvidence
from sise_rt.evaluation.datasets import read_dataset
from sise_rt.evaluation.measure import Plan
from sise_rt.evaluation.sanity import check_sanity, spearman, ssim
from sise_rt.methods import METHODS, parse

for needed in command.NEEDED:
    pytest.importorskip(needed, reason="pip install '.[evaluate]'")

REFERENCES = ("edges", "gaussian", "random")
QUICK = {"rise": "rise:masks=24", "extremal-perturbation": "extremal-perturbation:steps=3"}


def picture(seed):
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((4, 4, 1))).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four pictures, and a file that is none."""
    folder = tmp_path_factory.mktemp("data")
    for i in range(4):
        Image.fromarray(picture(i)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def shuffled(small_bundle, tmp_path_factory):
    """The small bundle with a shuffled head, and the name of its weights."""
    folder = tmp_path_factory.mktemp("shuffled") / "small.sise"
    return folder, write_randomised(small_bundle, folder, seed=3)


# -------------------- the shuffled model


def test_the_shuffled_bundle_is_one_of_the_model_with_that_head(
    shuffled, small_model, small_bundle, tmp_path
):
    """In every graph: each method finds what it finds in a bundle exported from the model so changed."""
    folder, name = shuffled
    graph = onnx.load(folder / "classifier.onnx", load_external_data=False).graph
    (tensor,) = [each for each in graph.initializer if each.name == name]
    head = numpy_helper.to_array(tensor, base_dir=str(folder))
    model = onnx.load(small_model)
    (own,) = [each for each in model.graph.initializer if each.name == "head.weight"]
    before = numpy_helper.to_array(own)
    assert head.shape == before.shape
    assert (head != before).mean() > 0.9
    np.testing.assert_array_equal(np.sort(head, axis=None), np.sort(before, axis=None))
    own.CopyFrom(numpy_helper.from_array(head, "head.weight"))
    onnx.save(model, tmp_path / "changed.onnx")
    expected = sise_rt.load(export(tmp_path / "changed.onnx", tmp_path / "changed.sise").path)
    methods = [QUICK.get(each, each) for each in METHODS]
    found, wanted = (
        each.explain_methods(picture(0), [0, 3], methods, batch_size=4)
        for each in (sise_rt.load(folder), expected)
    )
    compared = 0
    for method in methods:
        for a, b in zip(found[method], wanted[method], strict=True):
            assert type(a) is type(b), method
            if not isinstance(a, NoEvidence):
                np.testing.assert_allclose(
                    a.raw, b.raw, rtol=0, atol=1e-5 * np.abs(b.raw).max(), err_msg=method
                )
                assert a.confidence == pytest.approx(b.confidence, rel=1e-5)
                compared += 1
    assert compared > len(methods)
    image = sise_rt.load(small_bundle).prepare(picture(0)).tensor
    old = sise_rt.load(small_bundle).engine.forward(image)
    assert np.abs(sise_rt.load(folder).engine.forward(image) - old).max() > 0.1


def test_weights_in_the_file_of_weights_are_shuffled_too(cnn, tmp_path):
    """A head of more than a kilobyte, which lies outside its graphs; against torch in float64."""
    torch = pytest.importorskip("torch")
    bundle = export(cnn(tmp_path / "wide.onnx", classes=40), tmp_path / "wide.sise").path
    name = write_randomised(bundle, tmp_path / "shuffled.sise")
    graph = onnx.load(tmp_path / "shuffled.sise" / "classifier.onnx", load_external_data=False).graph
    (tensor,) = [each for each in graph.initializer if each.name == name]
    assert tensor.external_data
    head = numpy_helper.to_array(tensor, base_dir=str(tmp_path / "shuffled.sise"))
    model = onnx.load(tmp_path / "wide.onnx")
    weights = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    explainer, own = sise_rt.load(tmp_path / "shuffled.sise"), sise_rt.load(bundle)
    image = own.prepare(picture(1)).tensor
    (maps, *_), *_ = [own.engine.features(image, np.array([5]))[0][-1:]]
    z = torch.tensor(maps.astype(np.float64), requires_grad=True)
    logits = z.mean((2, 3)) @ torch.tensor(head.astype(np.float64)).T + torch.tensor(weights["head.bias"])
    (gradient,) = torch.autograd.grad(logits[0, 5], z)
    cotangents = np.eye(1, 40, 5, dtype=np.float32)
    found, slope, from_gradient = explainer.engine.last_block_gradient(image, cotangents)
    np.testing.assert_allclose(found, maps, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slope, gradient.numpy(), rtol=1e-5, atol=1e-8)
    for given in (from_gradient, explainer.engine.forward(image), explainer.engine.classify(maps)):
        np.testing.assert_allclose(given, logits.detach().numpy(), rtol=1e-5, atol=1e-5)


def test_a_bundle_that_is_none_is_refused(tmp_path):
    with pytest.raises(BundleError):
        write_randomised(tmp_path, tmp_path / "out")


# -------------------- similarities


@pytest.mark.parametrize("levels", [3, 1000])
def test_rank_correlation_is_scipys(levels):
    stats = pytest.importorskip("scipy.stats")
    a, b = (np.random.default_rng(i).integers(0, levels, (9, 13)) / levels for i in (0, 1))
    b = a + b
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a.ravel(), b.ravel()).statistic, abs=1e-12)
    assert spearman(a, a) == pytest.approx(1)
    assert spearman(a, 1 - a) == pytest.approx(-1)
    assert spearman(a, a**3) == pytest.approx(1)


def test_maps_of_one_value():
    flat, other = np.zeros((5, 5)), np.arange(25.0).reshape(5, 5)
    assert spearman(flat, other) == spearman(other, flat) == 0
    assert np.isnan(spearman(flat, flat))
    assert ssim(flat, flat) == 1


@pytest.mark.parametrize(("shape", "value"), [((2, 9), np.nan), ((3, 3), 1), ((6, 9), 1), ((32, 40), 1)])
def test_structural_similarity_of_maps_of_any_size(shape, value):
    map_ = np.random.default_rng(0).random(shape).astype(np.float32)
    assert ssim(map_, map_) == pytest.approx(value, nan_ok=True)
    assert not ssim(map_, 1 - map_) > 0.5


# -------------------- verdicts


def checked(small_bundle, shuffled, data, methods, count=4):
    plan = Plan(requests=tuple(map(parse, methods)), metrics=("drop",), targets={}, batch_size=4)
    loaded = (sise_rt.load(each) for each in (small_bundle, shuffled))
    return check_sanity(*loaded, read_dataset(data, "folder"), plan, count)


def test_references_fail_and_methods_that_ask_the_model_pass(small_bundle, shuffled, data):
    asking = ("grad-cam", "sise")
    found = checked(small_bundle, shuffled[0], data, (*REFERENCES, *asking))
    assert found["pictures"] == 4
    methods = found["methods"]
    for name in REFERENCES:
        assert methods[name]["spearman"] == pytest.approx(1)
        assert methods[name]["ssim"] == pytest.approx(1)
        assert methods[name]["passes"] is False, name
    assert methods["gaussian"]["others"] == pytest.approx(1)
    assert abs(methods["random"]["others"]) < 0.1
    for name in asking:
        assert methods[name]["passes"] is True, methods[name]
    json.dumps(found, allow_nan=False)


def test_every_method_fails_on_a_model_that_stays_as_it_is(small_bundle, data):
    found = checked(small_bundle, small_bundle, data, ("sise", "grad-cam", "score-cam"))
    assert all(entry["kept"] == pytest.approx(1) for entry in found["methods"].values())
    assert [entry["passes"] for entry in found["methods"].values()] == [False] * 3


def test_one_picture_is_too_few_for_a_verdict(small_bundle, shuffled, data):
    found = checked(small_bundle, shuffled[0], data, ("sise",), count=1)
    assert found["methods"]["sise"]["passes"] is None
    json.dumps(found, allow_nan=False)


# -------------------- the command


def evaluated(bundle, data, report, *arguments):
    every = ["-m", bundle, "--data", data, "--format", "folder", "--metric", "drop", "-o", report, *arguments]
    return CliRunner().invoke(command.evaluate, [str(each) for each in every])


def test_the_command_prints_and_keeps_it(small_bundle, data, tmp_path):
    report = tmp_path / "report"
    result = evaluated(small_bundle, data, report, "--method", "sise,edges", "--sanity", "3")
    assert result.exit_code == 0, result.output
    assert "maps of 3 pictures before and after" in result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert ["edges", "FAILS"] in [line[:2] for line in lines]
    assert ["sise", "passes"] in [line[:2] for line in lines]
    sanity = json.loads((report / "summary.json").read_text("utf-8"))["sanity"]
    assert (sanity["pictures"], sanity["methods"]["edges"]["passes"]) == (3, False)
    page = (report / "report.html").read_text("utf-8")
    assert "Do the maps depend on the model?" in page
    assert "<td>fails</td>" in page
    again = evaluated(small_bundle, data, report, "--method", "sise,edges")
    assert again.exit_code == 0
    assert "Do the maps depend" not in (report / "report.html").read_text("utf-8")


@pytest.mark.parametrize("count", ["0", "1", "x"])
def test_too_few_pictures_are_wrong_use(small_bundle, data, tmp_path, count):
    result = evaluated(small_bundle, data, tmp_path / "report", "--sanity", count)
    assert result.exit_code == 2
    assert "--sanity" in result.output
    assert not (tmp_path / "report").exists()


def test_without_onnx_one_line_says_what_helps(small_bundle, data, tmp_path, monkeypatch):
    for name in [each for each in sys.modules if each.startswith("sise_rt.export")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = evaluated(small_bundle, data, tmp_path / "report", "--sanity")
    assert isinstance(result.exception, ModelError) or "pip install 'sise-rt[export]'" in result.output
    assert not (tmp_path / "report").exists()
