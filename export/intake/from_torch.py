"""PyTorch models as sources: building them, what they say of preprocessing, and exporting them to ONNX."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import onnx

from sise_rt.errors import ArgumentError, ModelError
from sise_rt.wording import installing

from ..ir.messages import gist
from ..origins import timm as timm_description
from ..origins.description import Description
from .interface import SIGNALS, VOLUMES

try:
    import torch
except ImportError as error:
    raise ModelError(f"exporting a torch model needs torch: {installing('torch')}") from error

from .torch_modules import deployed
from .torch_weights import load_weights, read_weights

TRACED = (
    "torch's exporter failed and its older one traced the model with one picture: branches that depend on "
    "values are frozen, and parity is against the traced file, not torch autograd"
)
FACTORY = "a function without arguments that returns a torch.nn.Module"

# ---------------------------------------------------------------------------------------------- building


def torchvision_model(name: str, weights: str) -> tuple[torch.nn.Module, Description]:
    """A torchvision classifier and what its published weights say of preprocessing and labels.

    Args:
        name: as in `torchvision.models.list_models()`.
        weights: `DEFAULT` (downloaded by torchvision), `none`, or a weight file.

    Raises:
        ModelError: there is no such model, or the weights cannot be had or do not fit.
    """
    models = import_torchvision().models
    if name not in models.list_models(module=models):
        raise ModelError(f"torchvision has no classifier {name!r}; see torchvision.models.list_models()")
    published = models.get_model_weights(name).DEFAULT
    if weights == "DEFAULT":
        model = _downloaded(lambda: models.get_model(name, weights=published))
        return model, _torchvision_description(published, False)
    model = _with_weights(lambda **options: models.get_model(name, weights=None, **options), weights)
    return model, _torchvision_description(published, True)


def timm_model(name: str, weights: str, **options: Any) -> tuple[torch.nn.Module, Description]:
    """A timm classifier and what its `pretrained_cfg` says; arguments as for `torchvision_model`.

    `options` are those of `timm.create_model`.
    """
    if importlib.util.find_spec("timm") is None:
        raise ModelError("timm models need timm: pip install timm")
    import_torchvision()  # timm imports it
    import timm

    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name}*")[:5])
        raise ModelError(f"timm has no model {name!r}" + (f"; close: {near}" if near else ""))
    if weights == "DEFAULT":
        model = _downloaded(lambda: timm.create_model(name, pretrained=True, **options))
    else:
        model = _with_weights(lambda **others: timm.create_model(name, **options | others), weights)
    config = dict(getattr(model, "pretrained_cfg", None) or {})
    return model, timm_description.of_config(
        config,
        f"timm {config.get('architecture', '')}".strip(),
        of_other_weights=weights != "DEFAULT",
    )


def factory_model(spec: str, weights: str | None) -> torch.nn.Module:
    """The module that `package.module:factory` returns; None leaves its own weights in place.

    Raises:
        ArgumentError: `weights` is `none`.
        ModelError: the package cannot be imported, or the factory does not give a module.
    """
    if weights == "none":
        raise ArgumentError(
            f"{spec} sets its weights itself, so random ones cannot be had: leave the weights out, or give a "
            "file",
            settings=("weights",),
        )
    package, _, attribute = spec.partition(":")
    if "" not in sys.path:
        # The current folder, as with `python -m`; last, so that no file in it takes an installed package's
        # place, and for good, as a factory may import more when it is called.
        sys.path.append("")
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ModelError(f"cannot import {package!r} of {spec!r}: {error}") from error
    except (Exception, SystemExit) as error:  # the module's own code runs, a script may even exit
        raise ModelError(
            f"cannot import {package!r} of {spec!r}: {type(error).__name__}: {gist(error)}"
        ) from error
    if not hasattr(module, attribute):
        raise ModelError(f"module {package!r} has no {attribute!r}")
    factory = getattr(module, attribute)
    if isinstance(factory, torch.nn.Module) or not callable(factory):
        raise ModelError(f"{spec} is of type {type(factory).__name__}, where {FACTORY} is needed")
    try:
        model = factory()
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"{spec} raised {type(error).__name__}: {gist(error)}; {FACTORY} is needed"
        ) from error
    if not isinstance(model, torch.nn.Module):
        raise ModelError(f"{spec} returned {type(model).__name__}, where {FACTORY} is needed")
    if weights not in (None, "DEFAULT"):
        load_weights(model, read_weights(Path(str(weights))), str(weights))
    return model


def import_torchvision() -> Any:
    """Import torchvision, also one that was built for another torch."""
    try:
        import torchvision
    except ImportError as error:
        raise ModelError("torchvision models need torchvision: pip install torchvision") from error
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):  # torch has one kind of error for everything
            raise
        # torchvision built for CUDA beside a CPU torch lacks the schemas of two detection operators and fails
        # to import. Classifiers use neither, so the schemas alone suffice.
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        torchvision_schemas.append(library)
        import torchvision
    return torchvision


torchvision_schemas: list[Any] = []  # kept, as schemas live as long as their library


def _downloaded(build: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    try:
        return build()
    except Exception as error:
        raise ModelError(
            f"the published weights could not be fetched ({error}); give a weight file",
            settings=("weights",),
        ) from error


def _with_weights(build: Callable[..., torch.nn.Module], weights: str) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision announces slow initialisation of some families
        model = build()
        if weights == "none":
            return model
        state = read_weights(Path(weights))
        if (classes := _other_class_count(model, state)) is not None:
            model = build(num_classes=classes)
    load_weights(model, state, weights)
    return model


def _other_class_count(model: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> int | None:
    """The class count of a fine-tuned checkpoint, in which only the last layer's first extent may differ."""
    own = model.state_dict()
    differing = [k for k in own if k in state and own[k].shape != state[k].shape]
    counts = {(own[k].shape[:1], state[k].shape[:1]) for k in differing}
    if not differing or len(counts) != 1 or any(own[k].shape[1:] != state[k].shape[1:] for k in differing):
        return None
    return int(state[differing[0]].shape[0])


