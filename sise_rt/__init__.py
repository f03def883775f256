"""sise-rt explains what a deployed convolutional image classifier looked at: SISE on ONNX Runtime."""

TYPE_CHECKING = False  # as type checkers take it; `typing` would have to be imported for its own
if TYPE_CHECKING:
    from .amending import amend
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
    "amend",
    "load",
]

_MODULES = {
    "amend": "amending",
    "Explainer": "explainer",
    "load": "explainer",
    "Stop": "methods",
} | dict.fromkeys(("BlockEvidence", "Explanation", "Prediction"), "explanation")


def __getattr__(name: str) -> object:
    """Import what is asked for: numpy and OpenCV take a while, and not all who import this need them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_MODULES.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING"})
