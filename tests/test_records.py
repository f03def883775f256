"""Records: what is in them, by other means, and that the schema admits nothing else."""

import copy
import hashlib
import json
import pickle
import time
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import sise_rt
from sise_rt.cautions import CAUTIONS
from sise_rt.metrics import border_share
from sise_rt.metrics.check import check, check_region
from sise_rt.preprocessing import COLORS, CROP_MODES, DEPTHS, INTERPOLATIONS, Preprocess
from sise_rt.records import SCHEMA, record_schema

jsonschema = pytest.importorskip("jsonschema")

FREE = (("settings",), ("seconds", "own"), ("seconds", "shared"))  # objects whose keys are those of methods


@pytest.fixture(scope="module")
def explainer(small_bundle):
    return sise_rt.load(small_bundle, "cpu")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "wide.png"
    Image.fromarray(np.random.default_rng(8).integers(0, 256, (40, 90, 3), np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def record(explainer, file):
    explanation = explainer.explain(file, "b", batch_size=4)
    return check(explainer.engine, explanation).record() | {"files": ["out/wide.1.png"]}


def objects(schema, path="$"):
    """Every schema of an object with properties, and where it stands."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield path, schema
        for key, value in schema.items():
            yield from objects(value, f"{path}.{key}")


def test_the_schema_is_one_and_its_objects_are_closed():
    schema = record_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema"]["const"] == SCHEMA
    optional = {"$": {"files"}, "$.properties.check": {"drop", "increase", "insertion", "deletion", "kept"}}
    for path, each in objects(schema):
        assert each["additionalProperties"] is False, path
        assert set(each["required"]) == set(each["properties"]) - optional.get(path, set()), path
        assert all("description" in value for value in each["properties"].values()), path


def test_the_schema_has_the_codes_of_the_table():
    assert record_schema()["$defs"]["code"]["enum"] == list(CAUTIONS)


def test_the_schema_has_every_preprocessing_that_there_is():
    told = record_schema()["properties"]["preprocessing"]["properties"]
    allowed = {name: tuple(each["enum"]) for name, each in told.items() if "enum" in each}
    colors = tuple(dict.fromkeys(color for colors in COLORS.values() for color in colors))
    assert set(told) == {field.name for field in fields(Preprocess)}
    assert set(allowed.pop("color")) == set(colors)
    assert allowed == {"interpolation": INTERPOLATIONS, "crop_mode": CROP_MODES}
    depths = told["bit_depth"]["minimum"], told["bit_depth"]["maximum"]
    assert depths == (DEPTHS[0], DEPTHS[-1])


def rows(schema, above=""):
    """The path of each key, and what the schema says of it."""
    for key, value in schema.get("properties", {}).items():
        path = f"{above}{key}"
        yield path, value["description"]
        yield from rows(value, f"{path}.")
        yield from rows(value.get("items", {}), f"{path}[].")


def test_the_page_has_every_key_and_code_as_they_are():
    page = (Path(__file__).resolve().parents[1] / "docs" / "records.md").read_text("utf-8")
    told = [line.replace("\\|", "|") for line in page.splitlines() if line.startswith("| `")]
    expected = [*rows(record_schema()), *CAUTIONS.items()]
    assert told == [f"| `{name}` | {meaning} |" for name, meaning in expected]


def keys(record, path=()):
    """Every key of a record's own, by its path."""
    if isinstance(record, dict) and path not in FREE:
        for key, value in record.items():
            yield (*path, key)
            yield from keys(value, (*path, key))


def without(record, path):
    record = copy.deepcopy(record)
    at = record
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    return record


def test_the_schema_misses_each_key_and_knows_no_other(record):
    validator = jsonschema.Draft202012Validator(record_schema())
    validator.validate(json.loads(json.dumps(record, allow_nan=False)))
    paths = list(keys(record))
    assert len(paths) > 80
    for path in paths:
        assert validator.is_valid(without(record, path)) == (path == ("files",)), path
        for value in (object(), {"more": 1}):
            other = without(record, path)
            at = other
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = value
            assert path in FREE or not validator.is_valid(other), path
    assert not validator.is_valid(record | {"more": 1})


def test_hashes_are_those_of_the_files(record, small_bundle, small_model, file):
    def sha256(path):
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()

    assert (record["picture"]["sha256"], record["picture"]["sha256_of"]) == (sha256(file), "file")
    assert record["bundle"]["sha256"] == sha256(small_bundle / "manifest.json")
    assert record["bundle"]["source"]["sha256"] == sha256(small_model)
    assert record["bundle"]["source"]["name"] == "small"


def test_a_bundle_that_changed_since_it_was_loaded_is_told_by_what_was_loaded(small_bundle, tmp_path, file):
    import shutil

    there = shutil.copytree(small_bundle, tmp_path / "small.sise")
    before = hashlib.sha256((there / "manifest.json").read_bytes()).hexdigest()
    explainer = sise_rt.load(there, "cpu")
    (there / "manifest.json").write_text("{}")
    assert explainer.explain(file, "b", batch_size=4).record()["bundle"]["sha256"] == before


def test_what_made_it_is_told(record, explainer):
    assert record["product"] == {"name": "sise-rt", "version": sise_rt.__version__}
    assert record["runtime"] == {
        "provider": "cpu",
        "provider_version": onnxruntime.__version__,
        "onnxruntime": onnxruntime.__version__,
        "device": explainer.engine.sessions.provider.device,
        "precision": "fp32",
        "tf32": False,
        "threads": explainer.engine.threads,
        "batch": 4,
    }
    manifest = json.loads((explainer.engine.folder / "manifest.json").read_text())
    assert record["preprocessing"] == manifest["preprocess"]
    assert record["assumed"] == manifest["assumed"]
    assert record["described"] == manifest["described"]
    assert record["settings"] == {
        "mu": 0.0,
        "fusion": "otsu",
        "budget": 1.0,
        "max_passes": 0,
        "max_seconds": 0.0,
        "scores": "probability",
    }


def test_the_time_is_when_it_was_made_in_utc(explainer, file):
    before = datetime.now(UTC)
    explanation = explainer.explain(file, "b", method="score-cam")
    after = datetime.now(UTC)
    time.sleep(0.02)
    told = explanation.record()["time"]
    assert told.endswith("Z")
    assert before - timedelta(milliseconds=1) <= datetime.fromisoformat(told) <= after
    assert explanation.record()["time"] == pickle.loads(pickle.dumps(explanation)).record()["time"] == told


def test_the_crop_is_the_rectangle_that_the_model_saw(explainer, file, record):
    """A picture that is even but for one bright pixel changes the input where the pixel lies in the crop."""
    crop = record["picture"]["crop"]
    assert (record["picture"]["width"], record["picture"]["height"]) == (90, 40)
    even = np.full((40, 90, 3), 100, np.uint8)
    base = explainer.prepare(even).tensor
    seen = np.zeros((40, 90), bool)
    for row in range(40):
        for column in range(90):
            one = even.copy()
            one[row, column] = 255
            seen[row, column] = (explainer.prepare(one).tensor != base).any()
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    reach = 40 / 36 + 1  # pixels: a resized one is made of its neighbours too
    for edge, pixel in (("left", columns[0]), ("top", rows[0])):
        assert pixel <= crop[edge] + 1
        assert crop[edge] <= pixel + reach + 1
    for edge, pixel in (("right", columns[-1] + 1), ("bottom", rows[-1] + 1)):
        assert pixel >= crop[edge] - 1
        assert crop[edge] >= pixel - reach - 1
    area = (crop["right"] - crop["left"]) * (crop["bottom"] - crop["top"])
    assert crop["share"] == pytest.approx(area / (90 * 40), abs=1e-5)


def test_seconds_of_several_targets_add_up_to_those_of_the_call(explainer, file, monkeypatch):
    start = time.perf_counter()
    explanations = explainer.explain_targets(file, ["a", "b", "c"], method="sise", batch_size=4)
    whole = time.perf_counter() - start
    records = [explanation.record()["seconds"] for explanation in explanations]
    shared = records[0]["shared"]
    assert all(each["shared"] == shared for each in records)
    assert set(shared) == {"preprocess", "features", "masks", "scoring", "loading"}
    assert all(set(each["own"]) == {"fusion"} for each in records)
    assert sum(shared.values()) + sum(each["own"]["fusion"] for each in records) <= whole + 0.01
    for explanation, each in zip(explanations, records, strict=True):
        told = sum(each["shared"].values()) + sum(each["own"].values())
        assert told == pytest.approx(sum(explanation.seconds.values()), abs=0.001)
    cams = explainer.explain_targets(file, ["a", "b"], method="grad-cam")
    assert all("scoring" in each.record()["seconds"]["own"] for each in cams)


@pytest.mark.parametrize("given", ["bytes", "array", "image", "prepared", "by hand"])
def test_nothing_needs_a_file(given, explainer, file, tmp_path, monkeypatch):
    pixels = np.array(Image.open(file))
    picture = explainer.prepare(pixels)
    picture = {
        "bytes": file.read_bytes(),
        "array": pixels,
        "image": Image.fromarray(pixels),
        "prepared": picture,
        "by hand": sise_rt.pictures.picture.Picture(pixels, picture.tensor, picture.placement, "mine"),
    }[given]
    monkeypatch.chdir(tmp_path)
    told = explainer.explain(picture, "b", method="score-cam").record()["picture"]
    of_pixels = {"dtype": "|u1", "shape": [40, 90, 3], "sha256": hashlib.sha256(pixels.tobytes()).hexdigest()}
    of_file = {"dtype": None, "shape": None, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    expected = {
        "bytes": of_file | {"sha256_of": "bytes"},
        "array": of_pixels | {"sha256_of": "array"},
        "image": of_pixels | {"sha256_of": "pixels"},
        "prepared": of_pixels | {"sha256_of": "array"},
        "by hand": {"dtype": None, "shape": None, "sha256": None, "sha256_of": None},
    }[given]
    assert {key: told[key] for key in expected} == expected
    assert told["name"] == ("mine" if given == "by hand" else "image")


def test_no_path_of_the_machine_is_told(record, small_bundle, file, monkeypatch):
    text = json.dumps(record["bundle"] | {"rest": [v for k, v in record.items() if k != "picture"]})
    assert str(small_bundle.parent) not in text
    monkeypatch.chdir(file.parent)
    explained = sise_rt.load(small_bundle, "cpu").explain("wide.png", "b", method="score-cam").record()
    assert explained["picture"]["name"] == "wide.png"
    assert str(file.parent) not in json.dumps(explained)


def test_the_border_and_the_check_are_told(record, explainer, file):
    explanation = explainer.explain(file, "b", batch_size=4)
    assert record["map"] == {
        "width": 32,
        "height": 32,
        "border_share": pytest.approx(border_share(explanation.map), abs=1e-6),
    }
    assert explanation.record()["check"] is None
    region = check_region(explainer.engine, explanation).record()["check"]
    assert set(region) == {"region"}
    assert region["region"] == record["check"]["region"]


def test_a_map_on_the_border_is_warned_of(explainer, file, monkeypatch):
    def on_border(raw):
        frame = np.ones_like(raw)
        frame[4:-4, 4:-4] = 0
        return frame

    monkeypatch.setattr("sise_rt.answering.normalise", on_border)
    explanation = explainer.explain(file, "b", method="score-cam")
    (warning,) = [w for w in explanation.warnings if w.code == "map-at-border"]
    share = explanation.record()["map"]["border_share"]
    assert warning.startswith(f"{share:.0%} of the map lies within the outer 5% of the picture")
    monkeypatch.setattr("sise_rt.answering.normalise", lambda raw: 1 - on_border(raw))
    assert "map-at-border" not in [w.code for w in explainer.explain(file, "b", method="score-cam").warnings]
