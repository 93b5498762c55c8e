"""SYNTHETIC rows and provenance for the tests of tables, figures and reports: invented curves, nobody's results."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

TASKS = {
    "sts": ("stsb", "sick_r"),
    "classification": ("banking77", "emotion"),
    "pair": ("mrpc", "scitail"),
}
METRICS = {
    "sts": ("spearman", "pearson"),
    "classification": ("accuracy", "macro_f1"),
    "pair": ("ap", "pair_accuracy"),
    "retrieval": ("ndcg@10", "recall@100"),
    "clustering": ("v_measure",),
}
METHODS = ("pretrained", "full", "mrl", "2d-mrl", "mipic", "mipic-no-sia", "mipic-no-pic")
DIMS = (8, 16, 32, 64, 128, 256, 384)
TERMS = {
    "mrl": {"mrl": 1.0},
    "full": {"full": 1.0},
    "2d-mrl": {"mrl": 1.0, "align": 1.0},
    "mipic": {"mrl": 0.4, "attention": 0.6, "cka": 0.6, "chain": 0.6},
    "mipic-no-sia": {"mrl": 0.4, "chain": 0.6},
    "mipic-no-pic": {"mrl": 0.4, "attention": 0.6, "cka": 0.6},
}
# What each method gains over plain full-width training, in points: (at 8 dims, at full width).
GAIN = {"pretrained": (-12, -6), "full": (-5, 0.2), "mrl": (0, 0), "2d-mrl": (0.2, -1), "mipic": (2.5, 0.1)}
GAIN |= {"mipic-no-sia": (1.2, 0.1), "mipic-no-pic": (2.3, 0.1)}


def split_name(method: str) -> tuple[str, str]:
    """'mipic-no-pic' -> ('mipic', 'no-pic'); a swept 'mipic-alpha=0.5' -> ('mipic', 'alpha=0.5')."""
    for base in sorted(GAIN, key=len):
        if method.startswith(base + "-") and method not in ("2d-mrl",):
            return base, method[len(base) + 1 :]
    return method, ""


def rows(
    methods: Sequence[str] = METHODS,
    seeds: Sequence[int] = (0, 1, 2),
    backbones: Sequence[str] = ("minilm",),
    corpora: Sequence[str] = ("toy",),
    tasks: dict[str, tuple[str, ...]] | None = None,
    layers: Sequence[int] = (1, 2, 3, 4, 5, 6),
    dims: Sequence[int] = DIMS,
    precisions: Sequence[str] = ("float32",),
    noise: float = 0.004,
) -> pd.DataFrame:
    """A frame of synthetic rows with every column of a row, deterministic."""
    tasks = tasks or TASKS
    names = [(family, task, metric) for family in tasks for task in tasks[family] for metric in METRICS[family]]
    grid = pd.MultiIndex.from_product(
        [range(len(names)), layers, dims, precisions], names=["name", "layer", "dim", "precision"]
    ).to_frame(index=False)
    parts = []
    for method in methods:
        for backbone in backbones:
            for corpus in ("",) if method == "pretrained" else corpora:
                for seed in ("",) if method == "pretrained" else seeds:
                    parts.append(_cell(method, backbone, corpus, str(seed), names, grid, noise))
    return pd.concat(parts, ignore_index=True)


def run_of(method: str, backbone: str, corpus: str, seed: str) -> str:
    return f"{method}--{backbone}--{corpus or 'none'}--s{seed or 0}--0123456789ab"


def _cell(
    method: str,
    backbone: str,
    corpus: str,
    seed: str,
    names: list[tuple[str, str, str]],
    grid: pd.DataFrame,
    noise: float,
) -> pd.DataFrame:
    rng = np.random.default_rng([sum(map(ord, method + backbone + corpus)), int(seed or 99)])
    base, ablation = split_name(method)
    small, full = GAIN.get(method, GAIN.get(base, (0, 0)))
    width = grid["dim"].max()
    depth = np.log2(grid["dim"]) / np.log2(width)  # 0..1
    gain = (small + (full - small) * depth**2) / 100
    luck = np.random.default_rng(int(seed or 99)).normal(0, 0.004)
    index = grid["name"].to_numpy()
    level = np.array([0.78 - 0.05 * (i % 5) for i in range(len(names))])[index]
    layers = grid["layer"] / grid["layer"].max()
    value = level - 0.25 * (1 - depth) ** 1.5 - 0.2 * (1 - layers) ** 1.3 + gain + luck
    value = value - grid["precision"].map({"float32": 0, "int8": 0.004, "binary": 0.05}).fillna(0.01)
    value = value + rng.normal(0, noise, len(names))[index] + rng.normal(0, noise / 3, len(grid))
    frame = pd.DataFrame({"run": run_of(method, backbone, corpus, seed), "method": method}, index=grid.index)
    frame = frame.assign(base_method=base, ablation=ablation, backbone=backbone, corpus=corpus, seed=seed)
    for column, place in (("family", 0), ("task", 1), ("metric", 2)):
        frame[column] = np.array([name[place] for name in names], dtype=object)[index]
    frame = frame.assign(
        split="test", protocol="clean", layer=grid["layer"], dim=grid["dim"], precision=grid["precision"]
    )
    return frame.assign(value=value.clip(-1, 1), stderr=0.01, n=1000)


def provenance(frame: pd.DataFrame, trained_dims: Sequence[int] = DIMS) -> dict[str, dict[str, Any]]:
    """The provenance of every run in a frame of synthetic rows."""
    cells = frame[["run", "method", "base_method", "ablation", "backbone", "corpus", "seed"]].drop_duplicates()
    return {cell["run"]: _record(cell, frame, trained_dims) for cell in cells.to_dict("records")}


def _record(cell: dict[str, Any], frame: pd.DataFrame, trained_dims: Sequence[int]) -> dict[str, Any]:
    run = cell.pop("run")
    terms = TERMS.get(cell["method"], TERMS.get(cell["base_method"], {}))
    scored = frame.loc[frame["run"] == run, ["task", "family", "split", "protocol"]].drop_duplicates()
    training = _training(terms) if cell["seed"] else {}
    return {
        "run": run,
        "key": "0123456789ab",
        "cell": cell,
        "recipe": {
            "title": f"Synthetic {cell['method']}",
            "source": "invented",
            "dims": list(trained_dims),
            "terms": {name: {"objective": name, "weight": weight} for name, weight in terms.items()},
            "training": {"epochs": 1, "batch_size": 32, "learning_rate": 2e-5},
        },
        "training": training,
        "trained_dims": list(trained_dims) if cell["seed"] else [],
        "scored": [
            {
                **row,
                "digest": "d" * 8,
                "evaluator_version": 1,
                "notes": [],
                "leakage": {"rows": 1000, "leaked_rows": 12, "leaked_texts": 9},
            }
            for row in scored.to_dict("records")
        ],
        "versions": {"torch": "2.13.0", "mipic_bench": "0.1.0"},
        "git": "0" * 40,
        "device": {"name": "cpu"},
        "dtype": "float32",
        "created": "2026-01-01T00:00:00Z",
        "rows_sha256": "0" * 64,
    }


def _training(terms: dict[str, float]) -> dict[str, Any]:
    history = []
    for step in range(0, 200, 10):
        values = {name: 4.0 / (1 + place) * float(np.exp(-step / 80)) + 0.2 for place, name in enumerate(terms)}
        total = sum(values.values()) or 1.0
        shares = {name: value / total for name, value in values.items()}
        history.append({"step": step, "loss": total, "lr": 2e-5, "terms": values, "shares": shares})
    return {
        "steps": 200,
        "seconds": 100.0 + 40 * len(terms),
        "pairs_per_second": 6400 / (100.0 + 40 * len(terms)),
        "memory_mb": 900.0 + 30 * len(terms),
        "history": history,
    }


def profile(frame: pd.DataFrame) -> pd.DataFrame:
    """What every budget in a frame of synthetic rows costs."""
    costs = frame[["backbone", "layer", "dim", "precision"]].drop_duplicates().reset_index(drop=True)
    return costs.assign(
        flops=1e6 * costs["layer"], encode_ms=0.4 * costs["layer"] + 0.1, search_ms=0.01 * costs["dim"] ** 0.8
    )


def published(source: str = "arXiv:0000.00000, invented") -> pd.DataFrame:
    """Published numbers, as `baselines.load` returns them."""
    lines = [
        {"method": method, "backbone": backbone, "corpus": "", "family": "sts", "task": "stsb", "split": "test"}
        | {"protocol": "", "layer": "last", "dim": dim, "precision": "float32", "metric": "spearman"}
        | {"value": 0.5 + 0.02 * place + gain, "source": source, "locator": "Table 1", "note": "", "published": True}
        for method, backbone, gain in (("theirs", "minilm", 0.0), ("others", "bert-base-uncased", 0.05))
        for place, dim in enumerate(DIMS)
    ]
    return pd.DataFrame(lines).assign(file="invented.csv")
