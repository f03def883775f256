"""Bundles: what is read, and that nothing broken or hostile gets further than a BundleError."""

import json
import os
import random
import shutil
from pathlib import Path

import onnx
import pytest

import sise_rt
from sise_rt.bundle import LATER, MANIFEST, PROBE, WEIGHTS, Manifest, parse_manifest, read_bundle, sha256
from sise_rt.errors import BundleError


@pytest.fixture
def bundle(small_bundle, tmp_path) -> Path:
    """A copy that the test may break."""
    return Path(shutil.copytree(small_bundle, tmp_path / "copy.sise"))


def manifest_of(bundle: Path) -> dict:
    return json.loads((bundle / MANIFEST).read_text("utf-8"))


def write(bundle: Path, data: dict, *, rehash: bool = False) -> None:
    if rehash:
        data["files"] = {path: sha256(bundle / path) for path in data["files"]}
    (bundle / MANIFEST).write_text(json.dumps(data), "utf-8")


def changed(data: dict, path: str, value: object) -> dict:
    """A copy with the field at `a.b.0` set, or left out if `value` is `...`."""
    data = json.loads(json.dumps(data))
    *way, last = (int(part) if part.isdecimal() else part for part in path.split("/"))
    inner = data
    for part in way:
        inner = inner[part]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return data


def test_a_sound_bundle(small_bundle):
    manifest = read_bundle(str(small_bundle))
    assert isinstance(manifest, Manifest)
    assert [block.channels for block in manifest.blocks] == [8, 12, 16]
    assert manifest.label(1) == "b"
    assert parse_manifest(manifest.to_json(), "again") == manifest


def test_unknown_keys_and_minor_versions_are_a_later_version_s(bundle):
    data = manifest_of(bundle) | {"schema_version": "1.7", "mood": "good"}
    for path in ("preprocess/tint", "blocks/0/tint", "graphs/tint", "input/tint"):
        data = changed(data, path, [1])
    write(bundle, data)
    assert read_bundle(bundle).schema_version == "1.7"


@pytest.mark.parametrize("version", ["2.0", "0.9", "", "10.0", None, 1.0, ["1"]])
def test_another_schema(bundle, version):
    write(bundle, manifest_of(bundle) | {"schema_version": version})
    with pytest.raises(BundleError, match=r"has schema .*update sise-rt|schema_version"):
        read_bundle(bundle)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"x"', "[" * 100_000, "\ufeff{}", '{"a": 1e999}'])
def test_a_manifest_that_is_none(bundle, text):
    (bundle / MANIFEST).write_text(text, "utf-8")
    with pytest.raises(BundleError, match=r"JSON|schema"):
        read_bundle(bundle)


def test_a_manifest_that_is_no_text(bundle):
    (bundle / MANIFEST).write_bytes(b"\xff\xfe\x00{}")
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(bundle)


