"""The errors of sise-rt, one tree.

SiseError
├── ModelError (ValueError)
│   ├── UnsupportedOperator (NotImplementedError)
│   └── OutOfMemory
├── BundleError (ValueError)
│   └── ParityError
├── ImageError (ValueError)
├── TargetError (LookupError)
├── MethodError (ValueError)
├── ProviderError (RuntimeError)
├── NoEvidence (RuntimeError)
└── OutputError (OSError)
"""


class SiseError(Exception):
    """Whatever sise-rt raises on purpose; its message says what, where, and what would help."""


class ModelError(SiseError, ValueError):
    """A model cannot be exported, or does not fit its weights."""


class UnsupportedOperator(ModelError, NotImplementedError):
    """An operator on the gradient path has no rule in `sise_rt.export.rules`."""


class OutOfMemory(ModelError):
    """The device's memory does not hold what a pass needs."""


class BundleError(SiseError, ValueError):
    """A bundle is incomplete, altered, unsafe, or of a schema this version does not read."""


class ParityError(BundleError):
    """A bundle's numbers differ from its source's by more than the tolerance."""


class ImageError(SiseError, ValueError):
    """A picture cannot be read, is too large, or does not fit the model's input."""


class TargetError(SiseError, LookupError):
    """A target is no class of the model, or a label that names several."""


class MethodError(SiseError, ValueError):
    """There is no such method, or one of its options is unknown or out of its range."""


class ProviderError(SiseError, RuntimeError):
    """ONNX Runtime is missing or doubled, or cannot use the device that was asked for."""


class NoEvidence(SiseError, RuntimeError):
    """Nothing that the method looks at speaks for the target."""


class OutputError(SiseError, OSError):
    """A result cannot be written where it was asked for."""
