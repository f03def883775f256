"""Where input size, preprocessing and labels come from."""

import pytest
from sise_rt.export.intake.interface import Interface
from sise_rt.export.intake.normalisation import Normalisation
from sise_rt.export.origins.description import Description
from sise_rt.export.settings import IMAGENET, image_size, normalisation_warning, preprocessing

from sise_rt.errors import ArgumentError, ModelError

NOTHING = Description()


def ends(*dims):
    nhwc = dims[-1] == 3
    return Interface("x", "y", (None, *dims), "NHWC" if nhwc else "NCHW")


@pytest.mark.parametrize(
    ("dims", "wanted", "described", "size", "noted"),
    [
        ((3, 64, 48), None, None, (3, 64, 48), False),
        ((64, 48, 3), None, None, (3, 64, 48), False),
        ((3, None, None), None, None, (3, 224, 224), True),
        ((3, None, None), (100, 120), None, (3, 100, 120), False),
        ((3, None, None), (100, 120), (3, 64, 64), (3, 100, 120), False),
        ((3, None, None), None, (3, 64, 96), (3, 64, 96), False),
        ((None, None, None), None, (1, 64, 96), (1, 64, 96), False),
        ((3, 64, 48), (64, 48), None, (3, 64, 48), False),
    ],
)
def test_image_size(dims, wanted, described, size, noted):
    found, note = image_size(ends(*dims), wanted, Description.of("config.json", input_size=described))
    assert found == size
    assert bool(note) == noted
    assert not noted or (note, note.setting) == ("input size 224x224", "input_size")


def test_image_sizes_that_do_not_fit():
    with pytest.raises(ModelError, match="takes 64x48 pixels, which contradicts an input size of 64x64"):
        image_size(ends(3, 64, 48), (64, 64), NOTHING)
    with pytest.raises(ModelError, match="takes 64xany pixels"):
        image_size(ends(3, 64, None), (32, 64), NOTHING)
    for size in (None, (None, 64, 48)):
        with pytest.raises(ModelError, match="'x' leaves its channels free"):
            image_size(ends(None, 64, 48), None, Description.of("config.json", input_size=size))


def test_a_described_size_that_is_not_the_models():
    small = Description.of("config.json", input_size=(3, 32, 32))
    words = "config.json: input_size says 32x32 with 3 channels, and the model takes 64x48 with 3 channels"
    with pytest.raises(ModelError, match=words) as caught:
        image_size(ends(3, 64, 48), None, small)
    assert caught.value.settings == ("input_size",)
    assert image_size(ends(3, 64, 48), (64, 48), small) == ((3, 64, 48), None)
    with pytest.raises(
        ModelError, match="says 32x32 with 3 channels, and the model takes any size with 1 channel"
    ):
        image_size(ends(1, None, None), (32, 32), small)
    others = Description.of("timm abc", of_other_weights=True, input_size=(3, 32, 32))
    assert image_size(ends(3, 64, 48), None, others) == ((3, 64, 48), None)


def test_imagenet_is_assumed_and_said():
    settings, assumed = preprocessing((3, 32, 32), {}, NOTHING)
    assert settings.mean == IMAGENET["mean"]
    assert settings.color == "RGB"
    assert [note.split()[0] for note in assumed] == [*IMAGENET, "color"]
    assert "mean 0.485,0.456,0.406" in assumed
    assert [note.setting for note in assumed] == [*IMAGENET, "color"]


def test_user_before_source_before_convention():
    metadata = Description.of("the source", mean=(0.5,), std=(0.25, 0.5, 1.0))
    settings, assumed = preprocessing(
        (3, 32, 32), {"mean": (0.1, 0.2, 0.3), "scale": 1, "color": "bgr"}, metadata
    )
    assert settings.mean == (0.1, 0.2, 0.3)
    assert settings.std == (0.25, 0.5, 1.0)
    assert (settings.scale, settings.color) == (1.0, "BGR")
    assert [note.split()[0] for note in assumed] == ["interpolation", "crop_pct", "crop_mode"]


def test_one_value_stands_for_every_channel():
    settings, _ = preprocessing((3, 32, 32), {"mean": 0.5, "std": (0.5,)}, NOTHING)
    assert settings.mean == (0.5,) * 3
    assert settings.std == (0.5,) * 3


def test_settings_of_other_weights_are_said():
    others = Description.of("timm abc", of_other_weights=True, mean=(0.5,) * 3, std=(0.25,) * 3)
    _, assumed = preprocessing((3, 32, 32), {}, others)
    assert "mean 0.5,0.5,0.5, as for timm abc" in assumed


