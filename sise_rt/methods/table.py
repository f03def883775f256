"""The table of methods: every module of this folder that has a `METHOD`."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from .method import Method

FIRST = "sise"  # in every list; the others follow by name


def _methods() -> Mapping[str, Method]:
    package = __name__.rpartition(".")[0]
    names = {module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])}
    modules = [import_module(f"{package}.{name}") for name in sorted(names - {"table", "requests"})]
    methods = [module.METHOD for module in modules if hasattr(module, "METHOD")]
    return {method.name: method for method in sorted(methods, key=lambda m: (m.name != FIRST, m.name))}


METHODS = _methods()
