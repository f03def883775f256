"""What a command is given in place of a bundle, and what a shell completes of one."""

import shutil

import click
import pytest

from sise_rt.commands.bundle_path import complete_target, instead_of, labels_of
from sise_rt.commands.group import run


@pytest.fixture
def given(tmp_path, monkeypatch, small_bundle):
    """A folder of what may be given, in which the process is."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_bundle, "a.sise")
    for name in ("model.onnx", "my net.onnx", "net.pt", "notes.txt", "hub/config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"?")
    return tmp_path


INSTEAD = {
    "model.onnx": "model.onnx is a model, not a bundle: export it first: sise-rt export model.onnx",
    "my net.onnx": "my net.onnx is a model, not a bundle: export it first: sise-rt export 'my net.onnx'",
    "no.onnx": "no such file: no.onnx; a model is exported before it is explained: sise-rt export no.onnx",
    "timm:resnet18": "timm:resnet18 is a model, not a bundle: export it first: sise-rt export timm:resnet18",
    "hub": "hub holds a model and is no bundle: export it first: sise-rt export hub",
    "a.sise/manifest.json": "a.sise/manifest.json is a file of a bundle: give the folder: a.sise",
    "a.sise/score.onnx": "a.sise/score.onnx is a file of a bundle: give the folder: a.sise",
    "net.pt": "net.pt is a file of torch, not a bundle: export the model with its weights first: "
    "sise-rt export timm:NAME --weights net.pt (or torchvision:NAME, package.module:factory)",
}


@pytest.mark.parametrize("name", INSTEAD)
@pytest.mark.parametrize(
    "command", [["explain", "a.png", "-m"], ["verify"], ["providers", "-m"]], ids=lambda words: words[0]
)
def test_what_is_no_bundle_is_one_line_that_says_what_to_do(given, capsys, command, name):
    assert run([*command, name]) == 2
    assert capsys.readouterr() == ("", f"error: {INSTEAD[name]}\n")


@pytest.mark.parametrize("name", ["a.sise", "nothing.sise", "notes.txt"])
def test_what_may_be_a_bundle_is_left_to_who_reads_it(given, name):
    assert instead_of(name) is None


def test_a_folder_called_like_a_model_may_be_a_bundle(given):
    shutil.move("a.sise", "a.onnx")
    assert instead_of("a.onnx") is None


def test_labels_are_read_without_the_weights(given):
    (given / "a.sise" / "weights.bin").unlink()
    assert labels_of("a.sise") == ("a", "b", "c", "d", "e")
    for other in ("nothing.sise", "notes.txt", "hub"):
        assert labels_of(other) == ()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", ["tabby", "1", "plane", "3"]),
        ("T", ["tabby"]),
        ("p", ["plane"]),
        ("1", ["1"]),
        ("z", []),
    ],
)
def test_targets_are_completed_as_a_shell_can_type_them(monkeypatch, typed, offered):
    labels = ("tabby, tabby cat", "tiger cat", "plane", "it's")
    monkeypatch.setattr("sise_rt.commands.bundle_path.labels_of", lambda _: labels)
    context = click.Context(click.Command("explain"))
    items = complete_target(context, click.Option(["-t"]), typed)
    assert [item.value for item in items] == offered
    assert all(item.help in labels for item in items)


def test_who_has_no_bundle_is_told_where_they_come_from(capsys):
    assert run(["explain", "a.png"]) == 2
    says = "error: Missing option '-m' / '--model'. A bundle is what sise-rt export makes of a model."
    assert capsys.readouterr().err.splitlines()[-1] == says
