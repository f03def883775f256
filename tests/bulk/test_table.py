"""The table of a run: what pyarrow reads of it, whatever the lines hold, and what it does not replace."""

import json
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import sise_rt
from sise_rt.bulk import table
from sise_rt.bulk.items import Item, Outcome
from sise_rt.bulk.ledger import opened, read_results
from sise_rt.bulk.lines import lines_of
from sise_rt.bulk.table import prepare_table, write_table
from sise_rt.bulk.table_columns import COLUMNS
from sise_rt.errors import ArgumentError, ImageError, OutputError
from sise_rt.explanation import Prediction
from sise_rt.metrics.check import check

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def item(name, **columns):
    return Item(name, Path(name), name, columns=columns)


def failed(name, **columns):
    return lines_of(Outcome(item(name, **columns), error=ImageError("cannot be read")))


@pytest.fixture(scope="module")
def explained(small_bundle):
    picture = np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)
    explainer = sise_rt.load(small_bundle, "cpu")
    answers = explainer.explain_methods(picture, [1, 4], methods=["sise", "grad-cam"], batch_size=8)
    answers["sise"] = [check(explainer.engine, each) for each in answers["sise"]]
    return answers


def written(path, lines, **options):
    assert write_table(path, lambda: iter(lines), **options) == len(lines)
    return parquet.read_table(path)


def test_each_line_is_a_row_with_its_record(explained, tmp_path):
    said = Prediction(2, "c", 0.75)
    lines = [
        *lines_of(Outcome(item("a"), explained=explained), [["a.png", "a\udcff.json"]] * 4),
        *failed("b\udcff"),
        *lines_of(Outcome(item("c"), reason="the model is right", prediction=said)),
    ]
    rows = written(tmp_path / "t.parquet", lines).to_pylist()
    assert [row["id"] for row in rows] == ["a"] * 4 + ["b\\udcff", "c"]
    for row, line in zip(rows[:4], lines[:4], strict=True):
        record = json.loads(row["record"])
        assert record == {key: line[key] for key in record}
        assert record.keys() == line.keys() - {
            *("id", "status", "error", "reason", "asked", "part", "files", "columns", "truth", "predicted")
        }
        found = next(e for e in explained[row["asked"]] if e.target == row["target"])
        assert (row["label"], row["confidence"]) == (found.label, found.confidence)
        assert row["predicted"] == found.best[0].index
        assert row["files"] == ["a.png", "a\\udcff.json"]
        assert (row["part"], row["parts"]) == tuple(line["part"])
        assert row["seconds"] == pytest.approx(sum(found.seconds.values()), abs=1e-3)
        assert abs((row["time"] - found.provenance.time).total_seconds()) <= 0.001
        assert row["warnings"] == [caution.code for caution in found.warnings]
        assert row["insertion"] == (found.check["insertion"] if row["method"] == "sise" else None)
        assert (row["masks"], row["partial"], row["bundle_sha256"]) == (
            found.masks,
            False,
            found.provenance.bundle_sha256,
        )
    assert (rows[4]["error"], rows[4]["message"], rows[4]["record"]) == ("ImageError", "cannot be read", None)
    told = [rows[5][name] for name in ("reason", "predicted", "predicted_label", "predicted_confidence")]
    assert told == ["the model is right", 2, "c", 0.75]


def test_types_do_not_depend_on_the_rows(explained, tmp_path):
    some = written(tmp_path / "a.parquet", lines_of(Outcome(item("a"), explained=explained)))
    others = written(tmp_path / "b.parquet", failed("b"))
    none = written(tmp_path / "c.parquet", [])
    assert some.schema == others.schema == none.schema
    assert some.column_names == list(COLUMNS)
    assert pyarrow.concat_tables([some, others, none]).num_rows == 5
    assert some.schema.field("warnings").type == pyarrow.list_(pyarrow.string())
    assert datetime.now(UTC) > some["time"][0].as_py()


@pytest.mark.parametrize(
    ("values", "kind", "found"),
    [
        ([1, None, -3], "int64", [1, None, -3]),
        ([1, 0.5], "double", [1.0, 0.5]),
        ([True, None], "bool", [True, None]),
        ([True, 1], "string", ["true", "1"]),
        ([None, None], "string", [None, None]),
        ([1, "x"], "string", ["1", "x"]),
        ([2**63, 1], "string", [str(2**63), "1"]),
        (["a\udcffb", None], "string", ["a\\udcffb", None]),
        ([{"a": [1]}, None], "string", ['{"a": [1]}', None]),
        ([float("nan"), 1.5], "double", [None, 1.5]),
    ],
)
def test_what_a_list_carries_has_one_type(tmp_path, values, kind, found):
    lines = [line for number, value in enumerate(values) for line in failed(f"{number}", camera=value)]
    read = written(tmp_path / "t.parquet", lines + failed("without"))
    assert str(read.schema.field("camera").type) == kind
    assert read["camera"].to_pylist() == [*found, None]


