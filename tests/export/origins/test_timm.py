"""timm's `config.json`, beside a graph and beside weights."""

import json

import pytest
from sise_rt.export.origins import timm
from sise_rt.export.origins.published import Published

from sise_rt.errors import ArgumentError, ModelError

CONFIG = {
    "architecture": "resnet10t",
    "num_classes": 3,
    "model_args": {"num_classes": 3, "in_chans": 3, "global_pool": "avg"},
    "label_names": ["n1", "n2", "n3"],
    "pretrained_cfg": {
        "input_size": [3, 32, 32],
        "test_input_size": [3, 48, 48],
        "test_crop_pct": 1.0,
        "crop_pct": 0.9,
        "interpolation": "bilinear",
        "crop_mode": "squash",
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.2, 0.1],
        "license": "apache-2.0",
    },
}


def published(folder, config, size=(None, None, None)):
    (folder / "config.json").write_text(json.dumps(config))
    return Published(folder, folder / "model.onnx", size=size)


def said(description):
    return {setting: value for setting, (value, _, _) in description.said.items()}


def test_a_config(tmp_path):
    description = timm.describe(published(tmp_path, CONFIG))
    assert said(description) == {
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.2, 0.1),
        "crop_pct": 0.9,
        "interpolation": "bilinear",
        "crop_mode": "squash",
        "input_size": (3, 32, 32),
        "licence": "apache-2.0",
        "scale": 255.0,
        "color": "RGB",
        "labels": ["n1", "n2", "n3"],
    }
    assert description.unsettled == []
    flat = {key: value for key, value in CONFIG.items() if key != "pretrained_cfg"} | CONFIG["pretrained_cfg"]
    assert said(timm.describe(published(tmp_path, flat))) == said(description)


@pytest.mark.parametrize(
    ("size", "taken", "share"),
    [
        ((3, 48, 48), (3, 48, 48), 1.0),
        ((None, 48, 48), (3, 48, 48), 1.0),
        ((3, 32, 32), (3, 32, 32), 0.9),
        ((3, 64, 64), (3, 32, 32), 0.9),
    ],
)
def test_the_crop_is_that_of_the_size(tmp_path, size, taken, share):
    description = timm.describe(published(tmp_path, CONFIG, size))
    assert (description.value("input_size"), description.value("crop_pct")) == (taken, share)


def test_what_timm_takes_for_granted(tmp_path):
    description = timm.describe(published(tmp_path, {"architecture": "x", "pretrained_cfg": {"mean": [0.5]}}))
    assert {key: description.said[key][:2] for key in ("crop_pct", "interpolation", "crop_mode")} == {
        "crop_pct": (0.875, "timm's defaults"),
        "interpolation": ("bicubic", "timm's defaults"),
        "crop_mode": ("center", "timm's defaults"),
    }


def test_labels_are_described(tmp_path):
    texts = {"n1": "cat", "n2": "dog", "n3": "hen"}
    description = timm.describe(published(tmp_path, CONFIG | {"label_descriptions": texts}))
    assert description.said["labels"] == (["cat", "dog", "hen"], "config.json", "label_descriptions")
    description = timm.describe(published(tmp_path, CONFIG | {"label_descriptions": {"n1": "cat"}}))
    assert description.said["labels"] == (["n1", "n2", "n3"], "config.json", "label_names")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"crop_mode": "border"},
            "config.json: crop_mode is 'border', where center, squash or cut is needed",
        ),
        ({"interpolation": "random"}, "config.json: interpolation is 'random', where nearest"),
        ({"mean": "grey"}, "config.json: mean is 'grey'"),
        ({"input_size": [3, 1 << 40, 32]}, "config.json: input_size is"),
    ],
)
def test_what_cannot_be_followed(tmp_path, changes, reason):
    config = CONFIG | {"pretrained_cfg": CONFIG["pretrained_cfg"] | changes}
    (unsettled,) = timm.describe(published(tmp_path, config)).unsettled
    assert unsettled.reason.startswith(reason)
    assert unsettled.settings == tuple(changes)


