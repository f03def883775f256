"""What a pass holds: counted by hand, and what the limit does with it."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from sise_rt.export.ir.memory import pass_bytes
from sise_rt.export.ir.network import Graph, Network
from sise_rt.export.ir.types import TensorType

import sise_rt
from sise_rt.bundle import read_bundle
from sise_rt.errors import BundleError
from sise_rt.running.engine import Engine
from sise_rt.running.sessions import Sessions


def made(nodes, shapes) -> Network:
    types = {name: TensorType(TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    graph = Graph.of("net", nodes, ("images",), ("logits",))
    return Network(graph, {}, types, {"": 18}, "softmax")


def test_what_is_alive_at_once_is_counted():
    """images -> a -> b, and a + b -> logits: a lives until the sum."""
    nodes = [
        helper.make_node("Relu", ["images"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Add", ["a", "c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["logits"]),
    ]
    shapes = {"images": (None, 3, 4, 5), "logits": (None, 2)}
    shapes |= {"a": (None, 7, 4, 5), "b": (None, 7, 2, 5), "c": (None, 7, 4, 5), "d": (None, 7, 4, 5)}
    always = 4 * (3 * 4 * 5 + 4 * 5)  # the picture, and its mask
    found = pass_bytes(made(nodes, shapes))
    assert found["forward"] == always + 4 * (140 + 140 + 140)  # a, c and d
    assert found["backward"] == found["forward"] + 4 * (140 + 70 + 140 + 140 + 2)


def test_an_export_tells_it(small_bundle):
    manifest = read_bundle(small_bundle)
    assert 4 * 3 * 32 * 32 < manifest.memory["forward"] < manifest.memory["backward"] < 10**6


@pytest.mark.parametrize(("memory", "sizes"), [(None, 3), (10**12, 3), (1, 1)])
def test_the_limit_bounds_the_batch(small_bundle, memory, sizes):
    manifest = read_bundle(small_bundle)
    engine = Engine(Sessions(small_bundle, manifest, "cpu"), memory=memory)
    tried = [engine.batches("score").size]
    engine.batches("score").each(30, lambda part: tried.append(part.stop - part.start), lambda _: None)
    assert (max(tried) > 1) is (sizes > 1)
    exact = sise_rt.load(small_bundle, "cpu", memory=memory)
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert (exact.explain(picture).batch == 1) or sizes > 1


def test_three_images_fit_where_three_fit(small_bundle):
    manifest = read_bundle(small_bundle)
    engine = Engine(Sessions(small_bundle, manifest, "cpu"), memory=3 * manifest.memory["forward"] + 1)
    tried = []
    engine.batches("score").each(40, lambda part: tried.append(part.stop - part.start), lambda _: None)
    assert max(tried) == 2, "the sizes on trial are 1, 2, 4 ..."
    assert engine.batches("score", 7).size == 7, "the user's own size is not changed"


def test_a_bundle_that_does_not_tell_it_says_so(small_bundle):
    from dataclasses import replace

    old = replace(read_bundle(small_bundle), memory={})
    assert not Engine(Sessions(small_bundle, old, "cpu")).warnings
    (warning,) = Engine(Sessions(small_bundle, old, "cpu"), memory=10**6).warnings
    assert warning.startswith("the memory is not bounded: the bundle is of an older sise-rt")
    with pytest.raises(ValueError, match="memory is 0"):
        Engine(Sessions(small_bundle, old, "cpu"), memory=0)


@pytest.mark.parametrize(
    "memory",
    [
        {"forward": 0, "backward": 5},
        {"forward": 5},
        {"forward": "5", "backward": 5},
        {"forward": True, "backward": 5},
        {"forward": 5, "backward": 10**400},
    ],
)
def test_a_manifest_whose_memory_is_none(small_bundle, tmp_path, memory):
    import json
    import shutil

    folder = tmp_path / "b.sise"
    shutil.copytree(small_bundle, folder)
    text = json.loads((folder / "manifest.json").read_text("utf-8"))
    (folder / "manifest.json").write_text(json.dumps(text | {"memory": memory}))
    with pytest.raises(BundleError, match=r"unknown memory|`\$\.memory\[\.\.\.\]`"):
        read_bundle(folder)