def test_carried_columns_do_not_take_the_place_of_others(tmp_path):
    lines = failed("a", id="theirs", Label="dog", column_id="both", map="north", MAP="south")
    read = written(tmp_path / "t.parquet", lines, map_of=lambda _: None)
    (row,) = read.to_pylist()
    names = [name.casefold() for name in read.column_names]
    assert len(set(names)) == len(names)
    assert row["id"] == "a"
    assert row["label"] is None
    assert {name: row[name] for name in row if name not in COLUMNS} == {
        "column_id": "theirs",
        "column_Label": "dog",
        "column_column_id": "both",
        "column_map": "north",
        "column_column_MAP": "south",
        "map": None,
        "map_shape": None,
    }


def test_maps_lie_in_the_table(explained, tmp_path):
    lines = lines_of(Outcome(item("a"), explained=explained)) + failed("b")
    maps = {(asked, e.target): e.map for asked, of_method in explained.items() for e in of_method}

    def map_of(line):
        return None if line["status"] != "done" else maps[line["asked"], line["target"]["index"]]

    rows = written(tmp_path / "t.parquet", lines, map_of=map_of).to_pylist()
    for row in rows[:4]:
        found = np.frombuffer(row["map"], "<f2").reshape(row["map_shape"])
        np.testing.assert_array_equal(found, maps[row["asked"], row["target"]].astype(np.float16))
    assert (rows[4]["map"], rows[4]["map_shape"]) == (None, None)


def test_rows_are_written_group_by_group(explained, tmp_path, monkeypatch):
    lines = [line for number in range(7) for line in failed(f"{number}")]
    monkeypatch.setattr(table, "GROUP", 3)
    written(tmp_path / "t.parquet", lines)
    assert parquet.ParquetFile(tmp_path / "t.parquet").metadata.num_row_groups == 3
    monkeypatch.setattr(table, "GROUP_BYTES", 4000)
    lines = lines_of(Outcome(item("a"), explained=explained))
    read = written(tmp_path / "t.parquet", lines, map_of=lambda _: np.zeros((32, 32)))
    assert read.num_rows == 4
    assert parquet.ParquetFile(tmp_path / "t.parquet").metadata.num_row_groups == 4


def test_the_table_of_a_run(tmp_path):
    with opened(tmp_path, {"bundle": "12ab"}) as ledger:
        for name in ("a", "b", "a"):
            ledger.append(failed(name))
    path = tmp_path / "results.parquet"
    prepare_table(path)
    assert write_table(path, partial(read_results, tmp_path)) == 2
    prepare_table(path)
    assert parquet.read_table(path)["id"].to_pylist() == ["b", "a"]


@pytest.mark.parametrize("content", [b"mine", b"", None])
def test_what_is_no_table_of_a_run_stays(tmp_path, content):
    path = tmp_path / "mine.parquet"
    if content is None:
        parquet.write_table(pyarrow.table({"id": [1]}), path)
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="no table of a run, so it stays as it is") as caught:
        prepare_table(path)
    assert caught.value.settings == ("table",)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["t.csv", "t", "parquet"])
def test_a_table_is_called_what_it_is(tmp_path, name):
    with pytest.raises(ArgumentError, match=r"call it \.parquet") as caught:
        prepare_table(tmp_path / "new" / name)
    assert caught.value.settings == ("table",)
    assert not (tmp_path / "new").exists()


def test_a_folder_is_no_table(tmp_path):
    (tmp_path / "t.parquet").mkdir()
    with pytest.raises(OutputError, match="no table of a run"):
        prepare_table(tmp_path / "t.parquet")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="is a file: name a folder"):
        prepare_table(tmp_path / "file" / "t.parquet")


def test_what_goes_wrong_leaves_the_table_of_before(tmp_path):
    path = tmp_path / "t.parquet"
    before = written(path, failed("a"))

    def lines():
        yield from failed("b")
        raise OutputError("results.jsonl cannot be read")

    with pytest.raises(OutputError, match=r"results\.jsonl cannot be read"):
        write_table(path, lines)
    passes = iter([failed("b"), lines()])
    with pytest.raises(OutputError, match=r"results\.jsonl cannot be read"):
        write_table(path, lambda: next(passes))
    assert parquet.read_table(path).equals(before)
    assert [other.name for other in tmp_path.iterdir()] == ["t.parquet"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(tmp_path, monkeypatch):
    real = Path.open

    def full(path, mode="r", *arguments, **options):
        return real(Path("/dev/full") if path.suffix == ".tmp" else path, mode.replace("x", "w"), *arguments)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match=r"t\.parquet' cannot be written: No space left on device"):
        write_table(tmp_path / "t.parquet", lambda: failed("a"))


def test_without_pyarrow_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for refused in (prepare_table, lambda path: write_table(path, list)):
        with pytest.raises(ArgumentError, match=r"pip install 'sise-rt\[parquet\]'") as caught:
            refused(tmp_path / "t.parquet")
        assert caught.value.settings == ("table",)


def test_the_page_has_every_column_as_it_is():
    kinds = {"string": "text", "texts": "texts", "int64": "integer", "double": "number", "bool": "yes or no"}
    page = (Path(__file__).resolve().parents[2] / "docs" / "results.md").read_text("utf-8")
    told = [line for line in page.partition("\n## Tables\n")[2].splitlines() if line.startswith("| `")]
    assert told == [f"| `{name}` | {kinds.get(k, k)} | {meaning} |" for name, (k, meaning) in COLUMNS.items()]
