"""Every method against an independent implementation of it on the same network."""

import inspect
import itertools
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")
from sise_rt.export import export  # noqa: E402
from sise_rt.export.ir.builder import Builder  # noqa: E402

import sise_rt  # noqa: E402
from sise_rt.answering import predict  # noqa: E402
from sise_rt.bundle import LATER  # noqa: E402
from sise_rt.errors import BundleError, MethodError, ModelError, NoEvidence  # noqa: E402
from sise_rt.methods import METHODS, Call, Clock, Finding, Query, parse, repeated, request, with_preset  # noqa: E402
from sise_rt.methods.ada_sise import THRESHOLDS, histogram_otsu, select_adaptively, sorted_otsu  # noqa: E402
from sise_rt.methods.block_cams import block_gradients  # noqa: E402
from sise_rt.methods.eigen_cam import principal  # noqa: E402
from sise_rt.methods.extremal_perturbation import (  # noqa: E402
    area_penalty,
    ascend,
    make_lattice,
    objective_gradient,
    smooth,
)
from sise_rt.methods.grad_cam_plus_plus import plus_plus_weights  # noqa: E402
from sise_rt.methods.integrated_gradients import attributions  # noqa: E402
from sise_rt.methods.winsor_cam import winsorised  # noqa: E402
from sise_rt.methods.xgrad_cam import axiom_weights  # noqa: E402
from sise_rt.phases.features import extract  # noqa: E402
from sise_rt.pictures.picture import Picture  # noqa: E402
from sise_rt.running.batches import Batches  # noqa: E402
from sise_rt.running.engine import Scorer  # noqa: E402

F = torch.nn.functional
SIZE, CLASSES = (32, 40), 5
REFERENCES = ("random", "gaussian", "edges")
QUICK = {
    "smoothgrad": "smoothgrad:samples=5",
    "rise": "rise:masks=24",
    "integrated-gradients": "integrated-gradients:steps=5",
    "integrated-grad-cam": "integrated-grad-cam:steps=5",
    "extremal-perturbation": "extremal-perturbation:areas=0.1+0.3:steps=3",
}
ALL = tuple(QUICK.get(name, name) for name in METHODS)


def network(classes=CLASSES, dead=False):
    """Three blocks, and a head under which the gradient differs from place to place."""
    torch.manual_seed(1)
    nn = torch.nn
    features = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(12, 16, 3, stride=2, padding=1), nn.ReLU()),
    )
    head = nn.Sequential(nn.Flatten(), nn.Linear(320, 24), nn.ReLU(), nn.Linear(24, classes))
    with torch.no_grad():
        for layer in (*features, *head):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight *= 2
        if dead:
            features[-2].bias -= 1000
    return nn.Sequential(features, head).eval()


def bundle(folder, net, **options):
    options = {"preprocess": {"crop_pct": 1.0}} | options
    return export(as_onnx(net, folder / "net.onnx"), folder / "net.sise", **options).path


