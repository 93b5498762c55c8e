"""Seven dims by six layers over sts, pair and retrieval: against looping sentence-transformers' evaluators, and against one budget."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from harness import Rows, child, options, peak_mb, turns
from sides import DTYPES, default_dtype, peer_model, save_backbone

from mipic_bench import backbones, evaluators, tasks
from mipic_bench.encoding.embed import encode
from mipic_bench.shapes import default_dims
from mipic_bench.tasks import Fold

LENGTH = 256
BATCH = 64  # of the peer; its evaluators' own defaults are smaller and slower


def shortened(fold: Fold, limit: int) -> Fold:
    """Cut a task to its first rows, a retrieval task to the judged documents first."""
    if not limit:
        return fold
    score = fold.score.head(limit)
    data = fold.data
    if data.family == "retrieval":
        judged = list(dict.fromkeys(score["doc_id"]))
        kept = dict.fromkeys([*judged, *data.documents])
        data = replace(data, documents={name: data.documents[name] for name in list(kept)[: max(limit, len(judged))]})
    tune = None if fold.tune is None else fold.tune.head(limit)
    return replace(fold, data=data, score=score, tune=tune)


def ours(folds: Sequence[Fold], layers: Sequence[int], dims: Sequence[int], dtype: str) -> float:
    """Encode once and score every budget; return the seconds, tokenization included."""
    backbone = backbones.load("minilm", offline=True)
    start = perf_counter()
    scorers = [evaluators.evaluator(fold.data.family) for fold in folds]
    texts = [text for scorer, fold in zip(scorers, folds, strict=True) for text in scorer.texts(fold, ("float32",))]
    device = torch.device("cpu")
    embeddings = encode(backbone, texts, layers, max_length=LENGTH, device=device, dtype=DTYPES[dtype])
    for scorer, fold in zip(scorers, folds, strict=True):
        list(scorer.score(fold, embeddings, layers, dims, ("float32",), "mteb"))
    return perf_counter() - start


def peer_evaluator(fold: Fold, dim: int) -> Any:
    """Return the peer's evaluator of a task at a width."""
    from sentence_transformers.sentence_transformer import evaluation

    common = {"batch_size": BATCH, "write_csv": False, "truncate_dim": dim}
    if fold.data.family == "retrieval":
        relevant: dict[str, set[str]] = {}
        for query, document, gain in fold.score[["query_id", "doc_id", "relevance"]].itertuples(index=False):
            if gain > 0:
                relevant.setdefault(query, set()).add(document)
        queries = {name: fold.data.queries[name] for name in relevant}
        depths = {"map_at_k": [100], "precision_recall_at_k": [100]}
        return evaluation.InformationRetrievalEvaluator(
            queries, dict(fold.data.documents), relevant, main_score_function="cosine", **depths, **common
        )
    pairs = list(fold.score["sentence1"]), list(fold.score["sentence2"])
    if fold.data.family == "sts":
        scores = list(fold.score["score"])
        return evaluation.EmbeddingSimilarityEvaluator(*pairs, scores, similarity_fn_names=["cosine"], **common)
    labels = list(fold.score["label"])
    return evaluation.BinaryClassificationEvaluator(*pairs, labels, similarity_fn_names=["cosine"], **common)


def peer(folds: Sequence[Fold], models: Sequence[Any], dims: Sequence[int], dtype: str) -> float:
    """Run every evaluator at every width on every cut model; return the seconds."""
    start = perf_counter()
    with warnings.catch_warnings(), torch.autocast("cpu", DTYPES[dtype], enabled=dtype != "float32"):
        warnings.simplefilter("ignore")
        for model in models:
            for fold in folds:
                for dim in dims:
                    peer_evaluator(fold, dim)(model)
    return perf_counter() - start


def main() -> None:
    args = options(
        __doc__,
        data={"type": Path, "default": None, "help": "folder of datasets"},
        task={"nargs": "*", "default": ["stsb", "mrpc", "cisi"], "help": "tasks in it: sts, pair and retrieval"},
        limit={
            "type": int,
            "default": 400,
            "help": "rows and documents taken of each task, for the peer's sake; 0: all",
        },
        whole={"action": "store_true", "help": "compare only with one budget of ours, on all rows"},
        **{"memory-of": {"choices": ("one", "all"), "help": "print the peak memory of one or all budgets and stop"}},
    )
    names = args.task if args.data else ["toy-sts", "toy-pair", "toy-retrieval"]
    whole = [tasks.fold(tasks.load(name, args.data)) for name in names]
    folds = [shortened(fold, 40 if args.quick else args.limit) for fold in whole]
    dtype, dims, layers = default_dtype(), default_dims(384), [1, 2, 3, 4, 5, 6]
    if args.memory_of:
        budgets = (layers, dims) if args.memory_of == "all" else (layers[-1:], dims[-1:])
        ours(folds if args.quick else whole, *budgets, dtype)
        print(json.dumps(peak_mb()))
        return
    rows, runs = Rows("evaluation", args, dtype), args.runs or (1 if args.quick else 3)
    ours(folds, layers, dims, dtype)
    case = f"{', '.join(names)}, 7 dims x 6 layers"
    if not args.whole:
        with TemporaryDirectory() as temporary:
            body = backbones.load("minilm", offline=True)
            models = [peer_model(save_backbone(body, Path(temporary) / str(k), k), LENGTH) for k in layers]
            sides = {
                "ours": lambda: ours(folds, layers, dims, dtype),
                "peer": lambda: peer(folds, models, dims, dtype),
            }
            measured = turns(sides, runs)
        sizes = ", ".join(str(len(fold.data.documents or fold.score)) for fold in folds)
        note = f"peer: sentence-transformers' evaluators with truncate_dim on models cut to each layer, batch {BATCH}; rows {sizes}"
        rows.add("evaluation, all budgets", case, "s", measured["ours"], measured["peer"], ">= 15", "ours", note)
    if args.quick:
        whole = folds
    sides = {
        "all": lambda: ours(whole, layers, dims, dtype),
        "one": lambda: ours(whole, layers[-1:], dims[-1:], dtype),
    }
    measured = turns(sides, max(runs, 3) if not args.quick else runs)
    sizes = ", ".join(str(len(fold.data.documents or fold.score)) for fold in whole)
    note = f"peer: our own evaluation of one budget (last layer, full width); rows {sizes}"
    rows.add("evaluation, all budgets against one", case, "s", measured["all"], measured["one"], "<= 1.25", note=note)
    peaks = turns({kind: partial(child, __file__, "--memory-of", kind) for kind in ("all", "one")}, runs)
    rows.add("evaluation, peak memory of the process", case, "MB", peaks["all"], peaks["one"], "<= 1.1", note=note)


if __name__ == "__main__":
    main()
