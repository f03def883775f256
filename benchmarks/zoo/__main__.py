"""Real architectures with random weights: does each export, and are its numbers torch autograd's?

    python -m benchmarks.zoo                               # every model, one after the other
    python -m benchmarks.zoo --only 'timm:resnet*' --jobs 2
    python -m benchmarks.zoo --markdown docs/zoo.md        # the table, from the results so far

Every model runs in a process of its own, with a limit on time and on memory. Its result is appended to the
results file as one JSON line, and a model that is there already is not run again; so a run may be ended at
any time.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import os
import queue
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime", "numpy")
KINDS = {
    "torchvision": "torchvision, convolutional",
    "timm": "timm, convolutional",
    "hybrid": "Hybrids and transformers",
}

# The smallest of each family, or of each of its variants that computes something else.
TIMM = """
resnet10t resnet18 resnet18d resnet26t resnet50c resnet50_gn resnet50_mlp resnetaa34d resnetblur18 resnetrs50
wide_resnet50_2 resnext50_32x4d resnext50d_32x4d seresnet18 seresnet50t seresnext26d_32x4d seresnetaa50d
ecaresnet26t ecaresnetlight ecaresnext26t_32x4d legacy_seresnet18 legacy_seresnext26_32x4d
skresnet18 skresnext50_32x4d res2net50_48w_2s res2net50d res2next50 resnest14d resnest50d_1s4x24d
resnetv2_18 resnetv2_34d resnetv2_50 resnetv2_50t resnetv2_50x1_bit resnetv2_50d_gn resnetv2_50d_evos
resnetv2_50d_frn tresnet_m tresnet_v2_l resnext26ts resnet32ts resnet51q resnet61q gcresnext26ts gcresnet33ts
eca_resnext26ts eca_resnet33ts seresnext26ts seresnet33ts bat_resnext26ts gernet_s repvgg_a0 repvgg_d2se
mobileone_s0 mobileone_s4 nf_resnet26 nf_seresnet26 nf_ecaresnet26 nf_regnet_b0 nfnet_l0 eca_nfnet_l0 nfnet_f0
dm_nfnet_f0 regnetx_002 regnety_002 regnety_040_sgn regnetz_005 regnetz_040 regnetz_b16 regnetz_c16_evos
regnetz_d8 regnetv_040 ghostnet_050 ghostnetv2_100 ghostnetv3_050 repghostnet_050 lcnet_035 lcnetv2_small
tinynet_e mobilenetv1_100 mobilenetv2_035 mobilenetv2_110d mobilenetv3_small_050 mobilenetv3_large_075
mobilenetv3_rw tf_mobilenetv3_small_minimal_100 tf_mobilenetv3_large_075 mobilenetv4_conv_small_035
mobilenetv4_conv_blur_medium mobilenetv4_conv_aa_medium mobilenet_edgetpu_100 mobilenet_edgetpu_v2_xs
mnasnet_small mnasnet_050 semnasnet_050 spnasnet_100 fbnetc_100 fbnetv3_b hardcorenas_a efficientnet_b0
efficientnet_b1_pruned efficientnet_es efficientnet_lite0 efficientnet_blur_b0 efficientnet_b0_gn
efficientnet_b0_g8_gn efficientnet_b0_g16_evos efficientnet_cc_b0_4e efficientnet_x_b3 efficientnet_h_b5
efficientnetv2_rw_t gc_efficientnetv2_rw_t tf_efficientnet_b0 tf_efficientnet_es tf_efficientnet_lite0
tf_efficientnet_cc_b0_4e tf_efficientnetv2_b0 tf_efficientnetv2_s mixnet_s tf_mixnet_s rexnet_100 rexnetr_100
legacy_xception xception41 xception41p xception65 inception_v3 inception_v4
inception_resnet_v2 inception_next_atto densenet121 densenetblur121d dla34 dla46_c dla60_res2net
dla60_res2next dpn48b dpn68 ese_vovnet19b_slim ese_vovnet39b_evos eca_vovnet39b vovnet39a selecsls42
cspresnet50 cspresnet50w cspresnext50 cspdarknet53 darknet17 darknet53 darknetaa53 sedarknet21 cs3darknet_s
cs3darknet_focus_s cs3sedarknet_l cs3edgenet_x cspnext_tiny hrnet_w18_small hrnet_w18_ssld convnext_atto
convnext_atto_ols convnext_zepto_rms convnext_tiny_hnf convnextv2_atto convmixer_768_32 hgnet_tiny hgnetv2_b0
hgnetv2_b4 starnet_s050 rdnet_tiny fasternet_t0 fastvit_t8 fastvit_s12 poolformer_s12 poolformerv2_s12
convformer_s18 repvit_m0_9 mambaout_femto mambaout_small_rw focalnet_tiny_srf vgg11 vgg11_bn nasnetalarge
pnasnet5large
""".split()

# A convolutional stem or stages, and attention; or no convolution beyond the patches at all.
HYBRIDS = """
timm:edgenext_xx_small timm:fastvit_sa12 timm:coatnet_nano_rw_224 timm:coatnet_rmlp_nano_rw_224
timm:coatnext_nano_rw_224 timm:maxvit_pico_rw_256 timm:maxxvit_rmlp_nano_rw_256 timm:mobilevit_xxs
timm:mobilevitv2_050 timm:efficientformer_l1 timm:efficientformerv2_s0 timm:efficientvit_b0
timm:efficientvit_l1 timm:efficientvit_m0 timm:levit_128s timm:levit_conv_128s timm:lowformer_b0
timm:cpubone_nano timm:iformer_t timm:efficientvim_m1 timm:shvit_s1 timm:swiftformer_xs timm:starnet_s100
timm:tiny_vit_5m_224 timm:davit_tiny timm:nextvit_small timm:caformer_s18 timm:mobilenetv4_hybrid_medium
timm:mobilenetv5_300m timm:botnet26t_256 timm:halonet26t timm:eca_halonext26ts timm:lambda_resnet26t
timm:sebotnet33ts_256 timm:resnet50_clip timm:visformer_tiny timm:csatv2 timm:vitamin_small_224
timm:vit_small_r26_s32_224 timm:gcvit_xxtiny timm:pvt_v2_b0 timm:coat_lite_tiny timm:twins_svt_small
timm:sequencer2d_s timm:volo_d1_224 timm:nest_tiny timm:hiera_tiny_224 timm:mvitv2_tiny timm:pit_ti_224
timm:vit_tiny_patch16_224 timm:deit_tiny_patch16_224 timm:crossvit_9_240 timm:swin_tiny_patch4_window7_224
timm:mixer_s32_224 timm:gmixer_12_224 timm:gmlp_ti16_224 timm:resmlp_12_224 timm:convit_tiny
timm:xcit_nano_12_p16_224
torchvision:maxvit_t torchvision:swin_t torchvision:swin_s torchvision:swin_b torchvision:swin_v2_t
torchvision:swin_v2_s torchvision:swin_v2_b torchvision:vit_b_16 torchvision:vit_b_32 torchvision:vit_l_16
torchvision:vit_l_32 torchvision:vit_h_14
""".split()

LARGE = (  # of torchvision; last, as each takes a gigabyte of memory or several, and minutes
    "vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn wide_resnet101_2 convnext_large "
    "efficientnet_v2_l efficientnet_b6 efficientnet_b7 regnet_x_32gf regnet_y_32gf regnet_y_128gf"
).split()

CENTRE = 1.0  # standard deviations

PREAMBLE = """\
# The zoo: real architectures