def as_onnx(net, path):
    """The network node by node, which takes less time than torch's exporter."""
    op = Builder("t_", {}, {}, np.float32)
    x = "x"
    for layer in (*net[0], *net[1]):
        weights = [
            op.constant(v.detach().numpy().astype(np.float32)) for v in layer.state_dict().values() if v.ndim
        ]
        if isinstance(layer, torch.nn.Conv2d):
            x = op.Conv(x, *weights, strides=[2, 2], pads=[1] * 4)
        elif isinstance(layer, torch.nn.BatchNorm2d):
            x = op.BatchNormalization(x, *weights, epsilon=layer.eps)
        elif isinstance(layer, torch.nn.Linear):
            x = op.Gemm(x, *weights, transB=1)
        else:
            x = op.Relu(x) if isinstance(layer, torch.nn.ReLU) else op.Flatten(x)
    graph = helper.make_graph(
        op.nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, *SIZE))],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in op.constants.items()],
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def photo(seed=0):
    """A picture with shapes in it (H, W, 3)."""
    rng = np.random.default_rng(seed)
    coarse = torch.tensor(rng.uniform(0, 255, (1, 3, 5, 6)))
    smooth_part = F.interpolate(coarse, SIZE, mode="bicubic")[0].numpy().transpose(1, 2, 0)
    return np.clip(smooth_part + rng.normal(0, 20, (*SIZE, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def explainer(tmp_path_factory):
    return sise_rt.load(bundle(tmp_path_factory.mktemp("net"), network()))


@pytest.fixture(scope="module")
def sigmoid_explainer(tmp_path_factory):
    return sise_rt.load(bundle(tmp_path_factory.mktemp("sigmoid"), network(), activation="sigmoid"))


@pytest.fixture(scope="module")
def net():
    return network().double()


def tensor_of(explainer, picture=None):
    return explainer.prepare(photo() if picture is None else picture).tensor


def doubles(explainer):
    return torch.tensor(tensor_of(explainer), dtype=torch.float64)


def features_of(explainer, targets=(1,)):
    return extract(explainer.engine, tensor_of(explainer), np.array(targets))


def run(explainer, text, targets=(1,), *, engine=None, image=None, batch_size=4):
    """What a method itself gives, on an engine of the test's own if there is one."""
    asked, picture = parse(text), explainer.prepare(photo())
    if image is not None:
        picture = Picture(picture.pixels, image, picture.placement, picture.name)
    query = Query(
        engine or explainer.engine, picture, np.array(targets), predict(explainer.engine, picture.tensor)
    )
    features = features_of(explainer, targets) if asked.method.features else None
    call = Call(query, features, batch_size=batch_size)
    return asked.method.run(query, call, Clock(), **asked.settings)


def raw(explainer, method, target=1, **options):
    return explainer.explain(photo(), target=target, method=method, batch_size=4, **options).raw


def enlarged(maps):
    """(..., h, w) at the input's size, by torch."""
    flat = torch.as_tensor(maps).reshape(1, -1, *maps.shape[-2:])
    return F.interpolate(flat, SIZE, mode="bilinear", align_corners=False).reshape(*maps.shape[:-2], *SIZE)


def maps_and_gradient(net, x, target):
    maps = net[0](x)
    (gradient,) = torch.autograd.grad(net[1](maps)[:, target].sum(), maps)
    return maps.detach().numpy(), gradient.numpy()


def psi(net, images, target, activation="softmax"):
    with torch.no_grad():
        logits = net(images)
    p = torch.softmax(logits, 1) if activation == "softmax" else torch.sigmoid(logits)
    return p[:, target].numpy()


def close(found, expected, tolerance=1e-4):
    """Equal to a share of the largest value, and not because both are zero."""
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    largest = np.abs(expected).max()
    assert largest > 1e-6
    print(f"largest difference {np.abs(found - expected).max() / largest:.1e} of the largest value")
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * largest)


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


# ---------------------------------------------------------------------------------------------- Grad-CAM


@pytest.mark.parametrize("target", [0, 1, 4])
def test_grad_cam_is_captums(explainer, net, target):
    attr = pytest.importorskip("captum.attr")
    found = attr.LayerGradCam(net, net[0]).attribute(doubles(explainer), target, relu_attributions=True)
    close(raw(explainer, "grad-cam", target), enlarged(found.detach()[0, 0]))


@pytest.mark.parametrize("target", [0, 1, 4])
def test_grad_cam_plus_plus_is_its_equations(explainer, net, target):
    maps, gradient = maps_and_gradient(net, doubles(explainer), target)
    total = np.zeros(maps.shape[2:])
    for a, g in zip(maps[0], gradient[0], strict=True):
        weight = 0.0
        for slope in g.ravel():
            below = 2 * slope**2 + a.sum() * slope**3
            weight += slope**2 / below * max(slope, 0) if below else 0
        total += weight * a
    close(raw(explainer, "grad-cam++", target), enlarged(np.maximum(total, 0)))


def test_plus_plus_weights_are_derivatives_of_the_exponential():
    """Eq. 10 in derivatives of Y = exp(z) by torch, for a z that is not linear in the maps."""
    torch.manual_seed(0)
    maps = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    slope = torch.randn(2, 3, 4, dtype=torch.float64)
    score = torch.exp((slope * maps).sum())  # z is linear, as it is around ReLU: d^n Y = g^n Y
    (first,) = torch.autograd.grad(score, maps, create_graph=True)
    second, third = torch.zeros_like(first), torch.zeros_like(first)
    for at in np.ndindex(*maps.shape):
        (row,) = torch.autograd.grad(first[at], maps, create_graph=True)
        second[at] = row[at].detach()
        third[at] = torch.autograd.grad(row[at], maps, retain_graph=True)[0][at]
    share = second / (2 * second + third * maps.sum(dim=(1, 2), keepdim=True))
    expected = (share * torch.relu(first)).sum(dim=(1, 2)) / score
    found = plus_plus_weights(maps.detach().numpy(), slope.numpy())
    close(found, expected.detach().numpy(), 1e-12)


@pytest.mark.parametrize(
    ("method", "name"),
    # Its Score-CAM weighs by a softmax of the confidences over the maps: other numbers, much the same map.
    [
        ("grad-cam", "GradCAM"),
        ("grad-cam++", "GradCAMPlusPlus"),
        ("score-cam", "ScoreCAM"),
        ("hirescam", "HiResCAM"),
        ("layercam", "LayerCAM"),
        ("xgrad-cam", "XGradCAM"),
        ("ablation-cam", "AblationCAM"),
    ],
)
def test_against_pytorch_grad_cam(torchvision, explainer, method, name):
    library = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    net = network()
    with getattr(library, name)(model=net, target_layers=[net[0][-1]]) as cam:
        cam.batch_size = 4
        found = cam(doubles(explainer).float(), targets=[targets.ClassifierOutputTarget(1)])[0]
    agreement = correlation(raw(explainer, method), found)
    print(f"correlation {agreement:.8f}")
    assert agreement > 0.99


@pytest.mark.parametrize("target", [0, 1, 4])
@pytest.mark.parametrize(
    ("method", "rule"),
    [
        ("hirescam", lambda a, g: a * g),
        ("layercam", lambda a, g: a * max(g, 0.0)),
    ],
)
def test_products_place_by_place(explainer, net, target, method, rule):
    maps, gradient = maps_and_gradient(net, doubles(explainer), target)
    total = np.zeros(maps.shape[2:])
    for k, row, column in np.ndindex(*maps.shape[1:]):
        total[row, column] += rule(maps[0, k, row, column], gradient[0, k, row, column])
    close(raw(explainer, method, target), enlarged(np.maximum(total, 0)))


@pytest.mark.parametrize("target", [0, 1, 4])
def test_xgrad_cam_adds_up_to_the_product_of_maps_and_gradient(explainer, net, target):
    """What its authors ask of the weights: sum_ij w_k A_k = sum_ij g A for every map (sensitivity)."""
    maps, gradient = (x[0] for x in maps_and_gradient(net, doubles(explainer), target))
    weights = axiom_weights(maps, gradient)
    close((weights[:, None, None] * maps).sum((1, 2)), (gradient * maps).sum((1, 2)), 1e-12)
    expected = np.maximum(sum(w * a for w, a in zip(weights, maps, strict=True)), 0)
    close(raw(explainer, "xgrad-cam", target), enlarged(expected))
    assert not axiom_weights(np.array([[[1.0, -1.0]]]), np.ones((1, 1, 2))).any()


def test_eigen_cam_is_the_best_map_of_rank_one(explainer, net):
    """No other pattern over the places leaves less of the maps' energy, and no class changes it."""
    with torch.no_grad():
        maps = net[0](doubles(explainer))[0].numpy()
    places = maps.reshape(len(maps), -1).T
    values, vectors = np.linalg.eigh(places.T @ places)
    found = principal(maps)
    assert (found >= -1e-9).all()  # as the maps themselves
    close(np.abs(places @ vectors[:, -1]), found.ravel(), 1e-9)
    assert np.isclose((found**2).sum(), values[-1])
    for target in (0, 1):
        close(raw(explainer, "eigen-cam", target), enlarged(found))
    assert np.array_equal(principal(-maps), principal(maps))
    one = explainer.explain(photo(), target=1, method="eigen-cam")
    assert [each.code for each in one.warnings if "every class" in each] == ["class-ignored"]


@pytest.mark.parametrize("target", [0, 1, 4])
def test_ablation_cam_is_its_sum(explainer, net, target):
    with torch.no_grad():
        maps = net[0](doubles(explainer))
        whole, total = net[1](maps)[0, target], torch.zeros(maps.shape[2:], dtype=torch.float64)
        for k in range(maps.shape[1]):
            without = maps.clone()
            without[:, k] = 0
            total += (whole - net[1](without)[0, target]) * maps[0, k]
    close(raw(explainer, "ablation-cam", target), enlarged(np.maximum(total.numpy(), 0)))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_recipro_cam_is_the_confidence_at_each_place(explainer, sigmoid_explainer, net, activation):
    chosen = explainer if activation == "softmax" else sigmoid_explainer
    with torch.no_grad():
        maps = net[0](doubles(chosen))
    gaussian = torch.tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]]).double()[None, None] / 16
    found = np.zeros(maps.shape[2:])
    for row, column in np.ndindex(*found.shape):
        place = torch.zeros(1, 1, *found.shape, dtype=torch.float64)
        place[..., row, column] = 1
        mask = F.conv2d(place, gaussian, padding=1)
        with torch.no_grad():
            logits = net[1](maps * mask)
        p = torch.softmax(logits, 1) if activation == "softmax" else torch.sigmoid(logits)
        found[row, column] = p[0, 1]
    close(raw(chosen, "recipro-cam"), enlarged(found - found.min()))


@pytest.mark.parametrize("method", ["ablation-cam", "recipro-cam"])
@pytest.mark.parametrize("at", [0, 1])
def test_logits_behind_the_last_block_that_are_not_finite(explainer, method, at):
    passes = itertools.count()

    def classify(maps):
        found = maps.sum((1, 2, 3))[:, None] * np.eye(1, CLASSES, dtype=np.float32)
        if next(passes) == at:
            found[0, 3] = np.inf
        return found

    engine = SimpleNamespace(
        manifest=explainer.manifest, classify=classify, batches=lambda _, size: Batches((size,))
    )
    with pytest.raises(ModelError, match="not finite"):
        run(explainer, method, [0], engine=engine, batch_size=2)


