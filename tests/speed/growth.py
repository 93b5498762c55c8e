"""How time grows: a step with batch, length, dims and layers; evaluation with texts and budgets; the report with rows. A plot each."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
from harness import ROOT, Rows, options, seconds, text_corpus
from sides import DTYPES, SETTINGS, default_dtype, step_seconds

from mipic_bench import backbones, evaluators, tasks
from mipic_bench.encoding.embed import Embeddings, encode
from mipic_bench.recipes import methods
from mipic_bench.recipes.resolved import resolve

STEPS = 6


def words(count: int, tokens: int, seed: int = 0) -> list[str]:
    """Return different texts of a given number of tokens: random whole words of the tokenizer's vocabulary."""
    backbone = backbones.load("minilm", offline=True, weights=False)
    whole = sorted(
        word for word in backbone.tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 2
    )
    rng = np.random.default_rng(seed)
    return [" ".join(whole[place] for place in rng.integers(0, len(whole), tokens - 2)) for _ in range(count)]


def step(method: str, changes: Sequence[str], batch: int, tokens: int, dtype: str) -> float:
    """Return the median seconds of a step on texts of one length."""
    backbone = backbones.load("minilm", offline=True)
    training = {**SETTINGS, "batch_size": batch, "max_length": 256}
    recipe = resolve(methods.find([method], changes)[0], backbone.shape, backbone.name, training)
    return median(step_seconds(backbone, recipe, text_corpus(words(batch * STEPS, tokens)), dtype))


def spread(count: int, last: int) -> list[int]:
    """Return `count` different numbers up to `last`, evenly spread."""
    return sorted({round(last * (place + 1) / count) for place in range(count)})


def dims_of(method: str, count: int, dtype: str) -> float:
    """Return the seconds of a step that trains so many widths."""
    changes = [f"dims = {[8 * place for place in spread(count, 48)]}"]
    return step(method, changes, 32, 24, dtype)


def layers_of(count: int, dtype: str) -> float:
    """Return the seconds of a MIPIC step that aligns so many layers."""
    chosen = spread(count, 6)
    changes = [f"terms.{name}.layer_set = {chosen}" for name in ("attention", "cka")]
    return step("mipic", changes, 32, 24, dtype)


def evaluated(texts: int, layers: int, dims: int, dtype: str) -> float:
    """Return the seconds of encoding so many texts and scoring their pairs at layers x dims budgets."""
    import pandas as pd

    backbone = backbones.load("minilm", offline=True)
    lines = words(texts, 16)
    data = tasks.load("toy-sts")
    pairs = {"sentence1": lines[::2], "sentence2": lines[1::2], "score": np.arange(texts // 2) / texts}
    fold = tasks.Fold(data, "test", None, None, pd.DataFrame(pairs), ())
    kept = spread(layers, 6)
    start = perf_counter()
    embeddings: Embeddings = encode(
        backbone, lines, kept, max_length=64, device=torch.device("cpu"), dtype=DTYPES[dtype]
    )
    list(evaluators.evaluator("sts").score(fold, embeddings, kept, spread(dims, 384), ("float32",), "clean"))
    return perf_counter() - start


def reported(seeds: int) -> tuple[int, float]:
    """Return the number of rows of an invented study with so many seeds, and the seconds its report takes."""
    sys.path.insert(0, str(ROOT / "tests"))
    import synthetic

    from mipic_bench import reporting

    rows = synthetic.rows(seeds=range(seeds))
    with TemporaryDirectory() as folder:
        return len(rows), seconds(lambda: reporting.build(rows, synthetic.provenance(rows), Path(folder)))


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the exponent of the steepest power law that fits the times at the upper half of the points; 1 is linear."""
    upper = np.log(np.asarray(points[len(points) // 2 - 1 :]))
    return float(np.polyfit(upper[:, 0], upper[:, 1], 1)[0])


def plot(path: Path, axis: str, curves: dict[str, list[tuple[float, float]]]) -> None:
    """Draw times against sizes on logarithmic axes, with a linear line from each first point."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4.5, 3.4), constrained_layout=True)
    for name, points in curves.items():
        xs, ys = np.asarray(points).T
        (line,) = axes.plot(xs, ys, marker="o", label=name)
        axes.plot(xs, ys[0] * xs / xs[0], color=line.get_color(), linestyle=":", linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel=axis, ylabel="seconds")
    axes.set_xticks(xs, [f"{x:.0f}" for x in xs])
    axes.minorticks_off()
    axes.set_title("dotted: linear growth", fontsize=9)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    args = options(__doc__, only={"default": "", "help": "just the curves whose name begins so"})
    dtype, runs = default_dtype(), args.runs or (1 if args.quick else 3)
    rows = Rows("growth", args, dtype)
    most = 3 if args.quick else 9
    per_step: dict[str, tuple[str, list[int], dict[str, Callable[[int], float]], str]] = {
        "step-batch": ("batch (texts of 24 tokens)", [4, 8, 16, 32, 64, 128][:most], {}, "<= 1.1"),
        "step-length": ("tokens (batch 16)", [8, 16, 32, 64, 128, 254][:most], {}, "<= 1.1"),
        "step-dims": ("trained dims (batch 32, 24 tokens)", [1, 2, 6, 12, 24, 48][:most], {}, "<= 0.2"),
        "step-layers": ("aligned layers (batch 32, 24 tokens)", [1, 2, 3, 6][:most], {}, "<= 0.2"),
        "evaluation-texts": ("texts", [256, 512, 1024, 2048, 4096, 8192][:most], {}, "<= 1.1"),
        "evaluation-dims": ("dims (2048 texts, 6 layers)", [1, 2, 6, 24, 96, 384][:most], {}, "<= 1"),
        "report-rows": ("seeds of an invented study", [1, 3, 6, 12][:most], {}, "<= 1.1"),
    }
    for method in ("full", "mipic"):
        per_step["step-batch"][2][method] = lambda n, method=method: step(method, [], n, 24, dtype)
        per_step["step-length"][2][method] = lambda n, method=method: step(method, [], 16, n, dtype)
    for method in ("mrl", "mipic"):
        per_step["step-dims"][2][method] = partial(lambda n, method: dims_of(method, n, dtype), method=method)
    per_step["step-layers"][2]["mipic"] = lambda n: layers_of(n, dtype)
    per_step["evaluation-texts"][2]["7 dims x 6 layers"] = lambda n: evaluated(n, 6, 7, dtype)
    per_step["evaluation-dims"][2]["sts"] = lambda n: evaluated(2048, 6, n, dtype)
    per_step["report-rows"][2]["report"] = lambda n: reported(n)[1]
    for name, (axis, points, curves, target) in per_step.items():
        if not name.startswith(args.only):
            continue
        drawn: dict[str, list[tuple[float, float]]] = {}
        for curve, measure in curves.items():
            times = {n: [] for n in points}
            for _ in range(runs):
                for n in points:
                    times[n].append(measure(n))
            for n in points:
                rows.add(f"growth {name}", f"{curve}, {n} {axis}", "s", times[n])
            drawn[curve] = [(n, median(times[n])) for n in points]
            note = "exponent of time over the upper half of the sizes; 1 is linear, 0 is free"
            rows.add(f"growth {name}", f"{curve}, exponent", "", [slope(drawn[curve])], target=target, note=note)
        plot(args.out / f"growth-{name}.png", axis, drawn)


if __name__ == "__main__":
    main()
