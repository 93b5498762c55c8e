"""Every scorer against a plain loop or against the library that defines the metric."""

import math

import numpy as np
import pytest
import pytrec_eval
from scipy import stats
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from mipic_bench.evaluators import _estimates, _logistic, _ranking, _search, _thresholds
from mipic_bench.evaluators._cosine import prefix_cosines, unit_prefix
from mipic_bench.evaluators._precision import read_back

DIMS = (1, 3, 8, 20)


def rng(seed=0):
    return np.random.default_rng(seed)


def graded(n=900, ties=False, seed=0):
    """Two correlated samples, the second with ties as human scores have."""
    x = rng(seed).normal(size=n)
    y = np.round(0.7 * x + rng(seed + 1).normal(size=n), 0 if ties else 1)
    return (np.round(x, 1) if ties else x), y


def labelled(n=900, ties=False, seed=0):
    labels = (rng(seed).uniform(size=n) < 0.35).astype(np.int64)
    scores = labels + 1.2 * rng(seed + 1).normal(size=n)
    return (np.round(scores, 1) if ties else scores), labels


def plain_bootstrap(function, n, repeats=400, seed=5):
    generator = rng(seed)
    return np.std([function(generator.integers(0, n, n)) for _ in range(repeats)], ddof=1)


def test_cosines_of_all_prefixes_are_those_of_a_loop():
    vectors = rng().normal(size=(30, 20)).astype(np.float32)
    left, right = rng(1).integers(0, 30, 50), rng(2).integers(0, 30, 50)
    fast = prefix_cosines(vectors, left, right, DIMS)
    for row, dim in enumerate(DIMS):
        for column, (a, b) in enumerate(zip(left, right, strict=True)):
            u, v = vectors[a, :dim].astype(float), vectors[b, :dim].astype(float)
            dot = sum(p * q for p, q in zip(u, v, strict=True))
            norms = math.sqrt(sum(p * p for p in u)) * math.sqrt(sum(q * q for q in v))
            assert fast[row, column] == pytest.approx(dot / norms, abs=1e-12)


def test_equal_vectors_have_cosine_one_exactly():
    vectors = np.repeat(rng().normal(size=(40, 20)), 2, axis=0).astype(np.float32)
    assert (prefix_cosines(vectors, np.arange(0, 80, 2), np.arange(1, 80, 2), DIMS) == 1).all()