def test_a_head_that_ignores_the_maps(explainer):
    engine = SimpleNamespace(
        manifest=explainer.manifest,
        classify=lambda maps: np.ones((len(maps), CLASSES), np.float32),
        batches=lambda _, size: Batches((size,)),
    )
    for method in ("ablation-cam", "recipro-cam"):
        (found,) = run(explainer, method, [0], engine=engine)
        assert isinstance(found, NoEvidence)


def test_refinecam_against_pytorch_grad_cam(torchvision, explainer):
    library = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    if not hasattr(library, "RefineCAM"):
        pytest.skip("this pytorch-grad-cam has no RefineCAM")
    net = network()
    layers = [layer for layer in net[0] if isinstance(layer, torch.nn.ReLU)]
    cam = library.RefineCAM(model=net, target_layers=layers)
    found = cam(doubles(explainer).float(), targets=[targets.ClassifierOutputTarget(1)])[0]
    for each in cam.base_cam_per_layer:
        each.activations_and_grads.release()
    agreement = correlation(raw(explainer, "refinecam"), found)
    print(f"correlation {agreement:.8f}")
    assert agreement > 0.99


def test_gradients_that_are_not_finite(explainer):
    maps = np.ones((1, 2, 3, 3), np.float32)
    gradient = np.full_like(maps, np.inf)
    engine = SimpleNamespace(
        manifest=explainer.manifest, last_block_gradient=lambda *_: (maps, gradient, np.zeros((1, CLASSES)))
    )
    for method in ("grad-cam", "grad-cam++", "hirescam", "layercam", "xgrad-cam"):
        with pytest.raises(ModelError, match="not finite"):
            run(explainer, method, [0], engine=engine)


def engine_with(explainer, output="", at=0, value=0.0):
    """An engine whose numbers are finite, but for one value of one output in the pass `at`."""
    passes = itertools.count()

    def run(images, **numbers):
        logits = images.mean((1, 2, 3))[:, None] * np.eye(1, CLASSES, dtype=np.float32)
        number, outputs = next(passes), numbers | {"logits": logits}
        if "maps" in outputs and not number:
            outputs["maps"] /= 2  # so that the maps have grown in every later pass
        if output and number == at:
            outputs[output].flat[0] = value
        return tuple(outputs.values())

    def last_block_gradient(images, _):
        shape = (len(images), 2, 3, 3)
        return run(images, maps=np.ones(shape, np.float32), gradient=np.ones(shape, np.float32))

    return SimpleNamespace(
        manifest=explainer.manifest,
        forward=lambda images: run(images)[0],
        last_block_gradient=last_block_gradient,
        image_gradient=lambda images, _: run(images, gradient=np.ones_like(images)),
        batches=lambda _, size: Batches((size,)),
    )


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize(
    ("method", "output", "at"),
    [
        *itertools.product(
            ["grad-cam", "grad-cam++", "hirescam", "layercam", "xgrad-cam"], ["maps", "gradient"], [0]
        ),
        *itertools.product(["rise:masks=6"], ["logits"], [0, 2]),
        *itertools.product(
            ["integrated-gradients:steps=5", "smoothgrad:samples=5"], ["gradient", "logits"], [0, 2]
        ),
        *itertools.product(
            ["integrated-grad-cam:steps=5", "integrated-grad-cam:steps=5:variant=notebook"],
            ["maps", "gradient", "logits"],
            [1, 3],
        ),
        ("integrated-grad-cam:steps=5", "maps", 0),
        *itertools.product([QUICK["extremal-perturbation"]], ["gradient", "logits"], [0, 2]),
    ],
)
def test_one_number_that_is_not_finite(explainer, method, output, at, value):
    """Be it one that the positive part of a sum would hide."""
    good, bad = engine_with(explainer), engine_with(explainer, output, at, value)
    assert isinstance(run(explainer, method, [0], engine=good, batch_size=2)[0], Finding)
    with pytest.raises(ModelError, match="not finite"):
        run(explainer, method, [0], engine=bad, batch_size=2)


@pytest.mark.parametrize("method", ["sise", "ada-sise", "score-cam"])
def test_confidences_that_are_not_finite(explainer, monkeypatch, method):
    scored = Scorer.__call__

    def spoilt(scorer, maps, most):
        confidences, *others = scored(scorer, maps, most)
        return (np.where(confidences == confidences.max(), np.nan, confidences), *others)

    monkeypatch.setattr(Scorer, "__call__", spoilt)
    with pytest.raises(ModelError, match="confidences are not finite"):
        run(explainer, method)


# ---------------------------------------------------------------------------------------------- along a way


@pytest.mark.parametrize(
    ("variant", "steps"), [("figure", 7), ("notebook", 7), ("figure", 1), ("notebook", 1)]
)
def test_integrated_grad_cam_is_its_sum(explainer, net, variant, steps):
    x = doubles(explainer)
    spec = explainer.manifest.preprocess
    black = (torch.zeros(3, *SIZE) - torch.tensor(spec.mean)[:, None, None]) / torch.tensor(spec.std)[
        :, None, None
    ]
    start = black.double()[None]
    first = maps_and_gradient(net, start, 1)[0][0]
    total = np.zeros(first.shape[1:])
    for i in range(1, steps + 1) if variant == "figure" else range(steps):
        maps, gradient = maps_and_gradient(net, start + i / steps * (x - start), 1)
        weights = gradient[0].mean((1, 2))
        if variant == "figure":
            total += np.maximum(sum(w * (a - b) for w, a, b in zip(weights, maps[0], first, strict=True)), 0)
        else:
            total += sum(w * a for w, a in zip(weights, maps[0], strict=True))
    expected = enlarged(np.maximum(total, 0) / steps)
    close(raw(explainer, "integrated-grad-cam", steps=steps, variant=variant), expected)


@pytest.mark.parametrize("steps", [2, 13])
def test_integrated_gradients_are_captums(explainer, net, steps):
    attr = pytest.importorskip("captum.attr")
    values = attr.IntegratedGradients(net).attribute(
        doubles(explainer), target=1, n_steps=steps, method="riemann_middle"
    )
    expected = values.detach().numpy()[0].sum(axis=0)
    close(raw(explainer, "integrated-gradients", steps=steps), np.abs(expected))


def test_integrated_gradients_are_complete(explainer, net):
    x = doubles(explainer)
    with torch.no_grad():
        difference = (net(x) - net(torch.zeros_like(x)))[0].numpy()
    for target in (0, 1):
        query = Query(explainer.engine, explainer.prepare(photo()), np.array([target]), np.empty(0))
        values = attributions(query, target, 300, Batches((16,)), lambda count: None)
        assert values.shape == (3, *SIZE)
        print(f"sum of attributions {values.sum():.4f}, difference of logits {difference[target]:.4f}")
        assert np.isclose(values.sum(), difference[target], rtol=0, atol=0.003 * np.abs(difference).max())


@pytest.mark.parametrize(("samples", "noise", "seed"), [(6, 0.15, 0), (9, 0.5, 3)])
def test_smoothgrad_is_its_sum(explainer, net, samples, noise, seed):
    x = doubles(explainer)
    rng, total = np.random.default_rng(seed), torch.zeros(3, *SIZE, dtype=torch.float64)
    for _ in range(samples):
        copy = x + noise * float(x.max() - x.min()) * torch.tensor(rng.standard_normal(x.shape, np.float32))
        copy.requires_grad_()
        total += torch.autograd.grad(net(copy)[0, 1], copy)[0][0]
    expected = (total / samples).abs().amax(0).numpy()
    close(raw(explainer, "smoothgrad", samples=samples, noise=noise, seed=seed), expected)


