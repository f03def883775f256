"""Rows of pictures become rows of results: what an actor of Ray Data does with a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sise_rt.bulk.explaining import Asked, Check, explain_items
from sise_rt.bulk.items import Item, Outcome
from sise_rt.bulk.lines import lines_of
from sise_rt.bulk.pending_maps import half
from sise_rt.errors import NoEvidence
from sise_rt.explainer import load
from sise_rt.explanation import Explanation
from sise_rt.methods import Request
from sise_rt.pictures.reading import MAX_PIXELS
from sise_rt.running.provider import FP32
from sise_rt.saving import Draw, smaller_map
from sise_rt.targets import resolve_target

from .cluster import import_ray
from .given import items_of
from .results import as_table, results
from .shipping import Shipped

if TYPE_CHECKING:
    import numpy as np
    import pyarrow


Kept = TypeVar("Kept")


class Found(NamedTuple):
    """What is kept of an explanation, or of an item that has none.

    Attributes:
        line: as of results.jsonl.
        map: (h, w) float16 in [0, 1]; None where there is none, or none is kept.
        overlay: PNG; likewise.
    """

    line: dict[str, Any]
    map: np.ndarray | None = None
    overlay: bytes | None = None


class Explain:
    """Explains rows: the class for `Dataset.map_batches`.

    ```python
    ray.data.read_binary_files("photos/", include_paths=True).map_batches(
        sise_rt.bulk.ray.Explain,
        fn_constructor_kwargs={"bundle": "/shared/resnet50.sise"},
        compute=ray.data.ActorPoolStrategy(size=4),
        num_cpus=2,
        batch_size=16,
        batch_format="pyarrow",
    )
    ```

    A row has the picture as `bytes`, encoded as in a file, or as `path`, a file that every node reaches or a
    URI that pyarrow knows, as `s3://bucket/cam1/0001.png`. It may have `id` (else the path is, else the
    picture's sha256), `target` (index or label; several with `;` between), and `truth`. Every other column is
    kept.

    A row becomes one row for each target and method, whatever became of it: `docs/scale.md` has the columns.

    Args:
        bundle: a folder that every node reaches, or what `ship` gave.
        methods: names, with options as in `sise:budget=0.1`, or requests.
        targets: of rows that name none, indices or labels; None explains the `top_k` best classes.
        top_k: as for `Explainer.explain_targets`.
        maps: whether maps are kept.
        map_size: pixels of a map's short side; None keeps the model's.
        draw: makes a PNG of an explanation that is kept too, as `Explanation.plain_png`; None keeps none.
        threads: of the CPU; None takes what Ray gives the actor, its `num_cpus`.
        provider: as for `sise_rt.load`, as are the next three.
        memory: likewise.
        tf32: likewise.
        precision: likewise.
        masks_a_pass: masked copies per forward pass; None finds the fastest.
        bit_depth: as for `Explainer.prepare`, as is the next one.
        max_pixels: likewise.
        only_wrong: as for `sise_rt.bulk.explaining.Asked`, as are the next two.
        below: likewise.
        check: likewise.

    Raises:
        BundleError: the bundle cannot be loaded: the job fails, as every other actor would.
        ProviderError: likewise.
        MethodError: likewise.
        TargetError: likewise, of `targets`.
    """

    def __init__(
        self,
        bundle: str | Path | Shipped,
        *,
        methods: Sequence[str | Request] = ("sise",),
        targets: Sequence[int | str] | None = None,
        top_k: int = 1,
        maps: bool = True,
        map_size: int | None = None,
        draw: Draw | None = None,
        threads: int | None = None,
        provider: str = "auto",
        memory: int | None = None,
        tf32: bool = False,
        precision: str = FP32,
        masks_a_pass: int | None = None,
        bit_depth: int | None = None,
        max_pixels: int = MAX_PIXELS,
        only_wrong: bool = False,
        below: float | None = None,
        check: Check | None = None,
    ):
        import cv2

        threads = threads or assigned_threads()
        cv2.setNumThreads(threads)  # it would take all cores of the node
        folder = bundle.folder() if isinstance(bundle, Shipped) else bundle
        self._explainer = load(folder, provider, threads, memory, tf32, precision=precision)
        manifest = self._explainer.manifest
        self._asked = Asked(
            requests=self._explainer.require(methods),
            targets=None if targets is None else [resolve_target(target, manifest) for target in targets],
            top_k=top_k,
            batch_size=masks_a_pass,
            bit_depth=bit_depth,
            max_pixels=max_pixels,
            only_wrong=only_wrong,
            below=below,
            check=check,
        )
        self._maps, self._map_size, self._draw = maps, map_size, draw

    def __call__(self, batch: Any) -> pyarrow.Table:
        """Explain the rows of a batch, a table of Arrow or a dict of arrays; gives those of the results."""
        table = as_table(batch)
        return results(self.each(items_of(table), self.kept), table)

    def each(self, items: Iterable[Item], keep: Callable[[Outcome], Kept]) -> list[Kept]:
        """What is kept of each item, in their order."""
        kept: list[Kept] = []
        explain_items(self._explainer, items, self._asked, keep, lambda _, result: kept.append(result))
        return kept

    def kept(self, outcome: Outcome) -> list[Found]:
        """What is kept of an outcome: drawn and shrunk, one for each of its lines."""
        lines = lines_of(outcome)
        parts: Sequence[Any] = [part for _, part in outcome.parts] or [None] * len(lines)
        return [
            Found(line, self._map(part), self._drawn(part)) for line, part in zip(lines, parts, strict=True)
        ]

    def _map(self, part: Explanation | NoEvidence | None) -> np.ndarray | None:
        if not (self._maps and isinstance(part, Explanation)):
            return None
        return half(smaller_map(part.map, self._map_size))

    def _drawn(self, part: Explanation | NoEvidence | None) -> bytes | None:
        return self._draw(part, None) if self._draw and isinstance(part, Explanation) else None


def assigned_threads() -> int:
    """The cores that Ray gives the actor: a whole number of them, at least one."""
    resources = import_ray().get_runtime_context().get_assigned_resources()
    return max(1, int(resources.get("CPU", 1)))