@pytest.mark.parametrize(("channels", "color"), [(1, "GRAY"), (4, "RGB")])
def test_other_channel_counts(channels, color):
    settings, _ = preprocessing((channels, 32, 32), {}, NOTHING)
    assert settings.mean == (0.0,) * channels
    assert settings.color == color


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mean": (0.5, 0.5)}, "mean has 2 values for 3 channels: give one, or one a channel"),
        ({"mean": (0.0,), "std": (1, 0.0, 1)}, "std 0.0, where 1e-9 to 1e9 is needed"),
        ({"mean": (0.0,), "std": (-1,)}, "std -1.0, where"),
        ({"scale": 0}, "scale 0.0, where 1e-9 to 1e9 is needed"),
        ({"scale": float("inf")}, "scale inf, where"),
        ({"crop_pct": 1.5}, "crop_pct 1.5, where 0.01 to 1 is needed"),
        ({"interpolation": "box"}, "interpolation 'box'; known are nearest, bilinear, bicubic, lanczos"),
        ({"crop_mode": "border"}, "crop_mode 'border'; known are center, squash"),
        ({"color": "CMYK"}, "color 'CMYK'; known are RGB, BGR, GRAY"),
        ({"color": "gray"}, "color GRAY does not go with 3 channels of the model's input: use RGB or BGR"),
        ({"mean": (float("nan"),), "std": (1,)}, "mean nan, where -1e9 to 1e9 is needed"),
        ({"scale": "much"}, "scale is 'much', where a number is needed"),
        ({"mean": "grey"}, "mean is 'grey', where a number is needed"),
    ],
)
def test_settings_that_are_refused(given, words):
    with pytest.raises(ModelError, match=words):
        preprocessing((3, 32, 32), given, NOTHING)


@pytest.mark.parametrize(
    ("channels", "color", "words"),
    [
        (1, "RGB", "1 channel of the model's input: use GRAY"),
        (1, "BGR", "1 channel of"),
        (4, "GRAY", "4 channels of the model's input: leave it out"),
        (12, "BGR", "12 channels of"),
    ],
)
def test_a_colour_that_the_channels_do_not_have(channels, color, words):
    with pytest.raises(ModelError, match=f"color {color} does not go with {words}"):
        preprocessing((channels, 32, 32), {"color": color}, NOTHING)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"color": "BGR"}, "config.json: color is BGR, and the model takes 1 channel"),
        ({"mean": (0.5,) * 3, "std": 1}, "config.json: mean is 0.5,0.5,0.5, and the model takes 1 channel"),
    ],
)
def test_what_a_file_says_of_other_channels(said, words):
    with pytest.raises(ModelError, match=words) as caught:
        preprocessing((1, 32, 32), {}, Description.of("config.json", **said))
    assert caught.value.settings == tuple(said)[:1]
    settings, _ = preprocessing(
        (1, 32, 32),
        dict.fromkeys(said, "GRAY") if "color" in said else {"mean": 0, "std": 1},
        Description.of("config.json", **said),
    )
    assert settings.color == "GRAY"


def test_absurd_sizes_are_refused_before_anything_is_made():
    with pytest.raises(ModelError, match=r"3 channels and 300000x300000 pixels .* input_size"):
        image_size(ends(3, None, None), (300_000, 300_000), NOTHING)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mean": (0.5,)}, "mean and std go together"),
        ({"std": (0.5,)}, "mean and std go together"),
        ({"mean": (123.7, 116.3, 103.5), "std": (58.0,)}, "give a scale of 1"),
    ],
)
def test_half_a_normalisation_is_refused(given, message):
    with pytest.raises(ModelError, match=message):
        preprocessing((3, 32, 32), given, NOTHING)


def test_a_mean_of_unscaled_pixels_needs_the_scale():
    settings, _ = preprocessing((3, 32, 32), {"mean": (123.7,), "std": (58.0,), "scale": 1.0}, NOTHING)
    assert settings.mean == (123.7,) * 3