def test_smoothgrad_is_captums_where_the_noise_is_little(explainer, net):
    """Their noise is another one; both means go to the same."""
    attr = pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    tunnel, x = attr.NoiseTunnel(attr.Saliency(net)), doubles(explainer)
    deviation = 0.02 * float(x.max() - x.min())
    found = tunnel.attribute(x, target=1, nt_type="smoothgrad", nt_samples=64, stdevs=deviation, abs=False)
    expected = found[0].abs().amax(0).numpy()
    agreement = correlation(raw(explainer, "smoothgrad", samples=64, noise=0.02), expected)
    print(f"correlation {agreement:.4f}")
    assert agreement > 0.95


# ---------------------------------------------------------------------------------------------- every block


def blocks_and_gradients(net, x, target):
    """Maps and gradients of the logit at every block, by torch, (K, h, w) each."""
    maps, z = [], x
    for layer in net[0]:
        z = layer(z)
        if isinstance(layer, torch.nn.ReLU):
            maps.append(z)
    gradients = torch.autograd.grad(net[1](z)[0, target], maps)
    return [(a[0].detach().numpy(), g[0].numpy()) for a, g in zip(maps, gradients, strict=True)]


def minmax(map_):
    return (map_ - map_.min()) / (map_.max() - map_.min())


@pytest.mark.parametrize("target", [0, 1, 4])
def test_the_gradient_at_every_block(explainer, net, target):
    query = Query(explainer.engine, explainer.prepare(photo()), np.array([target]), np.empty(0))
    call = Call(query, features_of(explainer, (target,)))
    found = block_gradients(query, call, target)
    expected = blocks_and_gradients(net, doubles(explainer), target)
    assert len(found) == len(expected) == 3
    for pair, true in zip(found, expected, strict=True):
        for ours, torchs in zip(pair, true, strict=True):
            close(ours, torchs)


@pytest.mark.parametrize("target", [0, 1, 4])
def test_refinecam_is_the_product(explainer, net, target):
    expected = np.ones(SIZE)
    for maps, gradient in blocks_and_gradients(net, doubles(explainer), target):
        total = np.einsum("k,khw->hw", plus_plus_weights(maps, gradient), maps)
        expected *= minmax(enlarged(np.maximum(total, 0)).numpy())
    close(raw(explainer, "refinecam", target), expected)


@pytest.mark.parametrize("percentile", [0, 40, 90, 100])
def test_winsor_cam_is_its_sum(explainer, net, percentile):
    found = blocks_and_gradients(net, doubles(explainer), 1)
    importance = torch.tensor([max(g.mean(), 0) for _, g in found])
    some = importance > 0
    assert some.sum() > 1
    lowered = importance[some].clamp(max=torch.quantile(importance[some], percentile / 100))
    spread = lowered.max() - lowered.min()
    weights = torch.zeros(len(found), dtype=torch.float64)
    weights[some] = (
        0.1 + 0.9 * (lowered - lowered.min()) / spread if spread else torch.ones(len(lowered)).double()
    )
    expected = np.zeros(SIZE)
    for (maps, gradient), weight in zip(found, weights, strict=True):
        total = np.einsum("k,khw->hw", gradient.mean((1, 2)), maps)
        if np.maximum(total, 0).any():
            expected += float(weight) * minmax(enlarged(np.maximum(total, 0)).numpy())
    close(raw(explainer, "winsor-cam", percentile=percentile), expected)


def test_winsorised_weights():
    assert winsorised(np.array([0.0, 1.0, 3.0]), 100).tolist() == [0, 0.1, 1]
    assert winsorised(np.array([0.0, 1.0, 3.0]), 0).tolist() == [0, 1, 1]
    assert winsorised(np.array([0.0, 2.0]), 90).tolist() == [0, 1]
    assert winsorised(np.zeros(3), 90).tolist() == [0, 0, 0]
    close(winsorised(np.array([1.0, 2.0, 9.0]), 75), [0.1, 0.1 + 0.9 / 4.5, 1], 1e-12)


# ---------------------------------------------------------------------------------------------- references


@pytest.mark.parametrize("method", REFERENCES)
def test_references_say_that_they_explain_nothing(explainer, method):
    first, second = explainer.explain_targets(photo(), [0, 1], method=method)
    assert np.array_equal(first.raw, second.raw)
    for one in (first, second):
        assert "model-ignored" in [warning.code for warning in one.warnings]


def test_random_maps_hang_on_the_picture_and_the_seed(explainer):
    def of(number, **options):
        return explainer.explain(photo(number), method="random", **options).raw

    assert np.array_equal(of(0), of(0))
    assert not np.array_equal(of(0), of(1))
    assert not np.array_equal(of(0), of(0, seed=1))
    maps = np.stack([of(number, cells=4) for number in range(40)])
    assert abs(maps.mean() - 0.5) < 0.05
    assert np.abs(maps.mean(0) - 0.5).max() < 0.3  # nowhere higher than elsewhere


def test_the_gaussian_has_its_spread(explainer):
    found = explainer.explain(photo(), method="gaussian", spread=0.1).raw
    shares = found / found.sum()
    for axis, side in enumerate(SIZE):
        along, at = shares.sum(1 - axis), np.arange(side) + 0.5
        assert np.isclose((along * at).sum(), side / 2)
        assert np.isclose(np.sqrt((along * (at - side / 2) ** 2).sum()), 0.1 * side, rtol=0.02)


def test_edges_are_sobels(explainer):
    filters = pytest.importorskip("skimage.filters")
    image = tensor_of(explainer)[0].astype(np.float64)
    expected = np.zeros(SIZE)
    for channel in image:
        padded = np.pad(channel, 1, mode="reflect")
        for sobel in (filters.sobel_h, filters.sobel_v):  # a quarter of Sobel's sums
            expected += (4 * sobel(padded)[1:-1, 1:-1]) ** 2
    close(explainer.explain(photo(), method="edges").raw, np.sqrt(expected), 1e-9)
    with pytest.raises(NoEvidence, match="the picture is of one colour"):
        explainer.explain(np.full((32, 40, 3), 90, np.uint8), method="edges")


@pytest.mark.parametrize("method", ["integrated-gradients", "integrated-grad-cam", "extremal-perturbation"])
def test_progress_counts_up_once(explainer, method):
    seen = []
    explainer.explain_targets(
        photo(), [0, 1], method=method, steps=5, batch_size=2, progress=lambda *pair: seen.append(pair)
    )
    done, total = zip(*seen, strict=True)
    assert len(set(total)) == 1
    assert list(done) == sorted(set(done))
    assert done[-1] == total[0] == 2 * 5 * (4 if method == "extremal-perturbation" else 1)


# ---------------------------------------------------------------------------------------------- masks


def random_grids(masks, cells, share, seed):
    """The masks of RISE in the order of the same generator, enlarged by torch."""
    rng = np.random.default_rng(seed)
    step = [int(np.ceil(side / cells)) for side in SIZE]
    for _ in range(masks):
        grid = torch.tensor((rng.random((cells, cells)) < share).astype(float))[None, None]
        at = [int(rng.integers(0, s)) for s in step]
        large = F.interpolate(grid, [s * (cells + 1) for s in step], mode="bilinear", align_corners=False)
        yield large[0, 0, at[0] : at[0] + SIZE[0], at[1] : at[1] + SIZE[1]]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize(("cells", "share", "seed"), [(7, 0.5, 0), (4, 0.1, 3)])
