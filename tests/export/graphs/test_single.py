"""A graph that explains itself against the runtime, and its steps against scikit-image and NumPy."""

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from sise_rt.export.graphs.ends import FINE, FLAT, IMPOSSIBLE, NOT_FINITE, SILENT
from sise_rt.export.graphs.single import require_standard, single_graph
from sise_rt.export.ir.network import to_model
from sise_rt.export.ir.nodes import subgraphs
from sise_rt.export.preparation import prepare
from skimage.filters import threshold_otsu

import sise_rt
from sise_rt.errors import ModelError

STATUS = {"fine": FINE, "silent": SILENT, "flat": FLAT, "not finite": NOT_FINITE, "impossible": IMPOSSIBLE}


def built(source, folder, **model):
    """The graph of a model as ONNX Runtime runs it, `run(image, **settings)`, and its bytes."""
    prepared = prepare(source, folder, **model)
    manifest = prepared.manifest("made", prepared.find_blocks(None))
    proto = to_model(single_graph(prepared.network, manifest), prepared.network)
    onnx.checker.check_model(proto, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    types = {value.name: value.type for value in session.get_overridable_initializers()}

    def run(image, **settings):
        kinds = {"tensor(int64)": np.int64, "tensor(float)": np.float32}
        given = {name: np.array(value, kinds[types[name]]) for name, value in settings.items()}
        return dict(zip(names, session.run(None, {"image": image, **given}), strict=True))

    return run, proto


@pytest.fixture(scope="module")
def small(small_model, tmp_path_factory):
    return built(small_model, tmp_path_factory.mktemp("single"))


@pytest.fixture(scope="module")
def runtime(small_bundle):
    return sise_rt.load(small_bundle, "cpu")


def pictures(count, size=32):
    rng = np.random.default_rng(5)
    for _ in range(count):
        coarse = rng.integers(0, 256, (size // 8, size // 8, 3), np.uint8)
        yield coarse.repeat(8, axis=0).repeat(8, axis=1)


def thresholds(explanation):
    """Where a block's map lies within 1e-4 of its threshold, (H, W)."""
    near = np.zeros(explanation.map.shape, bool)
    for block in explanation.blocks:
        if block.visualization is not None:
            near |= np.abs(block.visualization - threshold_otsu(block.visualization, 256)) < 1e-4
    return near


def agrees(own, explanation):
    """Hold a run of the graph against the runtime's explanation."""
    assert own["status"] == FINE
    assert own["class"] == explanation.target
    assert abs(own["confidence"] - explanation.confidence) < 1e-6
    assert own["kept"].tolist() == [block.kept for block in explanation.blocks]
    assert own["used"].tolist() == [block.kept - block.constant for block in explanation.blocks]
    assert own["masks_scored"] == explanation.masks
    for map_, block in zip(own["visualization_maps"], explanation.blocks, strict=True):
        expected = np.zeros_like(map_) if block.visualization is None else block.visualization
        assert np.abs(map_ - expected).max() < 1e-5
    off = np.abs(own["explanation"] - explanation.map) > 1e-3
    assert not (off & ~thresholds(explanation)).any()


@pytest.mark.parametrize("mu", [0, 0.3, 0.5, 0.9])
def test_it_explains_as_the_runtime(small, runtime, mu):
    run, _ = small
    for pixels in pictures(4):
        picture = runtime.prepare(pixels)
        agrees(run(picture.tensor, mu=mu), runtime.explain(picture, mu=mu))


def test_every_target(small, runtime):
    run, _ = small
    picture = runtime.prepare(next(pictures(1)))
    own = [run(picture.tensor, target=target) for target in range(5)]
    for target, one in enumerate(own):
        agrees(one, runtime.explain(picture, target))
    best = run(picture.tensor)
    assert best["class"] == np.argmax(best["logits"])
    np.testing.assert_array_equal(best["explanation"], own[int(best["class"])]["explanation"])


@pytest.mark.parametrize("model", [{"activation": "sigmoid"}, {"activation": "none"}, {"classes": 1}])
def test_other_outputs(cnn, tmp_path, model):
    from sise_rt.export import export

    model = dict(model)
    source = cnn(tmp_path / "m.onnx", classes=model.pop("classes", 5))
    run, _ = built(source, tmp_path, **model)
    explainer = sise_rt.load(export(source, tmp_path / "m.sise", **model).path, "cpu")
    for pixels in pictures(3):
        picture = explainer.prepare(pixels)
        agrees(run(picture.tensor), explainer.explain(picture))


def test_one_image_at_a_time(small_model_of_one, tmp_path):
    from sise_rt.export import export

    run, _ = built(small_model_of_one, tmp_path)
    explainer = sise_rt.load(export(small_model_of_one, tmp_path / "m.sise").path, "cpu")
    picture = explainer.prepare(next(pictures(1)))
    agrees(run(picture.tensor), explainer.explain(picture))


def test_a_limit_selects_as_a_higher_mu(small, runtime):
    run, _ = small
    picture = runtime.prepare(next(pictures(1)))
    every = run(picture.tensor)
    for mu in (0.2, 0.4, 0.6):
        expected = run(picture.tensor, mu=mu)
        limited = run(picture.tensor, max_masks=int(expected["masks_scored"]))
        assert limited["masks_scored"] == expected["masks_scored"] < every["masks_scored"]
        assert limited["kept"].tolist() == every["kept"].tolist()
        np.testing.assert_allclose(limited["explanation"], expected["explanation"], atol=1e-5)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16])
def test_turns_that_are_not_full_change_nothing(small, runtime, count):
    """Each mask's weight is its own: that of one alone is that of the same among others."""
    run, _ = small
    image = runtime.prepare(next(pictures(1))).tensor
    limited = run(image, max_masks=count)
    assert limited["masks_scored"] == count
    assert limited["used"].sum() == count
    assert limited["explanation"].max() == 1


def degenerate(runtime):
    grey = np.zeros((1, 3, 32, 32), np.float32)
    image = runtime.prepare(next(pictures(1))).tensor
    nan, infinite = image.copy(), image.copy()
    nan[0, 1, 3, 5], infinite[0, 0, 0, 0] = np.nan, np.inf
    return {
        "fine": [(image, {})],
        "impossible": [
            (image, {"target": 5}),
            (image, {"target": -2}),
            (image, {"target": 2**40}),
            (image, {"max_masks": 0}),
            (image, {"max_masks": -(2**60)}),
            (image, {"mu": 1}),
            (image, {"mu": -0.1}),
            (image, {"mu": np.nan}),
            (nan, {"target": 7}),
        ],
        "not finite": [
            (nan, {}),
            (infinite, {}),
            (image * np.float32(1e38), {}),
            (grey + np.nan, {"mu": 0.5}),
        ],
    }


@pytest.mark.parametrize("status", ["fine", "impossible", "not finite"])
def test_degenerate_inputs_are_a_status(small, runtime, status):
    run, _ = small
    for image, settings in degenerate(runtime)[status]:
        own = run(image, **settings)
        assert own["status"] == STATUS[status], settings
        assert all(np.isfinite(value).all() for value in own.values())
        assert (own["explanation"].max() == 1) == (status == "fine")
        if status != "fine":
            assert not own["explanation"].any()
            assert not own["visualization_maps"].any()
            assert own["masks_scored"] == 0
        if status == "not finite" or "target" in settings:
            assert (own["class"], own["confidence"]) == (-1, 0)


def changed(small_model, path, change):
    """The small network with other weights."""
    model = onnx.load(small_model)
    weights = {weight.name: onnx.numpy_helper.to_array(weight).copy() for weight in model.graph.initializer}
    change(weights)
    del model.graph.initializer[:]
    model.graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in weights.items())
    onnx.save(model, path)
    return path


