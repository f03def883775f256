"""What the model said of a map, in words: which way is better, and how much of the picture that was."""

from __future__ import annotations

from collections.abc import Iterator

from sise_rt.captions import class_named, is_decision, rests
from sise_rt.explanation import Explanation
from sise_rt.metrics.region import NEARLY_ALL, spared
from sise_rt.wording import probability


def check_lines(explanation: Explanation) -> Iterator[str]:
    """Lines for a terminal; none where the model was not asked."""
    check = explanation.check
    if not check:
        return
    region, random = check["region"], check["region"]["random"]
    whole, hidden, alone = (probability(region[name]) for name in ("whole", "hidden", "alone"))
    yield (
        f"region: {_share(region['area'])} of the input; confidence {whole} in the whole picture, "
        f"{hidden} with the region hidden, {alone} with it alone"
    )
    if random is None:
        yield "region: there is nothing to compare it with"
    else:
        mean, lowest, highest = (probability(random[name]) for name in ("mean", "lowest", "highest"))
        decided = is_decision(explanation.activation, explanation.target, explanation.predicted.index)
        named = class_named(explanation.label, explanation.target)
        verdict = rests(region["bears"], named, decided=decided)
        if spared(region["hidden"], region["whole"], region["whole"]):
            verdict += f", as hiding it takes less than {region['least']:.0%} of the confidence"
        yield (
            f"region: with as much hidden elsewhere {mean} on average ({lowest} to {highest}, "
            f"{random['copies']} places): {verdict}"
        )
        if region["area"] > NEARLY_ALL:
            yield "region: as it is nearly all of the input, that tells little"
    if "drop" in check:
        drop = "-" if check["drop"] is None else f"{check['drop']:.3f}"
        rises = "rises" if check["increase"] else "does not rise"
        yield (
            f"the highest {_share(check['kept'])} alone: drop {drop} of the confidence (lower is better), "
            f"which {rises} (increase {check['increase']:.0f}; 1 is better)"
        )
        yield (
            f"pixel by pixel, the highest first: insertion {check['insertion']:.3f} (higher is better), "
            f"deletion {check['deletion']:.3f} (lower is better)"
        )


def _share(share: float) -> str:
    return f"{share:.1%}"
