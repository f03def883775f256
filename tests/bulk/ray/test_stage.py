"""What an actor does with a batch, in this process: what the explainer does, whatever the rows are."""

import io

import numpy as np
import pytest
from PIL import Image

import sise_rt
from sise_rt.bulk.ray import Explain
from sise_rt.bulk.table_columns import COLUMNS
from sise_rt.errors import BundleError, MethodError, TargetError

pyarrow = pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def explain(small_bundle):
    return Explain(small_bundle, threads=1, provider="cpu", masks_a_pass=8)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(5)
    made = []
    for _ in range(3):
        data = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).save(data, "PNG")
        made.append(data.getvalue())
    return made


def test_rows_are_what_the_explainer_finds(explain, pictures, small_bundle):
    table = explain(pyarrow.table({"bytes": pictures, "id": list("xyz"), "target": ["b", None, "3"]}))
    explainer = sise_rt.load(small_bundle, "cpu", 1)
    assert table["id"].to_pylist() == list("xyz")
    for row, data, target in zip(table.to_pylist(), pictures, ("b", None, 3), strict=True):
        wanted = explainer.explain(data, target, batch_size=8)
        assert row["status"] == "done"
        assert (row["target"], row["label"]) == (wanted.target, wanted.label)
        assert row["confidence"] == pytest.approx(wanted.confidence, abs=1e-6)
        map_ = np.frombuffer(row["map"], "<f2").reshape(row["map_shape"])
        np.testing.assert_allclose(map_, wanted.map, atol=2**-11)


def test_as_many_rows_come_out_as_go_in(explain, pictures):
    given = {
        "bytes": [pictures[0], b"junk", None, b"", pictures[1]],
        "target": [None, None, None, None, "no class"],
        "cam": [1, 2, 3, 4, 5],
        "label": list("abcde"),
    }
    table = explain(pyarrow.table(given))
    assert table["status"].to_pylist() == ["done", *["failed"] * 4]
    assert table["cam"].to_pylist() == [1, 2, 3, 4, 5]
    assert table["column_label"].to_pylist() == list("abcde")  # `label` is the results' own
    assert table["error"].to_pylist()[1:] == ["ImageError", "ImageError", "ImageError", "TargetError"]
    assert "bytes" not in table.column_names


def test_columns_have_the_same_types_in_every_batch(explain, pictures):
    def schema(*data):
        table = pyarrow.table(
            {
                "bytes": pyarrow.array(data, pyarrow.binary()),
                "cam": pyarrow.array([1] * len(data), pyarrow.int8()),
            }
        )
        return explain(table).schema

    assert schema(pictures[0]) == schema(b"junk") == schema(None) == schema() == schema(pictures[0], b"junk")
    assert [*COLUMNS, "map", "map_shape", "overlay", "cam"] == schema().names


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")  # of what it sets itself
def test_a_dict_of_arrays_is_taken_as_well(explain, pictures):
    pytest.importorskip("ray")
    batch = {"bytes": np.array(pictures, object), "grid": np.zeros((3, 2, 2), np.float32)}
    table = explain(batch)
    assert table["status"].to_pylist() == ["done"] * 3
    assert "grid" in table.column_names


def test_maps_and_overlays_are_as_they_are_asked_for(small_bundle, pictures):
    explain = Explain(
        small_bundle, threads=1, provider="cpu", map_size=7, draw=sise_rt.Explanation.plain_png, top_k=2
    )
    rows = explain(pyarrow.table({"bytes": pictures[:1]})).to_pylist()
    assert [(row["part"], row["parts"], row["map_shape"]) for row in rows] == [(1, 2, [7, 7]), (2, 2, [7, 7])]
    assert Image.open(io.BytesIO(rows[0]["overlay"])).size == (48, 40)
    none = Explain(small_bundle, threads=1, provider="cpu", maps=False)
    (row,) = none(pyarrow.table({"bytes": pictures[:1]})).to_pylist()
    assert (row["status"], row["map"], row["overlay"]) == ("done", None, None)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"bundle": "/nowhere.sise"}, BundleError),
        ({"methods": ["nonsense"]}, MethodError),
        ({"targets": ["no class"]}, TargetError),
    ],
)
def test_what_every_batch_would_fail_of_fails_at_once(small_bundle, arguments, error):
    with pytest.raises(error):
        Explain(**{"bundle": small_bundle, "threads": 1, "provider": "cpu"} | arguments)
