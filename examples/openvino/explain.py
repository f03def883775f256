"""Explain a picture with OpenVINO and a single file, without ONNX Runtime and without sise-rt.

sise-rt export model.onnx --single-file --with-preprocessing --required-inputs -o explain.onnx
pip install openvino pillow && python explain.py explain.onnx picture.jpg
"""

import sys

import numpy as np
import openvino
from PIL import Image

model = openvino.Core().compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
found = model(
    {
        "image": np.array(Image.open(sys.argv[2]).convert("RGB")),
        "target": np.int64(-1),
        "mu": np.float32(0),
        "max_masks": np.int64(50),
    }
)
if status := int(found["status"]):
    sys.exit(f"error: no explanation, status {status}")
print(f"class {found['class']}, confidence {found['confidence']:.3f}, {found['masks_scored']} masks")
Image.fromarray((255 * found["explanation"]).round().astype(np.uint8)).save("explanation.png")
