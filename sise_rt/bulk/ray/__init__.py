"""Items on a Ray cluster: the class for Ray Data's `map_batches`, and a run that is driven from here."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .shipping import Shipped, ship
    from .stage import Explain

__all__ = ["Explain", "Shipped", "ship"]

_MODULES = {"Explain": "stage", "Shipped": "shipping", "ship": "shipping"}


def __getattr__(name: str) -> object:
    """Import what is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value
