"""The demo's generator of metal surfaces: repeatable pictures whose masks are true."""

import csv
import subprocess
import sys

import cv2
import numpy as np
import pytest

from examples.surface import generate as surface

DEFECTS = surface.CLASSES[1:]


@pytest.mark.parametrize("label", surface.CLASSES)
@pytest.mark.parametrize("size", [160, 96])
def test_shapes_and_types(label, size):
    image, mask = surface.generate(np.random.default_rng(3), label, size)
    assert (image.shape, image.dtype) == ((size, size, 3), np.uint8)
    assert (mask.shape, mask.dtype) == ((size, size), bool)
    assert image.std() > 3


@pytest.mark.parametrize("label", surface.CLASSES)
def test_same_seed_same_picture(label):
    first, second = (surface.generate(np.random.default_rng(5), label) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert (surface.generate(np.random.default_rng(6), label)[0] != first[0]).any()


def test_one_stream_draws_different_pictures():
    rng = np.random.default_rng(0)
    first, second = (surface.generate(rng, "pit")[0] for _ in range(2))
    assert (first != second).any()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("label", DEFECTS)
def test_mask_marks_what_the_defect_changed(label, seed):
    clean, nothing = surface.generate(np.random.default_rng(seed), "normal")
    image, mask = surface.generate(np.random.default_rng(seed), label)
    change = np.abs(image.astype(int) - clean).mean(axis=2)
    assert not nothing.any()
    assert 15 <= mask.sum() <= 0.2 * mask.size
    assert change[mask].mean() >= max(surface.MIN_CHANGE, surface.MIN_CONTRAST * clean[mask].mean())
    # the blurred edge of a defect reaches a little beyond its mask; further away nothing changes
    far = ~cv2.dilate(mask.astype(np.uint8), np.ones((15, 15), np.uint8)).astype(bool)
    assert change[far].max() == 0


def test_brightness_alone_does_not_tell_the_classes_apart():
    means = {c: [] for c in surface.CLASSES}
    for seed in range(20):
        for label in surface.CLASSES:
            means[label].append(surface.generate(np.random.default_rng(seed), label, 64)[0].mean())
    spread = np.std(means["normal"])
    for label in DEFECTS:
        assert abs(np.mean(means[label]) - np.mean(means["normal"])) < 0.3 * spread


def test_picture_does_not_depend_on_the_others_of_its_set():
    image, mask, label = surface.picture(7, 11)
    again, same_mask = surface.generate(np.random.default_rng((7, 11)), surface.CLASSES[label])
    assert label == 11 % len(surface.CLASSES)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(mask, same_mask)


def test_command_writes_images_masks_and_labels(tmp_path):
    command = [sys.executable, surface.__file__, str(tmp_path), "--count", "6", "--seed", "2"]
    subprocess.run(command, check=True)
    with open(tmp_path / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [*surface.CLASSES, "normal"]
    for index, row in enumerate(rows):
        assert row["file"] == f"{row['label']}_{index}.png"
        image, mask, _ = surface.picture(2, index)
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "images" / row["file"]))[..., ::-1], image)
        stored = cv2.imread(str(tmp_path / "masks" / row["file"]), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(stored, mask.astype(np.uint8) * 255)


def test_network_has_five_resolutions_and_is_small():
    torch = pytest.importorskip("torch")
    from examples.surface import network

    model = network.SurfaceNet().eval()
    sides = []
    for level in range(1, 6):
        block = getattr(model, f"block{level}")
        block.register_forward_hook(lambda _, __, maps: sides.append(maps.shape[-1]))
    assert model(torch.zeros(2, 3, surface.SIZE, surface.SIZE)).shape == (2, len(surface.CLASSES))
    assert sides == [160, 80, 40, 20, 10]
    assert sum(p.numel() for p in model.parameters()) <= 600_000
