"""Files of more than 8 bits a colour in formats that Pillow reads in 8, made by imagecodecs."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from sise_rt.bundle import Preprocess
from sise_rt.pictures.headers import bits_of
from sise_rt.pictures.picture import prepare
from sise_rt.pictures.reading import read_picture

GREY = 80 * np.arange(48).reshape(6, 8)  # of 12 bits

GREY_12 = base64.b64decode(
    "/0//UQApAAAAAAAIAAAABgAAAAAAAAAAAAAACAAAAAYAAAAAAAAAAAABCwEB/1IADAAAAAEAAAQEAAH/XAAEQGD/ZAAlAAFD"
    "cmVhdGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAABCAAH/k9/gxBIp0VQvkjEOXIim+Xx2SgUx627ea0yn"
    "9it2GM4SXvUiPybS6BtLg15CzmwUDQBm/3//2Q=="
)
COLOUR_12 = base64.b64decode(
    "AAAADGpQICANCocKAAAAFGZ0eXBqcDIgAAAAAGpwMiAAAAAtanAyaAAAABZpaGRyAAAABgAAAAgAAwsHAAAAAAAPY29scgEA"
    "AAAAABAAAAEDanAyY/9P/1EALwAAAAAACAAAAAYAAAAAAAAAAAAAAAgAAAAGAAAAAAAAAAAAAwsBAQsBAQsBAf9SAAwAAAAB"
    "AQAEBAAB/1wABEBg/2QAJQABQ3JlYXRlZCBieSBPcGVuSlBFRyB2ZXJzaW9uIDIuNS40/5AACgAAAAAAiwAB/5PD8yYRT4n+"
    "JpqpKUasdFQxtrJK0NFDpdWhP9FWFbdgIcTkuIJQAwkJf9/gzBKJdysDdEXepts+XXF/vx1HuPzw2mG0VgaNp/IeWfJYYe9o"
    "+QATPl5rDOhUswgYSEv/f9/gbBKM1lP19wgAnTUiBotifADrOAkISQIwkJf/f//Z"
)
AVIF_10 = base64.b64decode(
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAAAAAAAA"
    "AAAAAAAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAAMQAAAChpaW5mAAAAAAABAAAAGmluZmUC"
    "AAAAAAEAAGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAACAAAAAYAAAAQcGl4aQAAAAADCgoKAAAA"
    "DGF2MUOBIEAAAAAAE2NvbHJuY2x4AAIAAgAGgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAAOW1kYXQSAAoIOAi9bwICBpAy"
    "IxeCYwTAAPICCACQPT8YbYPparV/2Kho//866MRtucA4ztpQ"
)
AVIF_12 = base64.b64decode(
    "AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAOttZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAA"
    "AAAAAA5waXRtAAAAAAABAAAAHmlsb2MAAAAARAAAAQABAAAAAQAAAQ8AAAAwAAAAKGlpbmYAAAAAAAEAAAAaaW5mZQIAAAAA"
    "AQAAYXYwMUNvbG9yAAAAAGppcHJwAAAAS2lwY28AAAAUaXNwZQAAAAAAAAAIAAAABgAAABBwaXhpAAAAAAMMDAwAAAAMYXYx"
    "Q4FAYAAAAAATY29scm5jbHgAAgACAAaAAAAAF2lwbWEAAAAAAAAAAQABBAECgwQAAAA4bWRhdBIACghYCL1rQICBojIiF4Jj"
    "BMAA8gLgkDwRCG2D3c2UTJkH6n//t/Jzo/BtfQIOqA=="
)


def encoded(form: str, mode: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((6, 8), np.uint16 if mode == "I;16" else np.uint8)).convert(mode).save(
        buffer, form
    )
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "data", "bits"),
    [
        ("JPEG2000", GREY_12, 12),
        ("JPEG2000", COLOUR_12, 12),
        ("JPEG2000", encoded("JPEG2000", "RGB"), 8),
        ("JPEG2000", encoded("JPEG2000", "I;16"), 16),
        ("JPEG2000", COLOUR_12[:80], 8),
        ("JPEG2000", GREY_12[:41], 8),
        ("AVIF", AVIF_10, 10),
        ("AVIF", AVIF_12, 12),
        ("AVIF", encoded("AVIF", "RGB"), 8),
        ("AVIF", AVIF_10[:200], 8),
        ("PNG", COLOUR_12, 8),
    ],
)
def test_the_bits_of_a_header(form, data, bits):
    assert bits_of(form, io.BytesIO(data)) == bits


def test_grey_jpeg_2000_keeps_its_bits():
    for source in (GREY_12, Image.open(io.BytesIO(GREY_12))):
        raster = read_picture(source)
        assert raster.pixels.dtype == np.uint16
        assert np.array_equal(raster.pixels, np.repeat(GREY[..., None], 3, axis=2))
        assert (raster.declared, raster.notes) == (12, ())
    raster = read_picture(encoded("JPEG2000", "I;16"))
    assert (raster.pixels.dtype, raster.declared) == (np.uint16, None)


@pytest.mark.parametrize(
    ("data", "bits"), [(COLOUR_12, 12), (Image.open(io.BytesIO(COLOUR_12)), 12), (AVIF_10, 10), (AVIF_12, 12)]
)
def test_bits_that_are_lost_are_said(data, bits):
    spec = Preprocess((3, 6, 8), "bilinear", 1, "squash", (0.0,) * 3, (1.0,) * 3, "RGB", 255)
    picture = prepare(data, spec)
    assert picture.bit_depth == 8
    says = f"its {bits} bits are read as 8: save it as PNG or TIFF of 16 bits to keep them"
    assert picture.notes == (says,)


@pytest.mark.parametrize("form", ["JPEG2000", "AVIF"])
def test_eight_bits_are_not_worth_a_word(form):
    assert read_picture(encoded(form, "RGB")).notes == ()
