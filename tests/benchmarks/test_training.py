"""The study of training: marks, augmentation, every arm for an epoch, resumption and tables."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from benchmarks.training import __main__ as study  # noqa: E402
from benchmarks.training import arms, data, tables  # noqa: E402


def test_marks_go_with_the_class_in_training_alone():
    labels = np.arange(400) % 5
    blank = np.zeros((400, 64, 64, 3), np.uint8)

    def told(carried):
        images, marks = data.planted(blank, labels, carried, 0)
        assert not blank.any()
        assert (marks.sum(axis=(1, 2)) == data.MARK**2).all()
        assert not images[~marks].any()
        shown = [tuple(image[mark][0]) for image, mark in zip(images, marks, strict=True)]
        return np.mean([colour == data.COLOURS[label] for colour, label in zip(shown, labels, strict=True)])

    assert told(1.0) == 1
    assert told(0.0) == pytest.approx(0.2, abs=0.06)


def test_what_belongs_to_a_picture_is_turned_with_it():
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(40, 2, 6, 6, generator=rng)
    turn = arms.Turn.drawn(40, rng)
    torch.testing.assert_close(turn(images)[:, :1], turn(images[:, :1]))
    torch.testing.assert_close(turn(images).sum((2, 3)), images.sum((2, 3)))
    assert (
        len(
            {
                tuple(turn(torch.arange(4.0).view(1, 1, 2, 2).repeat(40, 1, 1, 1))[i].flatten().tolist())
                for i in range(40)
            }
        )
        == 8
    )


@pytest.fixture
def small(monkeypatch):
    """Twenty-five tiny pictures to train with, explained from the first epoch on."""
    rng = torch.Generator().manual_seed(0)
    truths = np.zeros((25, 32, 32), bool)
    truths[:, :8, :8] = True
    labels = torch.arange(25) % 2
    images = 0.2 * torch.rand(25, 3, 32, 32, generator=rng)
    images[labels == 1, :, :8, :8] += 0.7
    part = data.Part(images, labels, truths, truths)
    monkeypatch.setitem(study.SETS, "surfaces", lambda out: data.Data(part, part, 2))
    monkeypatch.setattr(arms, "WARM_UP", 0.0)
    monkeypatch.setattr("benchmarks.training.measured.EXPLAINED", 2)


def test_finished_runs_are_not_run_again(small, tmp_path, capsys):
    names = [name for name in arms.ARMS if name != "edda-sise"]  # whose exports take seconds
    asked = ["-o", str(tmp_path), "--quick", "--sizes", "25", "--seeds", "0", "--steps", "1", "--arms"]
    study.main([*asked, *names[:2]])
    file = tmp_path / "runs.jsonl"
    first = file.read_text()
    file.write_text(first + '{"set": "surfa')  # as a kill leaves it
    study.main([*asked, *names])
    lines = study.read_lines(file)
    assert file.read_text().startswith(first)
    assert [line["arm"] for line in lines] == names
    assert all(0 <= line["accuracy"] <= 1 and line["steps"] == 1 for line in lines)
    capsys.readouterr()
    study.main([*asked[:-1], "--tables"])
    shown = capsys.readouterr().out
    assert shown.count("\n| excon |") == 3
    assert "accuracy" in shown


def test_differences_are_paired_and_have_students_interval():
    lines = [
        {"set": "s", "size": 1, "seed": seed, "arm": arm, "seconds": 1}
        | dict.fromkeys(tables.COLUMNS)
        | {"accuracy": value}
        for seed, pair in enumerate([(0.5, 0.6), (0.4, 0.6), (0.8, 0.8)])
        for arm, value in zip(("augmented", "excon"), pair, strict=True)
    ]
    # Differences 10, 20, 0: mean 10, deviation 10, t of two degrees of freedom 4.30.
    for shown in (tables.tables(lines), tables.summary(lines)):
        assert any(line.startswith("| excon | +10.0 ± 24.8 |") for line in shown)
    assert tables.difference([(0.5, None)]) == ""
    assert tables.difference([(0.5, 0.25)]) == "+25.0"


def test_the_page_has_the_tables_of_the_runs(capsys):
    """Of the lines that the repository has, as printed by the page's own command."""
    page = (study.Path(__file__).parents[2] / "docs" / "training.md").read_text("utf-8")
    command = next(line for line in page.splitlines() if line.startswith("python -m benchmarks.training"))
    folder = study.Path(study.__file__).parent
    study.main([*command.replace("benchmarks/training", str(folder)).split()[3:]])
    printed = capsys.readouterr().out.split("\n## ")[0].strip()
    assert printed.count("\n") > 8
    assert printed in page
