"""Explain a picture with OpenVINO and a single file, without ONNX Runtime and without sise-rt.

sise-rt export model.onnx --single-file --required-inputs -o explain.onnx
pip install openvino pillow && python explain.py explain.onnx picture.jpg

The file is exported without --with-preprocessing, as OpenVINO 2026.4 leaves out the averaging of a Resize
that shrinks: the picture is prepared here, as the file's metadata say. Writes explanation.png.
"""

import json
import sys

import numpy as np
import openvino
from PIL import Image, ImageOps


def prepared(path, spec):
    """The model's input, float32 (1, C, H, W): the middle of the picture, resized."""
    channels, height, width = spec["input_size"]
    if channels != 3 or spec["crop_mode"] != "center":
        sys.exit("error: this example knows colour pictures and crops of the middle")
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    stays = spec.get("crop_assumed") and image.size == (width, height)
    scale = max(width / image.width, height / image.height) / (1 if stays else spec["crop_pct"])
    size = (int(scale * image.width + 1e-6), int(scale * image.height + 1e-6))
    image = image.resize(size, Image.Resampling[spec["interpolation"].upper()])
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    pixels = np.array(image.crop((left, top, left + width, top + height)), np.float32)
    if spec["color"] == "BGR":
        pixels = pixels[..., ::-1]
    values = (pixels / spec["scale"] - spec["mean"]) / spec["std"]
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32)


def main(file, picture):
    """Print the class and write the map."""
    model = openvino.Core().read_model(file)
    spec, labels = (
        json.loads(model.get_rt_info(["framework", key]).astype(str)) for key in ("preprocessing", "labels")
    )
    # Some processors would compute in bfloat16, where maps are rough.
    explain = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    settings = {"target": np.array(-1), "mu": np.array(0, np.float32), "max_masks": np.array(50)}
    found = explain({"image": prepared(picture, spec), **settings})
    target, status = int(found["class"]), int(found["status"])
    if status != 0:
        sys.exit(f"error: no explanation, status {status}")
    name = labels[target] if labels else "class"
    print(f"{name} ({target}), confidence {found['confidence']:.3f}, {found['masks_scored']} masks")
    Image.fromarray((255 * found["explanation"]).round().astype(np.uint8)).save("explanation.png")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python explain.py explain.onnx picture.jpg")
    main(*sys.argv[1:])