def test_rise_is_its_sum(explainer, sigmoid_explainer, net, activation, cells, share, seed):
    chosen = explainer if activation == "softmax" else sigmoid_explainer
    x, total = doubles(chosen), np.zeros(SIZE)
    for mask in random_grids(30, cells, share, seed):
        total += psi(net, x * mask, 1, activation)[0] * mask.numpy()
    found = raw(chosen, "rise", masks=30, cells=cells, share=share, seed=seed)
    close(found, total / (30 * share))


def test_rise_finds_what_the_score_depends_on(explainer):
    """A model that sees nothing but one corner."""
    corner = np.zeros(SIZE)
    corner[4:14, 22:34] = 1

    def forward(images):
        z = (images * corner).sum((1, 2, 3)) / np.abs(tensor_of(explainer) * corner).sum()
        return np.stack([8 * z, *[0 * z] * (CLASSES - 1)], 1)

    image = np.ones((1, 3, *SIZE), np.float32)
    engine = SimpleNamespace(
        manifest=explainer.manifest, forward=forward, batches=lambda _, size: Batches((size,))
    )
    (found,) = run(explainer, "rise:masks=3000", [0], engine=engine, image=image, batch_size=50)
    top = found.raw >= np.sort(found.raw, axis=None)[-int(corner.sum())]
    assert (top * corner).sum() > 0.7 * corner.sum()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_score_cam_is_the_authors_sum(explainer, sigmoid_explainer, net, activation):
    chosen = explainer if activation == "softmax" else sigmoid_explainer
    x = doubles(chosen)
    total = torch.zeros(SIZE, dtype=torch.float64)
    with torch.no_grad():
        for a in enlarged(net[0](x))[0]:
            if a.max() == a.min():
                continue
            mask = (a - a.min()) / (a.max() - a.min())
            total += float(psi(net, x * mask, 1, activation)[0]) * a
    close(raw(chosen, "score-cam"), torch.relu(total))


# ---------------------------------------------------------------------------------------------- Ada-SISE


def within(values, upper):
    return sum(((part - part.mean()) ** 2).sum() for part in (values[upper], values[~upper]))


@pytest.mark.parametrize("seed", range(6))
def test_sorted_threshold_splits_best(seed):
    """No other split of the values leaves less variance within the classes."""
    rng = np.random.default_rng(seed)
    values = rng.choice(rng.random(12), 30) if seed % 2 else rng.gamma(0.7, size=25)
    best = min(within(values, values >= cut) for cut in np.unique(values)[1:])
    assert np.isclose(within(values, values >= sorted_otsu(values)), best, rtol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_histogram_threshold_splits_best(seed):
    """Likewise of the values at the middles of their bins."""
    values = np.random.default_rng(seed).gamma(0.7, size=200)
    width = np.ptp(values) / 256
    bins = np.minimum(((values - values.min()) / width).astype(int), 255)
    best = min(within(bins, bins >= cut) for cut in np.unique(bins)[1:])
    assert np.isclose(within(bins, values >= histogram_otsu(values)), best, rtol=1e-9)


@pytest.mark.parametrize("threshold", list(THRESHOLDS))
@pytest.mark.parametrize(
    ("alpha", "kept"),
    [
        ([0.1, 0.11, 0.9, 1.0, -5], [0, 0, 1, 1, 0]),
        ([3.0, 1.0, 1.0, 1.0], [1, 0, 0, 0]),
        ([1.0, 3.0, 3.0, 1.0], [0, 1, 1, 0]),
        ([1e-30, 3e-30, 0, -1], [0, 1, 0, 0]),
        ([2.0, 2.0, -1.0, 0.0], [1, 1, 0, 0]),
        ([-1.0, 0.5], [0, 1]),
        ([-1.0, 0.0], [0, 0]),
        ([0.0, 0.0], [0, 0]),
        ([1.0, np.nextafter(np.float32(1), np.float32(2))], [0, 1]),
    ],
)
def test_adaptive_selection(threshold, alpha, kept):
    found = select_adaptively(np.array(alpha, np.float32), THRESHOLDS[threshold])
    assert found.tolist() == [bool(k) for k in kept]


@pytest.mark.parametrize("threshold", list(THRESHOLDS))
def test_ada_sise_is_sise_with_its_selection(explainer, threshold):
    """It keeps what the selection says, fewer maps than SISE, but one at least."""
    found = explainer.explain(photo(), target=1, method="ada-sise", threshold=threshold, batch_size=4)
    alphas = features_of(explainer).alphas
    usual = explainer.explain(photo(), target=1, batch_size=4)
    for alpha, block, before in zip(alphas, found.blocks, usual.blocks, strict=True):
        expected = int(select_adaptively(alpha[0], THRESHOLDS[threshold]).sum())
        assert block.kept == expected
        assert 1 <= expected <= before.kept
    assert found.masks < usual.masks
    assert np.isfinite(found.raw).all()


# ---------------------------------------------------------------------------------------------- extremal


def disc(size, centre, radius):
    y, x = np.mgrid[: size[0], : size[1]]
    return ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2).astype(float)


def linear(weights):
    """The gradient of the sum of a mask under weights (H, W)."""
    return lambda masks: np.broadcast_to(weights, masks.shape)


@pytest.mark.parametrize(("centre", "radius"), [((33, 40), 12), ((22, 20), 20)])
def test_a_disc_is_found(centre, radius):
    wanted = disc((64, 80), centre, radius)
    (mask,) = ascend(linear(wanted), wanted.shape, [wanted.mean()], 60)
    assert mask.min() >= 0
    assert mask.max() <= 1
    shown = mask > 0.5
    iou = (shown * wanted).sum() / (shown | (wanted > 0)).sum()
    print(f"intersection over union {iou:.3f}")
    assert iou > 0.85


def test_the_whole_objective_has_its_gradient():
    """Against central differences in float64: a network of tanh, the area penalty and the smoothing."""
    size, areas, pressure = (14, 18), (0.2, 0.5), 3.0
    rng = np.random.default_rng(0)
    lattice = make_lattice(size, cells=4)
    parameters = rng.uniform(0, 1, (2, *lattice.shape))
    one, two = rng.standard_normal((6, size[0] * size[1])), rng.standard_normal(6)

    def score(masks):
        hidden = np.tanh(masks.reshape(2, -1) @ one.T / 5)
        return hidden @ two, (((1 - hidden**2) * two) @ one / 5).reshape(masks.shape)

    def objective(parameters):
        masks, _ = smooth(parameters, lattice)
        penalties = [area_penalty(mask, area)[0] for mask, area in zip(masks, areas, strict=True)]
        return score(masks)[0].sum() - pressure * sum(penalties)

    masks, back = smooth(parameters, lattice)
    found = back(objective_gradient(masks, score(masks)[1], areas, pressure))
    expected, step = np.zeros_like(parameters), 1e-6
    for at in np.ndindex(*parameters.shape):
        ends = []
        for sign in (1, -1):
            moved = parameters.copy()
            moved[at] += sign * step
            ends.append(objective(moved))
        expected[at] = (ends[0] - ends[1]) / (2 * step)
    close(found, expected, 1e-6)