# ---------------------------------------------------------------------------------------------- metadata


def _torchvision_description(weights: Any, of_other_weights: bool) -> Description:
    """What a torchvision weight entry says."""
    transform = weights.transforms()
    crop, resize = transform.crop_size[0], transform.resize_size[0]
    return Description.of(
        f"torchvision {weights}",
        of_other_weights=of_other_weights,
        input_size=(len(transform.mean), crop, crop),
        crop_pct=crop / resize,
        interpolation=transform.interpolation.value,
        mean=tuple(transform.mean),
        std=tuple(transform.std),
        labels=list(weights.meta["categories"]),
    )


def input_channels(model: torch.nn.Module) -> int:
    """The channels that the first convolution takes.

    Raises:
        ModelError: there is none of pictures.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            return module.in_channels
        if isinstance(module, torch.jit.ScriptModule) and module.original_name == "Conv2d":
            return int(module.weight.shape[1])  # type: ignore[union-attr, index]
    for kind, advice in ((torch.nn.Conv1d, SIGNALS), (torch.nn.Conv3d, VOLUMES)):
        if any(isinstance(module, kind) for module in model.modules()):
            raise ModelError(f"the model's convolutions are of the kind {kind.__name__}: {advice}")
    raise ModelError("the model has no torch.nn.Conv2d: is it a CNN? If it is, give an example input")


# ---------------------------------------------------------------------------------------------- to ONNX


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _quiet_torch() -> Iterator[None]:
    """Keep the exporters' warnings, log lines and printed graphs from the user; what matters is raised."""
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


class Exported(NamedTuple):
    """A torch module as ONNX.

    Attributes:
        path: the file.
        modules: the output tensor of each torch module by module name, empty where it was fused away.
        program: torch's exported program; None where there is none, or no gradient in it.
        notes: what was decided, a line each.
        warnings: what changes the meaning of the bundle.
        chosen: whether the wanted output was one of the module's own results.
    """

    path: Path
    modules: dict[str, str]
    program: Any
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    chosen: bool


def to_onnx(
    model: torch.nn.Module, example: torch.Tensor, scratch: Path, output: str | None = None
) -> Exported:
    """Export a module with a free batch.

    Args:
        model: is put into evaluation mode meanwhile.
        example: (N, C, H, W) float images.
        scratch: the ONNX file is written there.
        output: which of its results, where it gives several.

    Raises:
        ModelError: the module does not run on such images, gives no tensor or several, or cannot be exported.
    """
    # The exporter treats an extent of 1 as fixed, so the example batch has 2.
    example = example.detach()[:1].repeat(2, 1, 1, 1).float().cpu()
    path = scratch / "source.onnx"
    with _evaluating(model), torch.no_grad(), _quiet_torch():
        ready = deployed(model, example, output)
        notes = ready.notes
        try:
            written: Any = torch.onnx.export(
                ready.module,
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                verbose=False,
            )
        except Exception as dynamo_error:
            path = _to_onnx_traced(ready.module, example[:1], path, dynamo_error)
            ready.require_same_again(example)
            return Exported(path, {}, None, notes, (TRACED,), ready.chosen)
        ready.require_same_again(example)
        written.save(str(path), external_data=True)
    for value in written.model.graph.initializers.values():
        value.const_value = None  # torch's rewriting rules outlive the export, and hold on to its graph
    modules = {name: "" for name, _ in model.named_modules() if name}
    outputs = _module_outputs(onnx.load(path, load_external_data=False))
    modules |= {name.removeprefix(ready.prefix): tensor for name, tensor in outputs.items()}
    if not ready.differentiable:
        notes = (
            *notes,
            "the module detaches its output from the picture: it is compared without torch autograd",
        )
    program = written.exported_program if ready.differentiable else None
    return Exported(path, modules, program, notes, (), ready.chosen)


def _to_onnx_traced(model: torch.nn.Module, example: torch.Tensor, path: Path, first: Exception) -> Path:
    """The tracing exporter with a fixed batch of 1, freed later like any other fixed batch."""
    try:
        torch.onnx.export(model, (example,), str(path), dynamo=False, opset_version=18)
    except Exception as error:
        raise ModelError(
            f"torch cannot export the model to ONNX: {gist(first)}; the tracing exporter: {gist(error)}"
        ) from error
    return path


def _module_outputs(model: Any) -> dict[str, str]:
    """Module name -> the last tensor computed inside the module."""
    outputs: dict[str, str] = {}
    for node in model.graph.node:
        scopes = next((p.value for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"), "[]")
        for scope in ast.literal_eval(scopes)[:-1]:  # the last is the node's own name, the whole model is ""
            if scope:
                outputs[scope] = node.output[0]
    return outputs
