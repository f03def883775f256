"""What several tests need: real pictures, torchvision as the reference, a small network and its bundle.

Every record that any of them makes is held against the schema of records.
"""

import importlib.util
import json
import subprocess
import sys
import warnings
from contextlib import ExitStack
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
# For benchmarks, examples and docs. Behind the installed packages: the folder sise_rt here lacks an `export`.
sys.path.append(str(ROOT))


@pytest.fixture(scope="session")
def material() -> Path:
    """The folder of real pictures and models, which the repository does not hold."""
    from benchmarks.material import MATERIAL

    folder = MATERIAL.resolve()
    if not folder.is_dir():
        pytest.skip(f"no material at {folder}: set SISE_RT_MATERIAL")
    return folder


@pytest.fixture(scope="session")
def alone():
    """The function `alone(code, *arguments)`: what code prints as JSON, in a process of its own.

    Memory is measured there: other tests' servers and pools would count too.
    """

    def run(code: str, *arguments: object):
        command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)

    return run


@pytest.fixture(scope="session", autouse=True)
def valid_records():
    """Holds each record against the schema, as JSON has it; not where jsonschema is not installed."""
    if importlib.util.find_spec("jsonschema") is None:
        yield
        return
    from jsonschema import Draft202012Validator

    from sise_rt.explanation import Explanation
    from sise_rt.records import record_schema

    validator, made = Draft202012Validator(record_schema()), Explanation.record

    def record(explanation):
        values = made(explanation)
        validator.validate(json.loads(json.dumps(values, allow_nan=False)))
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Explanation, "record", record)
        yield


@pytest.fixture(scope="session")
def torchvision():
    pytest.importorskip("torch")
    pytest.importorskip("onnx")  # which the exporter needs, whose import is taken
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they deprecate at import is not ours to mend
        from sise_rt.export.intake.from_torch import import_torchvision

        return import_torchvision()


