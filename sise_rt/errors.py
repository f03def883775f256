"""The errors of sise-rt, one tree.

SiseError
├── ArgumentError (ValueError)
│   └── MethodError
├── ModelError (ValueError)
│   ├── UnsupportedOperator (NotImplementedError)
│   └── OutOfMemory
├── BundleError (ValueError)
│   └── ParityError
├── ImageError (ValueError)
├── TargetError (LookupError)
├── ProviderError (RuntimeError)
├── NoEvidence (RuntimeError)
└── OutputError (OSError)
    └── Unwritable

One rule for arguments: one that no model and no picture could make right is an `ArgumentError`, which is a
`ValueError` too. What an error says of a setting it says in plain words, and `settings` names it as the
Python argument is named; whoever shows the error calls it what it is called there: an option, a field.
"""

from __future__ import annotations

from collections.abc import Callable


class SiseError(Exception):
    """Whatever sise-rt raises on purpose; its message says what, where, and what would help.

    Args:
        message: in words that hold for Python, the command line and a service alike.
        settings: the arguments that it is about, or that would help, by their names in Python.

    Attributes:
        message: without the settings.
        settings: as given.
    """

    def __init__(self, message: str = "", *, settings: tuple[str, ...] = ()):
        super().__init__(message)
        self.message, self.settings = message, settings

    def told(self, spell: Callable[[str], str | None]) -> str:
        """The message, and what `spell` calls the settings that it is about; those of None are left out."""
        names = [name for name in map(spell, self.settings) if name]
        return f"{self.message} (see {', '.join(names)})" if names else self.message

    def __str__(self) -> str:
        """The message, and the arguments that it is about."""
        return self.told(str)


class ArgumentError(SiseError, ValueError):
    """An argument is out of its range, of a wrong type, or contradicts another one."""


class MethodError(ArgumentError):
    """There is no such method, or one of its options is unknown or out of its range."""


class ModelError(SiseError, ValueError):
    """A model cannot be exported, or does not fit its weights."""


class UnsupportedOperator(ModelError, NotImplementedError):
    """An operator on the gradient path has no rule in `sise_rt.export.gradients.rules`."""


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


class ProviderError(SiseError, RuntimeError):
    """ONNX Runtime is missing or doubled, or cannot use the device that was asked for."""


class NoEvidence(SiseError, RuntimeError):
    """Nothing that the method looks at speaks for the target.

    Attributes:
        target: its index, label and confidence; None where whoever raised it did not know them.
        predicted: likewise of the class with the highest confidence.
    """

    target: tuple[int, str, float] | None = None
    predicted: tuple[int, str, float] | None = None


class OutputError(SiseError, OSError):
    """A result cannot be written where it was asked for."""


class Unwritable(OutputError):
    """Nothing more can be written there: the disk is full, or what keeps a run cannot be added to."""
