"""The models of a server: found, named, loaded and warmed before it listens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from sise_rt.bundle import MANIFEST, parse_manifest
from sise_rt.errors import ArgumentError, BundleError, NoEvidence
from sise_rt.explainer import Explainer
from sise_rt.methods import METHODS, Method, request

from .refusals import Refused

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)  # of a model, as part of an address
MOST_LABELS = 100  # that are told with the model
MOST_FOUND = 50  # labels that a search gives
LEAST_BUDGET = 1e-6  # one mask


@dataclass(frozen=True)
class Model:
    """A bundle that is served.

    Attributes:
        name: in addresses.
        explainer: of it, warmed.
    """

    name: str
    explainer: Explainer

    def described(self) -> dict[str, Any]:
        """What a client has to know of it, ready for JSON."""
        manifest = self.explainer.manifest
        return {
            "name": self.name,
            "classes": manifest.classes,
            "labels": list(manifest.labels) if len(manifest.labels) <= MOST_LABELS else None,
            "activation": manifest.activation,
            "input": {
                "channels": manifest.input.channels,
                "height": manifest.input.height,
                "width": manifest.input.width,
            },
            "methods": [_described(method) for method in self.methods()],
        }

    def methods(self) -> list[Method]:
        """The methods that the bundle has all graphs for."""
        able = []
        for method in METHODS.values():
            with suppress(BundleError):
                request(method.name).check(self.explainer.manifest)
                if not method.graph or getattr(self.explainer.manifest.graphs, method.graph):
                    able.append(method)
        return able

    def labels(self, words: str) -> list[dict[str, Any]]:
        """The first classes whose label, or index, has some words in it: `index` and `label` of each."""
        manifest, wanted = self.explainer.manifest, words.strip().casefold()
        named = ((index, manifest.label(index)) for index in range(manifest.classes))
        found = [(i, label) for i, label in named if wanted in label.casefold() or wanted == str(i)]
        found.sort(key=lambda one: (not one[1].casefold().startswith(wanted), one[0]))
        return [{"index": index, "label": label} for index, label in found[:MOST_FOUND]]


def _described(method: Method) -> dict[str, Any]:
    options = [
        {
            "name": option.name,
            "default": list(option.default) if isinstance(option.default, tuple) else option.default,
            "help": option.help,
            "choices": list(option.choices) or None,
            "range": option.range.written(option.name) if option.kind is not str else None,
        }
        for option in method.options
    ]
    return {"name": method.name, "help": method.help, "running_map": method.blocks, "options": options}


def built_in() -> Path:
    """The bundle that ships."""
    return Path(str(resources.files("sise_rt") / "demo" / "surface.sise"))


def example_picture() -> Path:
    """The picture that goes with it."""
    return built_in().parent / "surface.png"


def find_bundles(given: Sequence[str]) -> dict[str, Path]:
    """The bundles that are meant, by name.

    Args:
        given: bundles, folders of bundles, or NAME=PATH; none for the one that ships.

    Raises:
        BundleError: a folder is no bundle and holds none.
        ArgumentError: two have one name, or a name cannot be part of an address.
    """
    bundles: dict[str, Path] = {}
    for name, path in _named(given) if given else [("", built_in())]:
        name = name or _name_of(path)
        if not NAME.fullmatch(name):
            raise ArgumentError(
                f"{path}: {name!r} cannot be part of an address: name it yourself, as in NAME={path}, by "
                "letters, digits, dots, dashes and underscores"
            )
        if name in bundles:
            raise ArgumentError(
                f"{bundles[name]} and {path} are both called {name}: name one yourself, as in NAME={path}"
            )
        bundles[name] = path
    return bundles


def _named(given: Iterable[str]) -> Iterable[tuple[str, Path]]:
    for text in given:
        name, equals, path = text.partition("=")
        if equals and not Path(text).exists():
            yield name, Path(path)
        elif (Path(text) / MANIFEST).exists() or not Path(text).is_dir():
            yield "", Path(text)
        else:
            within = sorted(manifest.parent for manifest in Path(text).glob(f"*/{MANIFEST}"))
            if not within:
                raise BundleError(f"{text} is no bundle, and no folder of bundles: it holds no {MANIFEST}")
            yield from (("", path) for path in within)


def _name_of(path: Path) -> str:
    """What a bundle calls itself; an unreadable one is refused later, when it is loaded."""
    file = path / MANIFEST
    with suppress(OSError, ValueError):
        return parse_manifest(file.read_text("utf-8"), str(file)).name
    return path.stem


def load_models(bundles: Mapping[str, Path], **options: Any) -> dict[str, Model]:
    """Load bundles, and run each once, so that the first client waits no longer than the others.

    Args:
        bundles: by name.
        options: of `Explainer`.

    Raises:
        BundleError: a bundle cannot be used.
        ProviderError: the provider cannot start.
        ModelError: a model cannot be run.
    """
    models = {}
    for name, path in bundles.items():
        models[name] = Model(name, Explainer(path, **options))
        _warm(models[name].explainer)
    return models


def _warm(explainer: Explainer) -> None:
    """Make an explanation of noise by one mask, and draw it."""
    channels, height, width = explainer.manifest.preprocess.input_size
    planes = 3 if channels in (1, 3) else channels
    noise = np.random.default_rng(0).integers(0, 256, (height, width, planes), np.uint8)
    picture = explainer.prepare(noise, name="noise")
    explainer.confidences(picture)
    with suppress(NoEvidence):
        explainer.explain(picture, budget=LEAST_BUDGET).png()


def model_named(models: Mapping[str, Model], name: str | None) -> Model:
    """The model that a request means; where there is only one it need not be named.

    Raises:
        Refused: there is no such one, or several.
    """
    known = ", ".join(models)
    if name is None and len(models) == 1:
        return next(iter(models.values()))
    if name is None:
        raise Refused(400, f"which model? There are {known}", "model")
    if name not in models:
        raise Refused(404, f"no model {name!r}; there are {known}", "model")
    return models[name]