@pytest.mark.parametrize("ties", [False, True])
def test_correlations_are_scipys(ties):
    x, y = graded(ties=ties)
    assert _estimates.spearman(x, y, _estimates.ranked(y)).value == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-12)
    assert _estimates.pearson(x, y).value == pytest.approx(stats.pearsonr(x, y)[0], abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_is_scikit_learns(ties):
    scores, labels = labelled(ties=ties)
    ours = _estimates.average_precision(scores, labels).value
    assert ours == pytest.approx(metrics.average_precision_score(labels, scores), abs=1e-12)


def test_f1_scores_are_scikit_learns():
    truth, guess = rng().integers(0, 6, 300), rng(1).integers(1, 8, 300)  # classes that only one side has
    ours = _estimates.macro_f1(truth, [guess]).value
    assert ours == pytest.approx(metrics.f1_score(truth, guess, average="macro", zero_division=0), abs=1e-12)
    truth, guess = truth % 2, guess % 2
    assert _estimates.positive_f1(truth, guess).value == pytest.approx(metrics.f1_score(truth, guess), abs=1e-12)


def test_v_measure_is_scikit_learns():
    truth, clusters = rng().integers(0, 6, 300), rng(1).integers(0, 9, 300)
    clusters[:200] = truth[:200]
    ours = _estimates.v_measure(truth, [(np.arange(300), clusters)]).value
    assert ours == pytest.approx(metrics.v_measure_score(truth, clusters), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_standard_errors_are_the_plain_bootstraps(ties):
    x, y = graded(ties=ties)
    scores, labels = labelled(ties=ties)
    guess = (scores > 0.5).astype(np.int64)
    classes, clusters = rng(3).integers(0, 5, 900), rng(4).integers(0, 5, 900)
    clusters[:600] = classes[:600]
    everyone = np.arange(900)
    cases = {
        "spearman": (_estimates.spearman(x, y, _estimates.ranked(y)), lambda i: stats.spearmanr(x[i], y[i])[0]),
        "pearson": (_estimates.pearson(x, y), lambda i: stats.pearsonr(x[i], y[i])[0]),
        "ap": (
            _estimates.average_precision(scores, labels),
            lambda i: metrics.average_precision_score(labels[i], scores[i]),
        ),
        "accuracy": (_estimates.mean((guess == labels).astype(float)), lambda i: (guess == labels)[i].mean()),
        "f1": (_estimates.positive_f1(labels, guess), lambda i: metrics.f1_score(labels[i], guess[i])),
        "macro_f1": (
            _estimates.macro_f1(labels, [guess]),
            lambda i: metrics.f1_score(labels[i], guess[i], average="macro"),
        ),
        "v_measure": (
            _estimates.v_measure(classes, [(everyone, clusters)]),
            lambda i: metrics.v_measure_score(classes[i], clusters[i]),
        ),
    }
    wrong = {name: ours.stderr / plain_bootstrap(slow, 900) for name, (ours, slow) in cases.items()}
    assert {name: ratio for name, ratio in wrong.items() if not 0.9 < ratio < 1.1} == {}


def test_grid_threshold_is_the_papers_sweep():
    for seed in range(6):
        scores, labels = labelled(60, seed=seed)
        scores = 1 / (1 + np.exp(-scores))
        best, chosen = -1.0, None
        for threshold in np.linspace(0, 1, 200):
            accuracy = np.mean((scores >= threshold) == (labels == 1))
            if accuracy > best:
                best, chosen = accuracy, threshold
        assert _thresholds.grid_threshold(scores, labels) == chosen


@pytest.mark.parametrize("ties", [False, True])
def test_thresholds_between_scores_are_the_best_there_are(ties):
    for seed in range(6):
        scores, labels = labelled(60, ties=ties, seed=seed)
        every = [-np.inf, *np.unique(scores), np.inf]
        accuracy = max(np.mean((scores >= t) == (labels == 1)) for t in every)
        f1 = max(metrics.f1_score(labels, scores >= t) for t in np.unique(scores)[1:])
        ours = _thresholds.best_accuracy(scores, labels)
        assert np.mean((scores >= ours) == (labels == 1)) == accuracy
        assert metrics.f1_score(labels, scores >= _thresholds.best_f1(scores, labels)) == pytest.approx(f1, abs=1e-12)


def test_of_equally_good_thresholds_the_lowest_is_taken_halfway_between_scores():
    scores = np.asarray([0.0, 1.0, 2.0, 3.0])
    assert _thresholds.best_accuracy(scores, np.asarray([0, 1, 0, 1])) == 0.5  # as good: 2.5
    assert _thresholds.best_f1(np.asarray([0.0, 1.0, 3.0]), np.asarray([0, 1, 1])) == 0.5
    nothing_or_all = np.asarray([1, 1, 0, 0])
    assert _thresholds.best_accuracy(scores, nothing_or_all) == -np.inf
    assert _thresholds.best_accuracy(scores, nothing_or_all, extremes=False) == 0.5


def test_the_error_of_a_mean_over_fits_is_not_the_mean_of_their_errors():
    truth, right = np.tile([0, 1], 50), np.repeat([True, False], 50)
    guesses = [
        np.where(right, truth, 1 - truth),
        np.where(right, 1 - truth, truth),
    ]  # one is right where the other errs
    alone, both = _estimates.macro_f1(truth, guesses[:1]), _estimates.macro_f1(truth, guesses)
    assert (alone.value, alone.stderr) == pytest.approx((0.5, 0.05))
    assert (both.value, both.stderr) == pytest.approx((0.5, 0))


def test_the_error_of_clusterings_of_samples_is_over_all_texts():
    truth, clusters = rng().integers(0, 4, 100), rng(1).integers(0, 4, 100)
    clusters[:60] = truth[:60]
    once = _estimates.v_measure(truth, [(np.arange(100), clusters)])
    drawn_twice = _estimates.v_measure(truth, [(np.tile(np.arange(100), 2), np.tile(clusters, 2))])
    assert drawn_twice == pytest.approx(once)
    twice = np.tile(truth, 2)
    whole = _estimates.v_measure(twice, [(np.arange(200), np.tile(clusters, 2))])
    halves = _estimates.v_measure(twice, [(np.arange(100), clusters), (np.arange(100, 200), clusters)])
    assert halves == pytest.approx(whole)


def test_neighboring_floats_are_told_apart():
    low = 0.5
    scores = np.asarray([low, np.nextafter(low, 1), low, np.nextafter(low, 1)])
    threshold = _thresholds.best_accuracy(scores, np.asarray([0, 1, 0, 1]))
    assert (scores >= threshold).tolist() == [False, True, False, True]


def searched(ties):
    """Scores of 12 queries against 150 documents, and graded judgements, few and many."""
    scores = rng(1).normal(size=(12, 150)).astype(np.float32)
    if ties:
        scores = np.round(scores, 1)
    pairs = [
        (query, int(document), int(gain))
        for query in range(12)
        for document, gain in zip(
            np.sort(rng(query).choice(150, 1 + 3 * query, replace=False)), rng(query).integers(1, 4, 40), strict=False
        )
    ]
    queries, documents, gains = (np.asarray(column) for column in zip(*pairs, strict=True))
    return scores, _ranking.Judged(queries, documents, gains.astype(float), 12)


@pytest.mark.parametrize("ties", [False, True])
def test_retrieval_metrics_are_trec_evals(ties):
    scores, judged = searched(ties)
    ids = sorted((f"doc-{n}" for n in range(150)), key=str.encode, reverse=True)  # the order that breaks ties
    qrels, run = {}, {}
    for query, document, gain in zip(judged.queries, judged.documents, judged.gains, strict=True):
        qrels.setdefault(f"q{query}", {})[ids[document]] = int(gain)
    for query, row in enumerate(scores):
        run[f"q{query}"] = dict(zip(ids, row.tolist(), strict=True))
        qrels[f"q{query}"][ids[query]] = qrels[f"q{query}"].get(ids[query], 0)  # judged, and not relevant
    judge = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recall.100", "map", "recip_rank"})
    theirs = judge.evaluate(run)
    ours = _ranking.per_query(judged, _search.relevant_ranks(scores, judged.queries, judged.documents))
    for query in range(12):
        expected = theirs[f"q{query}"]
        assert ours["ndcg@10"][query] == pytest.approx(expected["ndcg_cut_10"], abs=1e-12)
        assert ours["recall@100"][query] == pytest.approx(expected["recall_100"], abs=1e-12)
        assert ours["map"][query] == pytest.approx(expected["map"], abs=1e-12)
        reciprocal = expected["recip_rank"]
        assert ours["mrr@10"][query] == pytest.approx(reciprocal if reciprocal >= 0.1 else 0, abs=1e-12)


def test_scores_of_all_prefixes_are_those_of_a_loop():
    queries, documents = rng().normal(size=(5, 20)).astype(np.float32), rng(1).normal(size=(33, 20)).astype(np.float32)
    norms = _search.prefix_norms(documents, DIMS)
    for dim, scores in zip(DIMS, _search.prefix_scores(queries, documents, DIMS, norms), strict=True):
        expected = queries[:, :dim].astype(float) @ unit_prefix(documents, dim).astype(float).T
        assert np.abs(scores - expected).max() < 1e-5


def test_rescoring_orders_the_candidates_anew_and_leaves_the_rest(monkeypatch):
    monkeypatch.setattr(_search, "CANDIDATES", 3)
    coarse = np.asarray([[0.5, 0.9, 0.5, 0.5, -1.0]], dtype=np.float32)
    fine = np.asarray([[-0.9, -0.8, 0.3, 1.0, 1.0]], dtype=np.float32)
    order = np.argsort(-_search.rescored(coarse, fine)[0], kind="stable")
    assert order.tolist() == [2, 1, 0, 3, 4]  # the third 0.5 comes too late to be a candidate


def blobs(classes, n=700, dim=24, spread=1.5):
    centers = rng(1).normal(size=(classes, dim))
    labels = rng(2).integers(0, classes, 2 * n)
    vectors = (centers[labels] + spread * rng(3).normal(size=(2 * n, dim))).astype(np.float32)
    return vectors[:n], labels[:n], vectors[n:], labels[n:]


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_the_probe_is_scikit_learns_logistic_regression(classes):
    train, labels, test, truth = blobs(classes)
    for dim in (2, 5, 11, 24):
        a, b = unit_prefix(train, dim), unit_prefix(test, dim)
        ours = _logistic.fit(a, labels)
        theirs = LogisticRegression(tol=1e-8, max_iter=5000).fit(a.astype(np.float64), labels)
        assert ours.converged
        assert abs(np.mean(ours.predict(b) == truth) - theirs.score(b, truth)) <= 0.002
        weights = ours.weights.numpy()
        if classes == 2:
            weights = weights[:, 1:] - weights[:, :1]
        expected = np.vstack([theirs.coef_.T, theirs.intercept_])
        expected[-1] += weights[-1].mean() - expected[-1].mean()  # only differences of intercepts are determined
        assert np.abs(weights - expected).max() < 5e-3


def test_the_probe_keeps_the_labels_it_was_given():
    train, labels, test, _ = blobs(3)
    names = np.asarray([7, 2, 40])
    assert set(_logistic.fit(train, names[labels]).predict(test).tolist()) <= {2, 7, 40}


def test_int8_is_within_half_a_step_and_clips():
    sample = rng().normal(size=(100, 20)).astype(np.float32)
    low, high = sample.min(axis=0), sample.max(axis=0)
    inside = np.clip(rng(1).normal(size=(50, 20)).astype(np.float32), low, high)
    assert (np.abs(read_back(inside, "int8", sample) - inside) <= (high - low) / 255 * 0.501).all()
    assert read_back(high[None] + 5, "int8", sample) == pytest.approx(high[None], rel=1e-5)
    assert len(np.unique(read_back(rng(2).normal(size=(5000, 1)).astype(np.float32), "int8", sample[:, :1]))) <= 256
    constant = np.full((4, 2), 3.0, dtype=np.float32)
    assert (read_back(constant, "int8", constant) == 3).all()


def test_binary_cosine_is_hamming_similarity():
    vectors = rng().normal(size=(30, 20)).astype(np.float32)
    signs = read_back(vectors, "binary")
    cosines = prefix_cosines(signs, np.arange(29), np.arange(1, 30), DIMS)
    for row, dim in enumerate(DIMS):
        for n in range(29):
            hamming = sum((vectors[n, k] > 0) != (vectors[n + 1, k] > 0) for k in range(dim))
            assert cosines[row, n] == pytest.approx(1 - 2 * hamming / dim, abs=1e-12)
