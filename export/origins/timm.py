"""timm: `config.json` with an architecture and its `pretrained_cfg`, as its models are published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from sise_rt.errors import ModelError

from .description import Description
from .published import Published

CONFIG = "config.json"
DEFAULTS = {"crop_pct": 0.875, "interpolation": "bicubic", "crop_mode": "center"}  # timm.data.config's
SETTINGS = ("mean", "std", "crop_pct", "interpolation", "crop_mode", "input_size")
ARCHITECTURE = re.compile(r"[a-z]\w{0,99}(\.\w{1,99})?", re.ASCII)
# Options of `timm.create_model` that a folder may set; others could load or fetch files.
SIZES = frozenset({"img_size", "in_chans", "num_classes"})
WORD = re.compile(r"[a-z]{1,20}")
LARGEST = 100_000


class Build(NamedTuple):
    """A model that timm builds: its name, and options of `timm.create_model`."""

    architecture: str
    options: Mapping[str, int | str]


def describe(published: Published) -> Description | None:
    """What a `config.json` with `architecture` says; None where there is none."""
    config = published.object(CONFIG)
    if config is None or "architecture" not in config:
        return None
    pretrained = _pretrained(config, published)
    description = of_config(pretrained, CONFIG, published.size)
    _say_labels(description, pretrained | config)
    return description


def of_config(
    config: Mapping[str, Any],
    file: str,
    size: tuple[int | None, int | None, int | None] = (None, None, None),
    *,
    of_other_weights: bool = False,
) -> Description:
    """What a `pretrained_cfg` says, for pictures that timm's own transforms prepare.

    Args:
        config: the `pretrained_cfg`.
        file: where it stands.
        size: (channels, height, width) of the input as far as it is known: at `test_input_size` pictures are
            cropped by `test_crop_pct`.
        of_other_weights: whether the weights are others than those that it is about.
    """
    description = Description(of_other_weights=of_other_weights)
    keys = {setting: setting for setting in SETTINGS}
    test = config.get("test_input_size")
    if isinstance(test, list | tuple) and tuple(test[1:]) == size[1:] and test != config.get("input_size"):
        keys["input_size"] = "test_input_size"
        if config.get("test_crop_pct"):
            keys["crop_pct"] = "test_crop_pct"
    for setting, key in keys.items():
        if (value := config.get(key)) is not None:
            description.say(setting, value, file, key)
        elif setting in DEFAULTS:
            description.say(setting, DEFAULTS[setting], "timm's defaults")
    description.say("licence", config.get("license"), file, "license")
    channels = (description.value("input_size") or (3,))[0]
    description.say("scale", 255.0, "timm's transforms")
    description.say("color", "GRAY" if channels == 1 else "RGB", "timm's transforms")
    return description


def model_for(published: Published) -> Build:
    """The model whose weights a folder holds, for timm to build.

    Raises:
        ModelError: the folder is none of timm, or asks for more than an architecture.
    """
    config, here = published.object(CONFIG) or {}, f"{published.folder}: "
    name, args = config.get("architecture"), config.get("model_args") or {}
    if name is None:
        raise ModelError(f"{here}weights{_owner(config)} and no graph: export the model to ONNX first")
    if not isinstance(name, str) or not ARCHITECTURE.fullmatch(name):
        raise ModelError(f"{here}architecture of {CONFIG} is {str(name)[:60]!r}, no name of timm's")
    if not isinstance(args, dict):
        raise ModelError(f"{here}model_args of {CONFIG} is no JSON object")
    for key, value in args.items():
        if not _is_harmless(key, value):
            raise ModelError(
                f"{here}model_args of {CONFIG} has {key[:60]} {str(value)[:60]!r}, which cannot be followed: "
                "export the model to ONNX first"
            )
    size = of_config(_pretrained(config, published), CONFIG).value("input_size")
    options = {"in_chans": size[0]} if size and size[0] not in (None, 3) else {}
    return Build(name, options | args)


def _pretrained(config: dict[str, Any], published: Published) -> dict[str, Any]:
    """The `pretrained_cfg`, which older versions wrote without a level of its own."""
    pretrained = config.get("pretrained_cfg", config)
    if not isinstance(pretrained, dict):
        raise ModelError(f"{published.folder}: pretrained_cfg of {CONFIG} is no JSON object")
    return pretrained


def _is_harmless(key: str, value: Any) -> bool:
    """Whether an option of a model that comes with a folder only changes the model's form."""
    if key == "global_pool":
        return isinstance(value, str) and bool(WORD.fullmatch(value))
    return key in SIZES and type(value) is int and 0 < value <= LARGEST


def _say_labels(description: Description, config: Mapping[str, Any]) -> None:
    """The labels: what describes the names, if every one is described, else the names."""
    names, texts = config.get("label_names"), config.get("label_descriptions")
    key = "label_names"
    if isinstance(names, list) and isinstance(texts, dict) and all(str(name) in texts for name in names):
        names, key = [texts[str(name)] for name in names], "label_descriptions"
    description.say("labels", names, CONFIG, key)


def _owner(config: Mapping[str, Any]) -> str:
    architectures = config.get("architectures")
    if isinstance(architectures, list) and architectures and isinstance(architectures[0], str):
        return f" of {architectures[0][:60]} ({CONFIG})"
    return ""