Made by `python -m benchmarks.zoo`, then `python -m benchmarks.zoo --markdown docs/zoo.md`. Each model
gets random weights that leave none of its branches idle (`build` in `benchmarks/zoo.py`), and is exported
at its published input size. The bundle is then compared with torch autograd in float64: `logits`, `A`
(feature maps) and `alpha` (gradient scores) are the largest differences, relative to the largest
reference value, of the worst block. A model is ok where alpha was compared for every block and differs by
at most 1e-3; refused where the export says that it cannot be done; failed where the numbers differ, or a
limit on time or memory was met. Operators are the different ones that a gradient flows through between
the first block and the logits. Seconds are those of the whole export, the comparison included (cores:
{cores}).
"""
Record = dict[str, Any]


def sections() -> dict[str, str]:
    """Every source of the zoo, in the order in which they run, and the section that it belongs to."""
    models = torchvision().models
    names = [f"torchvision:{name}" for name in models.list_models(module=models)]
    convolutional = sorted((n for n in names if n not in HYBRIDS), key=_largest_last)
    found = dict.fromkeys(convolutional, "torchvision") | dict.fromkeys((f"timm:{n}" for n in TIMM), "timm")
    return found | dict.fromkeys(HYBRIDS, "hybrid")


def _largest_last(source: str) -> int:
    name = source.partition(":")[2]
    return LARGE.index(name) + 1 if name in LARGE else 0


def torchvision() -> Any:
    """The package, imported as the exporter does."""
    from sise_rt.export.intake.from_torch import import_torchvision

    return import_torchvision()


# ---------------------------------------------------------------------------------------------- one model


def build(source: str) -> tuple[Any, tuple[int, int, int]]:
    """A model in evaluation mode with weights that leave no branch idle, and its (channels, height, width).

    The initialisers of many families leave a branch out: zero for the last normalisation of a residual block,
    1e-6 for a layer scale, zero for a head. What a gradient rule does there would not show. So every
    parameter whose values are all the same is drawn anew, and the BatchNorms take their statistics from two
    pictures, which keeps deep networks from fading out. Deep random networks are chaotic as well: of 50
    ReLUs in a row so many units lie at their kinks that float32 and float64 differ by several percent in
    torch itself. Normalisations are therefore centred at `CENTRE`, which leaves a few percent of the units
    off.
    """
    import torch

    kind, _, name = source.partition(":")
    torch.manual_seed(0)
    if kind == "timm":
        torchvision()  # timm imports it
        import timm

        model: Any = timm.create_model(name, pretrained=False)
        size = tuple(model.pretrained_cfg["input_size"])
    else:
        models = torchvision().models
        slow = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        model = models.get_model(name, weights=None, **slow)
        size = (3, *models.get_model_weights(name).DEFAULT.transforms().crop_size * 2)[:3]
    model.eval()
    liven(model, size)
    return model, size


def liven(model: Any, size: tuple[int, int, int]) -> None:
    """Draw a module's constant parameters anew, seeded, and take BatchNorm statistics from two pictures."""
    import torch

    generator = torch.Generator().manual_seed(0)

    def normal(like: Any) -> Any:
        return torch.randn(like.shape, generator=generator)

    for parameter in model.parameters():
        values = parameter.data
        if not values.is_floating_point() or bool((values != values.flatten()[0]).any()):
            continue
        if values.ndim > 1 and values[0].numel() > 1:
            values += 0.5 * normal(values) / math.sqrt(values[0].numel())
        elif values.numel() > 1 or not values.any():  # a single number that is not zero is a constant
            values += 0.2 * normal(values)
    for module in model.modules():
        if "norm" in type(module).__name__.lower() and getattr(module, "bias", None) is not None:
            module.bias.data += CENTRE
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the statistics of the one batch that follows
        norm.train()
    with torch.no_grad():
        model(pictures(size))
    model.eval()