@pytest.mark.parametrize(
    ("size", "crop"),
    [
        ((3, 224, 224), 0.875),
        ((3, 128, 128), 0.875),
        ((3, 96, 96), 1.0),
        ((3, 32, 32), 1.0),
        ((3, 224, 256), 1.0),
        ((1, 12, 500), 1.0),
        ((1, 224, 224), 1.0),
        ((5, 224, 224), 1.0),
    ],
)
def test_a_crop_is_assumed_of_photographs_alone(size, crop):
    settings, assumed = preprocessing(size, {}, NOTHING)
    assert (settings.crop_pct, settings.crop_assumed) == (crop, True)
    assert f"crop_pct {crop}" in assumed
    assert not preprocessing(size, {"crop_pct": 0.9}, NOTHING)[0].crop_assumed
    assert not preprocessing(size, {}, Description.of("x", crop_pct=0.9))[0].crop_assumed


def test_a_bit_depth_brings_its_scale():
    settings, assumed = preprocessing((3, 32, 32), {"bit_depth": 12}, NOTHING)
    assert (settings.bit_depth, settings.scale) == (12, 4095)
    assert "scale 4095.0" in assumed
    raw = {"bit_depth": 16, "scale": 1, "mean": (30000.0,), "std": (9000.0,)}
    settings, _ = preprocessing((1, 32, 32), raw, NOTHING)
    assert (settings.bit_depth, settings.scale, settings.mean) == (16, 1, (30000,))
    assert preprocessing((3, 32, 32), {}, NOTHING)[0].bit_depth == 8
    assert preprocessing((3, 32, 32), {"scale": 256}, NOTHING)[0].scale == 256


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scale": 65535}, "scale of 65535 is above the largest pixel of 8 bits, 255: give the bit depth"),
        ({"scale": 65535, "bit_depth": 12}, "above the largest pixel of 12 bits, 4095"),
        (
            {"scale": 1, "mean": (1000,), "std": (1,)},
            "mean 1000,1000,1000 is above the brightest pixel, 255 by",
        ),
        (
            {"scale": 255, "bit_depth": 12},
            "scale of 255 is that of 8-bit pixels, and those of 12 bits reach 4095",
        ),
        ({"bit_depth": 7}, "bit_depth is '7', where 8 to 16 is needed"),
        ({"bit_depth": 12.5}, "bit_depth is '12.5'"),
        ({"bit_depth": True}, "bit_depth is 'True'"),
    ],
)
def test_a_normalisation_of_other_pixels_is_refused(given, message):
    with pytest.raises(ModelError, match=message) as caught:
        preprocessing((3, 32, 32), given, NOTHING)
    assert "bit_depth" in caught.value.settings


@pytest.mark.parametrize("key", ["Mean", "input_size", "means", ""])
def test_a_setting_that_there_is_not_is_refused(key):
    with pytest.raises(
        ArgumentError, match=f"preprocessing has no '{key}'; there are bit_depth, color, crop_mode"
    ):
        preprocessing((3, 224, 224), {"mean": None, key: 1}, NOTHING)


def own(mean, std, steps="divides by 127.5 (node '/Div')", channels=()):
    return Normalisation(mean, std, steps, channels)


WHOLE, SCALED = own(127.5, 127.5), own(0.485, 0.229)


def test_a_model_that_takes_whole_pixels_is_given_them():
    settings, assumed = preprocessing((3, 32, 32), {}, NOTHING, WHOLE)
    assert (settings.scale, settings.mean, settings.std) == (1.0, (0.0,) * 3, (1.0,) * 3)
    assert "scale 1.0, as the model takes pixels of 0 to 255: it divides by 127.5 (node '/Div')" in assumed
    assert {"mean 0,0,0", "std 1,1,1"} <= set(assumed)
    assert normalisation_warning(settings, set(), WHOLE) is None
    settings, _ = preprocessing((3, 32, 32), {"mean": 0, "std": 1}, NOTHING, WHOLE)
    assert settings.scale == 1
    deep, _ = preprocessing((3, 32, 32), {"bit_depth": 12}, NOTHING, WHOLE)
    assert deep.scale == 1


@pytest.mark.parametrize(("given", "bits"), [({}, 12), ({"bit_depth": 12}, 8)])
def test_a_model_of_pixels_of_another_depth_is_refused(given, bits):
    whole = Normalisation(0, 4095, "divides by 4095 (node '/Div')", bits=bits)
    with pytest.raises(ModelError, match=rf"takes pixels of {bits} bits, as it divides by 4095"):
        preprocessing((3, 32, 32), given, NOTHING, whole)


