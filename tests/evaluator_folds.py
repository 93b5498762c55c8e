"""Small folds with vectors that carry a signal, for the tests of the evaluators."""

import numpy as np
import pandas as pd

from mipic_bench.encoding.embed import Embeddings
from mipic_bench.tasks import Fold, TaskData

WIDTH = 16
DIMS = (2, 4, 9, 16)
LAYERS = (1, 3)


def task_data(family, splits, name="small", queries=None, documents=None):
    return TaskData(name, family, splits, queries or {}, documents or {}, (), f"local:{name}", "0")


def embed(texts, seed=0, width=WIDTH, layers=LAYERS, signal=None):
    """Random vectors, plus a signal (text -> vector) that grows with the layer."""
    generator = np.random.default_rng(seed)
    texts = list(dict.fromkeys(texts))
    arrays = {}
    for layer in layers:
        arrays[layer] = generator.normal(size=(len(texts), width)).astype(np.float32)
        if signal is not None:
            arrays[layer] += layer * np.stack([signal(text) for text in texts]).astype(np.float32)
    return Embeddings.from_arrays(texts, arrays)


def pairs(n, kind, prefix="s"):
    """n pairs; the column is a score 0..5 or a label 0/1."""
    generator = np.random.default_rng(len(prefix) + n)
    column = {"score": np.round(generator.uniform(0, 5, n), 1)} if kind == "sts" else {"label": np.arange(n) % 2}
    sentences = {side: [f"{prefix} {n} {side}" for n in range(n)] for side in ("sentence1", "sentence2")}
    return pd.DataFrame({**sentences, **column})


def pair_vectors(frame, seed=0, width=WIDTH, layers=LAYERS):
    """Vectors of a frame of pairs: the second sentence leans towards the first by its score or label."""
    generator = np.random.default_rng(seed)
    strength = frame["score"] / 5 if "score" in frame else frame["label"]
    texts, arrays = [*frame["sentence1"], *frame["sentence2"]], {}
    for layer in layers:
        first = generator.normal(size=(len(frame), width))
        second = generator.normal(size=(len(frame), width)) + layer * strength.to_numpy()[:, None] * first
        arrays[layer] = np.vstack([first, second]).astype(np.float32)
    return Embeddings.from_arrays(texts, arrays)


def both(*embeddings):
    """One table of several."""
    texts = [text for table in embeddings for text in table.index]
    arrays = {layer: np.vstack([table.at(layer) for table in embeddings]) for layer in embeddings[0].layers}
    return Embeddings.from_arrays(texts, arrays)


def classes(n, count, prefix="t"):
    return pd.DataFrame({"text": [f"{prefix} {row} {row % count}" for row in range(n)], "label": np.arange(n) % count})


def class_signal(count, width=WIDTH):
    centers = np.random.default_rng(9).normal(size=(count, width))
    return lambda text: 0.5 * centers[int(text.rsplit(" ", 1)[1])]


def classification(fit_rows=120, score_rows=90, count=5):
    splits = {"train": classes(fit_rows, count, "fit"), "test": classes(score_rows, count, "test")}
    fold = Fold(task_data("classification", splits), "test", splits["train"], None, splits["test"])
    texts = [*splits["train"]["text"], *splits["test"]["text"]]
    return fold, embed(texts, signal=class_signal(count))


def clustering(rows=80, count=4):
    frame = classes(rows, count)
    fold = Fold(task_data("clustering", {"test": frame}), "test", None, None, frame)
    return fold, embed(frame["text"], signal=class_signal(count))


def sts(rows=120):
    frame = pairs(rows, "sts")
    return Fold(task_data("sts", {"test": frame}), "test", None, None, frame), pair_vectors(frame)


def pair(rows=120, tune_rows=60):
    frame, tune = pairs(rows, "pair"), pairs(tune_rows, "pair", "tune")
    fold = Fold(task_data("pair", {"dev": tune, "test": frame}), "test", None, tune, frame)
    return fold, both(pair_vectors(frame), pair_vectors(tune, seed=1))


def retrieval(queries=12, documents=60, relevant=3):
    generator = np.random.default_rng(3)
    names = [f"q{n}" for n in range(queries)]
    ids = [f"d{n}" for n in generator.permutation(documents)]
    rows = [
        (q, ids[d], int(g))
        for q in names
        for d, g in zip(
            generator.choice(documents, relevant, replace=False), generator.integers(1, 4, relevant), strict=True
        )
    ]
    qrels = pd.DataFrame(rows, columns=["query_id", "doc_id", "relevance"])
    data = task_data(
        "retrieval", {"test": qrels}, queries={q: f"ask {q}" for q in names}, documents={d: f"text {d}" for d in ids}
    )
    return Fold(data, "test", None, None, qrels), embed([*data.queries.values(), *data.documents.values()])


FOLDS = {"sts": sts, "pair": pair, "classification": classification, "clustering": clustering, "retrieval": retrieval}


def run(evaluator, fold, embeddings, *, layers=LAYERS, dims=DIMS, precisions=("float32",), protocol="clean"):
    return list(evaluator.score(fold, embeddings, layers, dims, precisions, protocol))


def values(scores, metric, precision="float32"):
    return {(s.layer, s.dim): s.value for s in scores if s.metric == metric and s.precision == precision}
