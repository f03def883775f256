"""Torch modules as people have them: what they give, what they are wrapped in, what they are stored in."""

import dataclasses
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from sise_rt.export import export  # noqa: E402
from sise_rt.export.intake.torch_modules import deployed  # noqa: E402

import sise_rt  # noqa: E402
from sise_rt.errors import ModelError  # noqa: E402


@dataclasses.dataclass
class Result:
    """What some libraries give."""

    logits: torch.Tensor
    loss: object = None


class Net(nn.Module):
    """Two convolutions and a classifier, with something behind."""

    def __init__(self, classes=5, behind=lambda scores: scores):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 12, 3, 2, 1)
        self.head, self.behind = nn.Linear(12, classes), behind

    def forward(self, images):
        maps = torch.relu(self.b(torch.relu(self.a(images))))
        return self.behind(self.head(maps.mean((2, 3))))


EXPORTED = {
    "mapping": lambda: Net(behind=lambda y: {"logits": y}),
    "mapping of several": lambda: Net(behind=lambda y: {"features": 2 * y, "logits": y}),
    "dataclass": lambda: Net(behind=Result),
    "tuple with None": lambda: Net(behind=lambda y: (y, None)),
    "list": lambda: Net(behind=lambda y: [y]),
    "half": lambda: Net().half(),
    "double": lambda: Net().double(),
    "bfloat16": lambda: Net().bfloat16(),
    "frozen": lambda: Net().requires_grad_(False),
    "detached": lambda: Net(behind=lambda y: y.detach()),
    "data parallel": lambda: nn.DataParallel(Net()),
    "compiled": lambda: torch.compile(Net(), backend="eager"),
}


def logits_of(bundle, images):
    return sise_rt.load(bundle, provider="cpu").engine.forward(images.numpy())


@pytest.mark.parametrize("kind", EXPORTED)
def test_modules_are_exported_with_their_numbers(tmp_path, kind):
    report = export(EXPORTED[kind](), tmp_path / "m.sise", input_size=(32, 32))
    assert [block.channels for block in report.manifest.blocks] == [8, 12]
    images = torch.randn(1, 3, 32, 32)
    dtype = {"half": torch.float16, "bfloat16": torch.bfloat16}.get(kind, torch.float32)
    with torch.no_grad():
        wanted = Net().to(dtype).float()(images)
    np.testing.assert_allclose(logits_of(tmp_path / "m.sise", images), wanted, rtol=1e-4, atol=1e-5)
    against = report.manifest.parity.reference
    assert ("autograd" in against) == (kind != "detached")


def test_one_score_an_image_without_an_axis_of_classes(tmp_path):
    report = export(Net(1, lambda y: y.squeeze(1)), tmp_path / "m.sise", input_size=(32, 32))
    assert report.manifest.classes == 2
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        score = Net(1)(images).item()
    np.testing.assert_allclose(
        logits_of(tmp_path / "m.sise", images)[0], [-score, score], rtol=1e-4, atol=1e-6
    )


def test_several_results_are_chosen_by_name(tmp_path):
    several = Net(behind=lambda y: (y, 3 * y))
    report = export(several, tmp_path / "m.sise", input_size=(32, 32), output_name="1")
    assert any("'1' is explained" in note for note in report.notes)
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        wanted = 3 * Net()(images)
    np.testing.assert_allclose(logits_of(tmp_path / "m.sise", images), wanted, rtol=1e-4, atol=1e-5)


class Lazy(Net):
    """A classifier that learns its extents as it first runs."""

    def __init__(self):
        super().__init__()
        self.head = nn.LazyLinear(5)


REFUSED = {
    "scalar": (lambda: Net(behind=lambda y: y.mean()), r"gives a tensor of shape \(\) for 2 images"),
    "nothing": (lambda: Net(behind=lambda y: None), "gives NoneType without a tensor of floats"),
    "several": (lambda: Net(behind=lambda y: (y, y)), r"gives 2 tensors, choose one: 0 \(2, 5\), 1 \(2, 5\)"),
    "lazy": (Lazy, "'head.weight' gets its shape when the module first runs"),
    "meta": (lambda: Net().to("meta"), "'a.weight' is on the device 'meta'"),
    "signal": (lambda: nn.Conv1d(3, 8, 3), "of the kind Conv1d: it takes signals"),
    "volume": (lambda: nn.Conv3d(3, 8, 3), "of the kind Conv3d: it takes videos or volumes"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_modules_that_are_refused_say_why(tmp_path, kind):
    build, words = REFUSED[kind]
    with pytest.raises(ModelError, match=words) as caught:
        export(build(), tmp_path / "m.sise", input_size=(32, 32))
    assert "\n" not in str(caught.value)


class Counting(Net):
    """Gives something else from its third run on."""

    runs = 0

    def forward(self, images):
        self.runs += 1
        return super().forward(images) * (1 if self.runs < 3 else -1)


def test_a_module_that_answers_otherwise_the_next_time_is_refused(tmp_path):
    with pytest.raises(ModelError, match="gives something else for the same images when it is run again"):
        export(Counting(), tmp_path / "m.sise", example=torch.rand(1, 3, 32, 32))
    assert not (tmp_path / "m.sise").exists()


def test_numbers_that_are_not_finite_are_the_same_again():
    example = torch.rand(2, 3, 32, 32)
    deployed(Net(behind=lambda y: y * float("nan")), example, None).require_same_again(example)


def test_another_shape_is_something_else():
    counts, example = itertools.count(1), torch.rand(2, 3, 32, 32)
    ready = deployed(Net(behind=lambda y: y[:, : next(counts)]), example, None)
    with pytest.raises(ModelError, match="gives something else for the same images"):
        ready.require_same_again(example)


def test_a_module_in_training_mode_is_exported_in_evaluation_mode_and_left_as_it_was(tmp_path):
    net = Net(behind=nn.Dropout(0.5)).train()
    report = export(net, tmp_path / "m.sise", example=torch.rand(1, 3, 32, 32))
    assert net.training
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = net.eval()(images).numpy()
    np.testing.assert_allclose(logits_of(report.path, images), expected, atol=1e-5)


def test_batch_normalisation_without_running_statistics_is_named(tmp_path):
    net = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), Net())
    with pytest.raises(ModelError, match="running statistics in every batch normalisation"):
        export(net, tmp_path / "m.sise", example=torch.rand(1, 3, 32, 32))
