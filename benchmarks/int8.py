"""A bundle's score graph in int8: its network quantised by ONNX Runtime, statically and a channel at a time.

Masked copies of pictures are what is scored, so the ranges are measured on them too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

import sise_rt
from sise_rt.phases.features import extract
from sise_rt.phases.masks import constant_maps, select
from sise_rt.pictures.resizing import resize_map

LAYERS = {"Conv", "Gemm", "MatMul"}
COPIES = 4  # masked ones of a picture


class Copies(CalibrationDataReader):
    """Pictures and masked copies of them, one after the other."""

    def __init__(self, explainer: sise_rt.Explainer, pictures: Sequence[Path]):
        self._images = copies(explainer, pictures)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next one as the network's input; None behind the last."""
        image = next(self._images, None)
        return None if image is None else {"images": image}


def copies(explainer: sise_rt.Explainer, pictures: Sequence[Path]) -> Iterator[np.ndarray]:
    """Each picture, and copies of it under masks that are evenly drawn from all blocks; (1, C, H, W)."""
    for path in pictures:
        image = explainer.prepare(path).tensor
        yield image
        target = explainer.engine.forward(image).argmax(axis=1)
        features = extract(explainer.engine, image, target)
        masks = [
            maps[k]
            for maps, alpha in zip(features.maps, features.alphas, strict=True)
            for k in np.flatnonzero(select(alpha[0], 0.0) & ~constant_maps(maps))
        ]
        for k in np.unique(np.linspace(0, len(masks) - 1, COPIES).round().astype(int)) if masks else ():
            mask = resize_map(masks[k], image.shape[2:])
            yield image * ((mask - mask.min()) / np.ptp(mask))[None, None].astype(np.float32)


def quantise(explainer: sise_rt.Explainer, pictures: Sequence[Path], out: Path, *, ends: bool) -> None:
    """Write a score graph whose network is int8, weights included.

    Args:
        explainer: of the bundle.
        pictures: that the ranges of activations are measured on.
        out: the ONNX file.
        ends: whether the network's first and last layers are int8 too, or float32.
    """
    folder = explainer.engine.folder
    network = onnx.load(folder / "forward.onnx")
    layers = [node for node in network.graph.node if node.op_type in LAYERS]
    with tempfile.TemporaryDirectory() as work:
        small = Path(work) / "int8.onnx"
        quantize_static(
            network,
            small,
            Copies(explainer, pictures),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[] if ends else [layers[0].name, layers[-1].name],
        )
        whole = spliced(onnx.load(folder / "score.onnx"), network, onnx.load(small))
    onnx.checker.check_model(whole, full_check=True)
    onnx.save(whole, out)


def spliced(score: onnx.ModelProto, network: onnx.ModelProto, quantised: onnx.ModelProto) -> onnx.ModelProto:
    """The score graph with the quantised network in place of the network in it."""
    inside = {name for node in network.graph.node for name in node.output}
    around = [node for node in score.graph.node if not inside & set(node.output)]
    first = next(k for k, node in enumerate(score.graph.node) if inside & set(node.output))
    before = {name for node in score.graph.node[:first] for name in node.output}
    head = [node for node in around if before & set(node.output)]
    tail = [node for node in around if not before & set(node.output)]
    used = {name for node in around for name in node.input}
    own = [tensor for tensor in score.graph.initializer if tensor.name in used]
    there = {tensor.name for tensor in own}
    rest = [tensor for tensor in quantised.graph.initializer if tensor.name not in there]
    graph = onnx.helper.make_graph(
        [*head, *quantised.graph.node, *tail],
        "score",
        list(score.graph.input),
        list(score.graph.output),
        [*own, *rest],
    )
    return onnx.helper.make_model(graph, opset_imports=quantised.opset_import, ir_version=score.ir_version)