def write_cnn(
    path: Path, *, size: int = 32, classes: int = 5, tail: str = "", batch: object = "N", opset: int = 18
) -> Path:
    """Write a residual network with three blocks (8, 12 and 16 maps) and random weights as an ONNX file."""
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(7)
    nodes, weights = [], []

    def weight(name, *shape, scale=1.0, offset=0.0):
        value = (offset + scale * rng.standard_normal(shape)).astype(np.float32)
        weights.append(numpy_helper.from_array(value, name))
        return name

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def conv(x, name, inputs, outputs, k=3, s=1):
        w = weight(f"{name}.weight", outputs, inputs, k, k, scale=(2 / (inputs * k * k)) ** 0.5)
        return node("Conv", [x, w], name, kernel_shape=[k, k], strides=[s, s], pads=[k // 2] * 4)

    def norm(x, name, channels):
        statistics = [
            weight(f"{name}.{key}", channels, scale=0.1, offset=o)
            for key, o in (("scale", 1.0), ("bias", 0.1), ("mean", 0.0))
        ]
        weights.append(
            numpy_helper.from_array(rng.uniform(0.5, 1.5, channels).astype(np.float32), f"{name}.var")
        )
        return node("BatchNormalization", [x, *statistics, f"{name}.var"], name)

    x = node("Relu", [norm(conv("input", "stem.conv", 3, 8), "stem.norm", 8)], "stem.relu")
    x = node("MaxPool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 8
    for name, outputs, stride in (("a", 12, 1), ("b", 16, 2)):
        y = node(
            "Relu",
            [norm(conv(x, f"{name}.conv1", channels, outputs, s=stride), f"{name}.norm1", outputs)],
            f"{name}.relu1",
        )
        y = norm(conv(y, f"{name}.conv2", outputs, outputs), f"{name}.norm2", outputs)
        x = node("Add", [y, conv(x, f"{name}.shortcut", channels, outputs, k=1, s=stride)], f"{name}.add")
        x = node("Relu", [x], f"{name}.relu")
        channels = outputs
    x = node("Flatten", [node("GlobalAveragePool", [x], "mean")], "flat")
    x = node(
        "Gemm",
        [x, weight("head.weight", classes, channels), weight("head.bias", classes)],
        "scores",
        transB=1,
    )
    if tail:
        x = node(tail, [x], "probabilities")
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [batch, classes])],
        weights,
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


@pytest.fixture(scope="session")
def cnn():
    """The function `write_cnn(path, *, size, classes, tail, batch, opset)`."""
    pytest.importorskip("onnx")
    return write_cnn


@pytest.fixture(scope="session")
def small_model(cnn, tmp_path_factory) -> Path:
    """A small residual network as an ONNX file."""
    return cnn(tmp_path_factory.mktemp("model") / "small.onnx")


@pytest.fixture(scope="session")
def small_model_of_one(small_model, tmp_path_factory) -> Path:
    """The same network, made so that it takes one image at a time whatever is done to it."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(small_model)
    weights = [numpy_helper.from_array(np.array(0), "zero"), numpy_helper.from_array(np.array([0]), "first")]
    model.graph.initializer.extend(weights)
    for node in model.graph.node:
        node.input[:] = ["only" if name == "stem.relu" else name for name in node.input]
    at = next(i for i, node in enumerate(model.graph.node) if "stem.relu" in node.output) + 1
    model.graph.node.insert(at, helper.make_node("Unsqueeze", ["picked", "first"], ["only"]))
    model.graph.node.insert(at, helper.make_node("Gather", ["stem.relu", "zero"], ["picked"], axis=0))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    path = tmp_path_factory.mktemp("of_one") / "one.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def specs_of():
    """The function that gives the specs of a network's graphs, `(network, blocks)`."""
    pytest.importorskip("onnx")
    from sise_rt.export.origins.description import Description
    from sise_rt.export.settings import preprocessing

    from sise_rt.bundle import LATER, Manifest
    from sise_rt.graphs import block_graph, graph_specs, head_graph
    from sise_rt.manifest import GraphPaths, ImageInput, Origin, Parity

    def made(network, blocks):
        indices = range(1, len(blocks) + 1)
        pieces, heads = (tuple(f"{name(i)}.onnx" for i in indices) for name in (block_graph, head_graph))
        further = [f"{name}.onnx" for name in LATER]
        return graph_specs(
            Manifest(
                name="made",
                input=ImageInput(*network.image_size, network.layout, network.batch),
                preprocess=preprocessing(network.image_size, {}, Description())[0],
                activation=network.activation,
                labels=(),
                classes=network.classes,
                blocks=tuple(blocks),
                graphs=GraphPaths("features.onnx", "score.onnx", "classifier.onnx", pieces, heads, *further),
                opset=18,
                source=Origin(),
                parity=Parity(),
                assumed=(),
                licence=None,
                files={},
            )
        )

    return made


@pytest.fixture(scope="session")
def small_bundle(small_model, tmp_path_factory) -> Path:
    """Its bundle; tests that change it work on a copy."""
    from sise_rt.export import export

    return export(small_model, tmp_path_factory.mktemp("bundle") / "small.sise", labels=list("abcde")).path


@pytest.fixture(scope="session")
def ray():
    """A real Ray of two cores, which all tests share: it takes seconds to start."""
    pytest.importorskip("ray", reason="needs the extra ray")
    from sise_rt.bulk.ray.cluster import connected
    from sise_rt.errors import ProviderError

    with ExitStack() as stack:
        try:
            started = stack.enter_context(connected(None, cpus=2))
        except ProviderError as error:  # as on a machine that is too busy
            pytest.skip(str(error))
        yield started


@pytest.fixture(scope="session")
def normalised_model(small_model, tmp_path_factory) -> Path:
    """The same network with a normalisation over each map, so that its first block's scores vanish."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(small_model)
    at = next(i for i, node in enumerate(model.graph.node) if "pool" in node.output) + 1
    for node in model.graph.node[at:]:
        node.input[:] = ["normal" if name == "pool" else name for name in node.input]
    inputs = ["pool", "factor", "offset"]
    model.graph.node.insert(at, helper.make_node("InstanceNormalization", inputs, ["normal"], name="normal"))
    for name, value in (("factor", 1.5), ("offset", 0.1)):
        model.graph.initializer.append(numpy_helper.from_array(np.full(8, value, np.float32), name))
    path = tmp_path_factory.mktemp("normalised") / "normalised.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def normalised_bundle(normalised_model, tmp_path_factory) -> Path:
    """Its bundle; tests that change it work on a copy."""
    from sise_rt.export import export

    return export(normalised_model, tmp_path_factory.mktemp("bundle") / "normalised.sise").path


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Ten pictures for the demo's model, two of each class, in a folder for each class."""
    from PIL import Image

    from examples.surface import generate as surface

    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for label in surface.CLASSES:
        (folder / label).mkdir()
        for number in range(2):
            Image.fromarray(surface.generate(rng, label)[0]).save(folder / label / f"{number}.png")
    return folder


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = self.title = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "title":
            self.title += data
        self.text += f"{data} "

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="session")
def read():
    """What reads a page: its elements, with their attributes, and its text."""
    return Page
