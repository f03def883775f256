"""Lines of results: what they hold of each outcome, and that the schema admits nothing else."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest

import sise_rt
from sise_rt.bulk.items import Item, Outcome
from sise_rt.bulk.lines import lines_of, result_schema
from sise_rt.errors import ImageError, NoEvidence
from sise_rt.explanation import Prediction
from sise_rt.records import record_schema

jsonschema = pytest.importorskip("jsonschema")

COLUMNS = {"line": 7, "note": ""}
ITEM = Item("cam1/0\udcff.png", Path("photos/cam1/0.png"), "cam1/0", truth="b", columns=COLUMNS)
OWN = {"id", "status", "error", "reason", "asked", "part", "files", "columns", "truth", "predicted"}


@pytest.fixture(scope="module")
def valid():
    validator = jsonschema.Draft202012Validator(result_schema())
    return lambda line: validator.is_valid(json.loads(json.dumps(line, allow_nan=False)))


@pytest.fixture(scope="module")
def explained(small_bundle):
    picture = np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)
    explainer = sise_rt.load(small_bundle, "cpu")
    return explainer.explain_methods(picture, [1, 4], methods=["sise", "grad-cam"], batch_size=8)


@pytest.fixture(scope="module")
def nothing(small_bundle):
    """What is found of a picture in which nothing speaks for the class."""
    explainer = sise_rt.load(small_bundle, "cpu")
    black = np.zeros((32, 32, 3), np.uint8)
    for target in range(5):
        (found,) = explainer.explain_targets(black, [target], method="grad-cam")
        if isinstance(found, NoEvidence):
            return target, found, explainer.prepare(black), explainer
    pytest.fail("every class has evidence in a black picture")


@pytest.fixture(scope="module")
def examples(explained, nothing):
    """A line of each status."""
    said = Prediction(2, "c", 0.75)
    outcomes = (
        Outcome(ITEM, explained={"sise": explained["sise"][:1]}),
        Outcome(ITEM, explained={"grad-cam": [nothing[1]]}),
        Outcome(ITEM, error=ImageError("0.png: cannot be read")),
        Outcome(ITEM, reason="the model is right", prediction=said),
    )
    lines = [lines_of(outcome, [["cam1/0.1.png"]])[0] for outcome in outcomes]
    return {line["status"]: line for line in lines}


def test_the_schema_is_one_and_knows_every_key_of_a_record():
    schema = result_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    records = set(record_schema()["properties"])
    assert set(schema["properties"]) == OWN | records
    assert set(schema["required"]) == OWN | {"target", "confidence"}
    assert set(schema["oneOf"][0]["required"]) | set(schema["required"]) == OWN | records
    assert schema["additionalProperties"] is False


def test_each_status_has_a_line_that_is_valid(examples, valid):
    assert set(examples) == {"done", "no evidence", "failed", "skipped"}
    for line in examples.values():
        assert valid(line)
        assert (line["id"], line["part"], line["truth"]) == (ITEM.id, [1, 1], "b")
        assert line["columns"] == COLUMNS
        assert json.dumps(line).isascii()


def test_a_line_without_one_of_its_keys_or_with_another_is_not_valid(examples, valid):
    for line in examples.values():
        for key in line:
            assert not valid({name: value for name, value in line.items() if name != key}), key
            assert not valid(line | {key: [{}]}), key
        assert not valid(line | {"more": 1})


def test_a_line_of_one_status_is_not_one_of_another(examples, valid):
    for line in examples.values():
        for other in {"done", "no evidence", "failed", "skipped", "gone"} - {line["status"]}:
            assert not valid(line | {"status": other})
    deep = copy.deepcopy(examples["done"])
    deep["picture"]["more"] = 1
    assert not valid(deep), "records are closed here as well"


def test_each_explanation_has_a_line_with_its_record(explained):
    files = [[f"cam1/0.{number}.png"] for number in range(4)]
    lines = lines_of(Outcome(ITEM, explained=explained), files)
    parts = [(asked, part) for asked in ("sise", "grad-cam") for part in explained[asked]]
    assert [line["part"] for line in lines] == [[number, 4] for number in range(1, 5)]
    for line, (asked, part), of_part in zip(lines, parts, files, strict=True):
        record = part.record()
        assert {key: line[key] for key in record} == record
        assert (line["asked"], line["files"], line["error"], line["reason"]) == (asked, of_part, None, None)
        assert line["predicted"] == record["best"][0]


def test_what_has_no_evidence_tells_its_class_and_the_models(nothing, examples):
    target, error, picture, explainer = nothing
    logits = explainer.engine.forward(picture.tensor)[0].astype(float)
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    line, best = examples["no evidence"], int(shares.argmax())
    assert line["target"] == {"index": target, "label": "abcde"[target]}
    assert line["confidence"] == pytest.approx(shares[target], rel=1e-5)
    confidence = pytest.approx(shares[best], rel=1e-5)
    assert line["predicted"] == {"index": best, "label": "abcde"[best], "confidence": confidence}
    assert line["error"] == {"kind": "NoEvidence", "message": error.message}
    assert line["asked"] == "grad-cam"


def test_what_is_known_of_an_item_without_explanation(examples, valid):
    assert examples["failed"]["error"] == {"kind": "ImageError", "message": "0.png: cannot be read"}
    assert examples["failed"]["files"] == examples["skipped"]["files"] == []
    assert examples["skipped"]["reason"] == "the model is right"
    assert examples["skipped"]["predicted"] == {"index": 2, "label": "c", "confidence": 0.75}
    unknown = lines_of(Outcome(ITEM, explained={"sise": [NoEvidence("nothing speaks for it")]}))[0]
    assert (unknown["target"], unknown["confidence"], unknown["predicted"]) == (None, None, None)
    assert valid(unknown)
    assert valid(lines_of(Outcome(ITEM, error=ImageError()))[0]), "also of an error without a message"


def test_columns_of_any_kind_are_json():
    columns = {
        "nan": math.nan,
        "infinite": [math.inf, 1.5],
        "numpy": np.float32(0.5),
        "deep": {"a": (1, Path("x"))},
        "bytes": b"\xff",
        5: None,
    }
    line = lines_of(Outcome(Item("a", Path("a"), "a", columns=columns), error=ImageError("no")))[0]
    assert json.loads(json.dumps(line["columns"], allow_nan=False)) == {
        "nan": None,
        "infinite": [None, 1.5],
        "numpy": 0.5,
        "deep": {"a": [1, "x"]},
        "bytes": "b'\\xff'",
        "5": None,
    }


def test_the_page_has_every_key_as_it_is():
    page = (Path(__file__).resolve().parents[2] / "docs" / "results.md").read_text("utf-8")
    told = page.partition("## Lines\n")[2].partition("\n## ")[0]
    schema = result_schema()["properties"]
    expected = [
        f"| `{key}` | {value['description']} |" for key, value in schema.items() if "description" in value
    ]
    assert [line for line in told.splitlines() if line.startswith("| `")] == expected
