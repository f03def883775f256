"""Preprocessing as ONNX operators: a picture of any size becomes the model's input inside the graph."""

from __future__ import annotations

import onnx

from sise_rt.bundle import Preprocess


def with_preprocessing(model: onnx.ModelProto, spec: Preprocess) -> onnx.ModelProto:
    raise NotImplementedError