def test_smooth_max_convolution_is_its_equation():
    """Dense, from the paper: at a lattice point, every parameter near it and the kernel of its distance."""
    size, cells = (16, 24), 4
    lattice = make_lattice(size, cells)
    parameters = np.random.default_rng(1).uniform(0, 1, lattice.shape)
    cell = size[0] / cells
    points = [(np.arange(2 * side // 4) + 0.5) * side / (2 * side // 4) for side in size]  # in pixels
    outside = [(extent - side / cell) / 2 for extent, side in zip(lattice.shape, size, strict=True)]
    expected = np.zeros([len(p) for p in points])
    for i, y in enumerate(points[0]):
        for j, x in enumerate(points[1]):
            values = []
            for v in np.ndindex(*lattice.shape):
                apart = [(v[0] + 0.5 - outside[0]) - y / cell, (v[1] + 0.5 - outside[1]) - x / cell]
                if max(map(abs, apart)) < 4:
                    values.append(np.exp(-(max(0, np.hypot(*apart) - 1) ** 2) / 4) * parameters[v])
            values = np.array(values)
            weights = np.exp(values * 20)
            expected[i, j] = (weights * values).sum() / weights.sum()
    whole = F.interpolate(torch.tensor(expected)[None, None], size, mode="bilinear", align_corners=False)
    close(smooth(parameters[None], lattice)[0][0], whole[0, 0].numpy(), 1e-6)


def test_area_penalty_compares_the_sorted_mask():
    mask = np.array([[0.1, 0.9], [0.5, 0.4]])
    value, gradient = area_penalty(mask, 0.5)
    assert np.isclose(value, (0.1**2 + 0.1**2 + 0.5**2 + 0.4**2) / 4)
    np.testing.assert_allclose(gradient, [[0.05, -0.05], [-0.25, 0.2]])
    assert area_penalty(np.array([[0.0, 1], [1, 0]]), 0.5)[0] == 0


def test_extremal_mask_shows_more_than_others_of_its_shape(explainer, net):
    """Whatever way the mask is shifted over the picture, the logit is lower."""
    x = doubles(explainer)
    found = explainer.explain(photo(), target=1, method="extremal-perturbation", areas=(0.2,), steps=60)
    assert (found.passes, found.masks, found.batch) == (61, 60, 1)  # one for the confidence
    assert 0.1 < found.raw.mean() < 0.3
    shifts = [(0, 0), *((y, x) for y in range(0, 32, 8) for x in range(0, 40, 8) if y or x)]
    masks = np.stack([np.roll(found.raw, shift, (0, 1)) for shift in shifts])
    with torch.no_grad():
        logits = net(x * torch.tensor(masks)[:, None])[:, 1].numpy()
    assert logits.argmax() == 0


def test_extremal_perturbation_repeats_itself(explainer):
    first, second, single = (
        raw(explainer, "extremal-perturbation", steps=8, areas=(0.1, 0.3))
        if one is None
        else explainer.explain(
            photo(), target=1, method="extremal-perturbation", steps=8, areas=[0.1, 0.3], batch_size=one
        ).raw
        for one in (None, None, 1)
    )
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, single, atol=1e-3)


# ---------------------------------------------------------------------------------------------- all of them


def found_by(explainer, methods=ALL, targets=(1, 3), **options):
    options = {"batch_size": 4} | options
    return explainer.explain_methods(photo(), list(targets), methods, **options)


def same(a, b, tolerance=0.0):
    assert type(a) is type(b)
    if isinstance(a, NoEvidence):
        assert str(a) == str(b)
    else:
        np.testing.assert_allclose(a.raw, b.raw, rtol=0, atol=tolerance * max(1e-12, np.abs(a.raw).max()))


def masks_of(net, x, target, keep):
    """How many maps of each block have a shape and a gradient score that `keep` keeps."""
    maps, z = [], x
    for layer in net[0]:
        z = layer(z)
        if isinstance(layer, torch.nn.ReLU):
            maps.append(z)
    logits = net[1](z)[0]
    odds = logits[target] - torch.logsumexp(logits[torch.arange(len(logits)) != target], 0)
    counts = []
    for a, gradient in zip(maps, torch.autograd.grad(odds, maps), strict=True):
        shaped = (a.amax((0, 2, 3)) - a.amin((0, 2, 3))).detach().numpy() > 1e-6
        counts.append(int((keep(gradient.mean((0, 2, 3)).numpy()) & shaped).sum()))
    return counts


FIXED = {  # method: forward passes and masks, whatever the picture is
    "grad-cam": (1, 0),
    "grad-cam++": (1, 0),
    "hirescam": (1, 0),
    "layercam": (1, 0),
    "xgrad-cam": (1, 0),
    "refinecam": (2, 0),
    "winsor-cam": (2, 0),
    "eigen-cam": (1, 0),
    "ablation-cam": (1, 0),  # besides the layers behind the last block
    "recipro-cam": (1, 0),  # likewise
    "integrated-grad-cam:steps=5": (1 + 5, 0),  # one for the black picture
    "integrated-grad-cam:steps=5:variant=notebook": (1 + 5, 0),
    "rise:masks=24": (24, 24),
    "integrated-gradients:steps=5": (5, 0),
    "smoothgrad:samples=5": (5, 0),
    "random": (0, 0),
    "gaussian": (0, 0),
    "edges": (0, 0),
    "extremal-perturbation:areas=0.1+0.3:steps=3": (2 * 3, 2 * 3),
}


@pytest.mark.parametrize("method", [*FIXED, "sise", "sise:mu=0.4", "ada-sise", "score-cam"])
def test_passes_and_masks(explainer, net, method):
    """Each image that went through the network is counted once, for one target."""
    x = doubles(explainer)
    selected = {
        "sise": lambda alpha: alpha > 0,
        "sise:mu=0.4": lambda alpha: alpha > 0.4 * alpha.max(),
        "ada-sise": lambda alpha: select_adaptively(alpha, histogram_otsu),
    }
    if method in FIXED:
        passes, masks = FIXED[method]
    elif method == "score-cam":
        masks = masks_of(net, x, 1, np.isfinite)[-1]
        passes = 1 + masks
    else:
        masks = sum(masks_of(net, x, 1, selected[method]))
        passes = 1 + masks  # one for the features
    (found,) = run(explainer, method)
    assert (found.passes, found.masks) == (passes, masks)


@pytest.mark.parametrize("count", [10**20, 10**400])
@pytest.mark.parametrize(
    ("method", "option"),
    [
        ("integrated-gradients", "steps"),
        ("integrated-grad-cam", "steps"),
        ("smoothgrad", "samples"),
        ("rise", "masks"),
        ("extremal-perturbation", "steps"),
    ],
)
def test_more_passes_than_memory_or_floats_can_hold(explainer, method, option, count):
    """They can be begun, and ended by the caller."""
    seen = []

    def progress(done, total):
        seen.append((done, total))
        if len(seen) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        explainer.explain(
            photo(), target=1, method=method, batch_size=4, progress=progress, **{option: count}
        )
    assert seen == [(4 * i, count * (4 if method == "extremal-perturbation" else 1)) for i in (1, 2, 3)]


@pytest.mark.parametrize("which", ["softmax", "sigmoid"])
def test_several_methods_and_targets_at_once(explainer, sigmoid_explainer, which):
    chosen = explainer if which == "softmax" else sigmoid_explainer
    together = found_by(chosen)
    assert list(together) == list(ALL)
    for method in ALL:
        asked = parse(method)
        name, options = asked.method.name, {key: asked.settings[key] for key in asked.given}
        alone = chosen.explain_targets(photo(), [1, 3], method=name, batch_size=4, **options)
        for one, other in zip(together[method], alone, strict=True):
            same(one, other)
        for i, target in enumerate((1, 3)):
            (single,) = chosen.explain_targets(photo(), [target], method=name, batch_size=4, **options)
            same(together[method][i], single, 1e-5)
            assert isinstance(single, NoEvidence) or single.settings == asked.settings
    maps = [found[0].map for found in together.values() if not isinstance(found[0], NoEvidence)]
    assert len(maps) > 6
    for i, map_ in enumerate(maps):
        assert np.isfinite(map_).all()
        assert map_.min() >= 0
        assert map_.max() == 1
        assert all(np.abs(map_ - other).max() > 1e-3 for other in maps[:i])


def test_one_logit(tmp_path):
    """Both classes of a model with one output, which differ in the sign of the logit."""
    explainer = sise_rt.load(bundle(tmp_path, network(classes=1), activation="sigmoid"))
    net, x = network(classes=1).double(), doubles(explainer)
    found = found_by(explainer, targets=(0, 1))
    maps, gradient = maps_and_gradient(net, x, 0)
    weighted = np.einsum("k,khw->hw", gradient[0].mean((1, 2)), maps[0])
    expected = [enlarged(np.maximum(sign * weighted, 0)).numpy() for sign in (1, -1)]
    with torch.no_grad():
        own = float(net(x)[0, 0])
    if float(explainer.engine.forward(tensor_of(explainer))[0, 0]) * own < 0:
        expected.reverse()
    for one, wanted in zip(found["grad-cam"], expected, strict=True):
        if wanted.any():
            close(one.raw, wanted)
        else:
            assert isinstance(one, NoEvidence)
    assert any(not isinstance(one, NoEvidence) for one in found["grad-cam"])
    values = [one.raw for one in found["integrated-gradients:steps=5"]]
    close(values[0], values[1])
    shown = list(random_grids(24, 7, 0.5, 0))
    confidence = np.array([psi(net, x * mask, 0, "sigmoid")[0] for mask in shown])
    sums = [
        sum(p * m.numpy() for p, m in zip(part, shown, strict=True)) / 12
        for part in (confidence, 1 - confidence)
    ]
    order = sums if np.allclose(found["rise:masks=24"][0].raw, sums[0], atol=1e-3) else sums[::-1]
    for one, wanted in zip(found["rise:masks=24"], order, strict=True):
        close(one.raw, wanted)


def test_graphs_of_one_image_at_a_time(small_model_of_one, small_bundle, tmp_path):
    """A model whose batch stays 1 gives what the same model with a free batch gives."""
    one = sise_rt.load(export(small_model_of_one, tmp_path / "one.sise").path)
    assert one.manifest.input.batch == 1
    free = sise_rt.load(small_bundle)
    picture = np.random.default_rng(5).integers(0, 256, (32, 32, 3), np.uint8)
    options = {"targets": [0, 3], "methods": ALL, "batch_size": 4}
    found, expected = (each.explain_methods(picture, **options) for each in (one, free))
    for method in ALL:
        for a, b in zip(found[method], expected[method], strict=True):
            if isinstance(a, NoEvidence) or isinstance(b, NoEvidence):
                assert type(a) is type(b)
            else:
                assert a.batch == 1 or "grad-cam" in method
                assert correlation(a.raw, b.raw) > 0.999


def test_dead_maps(tmp_path):
    """A last block that gives zero for every picture."""
    explainer = sise_rt.load(bundle(tmp_path, network(dead=True)))
    for method, found in found_by(explainer, [method for method in ALL if method not in REFERENCES]).items():
        for one in found:
            assert isinstance(one, NoEvidence), method
            assert "picture" in str(one) or "image" in str(one)


def test_bundles_without_gradients(tmp_path):
    explainer = sise_rt.load(bundle(tmp_path, network(), gradients=False))
    free = ("sise", "score-cam", "rise:masks=24", "eigen-cam", "ablation-cam", "recipro-cam", *REFERENCES)
    for method in free:
        assert np.isfinite(found_by(explainer, [method])[method][0].raw).all()
    for method in ALL:
        if method not in free:
            with pytest.raises(
                BundleError, match=rf"was exported without gradients, which {re.escape(method)} needs"
            ):
                found_by(explainer, [method])


def test_bundles_of_the_first_schema(explainer, tmp_path):
    folder = tmp_path / "old.sise"
    shutil.copytree(explainer.engine.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["schema_version"] = "1.0"
    for name in LATER:
        path = manifest["graphs"].pop(name)
        del manifest["files"][path]
        (folder / path).unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    old = sise_rt.load(folder)
    without_later = ("sise", "ada-sise", "score-cam", "eigen-cam", "ablation-cam", "recipro-cam", *REFERENCES)
    for method in without_later:
        for a, b in zip(found_by(old, [method])[method], found_by(explainer, [method])[method], strict=True):
            same(a, b)
    for method in ALL:
        if method not in without_later:
            with pytest.raises(BundleError, match=r"older sise-rt.*export"):
                found_by(old, [method])


def test_a_bundle_without_a_rule_for_the_image_gradient(explainer, monkeypatch):
    other = sise_rt.load(explainer.engine.folder)
    monkeypatch.delitem(other.engine.sessions.specs, "image_gradient")
    with pytest.raises(BundleError, match="no gradient rule, the export says which"):
        found_by(other, ["integrated-gradients"])


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("sise", {"mu": 1.0}, "mu is 1.0"),
        ("sise", {"mu": float("nan")}, "mu is nan"),
        ("sise", {"fusion": "mean"}, "known are otsu, otsu-soft"),
        ("sise", {"steps": 5}, "no option 'steps'.*mu, fusion"),
        ("grad-cam", {"mu": 0.5}, "no option 'mu'; its options: none"),
        ("ada-sise", {"threshold": "mean"}, "known are histogram, sorted"),
        ("ada-sise", {"fusion": "mean"}, "known are otsu, otsu-soft"),
        ("integrated-grad-cam", {"steps": 0}, "steps is 0"),
        ("integrated-grad-cam", {"variant": "paper"}, "known are figure, notebook"),
        ("integrated-gradients", {"steps": 0}, "steps is 0"),
        ("rise", {"masks": 0}, "masks is 0, where 1 <= masks is needed"),
        ("rise", {"cells": 0}, "cells is 0"),
        ("rise", {"share": 1.0}, "share is 1.0, where 0 < share < 1 is needed"),
        ("rise", {"seed": -1}, "seed is -1"),
        ("extremal-perturbation", {"areas": ()}, "areas is"),
        ("extremal-perturbation", {"areas": (0.1, 1.0)}, "areas is"),
        ("extremal-perturbation", {"areas": 0.0}, "areas is 0.0, where 0 < areas < 1 is needed"),
        ("extremal-perturbation", {"steps": 0}, "steps is 0"),
        ("sise", {"budget": 0}, "budget is 0, where 0 < budget <= 1 is needed"),
        ("sise", {"max_passes": -1}, "max_passes is -1"),
        ("sise", {"max_seconds": float("inf")}, "max_seconds is inf"),
        ("sise", {"preset": "slow"}, "no preset 'slow'; known are exact, fast"),
        ("sise", {"preset": "fast", "budget": 0.2}, "preset 'fast' sets budget as well"),
        ("sise:budget=0.2", {"preset": "fast"}, "preset 'fast' sets budget as well"),
        ("sise", {"preset": "exact", "budget": 0.2}, "preset 'exact' sets budget as well"),
        ("grad-cam", {"preset": "fast"}, "preset 'fast' says nothing to grad-cam: it sets budget"),
        ("sise", {"buget": 0.1}, "sise has no option 'buget'; close: budget"),
        ("sise", {"batchsize": 4}, "sise has no option 'batchsize'; close: batch_size"),
        (7, {}, "a method is a name or a Request, not 7"),
        ("lime", {}, "no method 'lime'; known are sise"),
    ],
)
def test_options_that_cannot_be(explainer, method, options, words):
    with pytest.raises(MethodError, match=words):
        explainer.explain_targets(photo(), [1], method=method, batch_size=4, **options)


@pytest.mark.parametrize(
    ("text", "name", "given"),
    [
        ("sise", "sise", {}),
        ("sise:mu=0.3:fusion=otsu-soft", "sise", {"mu": 0.3, "fusion": "otsu-soft"}),
        ("grad-cam++", "grad-cam++", {}),
        ("rise:masks=100:seed=3", "rise", {"masks": 100, "seed": 3}),
        ("extremal-perturbation:areas=0.1", "extremal-perturbation", {"areas": (0.1,)}),
        (
            "extremal-perturbation:areas=0.05+0.1:steps=9",
            "extremal-perturbation",
            {"areas": (0.05, 0.1), "steps": 9},
        ),
    ],
)
def test_methods_as_text(text, name, given):
    asked = parse(text)
    assert (asked.method.name, str(asked)) == (name, text)
    assert {key: asked.settings[key] for key in asked.given} == given
    assert asked.settings == METHODS[name].settings(given)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no method ''"),
        ("SISE", "no method 'SISE'"),
        ("sise:", "name=value, not ''"),
        ("sise:mu", "name=value, not 'mu'"),
        ("sise:mu=", "mu is '', where float"),
        ("sise:mu=x", "mu is 'x', where float"),
        ("sise:nu=1", "no option 'nu'"),
        ("sise:mu=0.1:mu=0.2", "mu is given twice"),
        ("rise:masks=1.5", "masks is '1.5', where int"),
        ("extremal-perturbation:areas=0.1+", "areas is '0.1\\+', where float"),
        ("grad-cam:steps=3", "no option 'steps'; its options: none"),
    ],
)
def test_texts_that_name_no_method(text, words):
    with pytest.raises(MethodError, match=words):
        parse(text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "rise", "masks": "10"}, "masks is '10', where int is needed"),
        ({"method": "rise", "masks": 10.5}, "masks is 10.5, where int is needed"),
        ({"method": "rise", "cells": 33}, "cells 33: the input's shorter side"),
        ({"method": "sise", "mu": "0.3"}, "mu is '0.3', where float is needed"),
        ({"method": "sise", "fusion": 3}, "fusion is 3, where str is needed"),
        ({"method": "extremal-perturbation", "areas": "x"}, "areas is 'x', where float is needed"),
        ({"method": "extremal-perturbation", "areas": 1e-9}, "smaller than a pixel"),
        (
            {"method": "extremal-perturbation", "areas": [[0.1], [0.1, 0.2]]},
            "areas is [[0.1], [0.1, 0.2]], where float is needed",
        ),
        ({"method": "extremal-perturbation", "areas": [0.1, 10**400]}, "areas is too large a number"),
        ({"method": "sise", "mu": 10**400}, "mu is too large a number"),
    ],
)
def test_options_of_another_type_are_refused(explainer, options, words):
    with pytest.raises(MethodError, match=re.escape(words)):
        explainer.explain(photo(), target=1, **options)


