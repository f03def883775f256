"""`labels.txt` beside a model, as Custom Vision, Teachable Machine and many others put it there."""

from __future__ import annotations

from sise_rt.errors import ModelError
from sise_rt.label_files.numbering import FEWEST_NUMBERED, WITHOUT_IDS, without_wordnet_ids
from sise_rt.label_files.reading import read_labels

from .description import Description
from .published import Published
from .teachable_machine import made

FILE = "labels.txt"


def describe(published: Published) -> Description | None:
    """The labels of that file; None where there is none."""
    path = published.file(FILE)
    if path is None:
        return None
    description = Description()
    try:
        fewest = 1 if made(published) else FEWEST_NUMBERED  # which numbers every line
        stated = read_labels(path, fewest)
        labels = without_wordnet_ids(stated)
        description.say("labels", labels, FILE, "" if labels == stated else f"labels {WITHOUT_IDS}")
    except ModelError as error:
        description.leave_unsettled(error.message, FILE, "labels")
    return description
