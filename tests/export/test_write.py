"""What a bundle holds: every weight once."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export.ir.network import Graph, Network
from sise_rt.export.ir.types import TensorType
from sise_rt.export.write import PAGE, write_graphs

from sise_rt.bundle import WEIGHTS

BIG = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)


@pytest.fixture
def network():
    weights = {
        "big": BIG,
        "twin": BIG.copy(),
        "other": BIG + 1,
        "small": BIG[0, :3].copy(),
        "unused": BIG + 2,
    }
    nodes = [
        helper.make_node("MatMul", ["images", "big"], ["a"]),
        helper.make_node("Mul", ["a", "small"], ["b"]),
        helper.make_node("Sub", ["b", "twin"], ["c"]),
        helper.make_node("Add", ["c", "other"], ["logits"]),
    ]
    types = dict.fromkeys(["images", "a", "b", "c", "logits"], TensorType(TensorProto.FLOAT, (None, 20)))
    graph = Graph("sise_rt/network", tuple(nodes), ("images",), ("logits",))
    return Network(graph, weights, types, {"": 18}, "softmax")


def test_every_weight_is_stored_once(network, tmp_path):
    nodes = network.graph.nodes
    graphs = [
        Graph.of("blocks/01", nodes, ("images",), ("b",)),
        Graph.of("classifier", nodes, ("b",), ("logits",)),
        Graph.of("features", nodes, ("images",), ("logits",)),
    ]
    write_graphs(tmp_path, network, graphs)
    data = (tmp_path / WEIGHTS).read_bytes()
    assert data.count(BIG.tobytes()) == 1
    assert data.count((BIG + 1).tobytes()) == 1
    assert (BIG + 2).tobytes() not in data
    assert BIG[0, :3].tobytes() * 2 not in data
    assert len(data) == PAGE + BIG.nbytes
    for graph in graphs:
        model = onnx.load(tmp_path / f"{graph.name}.onnx", load_external_data=False)
        for tensor in model.graph.initializer:
            if tensor.name == "small":
                assert not tensor.external_data
                continue
            entries = {entry.key: entry.value for entry in tensor.external_data}
            assert entries["location"] == WEIGHTS
            start = int(entries["offset"])
            assert start % PAGE == 0
            found = np.frombuffer(data[start : start + int(entries["length"])], np.float32)
            np.testing.assert_array_equal(found.reshape(20, 30), network.weights[tensor.name])


def test_a_bundle_holds_the_weights_once(small_bundle, small_model):
    source = onnx.load(small_model)
    weights = sum(numpy_helper.to_array(w).nbytes for w in source.graph.initializer)
    pages = PAGE * len(source.graph.initializer)
    assert (small_bundle / WEIGHTS).stat().st_size <= weights + pages
