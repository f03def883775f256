"""Rows of pictures become rows of results: what an actor of Ray Data does with a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sise_rt.bulk.items import CatchUp, Outcome, overlapped
from sise_rt.bulk.lines import lines_of
from sise_rt.errors import NoEvidence, SiseError
from sise_rt.explainer import load
from sise_rt.explanation import Explanation
from sise_rt.methods import Request
from sise_rt.pictures.picture import Picture
from sise_rt.pictures.reading import MAX_PIXELS
from sise_rt.running.provider import FP32

from .cluster import import_ray
from .given import Given, rows_given
from .results import as_table, results, small_map
from .shipping import Shipped

if TYPE_CHECKING:
    import numpy as np
    import pyarrow


class Found(NamedTuple):
    """What is kept of a row: one for each explanation, or one where it has none.

    Attributes:
        row: its place in the batch.
        line: as of results.jsonl.
        map: (h, w) float16 in [0, 1]; None where there is none, or none is kept.
        overlay: PNG; likewise.
    """

    row: int
    line: dict[str, Any]
    map: np.ndarray | None
    overlay: bytes | None


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

    A row becomes one row for each target and method, whatever became of it: `docs/ray.md` lists the columns.

    Args:
        bundle: a folder that every node reaches, or what `ship` gave.
        methods: names, with options as in `sise:budget=0.1`, or requests.
        targets: of rows that name none; None explains the `top_k` best classes.
        top_k: as for `Explainer.explain_targets`.
        maps: whether maps are kept.
        map_size: pixels of a map's longer side; None keeps the model's.
        overlay: whether the map over the picture is kept as well.
        threads: of the CPU; None takes what Ray gives the actor, its `num_cpus`.
        provider: as for `sise_rt.load`, as are the next three.
        memory: likewise.
        tf32: likewise.
        precision: likewise.
        masks_a_pass: masked copies per forward pass; None finds the fastest.
        bit_depth: as for `Explainer.prepare`, as is the next one.
        max_pixels: likewise.

    Raises:
        BundleError: the bundle cannot be loaded: the job fails, as every other actor would.
        ProviderError: likewise.
        MethodError: likewise.
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
        overlay: bool = False,
        threads: int | None = None,
        provider: str = "auto",
        memory: int | None = None,
        tf32: bool = False,
        precision: str = FP32,
        masks_a_pass: int | None = None,
        bit_depth: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ):
        import cv2

        threads = threads or assigned_threads()
        cv2.setNumThreads(threads)  # it would take all cores of the node
        folder = bundle.folder() if isinstance(bundle, Shipped) else bundle
        self._explainer = load(folder, provider, threads, memory, tf32, precision=precision)
        self._answers = partial(
            self._explainer.explain_methods,
            methods=self._explainer.require(methods),
            top_k=top_k,
            batch_size=masks_a_pass,
        )
        self._prepare = partial(self._explainer.prepare, bit_depth=bit_depth, max_pixels=max_pixels)
        self._targets = targets
        self._maps, self._map_size, self._overlay = maps, map_size, overlay

    def __call__(self, batch: Any) -> pyarrow.Table:
        """Explain the rows of a batch, a table of Arrow or a dict of arrays; gives those of the results."""
        table = as_table(batch)
        return results(table, self.found(rows_given(table)))

    def found(self, given: Iterable[Given]) -> list[Found]:
        """What is found of rows, in their order."""
        found: list[Found] = []

        def tell(one: Given, result: list[Found] | SiseError) -> None:
            if isinstance(result, SiseError):
                (line,) = lines_of(Outcome(one.item, error=result))
                result = [Found(one.row, line, None, None)]
            found.extend(result)

        overlapped(given, self._read, self._explain, tell)
        return found

    def _read(self, given: Given) -> Picture:
        return self._prepare(given.fetch(), name=given.item.id)

    def _explain(
        self, given: Given, prepared: Callable[[], Picture], catch_up: CatchUp
    ) -> Callable[[], list[Found]]:
        picture, targets = prepared(), given.item.targets or self._targets
        explained = self._answers(picture, targets, progress=lambda _, __: catch_up())
        return partial(self._kept, given, Outcome(given.item, explained))

    def _kept(self, given: Given, outcome: Outcome) -> list[Found]:
        """What is kept of an outcome: drawn and shrunk in the thread beside."""
        parts = [part for _, part in outcome.parts]
        return [
            Found(given.row, line, self._map(part), self._drawn(part))
            for line, part in zip(lines_of(outcome), parts, strict=True)
        ]

    def _map(self, part: Explanation | NoEvidence) -> np.ndarray | None:
        return small_map(part.map, self._map_size) if self._maps and isinstance(part, Explanation) else None

    def _drawn(self, part: Explanation | NoEvidence) -> bytes | None:
        return part.plain_png() if self._overlay and isinstance(part, Explanation) else None


def assigned_threads() -> int:
    """The cores that Ray gives the actor: a whole number of them, at least one."""
    resources = import_ray().get_runtime_context().get_assigned_resources()
    return max(1, int(resources.get("CPU", 1)))
