import numpy as np
import pytest

from sise_rt.drawing.sizes import drawn_size, fit_picture
from sise_rt.errors import ArgumentError


@pytest.mark.parametrize(
    ("original", "size", "drawn"),
    [
        ((160, 160), 512, (512, 512)),
        ((160, 320), 512, (512, 1024)),
        ((600, 800), 512, (600, 800)),  # large enough: as it is
        ((600, 800), 900, (900, 1200)),
        ((1, 1), 512, (512, 512)),
        ((4000, 6000), 512, (1633, 2449)),  # 4 million pixels
        ((4000, 6000), 3000, (3000, 4500)),  # but what is asked for is given
        ((24, 600), 512, (82, 2048)),  # 4 times 512
        ((600, 24), 512, (2048, 82)),
        ((30, 4000), 512, (30, 4000)),
        ((1, 10_000), 512, (1, 10_000)),
        ((1, 10_000_000), 512, (1, 16_384)),
        ((10_000_000, 1), 4096, (16_384, 1)),
        ((32, 32), 64, (64, 64)),
    ],
)
def test_the_size_of_a_drawing(original, size, drawn):
    assert drawn_size(original, size) == drawn


@pytest.mark.parametrize("size", [0, 31, 4097])
def test_sizes_that_cannot_be(size):
    with pytest.raises(ArgumentError, match="32 to 4096 pixels") as refused:
        drawn_size((160, 160), size)
    assert refused.value.settings == ("size",)


def test_small_pictures_are_enlarged_smoothly_and_tiny_ones_show_their_pixels():
    ramp = np.repeat(np.array([[0, 255]], np.uint8)[..., None], 3, axis=2)
    squares = fit_picture(ramp, (20, 20 * 2))
    assert set(np.unique(squares)) == {0, 255}
    picture = np.random.default_rng(0).integers(0, 256, (100, 150, 3), np.uint8)
    assert fit_picture(picture, (100, 150)) is picture
    smooth = fit_picture(np.repeat(ramp, 2, axis=0), (6, 6))
    assert len(np.unique(smooth)) > 3
    halved = fit_picture(picture, (50, 75))
    means = picture.reshape(50, 2, 75, 2, 3).mean(axis=(1, 3))
    assert np.abs(halved - means).max() <= 1


@pytest.mark.parametrize("original", [(160, 160), (100, 390), (390, 100), (2, 3000), (3000, 2)])
def test_several_drawings_together_are_no_larger_than_one_may_be(original):
    height, width = drawn_size(original, 4096, panels=3)
    assert 3 * height * width <= 4 * 4096**2 * 1.001
    assert max(height, width) <= 4 * 4096
    assert drawn_size(original, 512, panels=3) == drawn_size(original, 512)
