"""TIFF: each is compared with the array that tifffile or Pillow wrote, or refused by name."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from sise_rt.errors import ImageError
from sise_rt.pictures.raster import bit_depth_of
from sise_rt.pictures.reading import load_image, read_picture


def noise(*shape: int, kind=np.uint16) -> np.ndarray:
    return np.random.default_rng(3).integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)


def written(array: np.ndarray, **options) -> bytes:
    tifffile.imwrite(buffer := io.BytesIO(), array, **options)
    return buffer.getvalue()


def saved(image: Image.Image, **options) -> bytes:
    image.save(buffer := io.BytesIO(), "TIFF", **options)
    return buffer.getvalue()


def as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


PACKED = [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": 2}, {"tile": (16, 16)}]


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_sixteen_bits_of_every_layout(packed, byteorder, bigtiff):
    packed = packed | {"byteorder": byteorder, "bigtiff": bigtiff}
    grey, colour = noise(20, 31), noise(20, 31, 3)
    np.testing.assert_array_equal(load_image(written(grey, **packed)), as_rgb(grey))
    np.testing.assert_array_equal(load_image(written(colour, photometric="rgb", **packed)), colour)
    planes = written(np.moveaxis(colour, 2, 0), photometric="rgb", planarconfig="separate", **packed)
    np.testing.assert_array_equal(load_image(planes), colour)
    inverted = written(grey, photometric="miniswhite", **packed)
    np.testing.assert_array_equal(load_image(inverted), as_rgb(65535 - grey))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_deflate"])
def test_sixteen_bits_as_pillow_writes_them(compression):
    grey = noise(20, 31)
    np.testing.assert_array_equal(
        load_image(saved(Image.fromarray(grey), compression=compression)), as_rgb(grey)
    )


def lzw(data: bytes) -> bytes:
    """Codes of 9 bits that never grow: a clear after every 200 bytes (TIFF 6.0, section 13)."""
    codes = []
    for start in range(0, len(data), 200):
        codes += [256, *data[start : start + 200]]
    bits = "".join(f"{code:09b}" for code in (*codes, 257))
    return int(bits + "0" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8), "big")


def directory(tags: dict[int, tuple[str, tuple[int, ...]]], data: bytes) -> bytes:
    """A TIFF of one strip, whose bytes follow its directory."""
    tags = tags | {273: ("I", (0,)), 279: ("I", (len(data),))}
    after = 8 + 2 + 12 * len(tags) + 4
    entries, extra = b"", b""
    place = after + sum(struct.calcsize(f"<{len(v)}{k}") for k, v in tags.values() if len(v) > 1)
    for tag, (kind, values) in sorted(tags.items()):
        values = (place,) if tag == 273 else values
        packed = struct.pack(f"<{len(values)}{kind}", *values)
        if len(packed) > 4:
            packed, extra = struct.pack("<I", after + len(extra)), extra + packed
        entries += struct.pack("<HHI", tag, {"H": 3, "I": 4}[kind], len(values)) + packed.ljust(4, b"\0")
    start = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + extra
    return start.ljust(place, b"\0") + data


def page(array: np.ndarray, compression: int, data: bytes, **more: int) -> bytes:
    height, width, samples = array.shape
    tags = {256: width, 257: height, 259: compression, 262: 2 if samples == 3 else 1, 277: samples}
    tags |= {278: height, 284: 1} | {int(key[1:]): value for key, value in more.items()}
    bits = ("H", (8 * array.itemsize,) * samples)
    return directory({key: ("H", (value,)) for key, value in tags.items()} | {258: bits}, data)


def test_packed_colour_of_sixteen_bits_by_two_decodings():
    colour = noise(6, 7, 3)
    packed = page(colour, 5, lzw(colour.astype("<u2").tobytes()))
    np.testing.assert_array_equal(load_image(packed), colour)
    packed = page(colour, 32946, zlib.compress(colour.astype("<u2").tobytes()))
    np.testing.assert_array_equal(load_image(packed), colour)


def test_what_no_reader_gets_right_is_refused_by_name():
    colour = noise(6, 7, 3)
    for more, words in (
        ({"_284": 2}, "in planes, photometric 2, packed by LZW"),
        ({"_262": 8}, "photometric 8"),
    ):
        with pytest.raises(ImageError, match=f"3 samples of 16 bits.*{words}.*cannot be read rightly"):
            load_image(page(colour, 5, lzw(colour.tobytes()), **more))
    inverted = page(colour[..., :1], 5, lzw(colour[..., :1].tobytes()), _262=0)
    with pytest.raises(ImageError, match="1 sample of 16 bits, photometric 0, packed by LZW"):
        load_image(inverted)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (np.int8, "signed pixels have no known range"),
        (np.int16, "signed pixels"),
        (np.float16, "float pixels"),
        (np.float32, "float pixels"),
        (np.complex64, "complex pixels"),
        (np.uint32, "32-bit pixels"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_values_without_a_range_are_refused(kind, words, channels):
    with pytest.raises(ImageError, match=words):
        load_image(written(np.ones((8, 9), kind)), channels=channels)


@pytest.mark.parametrize("form", [{"imagej": True}, {"ome": True}, {}])
def test_pages_that_are_said_to_be_channels_are_channels(form):
    planes = noise(3, 20, 31, kind=np.uint8)
    data = written(
        planes,
        metadata={"axes": "CYX"},
        **({} if "imagej" in form else {"photometric": "minisblack"}),
        **form,
    )
    read = read_picture(data)
    np.testing.assert_array_equal(read.pixels, np.moveaxis(planes, 0, 2))
    assert read.notes == ()
    many = written(noise(4, 20, 31), photometric="minisblack", metadata={"axes": "CYX"})
    with pytest.raises(ImageError, match="has 4 channels, and the model takes 3"):
        load_image(many)


def test_further_pages_are_told_once():
    planes = noise(4, 20, 31)
    read = read_picture(written(planes, photometric="minisblack"))
    np.testing.assert_array_equal(read.pixels, as_rgb(planes[0]))
    assert read.notes == ("the first of 4 pages is read",)
    eight = [Image.fromarray(noise(5, 6, 3, kind=np.uint8)) for _ in range(2)]
    read = read_picture(saved(eight[0], save_all=True, append_images=eight[1:]))
    np.testing.assert_array_equal(read.pixels, np.asarray(eight[0]))
    assert read.notes == ("the first of 2 pages is read",)
    assert read_picture(written(np.zeros((1500, 4, 4), np.uint16), photometric="minisblack")).notes == (
        "the first of more than 1000 pages is read",
    )
    stack = written(np.stack([planes[:3], planes[1:]]), metadata={"axes": "ZCYX"}, imagej=True)
    read = read_picture(stack)
    np.testing.assert_array_equal(read.pixels, np.moveaxis(planes[:3], 0, 2))
    assert read.notes == ("the first 3 of 6 pages are read",)
    # A preview is no page.
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(planes[0])
        writer.write(planes[1][::2, ::2], subfiletype=1)
    assert read_picture(buffer.getvalue()).notes == ()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("count", [2, 4, 5, 13])
def test_as_many_channels_as_the_model_takes(kind, count):
    planes = noise(count, 20, 31, kind=kind)
    last = np.moveaxis(planes, 0, 2)
    options = {"photometric": "minisblack"}
    data = {
        "pages": written(planes, **options),
        "planes": written(planes, planarconfig="separate", **options),
        "pixels": written(np.ascontiguousarray(last), planarconfig="contig", **options),
    }
    for name, content in data.items():
        read = read_picture(content, channels=count)
        np.testing.assert_array_equal(read.pixels, last)
        assert bool(read.notes) == (name == "pages")  # that they are channels is guessed, and said
    for name in ("planes", "pixels"):
        with pytest.raises(ImageError, match=f"has {count} channels, and the model takes 3"):
            load_image(data[name])


def test_alpha_is_left_out_unless_the_model_takes_it():
    four = noise(20, 31, 4)
    data = written(four, photometric="rgb", extrasamples=["unassalpha"])
    read = read_picture(data)
    np.testing.assert_array_equal(read.pixels, four[..., :3])
    assert read.notes == ("its transparency is left out: what it hides is seen",)
    np.testing.assert_array_equal(load_image(data, channels=4), four)
    four[..., 3] = 65535
    assert read_picture(written(four, photometric="rgb", extrasamples=["unassalpha"])).notes == ()
    infrared = written(four, photometric="rgb", extrasamples=["unspecified"])
    assert read_picture(infrared).notes == ("a channel beyond the colours is left out",)
    grey = written(
        four[..., 2:], photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]
    )
    np.testing.assert_array_equal(load_image(grey), as_rgb(four[..., 2]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_that_of_pillow(orientation):
    grey = noise(5, 8, kind=np.uint8)
    data = {}
    for kind in (np.uint8, np.uint16):
        tag = [(274, 3, 1, orientation, True)]
        data[kind] = load_image(written(grey.astype(kind), extratags=tag, metadata=None))
    np.testing.assert_array_equal(data[np.uint16], data[np.uint8])


def test_eight_bits_stay_pillows():
    grey, colour = noise(20, 31, kind=np.uint8), noise(20, 31, 3, kind=np.uint8)
    for data in (
        written(grey, photometric="miniswhite"),
        written(np.moveaxis(colour, 2, 0), photometric="rgb", planarconfig="separate"),
        saved(Image.fromarray(colour), compression="jpeg"),
        saved(Image.fromarray(colour).convert("CMYK")),
        saved(Image.fromarray(colour).convert("P")),
        saved(Image.fromarray(grey > 99), compression="group4"),
    ):
        np.testing.assert_array_equal(
            load_image(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        )


def test_an_image_that_pillow_only_opened_is_read_from_its_file(tmp_path):
    colour = noise(20, 31, 3)
    (tmp_path / "a.tif").write_bytes(
        written(np.moveaxis(colour, 2, 0), photometric="rgb", planarconfig="separate", compression="zlib")
    )
    with Image.open(tmp_path / "a.tif") as opened:
        np.testing.assert_array_equal(load_image(opened), colour)
    several = saved(
        *[Image.fromarray(noise(4, 4, kind=np.uint8))],
        save_all=True,
        append_images=[Image.new("L", (4, 4), 9)],
    )
    with Image.open(io.BytesIO(several)) as opened:
        opened.seek(1)
        assert (load_image(opened) == 9).all()  # the page that its user chose


@pytest.mark.parametrize("largest", [255, 1023, 4095, 16383])
@pytest.mark.parametrize("form", ["plain", "packed", "inverted", "planes"])
def test_the_largest_value_that_a_file_gives_is_its_full_scale(largest, form):
    grey = (noise(20, 31) % (largest + 1)).astype(np.uint16)
    grey[0, 0] = largest // 2
    count = 3 if form == "planes" else 1
    options = {"extratags": [(281, "H", count, (largest,) * count if count > 1 else largest, True)]}
    if form == "packed":
        data = page(grey[..., None], 5, lzw(grey.tobytes()), _281=largest)
    elif form == "planes":
        data = written(np.stack([grey] * 3), photometric="rgb", planarconfig="separate", **options)
    else:
        data = written(grey, photometric="miniswhite" if form == "inverted" else "minisblack", **options)
    read = read_picture(data)
    assert read.declared == largest.bit_length()
    np.testing.assert_array_equal(read.pixels, as_rgb(largest - grey if form == "inverted" else grey))
    assert bit_depth_of(read, None, 8) == (largest.bit_length(), ())


@pytest.mark.parametrize("largest", [3871, 65535, 127, 1023])
def test_statistics_and_what_pixels_contradict_are_no_full_scale(largest):
    grey = np.full((8, 9), 4000, np.uint16)
    read = read_picture(written(grey, photometric="minisblack", extratags=[(281, "H", 1, largest, True)]))
    assert read.declared is None
    assert "the brightest value is 4000 of 65535" in bit_depth_of(read, None, 8)[1][0]


@pytest.mark.parametrize(("largest", "bits"), [(1023, 10), (4095, 12), (32767, 15)])
def test_few_bits_where_zero_is_white_are_told_by_the_values_of_the_file(largest, bits):
    grey = (noise(20, 31) % (largest + 1)).astype(np.uint16)
    grey[0, 0] = largest
    read = read_picture(written(grey, photometric="miniswhite"))
    np.testing.assert_array_equal(read.pixels, as_rgb(65535 - grey))
    depth, notes = bit_depth_of(read, None, 8)
    assert depth == 16
    assert [note.split(": if")[0] for note in notes] == (
        [f"the largest value, where 0 is white, is {largest} of 65535"] if bits < 15 else []
    )
    assert all(note.endswith("or the model sees it too bright") for note in notes)
    assert bit_depth_of(read, bits, 8) == (bits, ())
    np.testing.assert_array_equal(read.at_depth(bits), as_rgb(largest - grey))
    np.testing.assert_array_equal(read.at_depth(16), as_rgb(65535 - grey))
    with pytest.raises(ImageError, match=f"its largest value, where 0 is white, is {largest}, above the 511"):
        bit_depth_of(read, 9, 8)


def test_few_bits_that_were_inverted_as_sixteen():
    grey = (noise(20, 31) % 4096).astype(np.uint16)
    grey[0, 0] = 4095
    read = read_picture(written(65535 - grey, photometric="miniswhite"))
    assert "the brightest value is 4095 of 65535" in bit_depth_of(read, None, 8)[1][0]
    np.testing.assert_array_equal(read.at_depth(12), as_rgb(grey))


@pytest.mark.parametrize(
    ("kind", "photometric", "samples", "name"),
    [
        (np.uint16, 3, 1, "a palette"),
        (np.uint16, 5, 4, "CMYK or other inks"),
        (np.uint16, 6, 3, "YCbCr"),
        (np.uint16, 8, 3, "CIELAB"),
        (np.uint8, 9, 3, "ICCLAB"),
        (np.uint8, 32803, 1, "CFA, a camera's raw mosaic"),
        (np.uint16, 32845, 3, "LogLuv"),
        (np.uint16, 34892, 3, "LinearRaw, a camera's own colours"),
        (np.uint8, 999, 3, "an unknown colour space"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_colours_that_nothing_converts_are_refused_by_their_space(kind, photometric, samples, name, channels):
    array = noise(6, 7, samples, kind=kind)
    data = page(array, 1, array.tobytes(), _262=photometric)
    with pytest.raises(ImageError) as refused:
        load_image(data, channels=channels)
    assert f"photometric {photometric} ({name}), cannot be read rightly: save it as RGB" in str(refused.value)
    if samples == 4:
        np.testing.assert_array_equal(load_image(data, channels=4), array)


def test_a_page_of_a_palette_keeps_its_colours():
    indices = noise(2, 20, 31, kind=np.uint8)
    palette = noise(3, 256)
    data = written(indices, photometric="palette", colormap=palette)
    read = read_picture(data)
    np.testing.assert_array_equal(read.pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert read.notes == ("the first of 2 pages is read",)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_bigtiff_of_big_endian_bytes_is_not_pillows(compression):
    options = {"bigtiff": True, "byteorder": ">", "compression": compression}
    colour = noise(20, 31, 3, kind=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_picture(written(colour, photometric="rgb", **options))
        np.testing.assert_array_equal(read.pixels, colour)
        assert read.declared == 8
        inverted = written(colour[..., 0], photometric="miniswhite", **options)
        np.testing.assert_array_equal(load_image(inverted), as_rgb(255 - colour[..., 0]))
        cmyk = written(noise(20, 31, 4, kind=np.uint8), photometric="separated", **options)
        with pytest.raises(ImageError, match=r"photometric 5.* in a BigTIFF of big-endian bytes"):
            load_image(cmyk)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
def test_the_picture_behind_its_preview_is_read(kind, photometric):
    whole = noise(20, 32, 3, kind=kind) if photometric == "rgb" else noise(20, 32, kind=kind)
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(whole[::2, ::2], photometric=photometric, subfiletype=1)
        writer.write(whole, photometric=photometric)
        writer.write(whole[::4, ::4], photometric=photometric, subfiletype=1)
    read = read_picture(buffer.getvalue())
    np.testing.assert_array_equal(read.pixels, whole if photometric == "rgb" else as_rgb(whole))
    assert read.notes == ()
    alone = read_picture(written(whole, photometric=photometric, subfiletype=1))
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(whole[::2, ::2], photometric=photometric, subfiletype=1)
        for _ in range(2):
            writer.write(whole, photometric=photometric, metadata=None)
    assert read_picture(buffer.getvalue()).notes == ("the first of 2 pages that are no previews is read",)
    assert alone.notes == (
        "what is read is a preview of reduced size: the file's pages hold no other picture",
    )


# ---- hostile ones


def test_hostile_tiffs_are_refused_before_they_cost():
    five = np.zeros((100, 100, 5), np.uint8)
    bomb = zlib.compress(bytes(50_000_000), 9)
    with pytest.raises(ImageError, match="inflates to more than its size"):
        load_image(page(five, 8, bomb), channels=5)
    with pytest.raises(ImageError, match="60000 x 60000 is more than 100,000,000 pixels"):
        load_image(page(np.zeros((1, 1, 1), np.uint16), 1, b"", _256=60000, _257=60000))
    with pytest.raises(ImageError, match="more than 100,000,000 pixels"):
        load_image(page(np.zeros((4, 4, 1), np.uint16), 1, b"", _322=65520, _323=65520))
    with pytest.raises(ImageError, match="more than 100,000,000 pixels"):
        load_image(page(np.zeros((9000, 9000, 1), np.uint16), 1, b"", _277=60000, _262=1), channels=1)
    endless = directory({256: ("H", (4,)), 257: ("H", (4,))}, b"")
    looped = endless[: 10 + 12 * 4] + struct.pack("<I", 8) + endless[10 + 12 * 4 + 4 :]
    with pytest.raises(ImageError):
        load_image(looped)
    with pytest.raises(ImageError, match="directory of 60,000 tags"):
        load_image(b"II*\0" + struct.pack("<IH", 8, 60000) + bytes(16))
    with pytest.raises(ImageError, match="a tag of 4,000,000,000 bytes"):
        load_image(b"II*\0" + struct.pack("<IHHHII", 8, 1, 700, 4, 10**9, 8) + bytes(16))
    refers = page(np.zeros((4, 4, 1), np.uint8), 5, lzw(bytes(16)))
    refers = refers.replace(
        struct.pack("<HHII", 279, 4, 1, len(lzw(bytes(16)))), struct.pack("<HHII", 279, 4, 1, 10**9)
    )
    with pytest.raises(ImageError, match="refers to 1,000,000,000 bytes of itself"):
        load_image(refers)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_flipped_bytes_are_read_or_refused(channels):
    random = np.random.default_rng(5)
    good = written(noise(5, 8, 9), photometric="minisblack", compression="zlib")
    for _ in range(150):
        broken = np.frombuffer(good, np.uint8).copy()
        broken[random.integers(0, len(good), 4)] = random.integers(0, 256, 4)
        try:
            assert load_image(broken.tobytes(), channels=channels, max_pixels=10_000).ndim == 3
        except ImageError:
            continue