def pictures(size: tuple[int, int, int]) -> Any:
    """Two float pictures (2, C, H, W), other than those that the comparison takes."""
    import numpy as np
    import torch
    from sise_rt.export.proof.parity import probe_picture

    values = np.stack([probe_picture(*size, seed=1 + i) for i in range(2)])
    return torch.from_numpy((values / 255 - 0.45) / 0.225).float()


def examine(source: str) -> Record:
    """Export one model in this process and compare it with torch autograd."""
    from sise_rt.export import export
    from sise_rt.export.proof import parity

    from sise_rt.errors import ParityError, SiseError

    # The gate would keep the numbers of a bundle that it refuses; the same tolerances are applied below.
    tolerances = dict(parity.EXPORT_TOLERANCES)
    parity.EXPORT_TOLERANCES.update(dict.fromkeys(tolerances, math.inf))
    start = time.perf_counter()
    model, size = build(source)
    record: Record = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "input": list(size),
        "build_seconds": round(time.perf_counter() - start, 1),
    }
    with tempfile.TemporaryDirectory(prefix="sise-rt-") as folder:
        bundle = Path(folder) / "zoo.sise"
        start = time.perf_counter()
        try:
            report = export(model, bundle, example=pictures(size), activation="softmax")
        except ParityError as error:  # an error that is no number is above any tolerance
            record |= {"verdict": "failed", "reason": str(error)}
        except SiseError as error:
            record |= {"verdict": "refused", "reason": str(error)}
        except Exception as error:
            line = next(iter(str(error).splitlines()), "")
            record |= {"verdict": "failed", "reason": f"{type(error).__name__}: {line}"}
        else:
            record |= _measured(bundle, report.manifest, tolerances)
        record["export_seconds"] = round(time.perf_counter() - start, 1)
    return record