CONTRADICTIONS = {
    "no blocks": ("blocks", [], "every block needs"),
    "a block too few": ("graphs/blocks", ["blocks/01.onnx"], "every block needs"),
    "labels": ("labels", ["a", "b"], "2 labels for 5 classes"),
    "no classes": ("classes", 0, "0 classes, where at least 1"),
    "classes true": ("classes", True, r"Expected `int`, got `bool` - at `\$\.classes`"),
    "activation": ("activation", "argmax", "unknown activation 'argmax'"),
    "input": ("input/height", 64, "differ"),
    "free height": ("input/height", None, r"Expected `int`, got `null` - at `\$\.input\.height`"),
    "labels that are numbers": (
        "labels",
        [1, 2, 3, 4, 5],
        r"Expected `str`, got `int` - at `\$\.labels\[0\]`",
    ),
    "a batch of two": ("input/batch", 2, "unknown batch 2"),
    "a batch true": ("input/batch", True, r"`\$\.input\.batch`"),
    "a parity that is a number": ("parity", 3, r"`\$\.parity`"),
    "an error that is a text": ("parity/errors/maps", "small", r"`\$\.parity\.errors\[\.\.\.\]`"),
    "a source that is a text": ("source", "model.onnx", r"`\$\.source`"),
    "huge classes": ("classes", 10**400, "5 labels for 1000"),
    "name": ("name", 7, r"`\$\.name`"),
    "licence": ("licence", 7, r"Expected `str \| null`, got `int` - at `\$\.licence`"),
    "no opset": ("opset", ..., "missing required field `opset`"),
    "blocks of numbers": ("blocks", [1, 2, 3], r"`\$\.blocks\[0\]`"),
    "a block without a tensor": (
        "blocks/1/tensor",
        ...,
        r"missing required field `tensor` - at `\$\.blocks\[1\]`",
    ),
    "a block of half a map": ("blocks/1/channels", 0.5, r"`\$\.blocks\[1\]\.channels`"),
    "a graph that is a number": ("graphs/score", 3, r"`\$\.graphs\.score`"),
    "a graph that is no file": ("graphs/score", "other.onnx", "other.onnx is not listed"),
    "input size of two": ("preprocess/input_size", [32, 32], "input_size"),
    "input size of none": ("preprocess/input_size", [], "input_size"),
    "input size of halves": ("preprocess/input_size", [3, 32.0, 32.0], "input_size"),
    "interpolation": ("preprocess/interpolation", "cubic", "interpolation 'cubic'"),
    "crop": ("preprocess/crop_pct", 0, "crop_pct 0"),
    "huge crop": ("preprocess/crop_pct", 10**400, r"crop_pct 1000\d*\.\.\., where 0.01 to 1"),
    "tiny crop": ("preprocess/crop_pct", 5e-324, "crop_pct"),
    "crop NaN": ("preprocess/crop_pct", float("nan"), "crop_pct nan"),
    "crop mode": ("preprocess/crop_mode", "border", "crop_mode 'border'"),
    "color": ("preprocess/color", "HSV", "color 'HSV'"),
    "grey of three channels": ("preprocess/color", "GRAY", "GRAY does not go with 3 channels"),
    "mean of two": ("preprocess/mean", [0, 0], "mean of 2 values for 3 channels"),
    "std of one": ("preprocess/std", [1], "std of 1 value for 3 channels"),
    "mean infinite": ("preprocess/mean", [0, 0, float("inf")], "mean inf, where -1e9 to 1e9 is needed"),
    "mean NaN": ("preprocess/mean", [0, float("nan"), 0], "mean nan, where"),
    "mean huge": ("preprocess/mean", [0, 0, 10**400], r"mean 1000\d*\.\.\., where"),
    "mean a text": ("preprocess/mean", ["0", 0, 0], r"`\$\.preprocess\.mean\[0\]`"),
    "std zero": ("preprocess/std", [1, 1, 0], "std 0, where 1e-9 to 1e9 is needed"),
    "std too small for float32": ("preprocess/std", [1, 1, 1e-60], "std 1e-60, where"),
    "std NaN": ("preprocess/std", [1, float("nan"), 1], "std nan, where"),
    "scale negative": ("preprocess/scale", -255, "scale -255, where 1e-9 to 1e9 is needed"),
    "weights unlisted": (f"files/{WEIGHTS}", ..., f"{WEIGHTS} is not listed"),
    "probe unlisted": (f"files/{PROBE}", ..., f"{PROBE} is not listed"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradictory_manifest(small_bundle, case):
    path, value, message = CONTRADICTIONS[case]
    text = json.dumps(changed(manifest_of(small_bundle), path, value))
    with pytest.raises(BundleError, match=message) as caught:
        parse_manifest(text, "here/manifest.json")
    assert str(caught.value).startswith("here/manifest.json: ")


@pytest.mark.parametrize("field", ["schema_version", "name", "input", "blocks", "memory", "parity", "files"])
def test_deep_nesting_is_no_recursion(small_bundle, field):
    text = json.dumps(manifest_of(small_bundle) | {field: "here"}).replace('"here"', "[" * 900 + "]" * 900)
    with pytest.raises(BundleError, match=r"^here/manifest\.json"):
        parse_manifest(text, "here/manifest.json")


def test_what_a_later_version_nests_deeply_is_not_looked_at(small_bundle):
    text = json.dumps(manifest_of(small_bundle) | {"mood": "here"}).replace('"here"', "[" * 900 + "]" * 900)
    assert parse_manifest(text, "here") == read_bundle(small_bundle)


def test_what_does_not_apply_is_not_written(small_bundle):
    """The manifest on disk is what it was before its parts were typed: no `batch`, `gate` or `quantised`."""
    data = manifest_of(small_bundle)
    assert json.loads(read_bundle(small_bundle).to_json()) == data
    assert list(data["input"]) == ["channels", "height", "width", "layout"]
    assert list(data["parity"]) == ["reference", "compared", "errors"]
    manifest = parse_manifest(json.dumps(changed(data, "input/batch", 1)), "here")
    assert json.loads(manifest.to_json())["input"]["batch"] == 1


OLDER = {
    "1.0": ("precision", "memory", *(f"graphs/{name}" for name in LATER)),
    "1.1": ("precision", "memory"),
    "1.2": ("precision", "memory"),
}


@pytest.mark.parametrize("version", OLDER)
def test_older_manifests_are_read(small_bundle, version):
    data = changed(manifest_of(small_bundle), "parity/pictures", 1) | {"schema_version": version}
    for path in OLDER[version]:
        data = changed(data, path, ...)
    manifest = parse_manifest(json.dumps(data), "here")
    assert (manifest.precision, manifest.memory, manifest.parity.gate) == ("fp32", {}, None)
    assert bool(manifest.graphs.forward) is (version != "1.0")
    assert manifest.takes_best is (version == "1.2")


def test_keys_that_are_no_text(small_bundle):
    text = json.dumps(manifest_of(small_bundle) | {"\ud800": 1})
    with pytest.raises(BundleError, match=r"here: .*surrogates not allowed"):
        parse_manifest(text, "here")


UNSAFE = ["../x", "a/../../x", "/etc/passwd", "..\\x", "C:\\x", "C:x", "\\\\host\\x", "", ".", "nul\0"]


@pytest.mark.parametrize("path", UNSAFE)
def test_files_outside_the_bundle(bundle, path):
    data = manifest_of(bundle)
    data["files"][path] = "0" * 64
    write(bundle, data)
    with pytest.raises(BundleError, match="lies outside the bundle"):
        read_bundle(bundle)


@pytest.mark.parametrize("path", ["\ud800", "x" * 5000, "weights.bin/x", "blocks"])
def test_names_that_are_no_files(bundle, path):
    data = manifest_of(bundle)
    data["files"][path] = "0" * 64
    write(bundle, data)
    with pytest.raises(BundleError, match=r"cannot be read|is missing"):
        read_bundle(bundle)


KINDS = [WEIGHTS, PROBE, "features.onnx", "score.onnx", "classifier.onnx", "blocks/02.onnx", "heads/01.onnx"]


@pytest.mark.parametrize("path", KINDS)
def test_a_flipped_byte(bundle, path):
    content = bytearray((bundle / path).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / path).write_bytes(content)
    with pytest.raises(BundleError, match=f"{path} was altered since the export"):
        sise_rt.load(bundle)


def test_weights_that_cannot_be_opened_either(bundle):
    """What was done to the file is said, not what became of it: it is opened while it is hashed."""
    os.truncate(bundle / WEIGHTS, 100)
    with pytest.raises(BundleError, match=f"{WEIGHTS} was altered since the export"):
        sise_rt.load(bundle)


@pytest.mark.parametrize("path", [*KINDS, MANIFEST])
def test_a_missing_file(bundle, path):
    (bundle / path).unlink()
    with pytest.raises(BundleError, match=f"{path} is missing|has no {path}"):
        sise_rt.load(bundle)


@pytest.mark.parametrize("path", [WEIGHTS, "features.onnx", MANIFEST])
def test_a_file_that_is_a_link(bundle, tmp_path, path):
    moved = tmp_path / "elsewhere"
    (bundle / path).rename(moved)
    (bundle / path).symlink_to(moved)
    with pytest.raises(BundleError, match=f"{path} is a link"):
        sise_rt.load(bundle)


def test_a_folder_that_is_a_link(bundle, tmp_path):
    (bundle / "blocks").rename(tmp_path / "elsewhere")
    (bundle / "blocks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"blocks/0\d.onnx is a link"):
        sise_rt.load(bundle)


def test_a_bundle_behind_a_link_is_as_good(bundle, tmp_path):
    (tmp_path / "link.sise").symlink_to(bundle)
    assert sise_rt.load(tmp_path / "link.sise", "cpu").manifest.classes == 5


def test_no_bundle_at_all(tmp_path):
    with pytest.raises(BundleError, match="no such folder"):
        read_bundle(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BundleError, match="it is a file"):
        read_bundle(tmp_path / "file")
    with pytest.raises(BundleError, match=r"it has no manifest.json"):
        read_bundle(tmp_path)
    with pytest.raises(BundleError):
        read_bundle("nul\0")
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(BundleError, match=r"it has no manifest.json"):
        read_bundle(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_in_place_of_the_manifest_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / MANIFEST)
    with pytest.raises(BundleError, match=r"it has no manifest.json"):
        read_bundle(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_rights(bundle):
    (bundle / WEIGHTS).chmod(0)
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(bundle)


@pytest.mark.parametrize("graph", ["features.onnx", "score.onnx"])
@pytest.mark.parametrize("location", ["../secret.bin", "{folder}/secret.bin", "link.bin", "/dev/zero"])
def test_external_data_outside_the_folder(bundle, tmp_path, graph, location):
    shutil.copy(bundle / WEIGHTS, tmp_path / "secret.bin")
    (bundle / "link.bin").symlink_to(tmp_path / "secret.bin")
    model = onnx.load(bundle / graph, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location.format(folder=tmp_path)
    (bundle / graph).write_bytes(model.SerializeToString())
    write(bundle, manifest_of(bundle), rehash=True)
    with pytest.raises(BundleError, match=f"{graph} cannot be loaded: .*[Ee]xternal"):
        sise_rt.load(bundle, "cpu")


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"no model", None], ids=repr)
def test_a_graph_that_is_no_model(bundle, content):
    whole = (bundle / "features.onnx").read_bytes()
    (bundle / "features.onnx").write_bytes(whole[: len(whole) // 2] if content is None else content)
    write(bundle, manifest_of(bundle), rehash=True)
    with pytest.raises(BundleError, match=r"features.onnx (cannot be loaded|does not fit)"):
        sise_rt.load(bundle, "cpu")


def test_weights_that_end_too_early(bundle):
    (bundle / WEIGHTS).write_bytes((bundle / WEIGHTS).read_bytes()[:-1000])
    write(bundle, manifest_of(bundle), rehash=True)
    with pytest.raises(BundleError, match="cannot be loaded"):
        sise_rt.load(bundle, "cpu")


@pytest.mark.parametrize(
    ("path", "value"),
    [("classes", 6), ("blocks/0/channels", 9), ("blocks/2/tensor", "other"), ("blocks/1/width", 17)],
)
def test_a_manifest_that_does_not_fit_its_graphs(bundle, path, value):
    data = changed(manifest_of(bundle), path, value)
    data["labels"] = []
    write(bundle, data)
    with pytest.raises(BundleError, match=r"features.onnx does not fit the manifest"):
        sise_rt.load(bundle, "cpu")


def mutated(text: str, rng: random.Random) -> str:
    """The text with characters lost, doubled or replaced; or with one of its values replaced by junk."""
    if rng.random() < 0.5:
        letters = list(text)
        for _ in range(rng.randint(1, 4)):
            where = rng.randrange(len(letters))
            letters[where] = rng.choice(["", letters[where] * 2, *'{}[]",:0-9.eE\\\0é\ud800', "null", "NaN"])
        return "".join(letters)
    data = json.loads(text)
    inner, key = data, rng.choice(list(data))
    while isinstance(inner[key], (dict, list)) and inner[key] and rng.random() < 0.8:
        inner = inner[key]
        key = rng.choice(list(inner)) if isinstance(inner, dict) else rng.randrange(len(inner))
    junk = [
        None,
        True,
        -1,
        0,
        1e308,
        10**400,
        float("nan"),
        "",
        "../x",
        "\0",
        [],
        {},
        [[]],
        {"": None},
        "x" * 9999,
    ]
    inner[key] = rng.choice(junk)
    return json.dumps(data)


def test_a_damaged_manifest_is_refused_or_read(small_bundle):
    text, rng, refused = (small_bundle / MANIFEST).read_text("utf-8"), random.Random(2), []
    for _ in range(400):
        try:
            assert isinstance(parse_manifest(mutated(text, rng), "here"), Manifest)
        except BundleError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all(message.startswith("here") for message in refused)
