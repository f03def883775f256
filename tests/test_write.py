"""The files of a bundle, and what is left on disk when something goes wrong."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export.network import Graph, Network, TensorType
from sise_rt.export.write import PAGE, new_bundle, write_graphs

from sise_rt.bundle import MANIFEST, WEIGHTS
from sise_rt.errors import OutputError

BIG = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)


def fill(output, overwrite=True, stop=None):
    with new_bundle(output, overwrite) as folder:
        (folder / MANIFEST).write_text("new")
        if stop:
            raise stop


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


def test_a_finished_folder_becomes_the_bundle(tmp_path):
    fill(tmp_path / "deep" / "a.sise", overwrite=False)
    assert (tmp_path / "deep" / "a.sise" / MANIFEST).read_text() == "new"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.sise"]


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("existing", [True, False])
def test_an_interrupted_export_changes_nothing(tmp_path, stop, existing):
    output = tmp_path / "a.sise"
    if existing:
        output.mkdir()
        (output / MANIFEST).write_text("old")
    with pytest.raises(stop):
        fill(output, stop=stop)
    assert [path.name for path in tmp_path.iterdir()] == (["a.sise"] if existing else [])
    assert not existing or (output / MANIFEST).read_text() == "old"


def test_what_exists_is_kept(tmp_path):
    output = tmp_path / "a.sise"
    output.mkdir()
    (output / MANIFEST).write_text("old")
    with pytest.raises(OutputError, match=r"a\.sise exists already: give --overwrite"):
        fill(output, overwrite=False)
    fill(output)
    assert (output / MANIFEST).read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.sise"]
    other = tmp_path / "photos"
    other.mkdir()
    (other / "cat.jpg").write_text("miaow")
    for overwrite in (True, False):
        with pytest.raises(OutputError, match="photos exists already and is no bundle"):
            fill(other, overwrite=overwrite)
    assert (other / "cat.jpg").read_text() == "miaow"


def test_the_old_bundle_survives_a_move_that_fails(tmp_path, monkeypatch):
    output = tmp_path / "a.sise"
    output.mkdir()
    (output / MANIFEST).write_text("old")
    replace = os.replace

    def failing(a, b):
        if (a / MANIFEST).read_text() == "new":
            raise OSError("no room")
        replace(a, b)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OutputError, match=r"a\.sise cannot be written: no room"):
        fill(output)
    assert (output / MANIFEST).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.sise"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        fill(tmp_path / "file" / "a.sise")
