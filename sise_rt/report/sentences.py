"""What a record says, in words for people who have neither the program nor its manual."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sise_rt.captions import class_named, how_made, is_decision, rests
from sise_rt.methods import METHODS
from sise_rt.metrics.region import NEARLY_ALL, spared
from sise_rt.wording import counted, probability

Record = Mapping[str, Any]

MINUS = "\u2212"


def trust(value: float, activation: str) -> str:
    """A confidence as it is read, or an output of a model that has no confidences."""
    if activation == "none":
        return f"{value:.4g}".replace("-", MINUS)
    return probability(value)


def share(fraction: float) -> str:
    """A part of the picture."""
    percent = 100 * fraction
    if 0 < percent < 0.1:
        return "less than 0.1 %"
    return f"{percent:.1f} %" if percent < 10 else f"{percent:.0f} %"


def cut(text: str, most: int) -> str:
    """A text of at most so many characters; its end, which tells files apart, stays."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most - most // 2 - 1) :]}"


def begun(text: str, most: int) -> str:
    """The beginning of a text, at most so many characters, that ends behind a word or number."""
    if len(text) <= most:
        return text
    kept = text[:most]  # with the ellipsis, if the last character goes
    return f"{kept[: kept.rfind(' ') if ' ' in kept else most - 1].rstrip(' ,;:(')}…"


def named(index: int, label: str, most: int = 70) -> str:
    """A class by its label, of at most so many characters, and its index, as its picture names it."""
    return class_named(label if label == str(index) else cut(label, most), index)


def file_name(record: Record, most: int = 60) -> str:
    """The picture's name without its folders, which are nobody's business whom a page is handed to."""
    name = record["picture"]["name"]
    return cut(name.replace("\\", "/").rpartition("/")[2] or name, most)


def decision(record: Record) -> str:
    """What the model decided and how sure it is, and what is explained where that is something else."""
    activation, target, best = record["activation"], record["target"], record["best"][0]
    name, value = named(**target), trust(record["confidence"], activation)
    if activation == "none":
        return f"The model's output for {name} is {value}, in the unit that the model was trained with."
    if activation == "sigmoid":
        return (
            f"The model's confidence that {name} is there is {value}. It judges every class by itself: "
            "several may be there, or none."
        )
    if target["index"] == best["index"]:
        return f"The model decides for {name}, with a confidence of {value}."
    highest = trust(best["confidence"], activation)
    return (
        f"Explained is {name}, in which the model's confidence is {value}. The model decides for "
        f"{named(best['index'], best['label'])}, with a confidence of {highest}."
    )


# -------------------- the method


def method(record: Record) -> str:
    """How the map was made: the method, how much of it was done, its settings, and what it took."""
    asked, settings = record["method"], record["settings"]
    name = METHODS[asked].cited if asked in METHODS else asked
    in_force = METHODS[asked].in_force(settings) if asked in METHODS else settings
    how = how_made(name, settings, record["masks"], record["guessed"], stopped=record["partial"])
    passes = f"{counted(record['passes'], 'picture')} went through the network."
    told = [setting(option, value) for option, value in in_force.items()]
    return " ".join(filter(None, [f"{how}.", *told, passes]))


