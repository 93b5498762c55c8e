"""Task families: what their local files hold and what they are measured by. One line here and one scorer add a family.

The scorer is a file of `mipic_bench/evaluators/`. The order of families is theirs in every table and figure.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """What must be known of a family before its scorer is loaded.

    Attributes:
        columns: of a split of its data; texts first, what is to be found last.
        metrics: those of its scorer, each with its title on a page; the first decides comparisons. No other family has
            a metric of the same name: the name alone tells the family of a published number.
        fitted: those of them that a protocol changes, because something is fitted or tuned for them.
    """

    columns: tuple[str, ...]
    metrics: Mapping[str, str]
    fitted: tuple[str, ...] = ()


FAMILIES: Mapping[str, Family] = {
    "sts": Family(("sentence1", "sentence2", "score"), {"spearman": "Spearman", "pearson": "Pearson"}),
    "classification": Family(
        ("text", "label"), {"macro_f1": "macro-F1", "accuracy": "accuracy"}, fitted=("macro_f1", "accuracy")
    ),
    "pair": Family(
        ("sentence1", "sentence2", "label"),
        {"ap": "average precision", "pair_accuracy": "accuracy", "pair_f1": "F1", "pair_macro_f1": "macro-F1"},
        fitted=("pair_accuracy", "pair_f1", "pair_macro_f1"),
    ),
    "retrieval": Family(
        ("query_id", "doc_id", "relevance"),
        {"ndcg@10": "nDCG@10", "recall@100": "recall@100", "mrr@10": "MRR@10", "map": "MAP"},
    ),
    "clustering": Family(("text", "label"), {"v_measure": "v-measure"}, fitted=("v_measure",)),
}
METRICS: Mapping[str, str] = {metric: family for family, one in FAMILIES.items() for metric in one.metrics}
MAIN_METRIC: Mapping[str, str] = {family: next(iter(one.metrics)) for family, one in FAMILIES.items()}
METRIC_TITLE: Mapping[str, str] = {metric: title for one in FAMILIES.values() for metric, title in one.metrics.items()}
FITTED = frozenset(metric for one in FAMILIES.values() for metric in one.fitted)
