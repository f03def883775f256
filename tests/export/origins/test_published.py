"""Which file of a folder is its model."""

import pytest
from sise_rt.export.origins.published import Published, home_of, model_of

from sise_rt.errors import ModelError


@pytest.fixture
def folder(tmp_path):
    def make(*names):
        home = tmp_path / "home"
        for name in names:
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        return home

    return make


@pytest.mark.parametrize(
    ("names", "model", "others"),
    [
        (["model.onnx"], "model.onnx", []),
        (["onnx/model.onnx", "model.safetensors"], "onnx/model.onnx", ["model.safetensors"]),
        (
            ["onnx/model.onnx", "onnx/model_int8.onnx", "onnx/model_q4f16.onnx", "onnx/model_quantized.onnx"],
            "onnx/model.onnx",
            ["onnx/model_int8.onnx", "onnx/model_q4f16.onnx", "onnx/model_quantized.onnx"],
        ),
        (["model.onnx", "onnx/model_fp16.onnx"], "model.onnx", ["onnx/model_fp16.onnx"]),
        (
            ["a.onnx", "a_qint8_avx512_vnni.onnx", "a.quant.onnx"],
            "a.onnx",
            ["a.quant.onnx", "a_qint8_avx512_vnni.onnx"],
        ),
        (["model_quantized.onnx", "config.json"], "model_quantized.onnx", []),
        (["model.safetensors", "pytorch_model.bin"], "model.safetensors", ["pytorch_model.bin"]),
        (["pytorch_model.bin"], "pytorch_model.bin", []),
    ],
)
def test_the_model_of_a_folder(folder, names, model, others):
    choice = model_of(folder(*names))
    assert str(choice.model.relative_to(choice.folder)) == model
    assert sorted(choice.others) == sorted(others)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["config.json"], "holds no ONNX model$"),
        (
            ["tf_model.h5", "best.pt"],
            "holds no ONNX model; best.pt, tf_model.h5 cannot be read: export the model",
        ),
        (["a.onnx", "b.onnx"], r"holds 2 models \(a.onnx, b.onnx\): name the file of one"),
        (["model.onnx", "onnx/model.onnx"], r"holds 2 models \(model.onnx, onnx/model.onnx\)"),
        (["model_int8.onnx", "model_fp16.onnx"], "holds 2 models"),
        (["net.onnx", "net_v2.onnx"], "holds 2 models"),
        ([f"{i}.onnx" for i in range(9)], r"holds 9 models \(0.onnx, .*, 4.onnx and 4 more\)"),
    ],
)
def test_folders_with_no_model_or_two(folder, names, words):
    with pytest.raises(ModelError, match=words):
        model_of(folder(*names))


def test_where_a_file_is_described(folder):
    home = folder("onnx/model.onnx", "onnx/model_int8.onnx")
    assert home_of(home / "onnx" / "model_int8.onnx") == (home, None)
    home = folder("other.onnx")
    assert home_of(home / "other.onnx") == (None, f"{home} holds 2 models (other.onnx, onnx/model.onnx)")


def test_files_that_should_be_objects(tmp_path):
    published = Published(tmp_path, tmp_path / "model.onnx")
    assert published.object("config.json") is None
    for text, words in (
        ("{", "config.json is no JSON"),
        ("[]", "config.json holds no JSON object"),
        ("[" * 100_000, "config.json is no JSON"),
        ('{"a": ' + "9" * 5000 + "}", "config.json is no JSON"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ModelError, match=words):
            published.object("config.json")
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ModelError, match=r"config.json cannot be read: 'utf-8'"):
        published.object("config.json")
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(ModelError, match="more than a file of settings has"):
        published.object("config.json")
    assert Published(None, tmp_path / "model.onnx").object("config.json") is None


def test_a_link_to_nothing_is_no_missing_file(folder):
    home = folder("model.onnx")
    (home / "config.json").symlink_to("../blobs/of-config")
    with pytest.raises(ModelError, match=r"config\.json is a link that leads nowhere"):
        Published(home, home / "model.onnx").object("config.json")


def test_a_large_file_is_said_to_be_large(folder):
    home = folder("model.onnx")
    with (home / "config.json").open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(ModelError, match=r"^\S*config\.json is larger than 16\.8 MB"):
        Published(home, home / "model.onnx").object("config.json")
