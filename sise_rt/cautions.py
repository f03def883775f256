"""Cautions: what the user of an explanation should know, each with a code that programs can tell it by."""

from __future__ import annotations

from collections.abc import Mapping

CAUTIONS: Mapping[str, str] = {
    "bundle": "The export warned of this, as of random weights, or of outputs that may be no logits.",
    "no-gradients": "The bundle has no gradients, so that no feature map is preferred to another.",
    "fewer-threads": "Fewer threads run than were asked for.",
    "memory-unbounded": "The bundle does not tell what a pass takes, so that no limit of memory is kept.",
    "memory-exceeded": "A pass takes more memory than was allowed, and runs all the same.",
    "memory-full": "The device's memory was full; smaller batches went on.",
    "cpu-instead": "The GPU that was there did not start, and the CPU runs the model.",
    "tf32-unavailable": "TensorFloat-32 was allowed, and the device does not have it.",
    "float16-on-cpu": "The bundle scores in float16, which gains nothing on a CPU.",
    "operators-left": "A plug-in leaves some operators to ONNX Runtime's CPU provider.",
    "bfloat16-unproven": "Scores are in bfloat16, which was not compared with float32 for this bundle here.",
    "bfloat16-left": "bfloat16 was found good enough here once, and scores are in float32 all the same.",
    "bfloat16-unused": "bfloat16 was asked for, and the method computes in float32.",
    "transparency-ignored": "A part of the picture is transparent; the model sees what that hides.",
    "first-frame": "The picture is an animation; its first frame is explained.",
    "fewer-bits": "The file holds more bits a pixel than were read.",
    "more-bits": "The model takes more bits a pixel than the picture has.",
    "bit-depth-unsure": "The picture may have fewer bits than are assumed, and look too dark or too bright.",
    "channel-ignored": "The file has a channel beyond its colours, which is not read.",
    "pages-ignored": "The file has further pages, which are not read.",
    "pages-as-channels": "The file's pages are taken as the model's channels.",
    "preview": "The file holds a preview of reduced size only, which is explained.",
    "cropped": "More than a quarter of the picture is cropped away, and the model does not see it.",
    "all-classes": "More classes were asked for than the model has.",
    "sure-of-nothing": "The highest confidence is below 0.1, and the preprocessing was assumed.",
    "block-skipped": "A block tells nothing of the target, and is left out of the map.",
    "masks-alike": "All masks score alike, so that the map shows the masks and not the model.",
    "class-ignored": "The method gives the same map for every class.",
    "model-ignored": "The map does not depend on the model: it is a reference to compare methods with.",
    "stopped": "The caller ended the scoring; the other masks' confidences are predicted.",
    "out-of-time": "The time for scoring ended; the other masks' confidences are predicted.",
    "map-constant": "The map has one value everywhere, and is shown as zero.",
    "map-at-border": "Much of the map lies along the picture's border, where a network sees its own padding.",
    "region-not-borne": "Hiding the region takes hardly any confidence, or hardly more than elsewhere.",
}
"""What each code means. A code, once published, keeps its meaning; later versions may add others."""


class Caution(str):
    """A line for people that tells what an explanation rests on, and the code of its kind.

    Attributes:
        code: one of `CAUTIONS`.
    """

    code: str

    def __new__(cls, code: str, text: str) -> Caution:
        """The line `text`."""
        caution = super().__new__(cls, text)
        caution.code = code
        return caution

    def __reduce__(self) -> tuple[type[Caution], tuple[str, str]]:
        """What makes it again where it is copied or pickled."""
        return type(self), (self.code, str(self))

    def record(self) -> dict[str, str]:
        """The same, ready for JSON."""
        return {"code": self.code, "message": str(self)}
