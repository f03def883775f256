"""DIANNA: RISE with 1000 masks on the ONNX file, which it opens again for every batch of 100.

Half of each mask's cells show the picture; by itself DIANNA would find that share with 900 more passes. It
weighs the masks by what the file gives, the logits, and computes the map of every class.
"""

from __future__ import annotations

from typing import Any

import dianna
import numpy as np
import onnxruntime
from peer import Count, Explain, Settings, normalised


def prepare(_method: str, settings: Settings, count: Count) -> Explain:
    """`RISE`."""

    class Counted(onnxruntime.InferenceSession):
        def __init__(self, path: str, sess_options: Any):
            sess_options.intra_op_num_threads = settings["threads"]
            super().__init__(path, sess_options)

        def run(self, outputs: Any, inputs: dict[str, np.ndarray], options: Any = None) -> Any:
            count.forward += len(next(iter(inputs.values())))
            return super().run(outputs, inputs, options)

    onnxruntime.InferenceSession = Counted

    def explain(picture: np.ndarray, target: int) -> np.ndarray:
        image, axes = normalised(picture)[0], {0: "channels"}
        options = {"n_masks": 1000, "p_keep": 0.5, "axis_labels": axes}
        return np.asarray(dianna.explain_image(settings["onnx"], image, "RISE", [target], **options)[0])

    return explain
