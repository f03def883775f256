"""Published folders against the library that wrote them: its own processor and model, on five pictures.

    python -m benchmarks.origins
    python -m benchmarks.origins --only resnet levit --pil

A small network of each kind with random weights is saved by transformers or timm as they save it, exported by
sise-rt with no option, and both are asked for the logits of pictures of odd sizes. The last column is what
the convention would have given that is assumed where no file speaks.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from sise_rt.export import export
from sise_rt.export.conventions import IMAGENET
from sise_rt.export.intake.from_torch import import_torchvision

import sise_rt

SIZES = ((375, 500), (257, 389), (641, 480), (200, 151), (333, 229))  # of the pictures: height, width
CLASSES = 7
ALLOWED = 1e-3  # of logits whose standard deviation is 1


class Kind(NamedTuple):
    """A kind of folder.

    Attributes:
        model: of transformers: its name without `ForImageClassification`, or an architecture of timm.
        config: of the model, smaller than by default.
        processor: of transformers: its name without `ImageProcessor`; empty for timm.
        settings: of the processor, or the `pretrained_cfg`.
    """

    model: str
    config: Mapping[str, Any]
    processor: str
    settings: Mapping[str, Any]


IMAGENET_MEAN = {"image_mean": list(IMAGENET["mean"]), "image_std": list(IMAGENET["std"])}
SMALL_RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
SMALL_CONVNEXT = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}
KINDS = {
    "resnet, 224 by crop_pct": Kind(
        "ResNet",
        SMALL_RESNET,
        "ConvNext",
        {"size": {"shortest_edge": 224}, "crop_pct": 0.95, **IMAGENET_MEAN},
    ),
    "convnext, below 384": Kind("ConvNext", SMALL_CONVNEXT, "ConvNext", {"size": {"shortest_edge": 160}}),
    "convnext, 384 squashed": Kind("ConvNext", SMALL_CONVNEXT, "ConvNext", {}),
    "efficientnet, include_top": Kind(
        "EfficientNet",
        {"width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320, "image_size": 128},
        "EfficientNet",
        {"size": {"height": 128, "width": 128}, "resample": 0, **IMAGENET_MEAN},
    ),
    "efficientnet, rescale_offset, crop": Kind(
        "EfficientNet",
        {"width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320, "image_size": 128},
        "EfficientNet",
        {
            "size": {"height": 160, "width": 160},
            "crop_size": {"height": 128, "width": 128},
            "do_center_crop": True,
            "rescale_factor": 1 / 127.5,
            "rescale_offset": True,
            "include_top": False,
            **IMAGENET_MEAN,
        },
    ),
    "mobilenet_v1": Kind("MobileNetV1", {"depth_multiplier": 0.25, "min_depth": 4}, "MobileNetV1", {}),
    "mobilenet_v2": Kind("MobileNetV2", {"depth_multiplier": 0.25, "min_depth": 4}, "MobileNetV2", {}),
    "mobilevit, BGR, unnormalised": Kind(
        "MobileViT",
        {
            "hidden_sizes": [8, 12, 16],
            "neck_hidden_sizes": [8, 8, 12, 16, 20, 24, 32],
            "image_size": 128,
            "hidden_dropout_prob": 0.0,
        },
        "MobileViT",
        {"size": {"shortest_edge": 144}, "crop_size": {"height": 128, "width": 128}, "resample": 2},
    ),
    "resnet by ViT, do_rescale false": Kind(
        "ResNet",
        SMALL_RESNET,
        "ViT",
        {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [64.0] * 3},
    ),
    "resnet by Bit, lanczos": Kind(
        "ResNet",
        SMALL_RESNET,
        "Bit",
        {"size": {"shortest_edge": 129}, "crop_size": {"height": 112, "width": 112}, "resample": 1},
    ),
    "resnet by Levit": Kind("ResNet", SMALL_RESNET, "Levit", {}),
    "resnet by PoolFormer": Kind("ResNet", SMALL_RESNET, "PoolFormer", {}),
    "resnet by Pvt, not square": Kind(
        "ResNet", SMALL_RESNET, "Pvt", {"size": {"height": 128, "width": 160}, "do_normalize": False}
    ),
    "timm, weights": Kind(
        "resnet10t", {}, "", {"crop_pct": 0.95, "interpolation": "bicubic", "input_size": (3, 176, 176)}
    ),
    "timm, ONNX at the test size": Kind(
        "resnet10t",
        {"onnx": 192},
        "",
        {
            "crop_pct": 0.9,
            "input_size": (3, 160, 160),
            "test_crop_pct": 1.0,
            "test_input_size": (3, 192, 192),
            "mean": (0.5,) * 3,
            "std": (0.25,) * 3,
            "crop_mode": "squash",
        },
    ),
}


def pictures() -> list[Image.Image]:
    """Five pictures with edges, colours and fine structure, so that a shift by a pixel is seen."""
    rng = np.random.default_rng(5)
    made = []
    for height, width in SIZES:
        small = Image.fromarray(rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8))
        coarse = np.asarray(small.resize((width, height), Image.Resampling.NEAREST), np.int16)
        noise = rng.integers(-40, 41, (height, width, 3))
        made.append(Image.fromarray((coarse + noise).clip(0, 255).astype(np.uint8)))
    return made


Origin = Callable[[Image.Image], np.ndarray]  # the logits (classes,) of a picture


def published(kind: Kind, folder: Path, backend: str) -> Origin:
    """Save a model as its library does, and give the library's own way from a picture to logits."""
    return _of_transformers(kind, folder, backend) if kind.processor else _of_timm(kind, folder)