def _measured(bundle: Path, manifest: Any, tolerances: dict[str, float]) -> Record:
    import numpy as np

    from sise_rt.bundle import PROBE
    from sise_rt.running.verify import failures

    count, found = len(manifest.blocks), manifest.parity
    with np.load(bundle / PROBE, allow_pickle=False) as probe:
        scales = [float(np.abs(probe[f"alpha_{i}"]).max()) for i in range(1, count + 1)]
    compared = found.compared.alpha
    if reasons := failures(found.errors, tolerances):
        verdict = {"verdict": "failed", "reason": "; ".join(reasons)}
    elif not all(scales):
        verdict = {"verdict": "failed", "reason": "a block's reference gradient is zero: nothing is compared"}
    elif compared < count:
        verdict = {
            "verdict": "unchecked",
            "reason": f"alpha compared for {compared} of {count} blocks only ({found.reference})",
        }
    else:
        verdict = {"verdict": "ok", "reason": ""}
    return verdict | {
        "blocks": [[block.channels, block.height, block.width] for block in manifest.blocks],
        "operators": path_operators(bundle, manifest.graphs),
        "errors": found.errors,
        "compared": compared,
        "reference": found.reference,
        "alpha_scales": scales,
    }


def path_operators(bundle: Path, graphs: Any) -> list[str]:
    """The operators between the first block's output and the logits through which a gradient flows."""
    import onnx
    from sise_rt.export.gradients.reverse import gradient_path

    found: set[str] = set()
    for name in (*graphs.blocks[1:], graphs.classifier):
        graph = onnx.load(bundle / name, load_external_data=False).graph
        weights = {w.name for w in graph.initializer}
        inputs = [value.name for value in graph.input if value.name not in weights]
        path = gradient_path(graph.node, [value.name for value in graph.output], inputs)
        found |= {n.op_type for n in graph.node if path & set(n.input) and path & set(n.output)}
    return sorted(found)


# ---------------------------------------------------------------------------------------------- all models


