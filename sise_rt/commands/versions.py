"""What `sise-rt --version` says."""

from __future__ import annotations

import platform
from importlib.util import find_spec

from sise_rt import __version__
from sise_rt.errors import SiseError
from sise_rt.running.provider import PROVIDERS
from sise_rt.running.providers import PLUG_INS
from sise_rt.running.runtime import onnxruntime


def versions() -> list[str]:
    """The version of sise-rt, of what runs it, and of what runs models, a line each."""
    return [
        f"sise-rt {__version__}",
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        _runtime(),
    ]


def _runtime() -> str:
    """ONNX Runtime and the providers that it was built with, or why it cannot be used; and its plug-ins."""
    try:
        runtime = onnxruntime()
    except SiseError as error:
        return f"no ONNX Runtime: {error}"
    available = runtime.get_available_providers()
    names = [name for name, full in PROVIDERS.items() if full in available]
    names += [name for name, module in PLUG_INS.items() if find_spec(module)]
    return f"ONNX Runtime {runtime.__version__}, providers: {', '.join(names)}"