def _of_transformers(kind: Kind, folder: Path, backend: str) -> Origin:
    import torch
    import transformers

    torch.manual_seed(0)
    options = {"num_labels": CLASSES, **kind.config}
    model = getattr(transformers, f"{kind.model}ForImageClassification")(
        getattr(transformers, f"{kind.model}Config")(**options, problem_type="single_label_classification")
    )
    suffix = "Pil" if backend == "pil" else ""
    processor = getattr(transformers, f"{kind.processor}ImageProcessor{suffix}")(**kind.settings)

    def prepared(picture: Image.Image) -> Any:
        return processor(picture, return_tensors="pt")["pixel_values"]

    _tune(model, prepared, lambda images: model(pixel_values=images).logits)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return self.inner(pixel_values=pixel_values).logits

    (folder / "onnx").mkdir()
    _write(Logits().eval(), prepared(pictures()[0]), folder / "onnx" / "model.onnx", sides=True)
    return lambda picture: _numpy(lambda: model(pixel_values=prepared(picture)).logits)


def _of_timm(kind: Kind, folder: Path) -> Origin:
    import timm
    import torch
    from timm.data import create_transform, resolve_data_config
    from timm.models import save_for_hf

    torch.manual_seed(0)
    model = timm.create_model(kind.model, num_classes=CLASSES)
    model.pretrained_cfg = {**model.pretrained_cfg, "num_classes": CLASSES, **kind.settings}
    side = kind.config.get("onnx")
    resolved = resolve_data_config(pretrained_cfg=model.pretrained_cfg, use_test_size=bool(side))
    transform = create_transform(**resolved)

    def prepared(picture: Image.Image) -> Any:
        return transform(picture)[None]

    _tune(model, prepared, model)
    names = [f"n{index:04}" for index in range(CLASSES)]
    texts = {name: f"class {name}" for name in names}
    save_for_hf(model, folder, model_config={"label_names": names, "label_descriptions": texts})
    if side:
        _write(model, prepared(pictures()[0]), folder / "model.onnx", sides=False)
    return lambda picture: _numpy(lambda: model(prepared(picture)))


def _tune(model: Any, prepared: Callable[[Image.Image], Any], logits: Callable[[Any], Any]) -> None:
    """Let normalisations know such pictures, and logits differ between them with a deviation of 1."""
    import torch

    images = [prepared(picture) for picture in pictures()]
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    with torch.no_grad():
        model.train()
        logits(torch.cat(images))
        model.eval()
        deviation = logits(torch.cat(images)).std(dim=0).mean()
        *_, head = (module for module in model.modules() if isinstance(module, torch.nn.Linear))
        head.weight /= deviation
        head.bias /= deviation


def _numpy(logits: Callable[[], Any]) -> np.ndarray:
    import torch

    with torch.no_grad():
        return logits()[0].numpy()


def _write(model: Any, example: Any, path: Path, *, sides: bool) -> None:
    """An ONNX file as Optimum writes it: extents are free, the channels too; or a fixed one of timm."""
    import torch

    free = {0: "batch_size", 1: "num_channels", 2: "height", 3: "width"} if sides else {0: "batch_size"}
    torch.onnx.export(
        model,
        (example,),
        str(path),
        dynamo=False,
        input_names=["pixel_values"],
        output_names=["logits"],
        dynamic_axes={"pixel_values": free, "logits": {0: "batch_size"}},
        opset_version=18,
    )


class Compared(NamedTuple):
    """The largest difference of a logit, of a value of the input, and of a logit by the mere convention."""

    logits: float
    convention: float
    notes: tuple[str, ...]


def compare(kind: Kind, folder: Path, backend: str = "torchvision") -> Compared:
    """Export a folder of a kind with no option, and hold its logits against the origin's."""
    home = folder / "published"
    home.mkdir()
    origin = published(kind, home, backend)
    report = export(home, folder / "bundle.sise")
    size = report.manifest.preprocess.input_size[1:]
    model = next(
        (path for path in (home / "onnx" / "model.onnx", home / "model.onnx") if path.is_file()), home
    )
    settings = {"scale": 255.0, "color": "RGB", **IMAGENET}
    export(model, folder / "convention.sise", input_size=size, preprocess=settings)
    expected = np.stack([origin(picture) for picture in pictures()])
    made, assumed = (_logits(folder / name) for name in ("bundle.sise", "convention.sise"))
    notes = tuple(note for note in report.notes if note.startswith(("from ", "assumed")))
    return Compared(abs(made - expected).max(), abs(assumed - expected).max(), notes)


def _logits(bundle: Path) -> np.ndarray:
    explainer = sise_rt.load(bundle, "cpu")
    images = [explainer.prepare(picture).tensor for picture in pictures()]
    return np.concatenate([explainer.engine.forward(image) for image in images])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of the kinds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", help="kinds whose name begins so")
    parser.add_argument("--pil", action="store_true", help="transformers' processors on Pillow")
    parser.add_argument("--notes", action="store_true", help="print what was taken from where")
    options = parser.parse_args(arguments)
    import_torchvision()
    warnings.simplefilter("ignore")
    with suppress(ImportError):
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
    chosen = {name: kind for name, kind in KINDS.items() if name.startswith(tuple(options.only or ("",)))}
    print("| folder | logits differ by | by convention |\n|---|---|---|")
    worst = 0.0
    for name, kind in chosen.items():
        with tempfile.TemporaryDirectory() as folder:
            compared = compare(kind, Path(folder), "pil" if options.pil else "torchvision")
        worst = max(worst, compared.logits)
        print(f"| {name} | {compared.logits:.2g} | {compared.convention:.2g} |", flush=True)
        for note in compared.notes if options.notes else ():
            print(f"    {note}")
    sys.exit(int(worst > ALLOWED))


if __name__ == "__main__":
    main()