def silence(weights):
    """A head that no feature map moves."""
    weights["head.weight"][:] = 0


def flatten(weights):
    """A stem that gives the same everywhere, whose maps still move the logits; and blocks without padding."""
    for name in ("stem.conv.weight", "a.conv1.weight", "a.conv2.weight", "b.conv1.weight", "b.conv2.weight"):
        weights[name][:] = 0
    weights["a.shortcut.weight"][:] = np.abs(weights["a.shortcut.weight"])
    weights["b.shortcut.weight"][:] = np.abs(weights["b.shortcut.weight"])


@pytest.mark.parametrize(("change", "status"), [(silence, SILENT), (flatten, FLAT)])
def test_nothing_to_show_is_a_status(small_model, tmp_path, change, status):
    run, _ = built(changed(small_model, tmp_path / "m.onnx", change), tmp_path, activation="softmax")
    own = run(np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32))
    assert own["status"] == status
    assert not own["explanation"].any()
    assert all(np.isfinite(value).all() for value in own.values())
    assert own["class"] == np.argmax(own["logits"])


def test_the_network_stands_there_twice_and_weights_once(small, small_model):
    _, proto = small
    nodes = list(proto.graph.node)
    (body,) = subgraphs(next(node for node in nodes if node.op_type == "Loop"))
    later, first = subgraphs(next(node for node in body.node if node.op_type == "If"))
    relus = [[node.op_type for node in graph.node].count("Relu") for graph in (proto.graph, body, first)]
    once = sum(node.op_type == "Relu" for node in onnx.load(small_model).graph.node)
    assert relus == [0, once, once]
    assert {node.op_type for node in later.node} == {"Identity"}
    # ONNX Runtime lays weights out for the nodes of the graph that they stand in.
    own = {name for node in body.node for name in node.input}
    large = [weight for weight in body.initializer if len(weight.raw_data) > 1024]
    assert {weight.name for weight in large} <= own
    assert len({weight.raw_data for weight in large}) == len(large) > 3
    assert not any(weight.name.endswith((".weight", ".bias")) for weight in proto.graph.initializer)
    assert not first.initializer
    assert {node.domain for node in [*nodes, *body.node, *first.node]} == {""}
    assert 18 <= proto.opset_import[0].version <= 21
    weights = sum(len(weight.raw_data) for weight in onnx.load(small_model).graph.initializer)
    assert proto.ByteSize() < 1.02 * weights + 2e6