def test_numbers_of_numpy_are_taken_and_recorded_as_plain_ones(explainer):
    found = explainer.explain(photo(), target=1, method="rise", masks=np.int64(4), share=np.float32(0.5))
    record = json.loads(json.dumps(found.record()))
    assert (record["settings"]["masks"], record["settings"]["share"]) == (4, 0.5)


def test_a_method_may_come_with_its_options(explainer):
    found = explainer.explain(photo(), target=1, method="rise:masks=6:seed=2", masks=4)
    assert (found.method, found.settings["masks"], found.settings["seed"]) == ("rise", 4, 2)


def test_a_request_is_what_it_asks_for():
    """Whatever it is called, and however it came about."""
    assert parse("sise:mu=0.30") == parse("sise").having("mu", 0.3) == request("sise", mu=0.3)
    assert str(parse("sise").having("mu", 0.3)) == "sise:mu=0.3"
    assert request(preset="fast") == parse("sise:budget=0.1") != request(preset="exact") == parse("sise")
    assert request("sise", mu=None, budget=0.5) == parse("sise:budget=0.5")
    first, second = parse("rise:masks=9"), parse("rise:seed=0:masks=9")
    assert repeated([parse("sise"), first, second]) == (first, second)
    assert repeated([parse("sise"), first]) is None