def run_all(sources: dict[str, str], results: Path, jobs: int, timeout: float, gigabytes: float) -> None:
    """Run every source in a process of its own and append its record; Ctrl-C ends those that run.

    Args:
        sources: with the section of each.
        results: the file; it is made where it is not there.
        jobs: processes at a time.
        timeout: seconds for one process.
        gigabytes: of memory for one process.
    """
    results.parent.mkdir(parents=True, exist_ok=True)
    cores = sorted(os.sched_getaffinity(0))
    each = max(1, len(cores) // jobs)
    slots: queue.Queue[list[int]] = queue.Queue()
    for job in range(jobs):
        slots.put([cores[(job * each + i) % len(cores)] for i in range(each)])
    running: set[subprocess.Popen[str]] = set()
    done = 0

    def one(source: str) -> Record:
        own = slots.get()
        try:
            return run_one(source, own, timeout, gigabytes, running)
        finally:
            slots.put(own)

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pool = ThreadPoolExecutor(jobs)
    try:
        for finished in as_completed([pool.submit(one, source) for source in sources]):
            record = finished.result()
            record["section"] = sources[record["source"]]
            with results.open("a") as file:
                file.write(json.dumps(record) + "\n")
            done += 1
            print(f"{done:3d}/{len(sources)} {line(record)}", flush=True)
    except KeyboardInterrupt:
        print(f"ended; {done} results are in {results}")
        raise SystemExit(130) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            process.kill()


def run_one(source: str, cores: Sequence[int], timeout: float, gigabytes: float, running: set[Any]) -> Record:
    """One model's record, from a process that is ended where it passes a limit."""
    command = [sys.executable, "-m", "benchmarks.zoo", "--one", source, "--cores", ",".join(map(str, cores))]
    threads = {name: str(len(cores)) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    record: Record = {"source": source, "date": date.today().isoformat(), "versions": versions()}
    start, peak, ended = time.monotonic(), 0.0, ""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=errors,
            text=True,
            cwd=ROOT,
            env=os.environ | threads,
            start_new_session=True,  # Ctrl-C is for the one that writes the results
        )
        running.add(process)
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            if time.monotonic() - start > timeout:
                ended = f"not finished in {timeout:.0f} s"
            elif peak > gigabytes:
                ended = f"takes more than {gigabytes:.0f} GB of memory"
            if ended:
                process.kill()
                process.wait()
            time.sleep(0.2)
        running.discard(process)
        output.seek(0)
        errors.seek(0)
        written, complaint = output.read().splitlines(), errors.read().strip().splitlines()
    record |= {"seconds": round(time.monotonic() - start, 1), "peak_gb": round(peak, 1), "cores": len(cores)}
    if process.returncode == 0 and written:
        return record | json.loads(written[-1])
    if not ended and process.returncode < 0:
        ended = f"ended by {signal.Signals(-process.returncode).name}"
    return record | {"verdict": "failed", "reason": ended or (complaint or ["no result"])[-1]}


def resident(process: int) -> float:
    """The gigabytes of memory that a process holds; 0 where it has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def versions() -> dict[str, str]:
    """Of the packages that the numbers depend on."""
    found = {name: version(name) for name in PACKAGES}
    return found | {"python": ".".join(map(str, sys.version_info[:3]))}


def read_results(path: Path) -> dict[str, Record]:
    """The latest record of each source; a last line that was cut off does not count."""
    found: dict[str, Record] = {}
    for text in path.read_text().splitlines() if path.is_file() else []:
        try:
            record = json.loads(text)
        except ValueError:
            continue
        found.pop(record["source"], None)
        found[record["source"]] = record
    return found


# ---------------------------------------------------------------------------------------------- the table


def line(record: Record) -> str:
    """A record in one line for the terminal."""
    errors = " ".join(f"{error:.0e}" for error in _errors(record) if error is not None)
    blocks = _channels(record)
    parts = [f"{record['source']:44}", record["verdict"], f"{record['seconds']:.0f} s", blocks, errors]
    return "  ".join(part for part in (*parts, record["reason"][:160]) if part)


def _errors(record: Record) -> list[float | None]:
    errors = record.get("errors", {})
    return [errors.get("logits"), errors.get("maps"), errors.get("alpha") if record.get("compared") else None]


def _channels(record: Record) -> str:
    return "/".join(str(channels) for channels, *_ in record.get("blocks", []))


def row(record: Record) -> str:
    """A record as a row of the table."""
    size, count = record.get("input"), len(record.get("blocks", []))
    errors = ["" if error is None else f"{error:.1e}" for error in _errors(record)]
    if record.get("compared", count) < count:
        errors[2] += f" ({record['compared']} of {count} blocks)"
    cells = [
        f"`{record['source']}`",
        f"{record['parameters'] / 1e6:.1f}" if "parameters" in record else "",
        f"{size[1]}x{size[2]}" if size else "",
        _channels(record),
        str(len(record["operators"])) if "operators" in record else "",
        f"{record['export_seconds']:.0f}" if "export_seconds" in record else "",
        *errors,
        record["verdict"],
    ]
    return f"| {' | '.join(cells)} |"


def markdown(records: Sequence[Record]) -> str:
    """The document: counts, a table a section, and what is not ok with its reason."""
    dates = sorted({record["date"] for record in records})
    used = {name: sorted({record["versions"][name] for record in records}) for name in records[0]["versions"]}
    cores = sorted({record["cores"] for record in records})
    lines = [
        PREAMBLE.format(cores=" or ".join(map(str, cores))),
        f"Run {' to '.join(dict.fromkeys((dates[0], dates[-1])))} with "
        + ", ".join(f"{name} {' and '.join(numbers)}" for name, numbers in used.items())
        + ".",
        "",
        "| | models | ok | refused | failed | unchecked | largest error of alpha among the ok |",
        "|---|---|---|---|---|---|---|",
    ]
    groups = {title: [r for r in records if r["section"] == kind] for kind, title in KINDS.items()}
    for title, group in groups.items():
        counts = [sum(r["verdict"] == v for r in group) for v in ("ok", "refused", "failed", "unchecked")]
        worst = max((r["errors"]["alpha"] for r in group if r["verdict"] == "ok"), default=None)
        error = "" if worst is None else f"{worst:.1e}"
        lines.append(f"| {title} | {len(group)} | {' | '.join(map(str, counts))} | {error} |")
    for title, group in groups.items():
        head = "source | parameters, M | input | block channels | operators | seconds | logits | A | alpha |"
        lines += ["", f"## {title}", "", f"| {head} verdict |", f"|{'---|' * 10}"]
        lines += [row(record) for record in group]
    lines += ["", "## What is not ok", ""]
    lines += [
        f"- `{record['source']}` {record['verdict']}: {record['reason']}"
        for group in groups.values()
        for record in group
        if record["verdict"] != "ok"
    ] or ["Nothing."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what has no result yet, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "zoo.jsonl")
    parser.add_argument("--only", metavar="PATTERN", action="append", help="sources, as in 'timm:resnet*'")
    parser.add_argument("--limit", type=int, help="at most so many models")
    parser.add_argument(
        "--jobs", type=int, default=1, help="models at a time; each has its share of the cores"
    )
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one model")
    parser.add_argument(
        "--memory", type=float, help="gigabytes for one model; its share of 85 %% if not given"
    )
    parser.add_argument("--again", metavar="VERDICT", action="append", default=[], help="run these once more")
    parser.add_argument("--list", action="store_true", help="print the sources and their verdicts")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table instead of running")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--cores", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        if arguments.cores:
            os.sched_setaffinity(0, map(int, arguments.cores.split(",")))
        print(json.dumps(examine(arguments.one)), flush=True)
        return
    known = sections()
    wanted = [s for s in known if any(fnmatch.fnmatch(s, p) for p in arguments.only or ["*"])]
    results = read_results(arguments.results)
    if arguments.list:
        for source in wanted:
            print(f"{source:44} {known[source]:12} {results.get(source, {}).get('verdict', '')}")
        return
    if arguments.markdown:
        arguments.markdown.write_text(markdown([results[s] for s in wanted if s in results]))
        return
    open_ = [s for s in wanted if s not in results or results[s]["verdict"] in arguments.again]
    memory = arguments.memory or 0.85e-9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    share = memory if arguments.memory else memory / arguments.jobs
    chosen = {source: known[source] for source in open_[: arguments.limit]}
    run_all(chosen, arguments.results, arguments.jobs, arguments.timeout, share)


if __name__ == "__main__":
    main()
