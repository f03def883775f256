"""Providers that are plug-ins of ONNX Runtime: packages of their own, loaded into the process once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module, metadata
from typing import Any

from sise_rt.errors import ProviderError

from .passes import first_line
from .provider import Provider
from .runtime import installed, onnxruntime

PLUG_IN = "plugin:"  # in front of the name of a plug-in that has no extra of its own
# Of several devices of a plug-in the first of these kinds; OpenVINO is told how to run on a CPU alone.
KINDS = {"OpenVINOExecutionProvider": ("cpu",)}
NEEDS = {"OpenVINOExecutionProvider": "an Intel processor"}


def installed_plug_ins() -> Iterator[tuple[str, tuple[str, ...]]]:
    """The module of each installed plug-in, and the names that it may be asked for by.

    A plug-in is a module called `onnxruntime_...` with a function `get_library_path`, as the packages of
    onnxruntime-ep-openvino, onnxruntime-ep-webgpu and onnxruntime-qnn have it. One that fails to import is
    listed as well: whoever asks for it is told why.
    """
    onnxruntime()  # before others import it, which would let it send reports
    for module, distributions in sorted(metadata.packages_distributions().items()):
        if not module.startswith("onnxruntime_"):
            continue
        full = ""
        with suppress(Exception):  # whatever its code raises
            plug_in = import_module(module)
            if not hasattr(plug_in, "get_library_path"):
                continue
            full = plug_in.get_ep_name()
        short = module.removeprefix("onnxruntime_").removeprefix("ep_").replace("_", "-")
        yield module, tuple(dict.fromkeys(filter(None, (short, module, full, *distributions))))


def module_of(name: str) -> str:
    """The module of an installed plug-in.

    Raises:
        ProviderError: there is none of that name.
    """
    plug_ins = list(installed_plug_ins())
    for module, names in plug_ins:
        if name.lower() in (other.lower() for other in names):
            return module
    there = ", ".join(names[0] for _, names in plug_ins) or "none"
    raise ProviderError(
        f"no plug-in {name!r} is installed (installed: {there}): pip install the package that has it, as "
        "onnxruntime-ep-webgpu has webgpu"
    )


_registering = threading.Lock()
_registered: set[str] = set()  # modules


def plugged_in(name: str, module: str) -> Provider:
    """The device of a plug-in, whose library is loaded into the process once.

    Raises:
        ProviderError: the plug-in cannot be imported or its library loaded, or it has no device here.
    """
    ort = onnxruntime()
    try:
        plug_in = import_module(module)
        library, own = plug_in.get_library_path(), plug_in.get_ep_name()
        with _registering:  # unless the program has done so itself
            if module not in _registered and not _offered(ort, own):
                ort.register_execution_provider_library(f"sise_rt.{module}", library)
            _registered.add(module)
    except Exception as error:
        raise ProviderError(
            f"{name} cannot run: its plug-in ({module}) cannot be loaded: {first_line(error)}"
        ) from error
    offered, version = _offered(ort, own), _version(module)
    kinds = KINDS.get(own, ("gpu", "npu", "cpu"))
    handle = next((device for kind in kinds for device in offered if _kind(device) == kind), None)
    if handle is None:
        needed = f" and needs {NEEDS[own]}" if own in NEEDS else ""
        raise ProviderError(
            f"{name} cannot run: its plug-in ({module} {version}) has no device here{needed}; this "
            f"machine has {devices()}"
        )
    told = dict(handle.ep_metadata)
    device = told.get("FULL_DEVICE_NAME", "").strip() or _described(handle)
    return Provider(name, own, version, device, _kind(handle), handle, told)


def _offered(ort: Any, full: str) -> list[Any]:
    """The devices of a provider, without those that stand for several, as OpenVINO's AUTO."""
    return [device for device in ort.get_ep_devices() if device.ep_name == full]


def _kind(device: Any) -> str:
    return device.device.type.name.lower()


def devices() -> str:
    """What ONNX Runtime sees of the machine, in one line; a plug-in that is loaded may show it more."""
    return ", ".join(dict.fromkeys(map(_described, onnxruntime().get_ep_devices())))


def _described(device: Any) -> str:
    """A device by its kind, and its own name or its maker's."""
    name = dict(device.device.metadata).get("Description", "") or device.device.vendor
    return f"{_kind(device).upper()} ({name})"


def _version(module: str) -> str:
    """The version of the package that a module is of."""
    if installed(module):
        return metadata.version(module)
    names = metadata.packages_distributions().get(module, [])
    return metadata.version(names[0]) if names else "unknown"