def test_a_request_needs_gradients_where_it_selects():
    assert not parse("sise").needs_gradients
    assert not parse("sise:budget=0.1").needs_gradients
    assert parse("sise:mu=0.1").needs_gradients
    assert {name for name, method in METHODS.items() if not method.gradients} == {
        *("sise", "score-cam", "rise", "eigen-cam", "ablation-cam", "recipro-cam", *REFERENCES)
    }


@pytest.mark.parametrize("name", list(METHODS))
def test_a_method_is_described(name):
    """Its options are the function's own, each with a line of help and a default that it admits."""
    method = METHODS[name]
    taken = [p.name for p in inspect.signature(method.run).parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert [option.name for option in method.options] == taken
    for text in (method.help, *(option.help for option in method.options)):
        assert text[0].isupper()
        assert text.endswith(".")
        assert "\n" not in text
    for option in method.options:
        assert option.checked(option.default) == option.default
        assert bool(option.choices) == (option.kind is str)


def test_explanations_by_a_request_and_by_its_text(explainer):
    texts = ["sise:mu=0.3", "rise:masks=6"]
    by_text, by_request = (found_by(explainer, methods) for methods in (texts, list(map(parse, texts))))
    assert list(by_text) == list(by_request) == texts
    for text in texts:
        for a, b in zip(by_text[text], by_request[text], strict=True):
            same(a, b)


def test_the_preset_is_a_setting(explainer):
    fast = explainer.explain(photo(), 1, preset="fast", batch_size=4)
    same(fast, explainer.explain(photo(), 1, budget=0.1, batch_size=4))
    assert (fast.settings["budget"], fast.guessed > 0) == (0.1, True)


def test_a_preset_goes_to_the_methods_that_have_what_it_sets():
    asked = [parse("grad-cam"), parse("sise:mu=0.3")]
    assert with_preset(asked, "fast", ()) == [parse("grad-cam"), parse("sise:mu=0.3:budget=0.1")]
    assert with_preset(asked, "exact", ()) == with_preset(asked, None, ("budget",)) == asked
