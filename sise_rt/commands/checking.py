"""What the model said of a map, in words: which way is better, and how much of the picture that was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def check_lines(check: Mapping[str, Any]) -> Iterator[str]:
    """Lines for a terminal.

    Args:
        check: of an explanation, as `sise_rt.metrics.check` gives it.
    """
    region = check["region"]
    yield (
        f"region: {_share(region['area'])} of the input; confidence {region['whole']:.3f} in the whole "
        f"picture, {region['hidden']:.3f} with the region hidden, {region['alone']:.3f} with it alone"
    )
    if region["random"] is None:
        yield "region: there is nothing to compare it with"
    else:
        random = region["random"]
        verdict = "bears the decision" if region["bears"] else "does not bear the decision"
        yield (
            f"region: with as much hidden elsewhere {random['mean']:.3f} on average "
            f"({random['lowest']:.3f} to {random['highest']:.3f}, {random['copies']} places): it {verdict}"
        )
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
