"""A real network in folders of Ultralytics, Custom Vision, OTX and Teachable Machine, against their own code.

    python -m benchmarks.described

Every folder is exported with no option, and its logits on five photos are held against those of the model
behind the origin's own preprocessing: Ultralytics' and Model API's code where these packages are installed,
else what it does, step by step, as are the samples of the others. The last column is how much the convention
is off that is assumed where no file speaks. Needs SISE_RT_MATERIAL.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnx
from onnx import helper, numpy_helper
from PIL import Image, ImageOps
from sise_rt.export import export
from sise_rt.export.conventions import IMAGENET
from sise_rt.export.intake.from_torch import import_torchvision

import sise_rt
from benchmarks.material import IMAGENET_NORM, onnx_file, photos
from sise_rt.running.runtime import onnxruntime

SIDE, CLASSES = 224, 1000
NAMES = [f"thing {index}" for index in range(CLASSES)]
MEAN, STD = (np.array(IMAGENET_NORM[key], np.float32)[:, None, None] for key in ("mean", "std"))
Input = Callable[[Image.Image], np.ndarray]  # from a picture to (3, SIDE, SIDE)


class Kind(NamedTuple):
    """A kind of folder.

    Attributes:
        low: the value of a black pixel in the model's input.
        high: that of a white one.
        reverse: whether the model takes BGR.
        properties: of the model.
        files: beside it.
        prepare: how the origin prepares a picture.
        by: whose code that is.
    """

    low: float
    high: float
    reverse: bool
    properties: Mapping[str, str]
    files: Mapping[str, Any]
    prepare: Input
    by: str


def model_for(kind: Kind, path: Path, folder: Path) -> None:
    """Write the network as one that takes what this kind of origin gives it."""
    model = onnx.load(path)
    graph = model.graph
    nodes, name = [], graph.input[0].name
    weights = {
        "span": np.float32(kind.high - kind.low) * STD[None],
        "shift": np.float32(kind.low) + np.float32(kind.high - kind.low) * MEAN[None],
    }
    if kind.reverse:
        weights["order"] = np.array([2, 1, 0])
        nodes.append(helper.make_node("Gather", [name, "order"], ["ordered"], axis=1))
    nodes.append(helper.make_node("Sub", [nodes[-1].output[0] if nodes else name, "shift"], ["shifted"]))
    nodes.append(helper.make_node("Div", ["shifted", "span"], ["normalised"]))
    for node in graph.node:
        node.input[:] = ["normalised" if given == name else given for given in node.input]
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)
    graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in weights.items())
    for extent in graph.input[0].type.tensor_type.shape.dim[2:]:
        extent.dim_value = SIDE
    for key, value in kind.properties.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, folder / "model.onnx")
    for file, content in kind.files.items():
        (folder / file).write_text(content if isinstance(content, str) else json.dumps(content))


def kinds() -> dict[str, Kind]:
    """The kinds, each with the code that is there."""
    lines = "".join(f"{name}\n" for name in NAMES)
    ultralytics, theirs = _ultralytics()
    standard, api = _model_api("standard")
    info = {"model_type": "Classification", "labels": lines.replace(" ", "_"), "resize_type": "standard"}
    info |= {"mean_values": "10 10 10", "scale_values": "2 2 2", "reverse_input_channels": "False"}
    crop, _ = _model_api("crop")
    written = {f"model_info {key}": value for key, value in info.items()}
    vision = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}
    manifest = {"DomainType": "Classification", "LabelFileName": "labels.txt"}
    literals = {"task": "classify", "imgsz": f"[{SIDE}, {SIDE}]", "names": repr(dict(enumerate(NAMES)))}
    machine = {
        "tmVersion": "2.4.7",
        "packageName": "@teachablemachine/image",
        "labels": NAMES,
        "imageSize": SIDE,
    }
    return {
        "Ultralytics": Kind(0, 1, False, literals, {}, ultralytics, theirs),
        "Custom Vision": Kind(
            0, 255, True, vision, {"cvexport.manifest": manifest, "labels.txt": lines}, _vision, "its sample"
        ),
        "OpenVINO standard": Kind(-5, 122.5, False, written, {}, standard, api),
        "OpenVINO crop": Kind(-5, 122.5, False, written | {"model_info resize_type": "crop"}, {}, crop, api),
        "Teachable Machine": Kind(-1, 1, False, {}, {"metadata.json": machine}, _machine, "its sample"),
    }


def _ultralytics() -> tuple[Input, str]:
    try:
        import_torchvision()
        from ultralytics.data.augment import classify_transforms
    except ImportError:
        from torchvision import transforms

        steps = [transforms.Resize(SIDE), transforms.CenterCrop(SIDE), transforms.ToTensor()]
        chain = transforms.Compose(steps)
        return lambda picture: chain(picture).numpy(), "its steps"
    transform = classify_transforms(SIDE)
    return lambda picture: transform(picture).numpy(), "its code"


def _model_api(resize: str) -> tuple[Input, str]:
    try:
        from model_api.adapters.utils import setup_python_preprocessing_pipeline
    except ImportError:

        def steps(picture: Image.Image) -> np.ndarray:
            pixels = np.asarray(picture)
            if resize == "crop":
                side = min(pixels.shape[:2])
                top, left = ((extent - side) // 2 for extent in pixels.shape[:2])
                pixels = pixels[top : top + side, left : left + side]
            return ((cv2.resize(pixels, (SIDE, SIDE)) - np.float32(10)) / 2).transpose(2, 0, 1)

        return steps, "its steps"
    chain = setup_python_preprocessing_pipeline(
        "NCHW", resize, "LINEAR", (SIDE, SIDE), 0, mean=[10] * 3, scale=[2] * 3
    )
    return lambda picture: chain(np.asarray(picture))[0], "its code"


def _vision(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.resize((SIDE, SIDE)), np.float32).transpose(2, 0, 1)[::-1]


def _machine(picture: Image.Image) -> np.ndarray:
    fitted = ImageOps.fit(picture, (SIDE, SIDE), Image.Resampling.LANCZOS)
    return (np.asarray(fitted, np.float32) / 127.5 - 1).transpose(2, 0, 1)


def compare(kind: Kind, folder: Path, pictures: list[Image.Image]) -> tuple[float, float, int]:
    """The largest differences of logits, exported and by convention; how often the class is the same."""
    session = onnxruntime().InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    theirs = [
        session.run(None, {name: np.ascontiguousarray(kind.prepare(picture), np.float32)[None]})[0][0]
        for picture in pictures
    ]
    ours = []
    for options in ({}, {"preprocess": IMAGENET | {"color": "RGB"}, "labels": NAMES}):
        bundle = folder / f"{len(options)}.sise"
        export(folder / "model.onnx", bundle, gradients=False, **options)
        explainer = sise_rt.load(bundle, "cpu")
        prepared = [explainer.prepare(np.asarray(picture)) for picture in pictures]
        ours.append([explainer.engine.forward(picture.tensor)[0] for picture in prepared])
    worst = [max(np.abs(a - b).max() for a, b in zip(theirs, found, strict=True)) for found in ours]
    same = sum(int(a.argmax() == b.argmax()) for a, b in zip(theirs, ours[0], strict=True))
    return float(worst[0]), float(worst[1]), same


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    pictures = [Image.open(path).convert("RGB") for path in photos(5)]
    print("| kind | against | logits differ by at most | same class | by the convention |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        network = onnx_file("resnet18", Path(scratch))
        for place, (name, kind) in enumerate(kinds().items()):
            folder = Path(scratch) / str(place)
            folder.mkdir()
            model_for(kind, network, folder)
            worst, convention, same = compare(kind, folder, pictures)
            print(
                f"| {name} | {kind.by} | {worst:.1e} | {same} of {len(pictures)} | {convention:.1f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