def test_other_folders(tmp_path):
    assert timm.describe(published(tmp_path, {"model_type": "resnet"})) is None
    assert timm.describe(Published(None, tmp_path)) is None
    with pytest.raises(ModelError, match="is no JSON object"):
        timm.describe(published(tmp_path, {"architecture": "x", "pretrained_cfg": [1]}))


def test_the_model_to_build(tmp_path):
    args = {"num_classes": 3, "in_chans": 3, "global_pool": "avg"}
    assert timm.model_for(published(tmp_path, CONFIG)) == ("resnet10t", args)
    grey = CONFIG | {"model_args": {}, "pretrained_cfg": {"input_size": [1, 32, 32]}}
    assert timm.model_for(published(tmp_path, grey)) == ("resnet10t", {"in_chans": 1})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, ": weights and no graph: export the model to ONNX first"),
        (
            {"architectures": ["ResNetForImageClassification"]},
            r"weights of ResNetForImageClassification \(config.json\)",
        ),
        (
            {"architecture": "hf-hub:someone/model"},
            "architecture of config.json is 'hf-hub:someone/model', no name",
        ),
        ({"architecture": "../../x"}, "no name of timm's"),
        ({"architecture": ["resnet10t"]}, "no name of timm's"),
        (
            {"model_args": {"checkpoint_path": "/etc/passwd"}},
            "model_args of config.json has checkpoint_path '/etc/p",
        ),
        ({"model_args": {"pretrained": True}}, "has pretrained 'True', which cannot be followed"),
        ({"model_args": {"num_classes": 10**9}}, "has num_classes '1000000000', which"),
        ({"model_args": {"num_classes": True}}, "has num_classes 'True', which"),
        ({"model_args": {"global_pool": "__import__('os')"}}, "has global_pool"),
        ({"model_args": [1]}, "model_args of config.json is no JSON object"),
    ],
)
def test_models_that_are_not_built(tmp_path, config, words):
    whole = config if not config or "architectures" in config else CONFIG | config
    with pytest.raises(ModelError, match=words):
        timm.model_for(published(tmp_path, whole))


def test_a_folder_of_weights(tmp_path, torchvision, prepared, refused):
    library = pytest.importorskip("timm")
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = library.create_model("resnet10t", num_classes=3)
    folder = tmp_path / "net"
    folder.mkdir()
    published(folder, CONFIG)
    save_file(model.state_dict(), folder / "model.safetensors")
    made = prepared(folder)
    assert (made.source.format, made.source.name) == ("timm", "net")
    assert made.source.warnings == []
    assert made.labels == ("n1", "n2", "n3")
    assert made.preprocess.input_size == (3, 32, 32)
    assert made.preprocess.mean == (0.5, 0.4, 0.3)
    assert made.described == (
        "from config.json: mean 0.5,0.4,0.3, std 0.2,0.2,0.1, crop_pct 0.9, interpolation bilinear, "
        "crop_mode squash, input_size 32x32; licence apache-2.0 (license); 3 labels (label_names)",
        "from timm's transforms: scale 255.0, color RGB",
    )
    assert [note.setting for note in made.assumed] == []
    at_test = prepared(folder, input_size=(48, 48))
    assert (at_test.preprocess.input_size, at_test.preprocess.crop_pct) == ((3, 48, 48), 1.0)
    with pytest.raises(ArgumentError, match="weights go with a torch model"):
        prepared(folder, weights="none")
    published(folder, CONFIG | {"architecture": "no_such_net"})
    assert "timm has no model 'no_such_net'" in refused(folder)
    published(folder, CONFIG | {"label_names": ["a", "b"]})
    assert "config.json: label_names has 2 labels for a model with 3 classes" in refused(folder)
    (folder / "model.safetensors").unlink()
    torch.save({"a": print}, folder / "pytorch_model.bin")
    assert "pytorch_model.bin cannot be read as weights" in refused(folder)
