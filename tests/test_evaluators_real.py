"""The scorers on real data: published figures, and standard errors beside the plain bootstrap.

Needs the datasets: `MIPIC_BENCH_DATA=DIR pytest -m slow tests/test_evaluators_real.py`, DIR as for `--data`.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mipic_bench import backbones, tasks
from mipic_bench.encoding.embed import encode
from mipic_bench.evaluators import evaluator

DATA = os.environ.get("MIPIC_BENCH_DATA")
BUDGETS = ((1, 6), (8, 64, 384))
# task -> (metric, all-MiniLM-L6-v2's published figure at full width, how near we must come); see SOURCES.md of the datasets
PUBLISHED = {
    "stsb": ("spearman", 0.8203, 0.002),
    "sts13": ("spearman", 0.8060, 0.002),
    "cisi": None,
    "mrpc": None,
    "scitail": None,
    "tweeteval_emotion": None,
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA, reason="MIPIC_BENCH_DATA names no folder"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module", params=PUBLISHED)
def case(request):
    fold = tasks.fold(tasks.load(request.param, Path(DATA)))
    backbone = backbones.load("minilm").eval()
    scorer = evaluator(fold.data.family)
    with torch.inference_mode():
        embeddings = encode(backbone, scorer.texts(fold), BUDGETS[0], max_length=256, device=torch.device("cpu"))
    return request.param, fold, embeddings


def score(fold, embeddings):
    found = evaluator(fold.data.family).score(fold, embeddings, *BUDGETS, ["float32"], "clean")
    return {(s.layer, s.dim, s.metric): s for s in found}


def test_the_published_figure_is_met(case):
    name, fold, embeddings = case
    if PUBLISHED[name] is None:
        pytest.skip("no figure for this model")
    metric, published, tolerance = PUBLISHED[name]
    assert score(fold, embeddings)[6, 384, metric].value == pytest.approx(published, abs=tolerance)


def resampled(fold, generator):
    """The same task with its scored rows (or queries) drawn again; repeats keep names of their own."""
    if fold.data.family != "retrieval":
        return replace(fold, score=fold.score.iloc[generator.integers(0, len(fold.score), len(fold.score))])
    parts = [rows for _, rows in fold.score.groupby("query_id")]
    queries, frames = {}, []
    for place, drawn in enumerate(generator.integers(0, len(parts), len(parts))):
        name = f"{place}"
        queries[name] = fold.data.queries[parts[drawn]["query_id"].iloc[0]]
        frames.append(parts[drawn].assign(query_id=name))
    return replace(fold, data=replace(fold.data, queries=queries), score=pd.concat(frames))


def test_standard_errors_are_the_plain_bootstraps(case):
    name, fold, embeddings = case
    if fold.data.family == "classification":
        fold = replace(fold, fit=fold.fit.head(300))  # the probe is fitted again in every repeat
    ours = score(fold, embeddings)
    generator = np.random.default_rng(0)
    repeats = [score(resampled(fold, generator), embeddings) for _ in range(400)]
    ratios = {key: s.stderr / np.std([r[key].value for r in repeats], ddof=1) for key, s in ours.items()}
    print({key: round(ratio, 3) for key, ratio in ratios.items()})
    assert {key: ratio for key, ratio in ratios.items() if not 0.9 < ratio < 1.1} == {}