def test_shapes_are_declared(small):
    _, proto = small
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*proto.graph.input, *proto.graph.output]
    }
    assert shapes == {
        "image": [1, 3, 32, 32],
        "target": [],
        "mu": [],
        "max_masks": [],
        "explanation": [32, 32],
        "confidence": [],
        "class": [],
        "logits": [5],
        "visualization_maps": [3, 32, 32],
        "kept": [3],
        "used": [3],
        "masks_scored": [],
        "status": [],
    }


def test_names_of_inputs_and_outputs_may_be_the_model_s_own(small_model, tmp_path):
    model = onnx.load(small_model)
    taken = {"stem.relu": "explanation", "a.relu": "kept", "flat": "target", "head.weight": "mu"}
    for node in model.graph.node:
        node.input[:] = [taken.get(name, name) for name in node.input]
        node.output[:] = [taken.get(name, name) for name in node.output]
    for weight in model.graph.initializer:
        weight.name = taken.get(weight.name, weight.name)
    onnx.save(model, tmp_path / "m.onnx")
    run, _ = built(tmp_path / "m.onnx", tmp_path)
    plain, _ = built(small_model, tmp_path)
    image = np.random.default_rng(3).standard_normal((1, 3, 32, 32)).astype(np.float32)
    np.testing.assert_array_equal(run(image)["explanation"], plain(image)["explanation"])


def test_newer_opsets_and_other_domains_are_refused(small_model, tmp_path):
    network = prepare(small_model, tmp_path).network
    network.opsets[""] = 22
    with pytest.raises(ModelError, match="opset 22"):
        require_standard(network)
    network.opsets[""] = 18
    network.graph.nodes[3].domain = "com.microsoft"
    with pytest.raises(ModelError, match=r"com\.microsoft"):
        require_standard(network)


def test_a_picture_of_another_size_is_onnx_runtime_s_own_error(small):
    run, _ = small
    with warnings.catch_warnings(), pytest.raises(Exception, match="Got invalid dimensions for input: image"):
        run(np.zeros((1, 3, 48, 32), np.float32))