SETTINGS: Mapping[str, Mapping[str, str] | Callable[[Any], str]] = {
    "mu": lambda mu: (
        f"A feature map made a mask where its gradient score is above {mu:g} times the highest of its block."
        if mu
        else "A feature map made a mask where its gradient score is positive."
    ),
    "fusion": {
        "otsu": "The blocks' maps were put together as in the paper.",
        "otsu-soft": "The blocks' maps were put together as in the authors' code.",
    },
    "scores": {
        "probability": "Masks were weighed by the model's confidence.",
        "log-odds": "Masks were weighed by the log-odds of the model's confidence.",
    },
    "budget": lambda budget: f"{share(budget)} of the masks were allowed." if budget < 1 else "",
    "max_passes": lambda most: f"{counted(most, 'pass', 'passes')} at most were allowed.",
    "max_seconds": lambda most: f"{most:g} seconds at most were allowed.",
    "threshold": {
        "histogram": "Each block's threshold for gradient scores is Otsu's, of their histogram.",
        "sorted": "Each block's threshold for gradient scores is Otsu's, of the scores themselves.",
    },
    "masks": lambda masks: f"There were {masks} random masks.",
    "cells": lambda cells: f"A mask has {cells} × {cells} cells.",
    "share": lambda part: f"{share(part)} of the cells show the picture.",
    "samples": lambda samples: f"The gradient is the mean over {samples} noisy copies.",
    "noise": lambda noise: f"The noise has {share(noise)} of the input's range as its standard deviation.",
    "spread": lambda spread: f"Its standard deviation is {share(spread)} of each side.",
    "percentile": lambda percentile: (
        f"The importance of a block was lowered to their {percentile:g}th percentile."
        if percentile
        else "All blocks that matter weigh alike."
    ),
    "seed": lambda seed: f"The random generator started at {seed}.",
    "steps": lambda steps: f"It took {counted(steps, 'step')}.",
    "variant": {
        "figure": "The rule is that of the authors' figure.",
        "notebook": "The rule is that of the authors' notebook.",
    },
    "areas": lambda areas: f"Regions of {', '.join(map(share, areas))} of the picture were looked for.",
}
"""Options of methods as sentences of their values; an option that is not here is told by its name."""


def setting(name: str, value: Any) -> str:
    """An option's value as a sentence, where it is not off; empty where there is nothing to say."""
    words = SETTINGS.get(name)
    if callable(words):
        return words(value)
    return words[value] if words else f"{name.replace('_', ' ').capitalize()}: {value}."


# -------------------- how to read it


def reading(record: Record) -> str:
    """How the map is to be read."""
    name = named(**record["target"], most=60)
    number = "output" if record["activation"] == "none" else "confidence"
    if record["masks"]:
        what = (
            f"The model was shown {counted(record['masks'], 'copy', 'copies')} of the picture, each with "
            f"other parts dimmed. The brighter an area, the more of the {number} in {name} stayed where that "
            "area was left visible."
        )
    else:
        what = f"The brighter an area, the more the {number} in {name} draws on it, by this method's account."
    small = " Small islands have none, and are no part of the marked region."
    cropped = record["picture"]["crop"]["share"] < 1
    dark = " What is dark and hatched was cut off before the model saw the picture." if cropped else ""
    return (
        f"{what} The white line goes around what mattered at least half as much as the most did.{small}{dark}"
        " Colours are relative to this one map: its highest value is always 1, also where little speaks for "
        "the class, so two maps cannot be compared by their brightness."
    )


LIMITS = (
    "The map shows where this model finds what speaks for the class. It does not show whether the decision "
    "is right, it does not outline an object, and it is no proof of cause: the model was not trained on "
    "pictures with hidden parts. An area may be used for a reason that nobody would accept, which is worth a "
    "look; what speaks against the class does not appear. The confidence is the model's own figure: how "
    "often it is right at such a figure, only labelled pictures tell."
)
"""What it does not mean."""


# -------------------- the region


def bearing(record: Record) -> str:
    """Whether the decision, or the confidence in another class, rests on the region of a record's `check`."""
    region, target = record["check"]["region"], record["target"]
    random, told = region["random"], [f"The region is {share(region['area'])} of what the model saw."]
    if random is None:
        return f"{told[0]} There is no other region of that size to compare it with."
    decided = is_decision(record["activation"], target["index"], record["best"][0]["index"])
    clause = rests(region["bears"], named(**target), decided=decided)
    clause = f"{clause[:1].upper()}{clause[1:]}"
    lowest, highest = probability(random["lowest"]), probability(random["highest"])
    others = f"in {random['copies']} other places, chosen at random (lowest {lowest}, highest {highest})"
    if region["bears"]:
        told.append(f"{clause}: hiding it takes more confidence than hiding as much {others}.")
    elif spared(region["hidden"], region["whole"], region["whole"]):
        told.append(f"{clause}: hiding it takes less than {100 * region['least']:g} % of the confidence, as")
        told.append("what is left suffices. Do not take the map for the only reason.")
    else:
        told.append(f"{clause}: hiding it takes hardly more confidence than hiding as much {others}.")
        told.append("Do not take the map for the reason.")
    if region["area"] > NEARLY_ALL:
        told.append("A region of nearly all that the model saw tells little.")
    return " ".join(told)
