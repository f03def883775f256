"""A bundle whose head is shuffled, for the parameter-randomisation check (Adebayo et al., NeurIPS 2018)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from sise_rt.bundle import MANIFEST, WEIGHTS, Manifest, read_bundle, sha256
from sise_rt.errors import ModelError
from sise_rt.manifest import PRECISIONS
from sise_rt.writing import write_manifest

from .ir.mapping import PAGE
from .ir.nodes import operator

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def write_randomised(bundle: Path, output: Path, seed: int = 0) -> str:
    """Write a bundle anew with the weights of its last layer shuffled, the same way in all of its graphs.

    Every entry of the matrix, or of the kernels, changes its place, so that their distribution stays; biases
    stay. What was measured of the model's parity is not measured again.

    Args:
        bundle: the folder.
        output: a folder to be, which only the caller uses.
        seed: of the permutation.

    Returns:
        The name of the weights.

    Raises:
        BundleError: the bundle cannot be read.
        ModelError: it has no such layer, or its weights are no plain float32.
    """
    manifest = read_bundle(bundle)
    if manifest.precision != PRECISIONS[0]:
        raise ModelError(
            f"{manifest.name} scores in {manifest.precision}: export it in fp32 to shuffle its head"
        )
    for path in (MANIFEST, *manifest.files):
        (output / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle / path, output / path)
    weights, value = _last_weights(output, manifest)
    shuffled = np.random.default_rng(seed).permutation(value.reshape(-1)).reshape(value.shape)
    with open(output / WEIGHTS, "ab") as file:
        # At the end, as other weights of the same values may lie in the place of these.
        file.write(b"\0" * (-file.tell() % PAGE))
        offset = file.tell()
        file.write(shuffled.tobytes())
    for path in manifest.files:
        if path.endswith(".onnx"):
            _replace(output / path, weights, shuffled, offset)
    write_manifest(output, replace(manifest, files={path: sha256(output / path) for path in manifest.files}))
    return weights


def _last_weights(folder: Path, manifest: Manifest) -> tuple[str, np.ndarray]:
    """The name and values of the weights of the layer nearest to the logits."""
    for path in (manifest.graphs.classifier, *reversed(manifest.graphs.blocks)):
        graph = onnx.load(folder / path, load_external_data=False).graph
        held = {tensor.name: tensor for tensor in graph.initializer}
        for node in reversed(graph.node):
            if operator(node) in LAYERS and (tensors := list(_weights_of(node, graph, held))):
                value = _read(tensors[0], folder)
                if value.dtype != np.float32 or tensors[0].name not in node.input:
                    raise ModelError(
                        f"the weights of the last layer (node {node.name or node.output[0]!r}) are no plain "
                        "float32, as in a quantised model: its head cannot be shuffled"
                    )
                return tensors[0].name, value
    raise ModelError("the model has no layer with weights that could be shuffled")


def _weights_of(
    node: onnx.NodeProto, graph: onnx.GraphProto, held: dict[str, TensorProto]
) -> Iterator[TensorProto]:
    """The weights that a layer multiplies with, whatever is done to them alone on the way."""
    makers = {name: maker for maker in graph.node for name in maker.output}
    for name in node.input[:2]:
        while name in makers and makers[name].input and all(i in held for i in makers[name].input if i):
            name = makers[name].input[0]
        if name in held:
            yield held[name]


def _read(tensor: TensorProto, folder: Path) -> np.ndarray:
    """The values of weights that lie in the graph, or in the bundle's file of weights."""
    return numpy_helper.to_array(tensor, base_dir=str(folder))


def _replace(path: Path, name: str, value: np.ndarray, offset: int) -> None:
    """Give a graph that has the weights their new values."""
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        if tensor.name != name:
            continue
        if tensor.data_location == TensorProto.EXTERNAL:
            next(entry for entry in tensor.external_data if entry.key == "offset").value = str(offset)
        else:
            tensor.CopyFrom(numpy_helper.from_array(value, name))
    path.write_bytes(model.SerializeToString(deterministic=True))
