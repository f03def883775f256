"""PyTorch models as sources: building, loading weights safely, exporting to ONNX, autograd as a reference."""

from __future__ import annotations

import ast
import copy
import hashlib
import importlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sise_rt.errors import ModelError

from .messages import first_line

try:
    import torch
except ImportError as error:
    raise ModelError("exporting a torch model needs torch: pip install 'sise-rt[torch]'") from error


# ---------------------------------------------------------------------------------------------- building


def torchvision_model(name: str, weights: str) -> tuple[torch.nn.Module, dict[str, Any]]:
    """A torchvision classifier and what its published weights say of preprocessing and labels.

    Args:
        name: as in `torchvision.models.list_models()`.
        weights: `DEFAULT` (downloaded by torchvision), `none`, or a weight file.
    """
    models = _import_torchvision().models
    if name not in models.list_models(module=models):
        raise ModelError(f"torchvision has no classifier {name!r}; see torchvision.models.list_models()")
    published = models.get_model_weights(name).DEFAULT
    if weights == "DEFAULT":
        return _downloaded(lambda: models.get_model(name, weights=published)), _torchvision_metadata(
            published
        )
    return _with_weights(lambda **options: models.get_model(name, weights=None, **options), weights), {
        **_torchvision_metadata(published),
        "of_other_weights": True,
    }


def timm_model(name: str, weights: str) -> tuple[torch.nn.Module, dict[str, Any]]:
    """A timm classifier and its `pretrained_cfg`; arguments as for `torchvision_model`."""
    _import_torchvision()
    try:
        import timm
    except ImportError as error:
        raise ModelError("timm models need timm: pip install timm") from error
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name}*")[:5])
        raise ModelError(f"timm has no model {name!r}" + (f"; close: {near}" if near else ""))
    if weights == "DEFAULT":
        model = _downloaded(lambda: timm.create_model(name, pretrained=True))
    else:
        model = _with_weights(lambda **options: timm.create_model(name, **options), weights)
    return model, {**_timm_metadata(model), **({} if weights == "DEFAULT" else {"of_other_weights": True})}


def factory_model(spec: str, weights: str) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The module that `package.module:factory` returns; `DEFAULT` leaves its own weights in place."""
    package, _, attribute = spec.partition(":")
    try:
        factory = getattr(importlib.import_module(package), attribute)
    except ModuleNotFoundError as error:
        raise ModelError(f"cannot import {package!r} of {spec!r}: {error}") from error
    except AttributeError as error:
        raise ModelError(f"module {package!r} has no {attribute!r}") from error
    try:
        model = factory()
    except Exception as error:
        raise ModelError(f"{spec} raised {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(model, torch.nn.Module):
        raise ModelError(f"{spec} returned {type(model).__name__}, where a torch.nn.Module is needed")
    if weights not in ("DEFAULT", "none"):
        load_weights(model, read_weights(Path(weights)), weights)
    return model, {}


def _import_torchvision() -> Any:
    try:
        import torchvision
    except ImportError as error:
        raise ModelError("torchvision and timm models need torchvision: pip install torchvision") from error
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        # torchvision built for CUDA beside a CPU torch lacks the schemas of two detection operators and fails
        # to import. Classifiers use neither, so the schemas alone suffice.
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        torchvision_schemas.append(library)  # schemas live as long as their library
        import torchvision
    return torchvision


torchvision_schemas: list[Any] = []


def _downloaded(build: Any) -> torch.nn.Module:
    try:
        return build()
    except Exception as error:
        raise ModelError(
            f"the published weights could not be fetched ({error}); give a file with --weights"
        ) from error


def _with_weights(build: Any, weights: str) -> torch.nn.Module:
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


# ---------------------------------------------------------------------------------------------- weights


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """A state dict from `.safetensors`, `.npz` or `.pth`/`.pt`, none of which can run code.

    Raises:
        ModelError: the file is missing, damaged, of another kind, or holds more than tensors.
    """
    if not path.is_file():
        raise ModelError(f"no weight file {path}; --weights takes a file, DEFAULT or none")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        elif path.suffix in (".pth", ".pt", ".bin"):
            state = torch.load(path, map_location="cpu", weights_only=True)
        else:
            raise ModelError(f"{path}: unknown kind of weight file; known are .safetensors, .npz and .pth")
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{path} cannot be read as weights: {first_line(error)}") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ModelError(f"{path} holds no state dict of tensors; save model.state_dict()")
    return {re.sub(r"^module\.", "", name): value for name, value in state.items()}


def load_weights(model: torch.nn.Module, state: Mapping[str, torch.Tensor], origin: str) -> None:
    """Load a state dict strictly (only BatchNorm's step counters may be missing), in the model's types."""
    own = model.state_dict()
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    unknown = [k for k in state if k not in own]
    shapes = [
        f"{k} {tuple(state[k].shape)} for {tuple(own[k].shape)}"
        for k in own
        if k in state and own[k].shape != state[k].shape
    ]
    problems = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (("missing", missing), ("unknown", unknown), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise ModelError(f"the weights in {origin} do not fit the model: {'; '.join(problems)}")
    if bad := [k for k, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()]:
        raise ModelError(f"the weights in {origin} are not finite: {', '.join(bad[:3])}")
    model.load_state_dict({k: state[k].to(own[k].dtype) for k in own if k in state}, strict=False)


def fingerprint(model: torch.nn.Module) -> str:
    """The sha256 over names, shapes and bytes of the state dict."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


# ---------------------------------------------------------------------------------------------- metadata


def _torchvision_metadata(weights: Any) -> dict[str, Any]:
    """Timm's key names for what a torchvision weight entry says."""
    transform = weights.transforms()
    crop, resize = transform.crop_size[0], transform.resize_size[0]
    return {
        "input_size": (len(transform.mean), crop, crop),
        "crop_pct": crop / resize,
        "interpolation": transform.interpolation.value,
        "mean": tuple(transform.mean),
        "std": tuple(transform.std),
        "labels": list(weights.meta["categories"]),
        "described_by": f"torchvision {weights}",
    }


def _timm_metadata(model: torch.nn.Module) -> dict[str, Any]:
    config = dict(getattr(model, "pretrained_cfg", None) or {})
    found = {
        key: config[key]
        for key in ("input_size", "crop_pct", "interpolation", "mean", "std", "crop_mode")
        if config.get(key)
    }
    return {
        **found,
        "licence": config.get("license"),
        "described_by": f"timm {config.get('architecture', '')}".strip(),
    }


def input_channels(model: torch.nn.Module) -> int:
    """The channels that the first convolution takes."""
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            return module.in_channels
    raise ModelError("the model has no torch.nn.Conv2d: is it a CNN?")


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


def to_onnx(model: torch.nn.Module, example: torch.Tensor, scratch: Path) -> tuple[Path, dict[str, str], Any]:
    """Export a module with a free batch.

    Args:
        model: is put into evaluation mode meanwhile.
        example: (N, C, H, W) float images.
        scratch: the ONNX file is written there.

    Returns:
        The file, the output tensor of each torch module by module name, and torch's exported program (None
        where the older exporter was needed).
    """
    # The exporter treats an extent of 1 as fixed, so the example batch has 2.
    example = example.detach()[:1].repeat(2, 1, 1, 1)
    path = scratch / "source.onnx"
    with _evaluating(model), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter are not the user's
        try:
            exported: Any = torch.onnx.export(
                model, (example,), dynamo=True, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), verbose=False
            )
        except Exception as dynamo_error:
            return _to_onnx_traced(model, example[:1], path, dynamo_error), {}, None
        exported.save(str(path), external_data=False)
    return path, _module_outputs(exported.model_proto), exported.exported_program


