"""sise-rt explains what a deployed convolutional image classifier looked at: SISE on ONNX Runtime."""

from .errors import (
    ArgumentError,
    BundleError,
    ImageError,
    MethodError,
    ModelError,
    NoEvidence,
    OutputError,
    ParityError,
    ProviderError,
    SiseError,
    TargetError,
    UnsupportedOperator,
)
from .explainer import Explainer, load
from .explanation import BlockEvidence, Explanation, Prediction
from .methods import Stop

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "BlockEvidence",
    "BundleError",
    "Explainer",
    "Explanation",
    "ImageError",
    "MethodError",
    "ModelError",
    "NoEvidence",
    "OutputError",
    "ParityError",
    "Prediction",
    "ProviderError",
    "SiseError",
    "Stop",
    "TargetError",
    "UnsupportedOperator",
    "load",
]