@pytest.mark.parametrize(
    "given", [{"scale": 255}, {"mean": 0.5, "std": 0.5}, {"scale": 255, "mean": 0.5, "std": 0.5}]
)
def test_scaled_pixels_for_a_model_that_takes_whole_ones_are_warned_of(given):
    settings, _ = preprocessing((3, 32, 32), given, NOTHING, WHOLE)
    assert settings.scale == 255
    warning = normalisation_warning(settings, set(given), WHOLE)
    assert warning.startswith(
        "the model takes pixels of 0 to 255, as it divides by 127.5 (node '/Div'); by scale 255"
    )
    assert warning.endswith("set scale 1, mean 0 and std 1")


@pytest.mark.parametrize(("mean", "std"), [(0, 65535), (32768, 1), (0, 4095)])
def test_a_model_for_deeper_pixels_than_those_it_gets_is_warned_of(mean, std):
    deeper = own(mean, std)
    settings, _ = preprocessing((3, 32, 32), {}, NOTHING, deeper)
    warning = normalisation_warning(settings, set(), deeper)
    assert "as for pixels far above the 255 of 8 bits: set the bit depth" in warning
    settings, _ = preprocessing((3, 32, 32), {"bit_depth": 16}, NOTHING, deeper)
    assert (settings.scale, normalisation_warning(settings, set(), deeper)) == (1, None)


def test_a_normalisation_on_top_of_the_models_own_is_warned_of():
    settings, _ = preprocessing((3, 32, 32), {}, NOTHING, SCALED)
    assert settings.mean == IMAGENET["mean"]
    warning = normalisation_warning(settings, set(), SCALED)
    assert warning.startswith(
        "the model itself divides by 127.5 (node '/Div') before its first layer, and mean"
    )
    for given in ({"mean": 0, "std": 1}, {"mean": 0.5, "std": 0.5}):
        settings, _ = preprocessing((3, 32, 32), given, NOTHING, SCALED)
        assert normalisation_warning(settings, set(given), SCALED) is None


def test_one_normalisation_that_is_brought_to_another_confirms_what_is_assumed():
    pairs = zip(IMAGENET["mean"], IMAGENET["std"], strict=True)
    channels = tuple((std / 0.5, (mean - 0.5) / 0.5) for mean, std in pairs)  # torchvision's transform_input
    transform = own(0.1, 2.2, channels=channels)
    settings, _ = preprocessing((3, 32, 32), {}, NOTHING, transform)
    assert normalisation_warning(settings, set(), transform) is None
    assert normalisation_warning(settings, set(), own(0.1, 2.2, channels=channels[::-1]))


def test_imagenets_mean_and_std_are_of_scaled_pixels():
    settings, assumed = preprocessing((3, 32, 32), {"scale": 1}, NOTHING)
    assert (settings.mean, settings.std) == ((0.0,) * 3, (1.0,) * 3)
    assert "mean 0,0,0" in assumed
    assert preprocessing((3, 32, 32), {}, Description.of("x", scale=1.0))[0].mean == (0.0,) * 3
    for size in ((3, 32, 32), (1, 32, 32)):
        with pytest.raises(ModelError, match=r"mean and std are known by no convention for a scale of 127.5"):
            preprocessing(size, {"scale": 127.5}, NOTHING)
    assert preprocessing((3, 32, 32), {"scale": 127.5, "mean": 1, "std": 1}, NOTHING)[0].mean == (1.0,) * 3
    with pytest.raises(ModelError, match=r"a scale of 255 is that of 8-bit pixels"):
        preprocessing((3, 32, 32), {"bit_depth": 12}, Description.of("x", scale=255))


def test_a_mean_of_unscaled_pixels_in_metadata_brings_their_scale():
    metadata = Description.of("x", mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))
    settings, assumed = preprocessing((3, 32, 32), {}, metadata)
    assert settings.scale == 1
    assert "scale 1.0, as that mean is of pixels of 0 to 255" in assumed
    with pytest.raises(ModelError, match="std 255,255,255 is on the scale of pixels 0 to 255"):
        preprocessing((3, 32, 32), {"mean": 0, "std": 255}, NOTHING)
    with pytest.raises(ModelError, match="mean and std go together"):
        preprocessing((3, 32, 32), {}, Description.of("x", mean=(0.5,) * 3))


def test_a_mean_of_scaled_pixels_on_unscaled_ones_is_warned_of():
    given = {"scale": 1, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    settings, _ = preprocessing((3, 32, 32), given, NOTHING)
    assert "make values up to 1,136 of pixels of 0 to 255" in normalisation_warning(
        settings, set(given), None
    )
    assert normalisation_warning(preprocessing((3, 32, 32), {}, NOTHING)[0], set(), None) is None