def _to_onnx_traced(model: torch.nn.Module, example: torch.Tensor, path: Path, first: Exception) -> Path:
    """The tracing exporter with a fixed batch of 1, freed later like any other fixed batch."""
    try:
        torch.onnx.export(model, (example,), str(path), dynamo=False, opset_version=18)
    except Exception as error:
        raise ModelError(
            f"torch cannot export the model to ONNX: {first_line(first)}; "
            f"the tracing exporter: {first_line(error)}"
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


# ---------------------------------------------------------------------------------------------- autograd


class _Recorder(torch.fx.Interpreter):
    def __init__(self, module: Any, names: Sequence[str]):
        super().__init__(module)
        self.names = set(names)
        self.recorded: dict[str, torch.Tensor] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
        result = super().run_node(n)
        if n.name in self.names and isinstance(result, torch.Tensor):
            self.recorded[n.name] = result
        return result


def autograd_reference(
    program: Any,
    images: np.ndarray,
    target: int,
    activation: str,
    removed: str | None,
    tensors: Sequence[str],
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Output, feature maps and gradient scores by torch autograd on the exported program, in float64.

    Args:
        program: torch's exported program.
        images: (N, C, H, W).
        target: whose log-odds are differentiated.
        activation: `softmax` or `sigmoid`.
        removed: the ONNX operator that the program's output went through, None for logits.
        tensors: names of the feature maps.

    Returns:
        The program's output (N, classes), the maps (N, K, h, w) and the scores (N, K). Tensors that the
        program does not have (the optimiser renamed them) are left out of both dicts.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch copies its own deprecated structures
        # A copy, as the program shares its parameters with the caller's module.
        recorder = _Recorder(copy.deepcopy(program.module()).double(), tensors)
    output = recorder.run(torch.from_numpy(images).double().requires_grad_(True))
    output = output[0] if isinstance(output, (tuple, list)) else output
    maps, alphas = recorder.recorded, {}
    if maps:
        undo = {"Softmax": torch.log, "Sigmoid": torch.logit}
        logits = undo[removed](output) if removed in undo else output
        odds = log_odds(logits.flatten(1), target, activation).sum()
        gradients = torch.autograd.grad(odds, list(maps.values()))
        alphas = {name: g.mean(dim=(2, 3)).numpy() for name, g in zip(maps, gradients, strict=True)}
    return output.detach().numpy(), {name: value.detach().numpy() for name, value in maps.items()}, alphas


def log_odds(logits: torch.Tensor, target: int, activation: str) -> torch.Tensor:
    """The target's log-odds, (N,); a single logit has the two sides -z and z."""
    if logits.shape[1] == 1:
        logits = torch.cat([-logits, logits], dim=1)
    chosen = logits[:, target]
    if activation == "sigmoid":
        return chosen
    others = torch.cat([logits[:, :target], logits[:, target + 1 :]], dim=1)
    return chosen - others.logsumexp(dim=1)
