"""OpenVINO XAI's two methods for black boxes, on the ONNX file: RISE with 1000 masks, and AISE as it comes.

It chooses the number of threads by itself: all cores that the process may use.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from openvino_xai.methods.black_box.aise.classification import AISEClassification
from openvino_xai.methods.black_box.rise import RISE
from peer import Count, Explain, Settings, normalised, softmax


def prepare(method: str, settings: Settings, count: Count) -> Explain:
    """`RISE` or `AISE`."""

    def confidences(outputs: Any) -> np.ndarray:
        logits = outputs[0]
        count.forward += len(logits)
        return softmax(logits)

    model = openvino.Core().read_model(settings["onnx"])
    kind, options = (RISE, {"num_masks": 1000}) if method == "RISE" else (AISEClassification, {})
    explainer = kind(model, confidences)

    def explain(picture: np.ndarray, target: int) -> np.ndarray:
        return explainer.generate_saliency_map(normalised(picture), [target], **options)[target]

    return explain
