"""Rows in, quality at every budget out: which rows count, and their mean over tasks and then over seeds.

Every table, figure and sentence of a report reads its numbers from one `View`, so they cannot disagree. What a view
leaves out (an older run of the same cell, a seed that lacks a task) is never averaged in silently: it stands in `notes`.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

MAIN_METRIC: Mapping[str, str] = {
    "sts": "spearman",
    "classification": "accuracy",
    "pair": "ap",
    "retrieval": "ndcg@10",
    "clustering": "v_measure",
}
METRIC_TITLE: Mapping[str, str] = {
    "spearman": "Spearman",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "ap": "average precision",
    "ndcg@10": "nDCG@10",
    "v_measure": "v-measure",
}
_TEXT = ("run", "method", "base_method", "ablation", "backbone", "corpus", "seed")
_LABELS = ("family", "task", "split", "protocol", "precision", "metric")
SETTING = ["backbone", "corpus", "protocol"]
GROUP = [*SETTING, "precision", "family"]
BUDGET = ["layer", "dim"]


class Setting(NamedTuple):
    """What is held fixed when methods are compared."""

    backbone: str
    corpus: str
    protocol: str

    @property
    def title(self) -> str:
        """The setting in words, for headings."""
        corpus = f"trained on {self.corpus}" if self.corpus else "without training"
        return f"{self.backbone}, {corpus}" + ("" if self.protocol == "clean" else f", protocol {self.protocol}")

    @property
    def slug(self) -> str:
        """The setting as a part of a file name."""
        parts = [self.backbone, self.corpus or "none"] + ([] if self.protocol == "clean" else [self.protocol])
        return "--".join("".join(c if c.isalnum() or c in "._=-" else "_" for c in part) for part in parts)


class View:
    """What tables, figures and reports look at: rows, their provenance, and the frames derived from them, once each.

    Args:
        rows: rows with the columns of `mipic_bench.results.COLUMNS`.
        provenance: run name -> provenance; may be empty.
        metrics: family -> metric, where another than `MAIN_METRIC` is wanted.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        provenance: Mapping[str, Mapping[str, Any]] | None = None,
        metrics: Mapping[str, str] | None = None,
    ) -> None:
        self.provenance = dict(provenance or {})
        self.metrics = {**MAIN_METRIC, **(metrics or {})}
        self.notes: list[str] = []
        self.rows = self._newest(_categorical(rows))

    def _newest(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Keep one run per cell: two runs of one cell were trained differently, and a mean over them means nothing."""
        runs = rows[["run", "method", "backbone", "corpus", "seed"]].drop_duplicates().astype(str)
        runs["created"] = [str(self.provenance.get(run, {}).get("created", "")) for run in runs["run"]]
        runs = runs.sort_values(["created", "run"])
        older = runs[runs.duplicated(["method", "backbone", "corpus", "seed"], keep="last")]
        for run in older["run"]:
            self.notes.append(
                f"Run {run} is left out: a newer run of the same method, backbone, corpus and seed exists."
            )
        return rows[~rows["run"].isin(older["run"])] if len(older) else rows

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Every method: those without training first, then each method followed by its ablations."""
        known = self.rows[["method", "base_method", "ablation", "seed"]].drop_duplicates().astype(str)
        known["trained"] = known.groupby("method")["seed"].transform(lambda seeds: (seeds != "").any())
        return tuple(known.sort_values(["trained", "base_method", "ablation", "method"])["method"].drop_duplicates())

    @cached_property
    def untrained(self) -> frozenset[str]:
        """The methods without training."""
        trained = self.rows.loc[self.rows["seed"] != "", "method"]
        return frozenset(self.methods) - frozenset(trained.astype(str))

    @cached_property
    def bases(self) -> dict[str, str]:
        """Ablation -> the method it was made from."""
        known = self.rows.loc[self.rows["ablation"] != "", ["method", "base_method"]].drop_duplicates()
        return dict(zip(known["method"].astype(str), known["base_method"].astype(str), strict=True))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per cell x budget x task: the family's main metric on the split that counts, columns as in rows."""
        rows = self.rows
        wanted = rows["family"].map(self._metric_of).astype(str) == rows["metric"].astype(str)
        columns = [*GROUP, "metric", "method", "seed", "task", "split", *BUDGET, "value"]
        rows = _spread(rows.loc[wanted & rows["value"].notna(), columns])
        rank = rows["split"].map(lambda split: 0 if split == "test" else 1).astype(int)
        best = rank.groupby([rows[name] for name in (*SETTING, "task")], observed=True).transform("min")
        return rows[rank == best].reset_index(drop=True)

    @cached_property
    def _metric_of(self) -> dict[str, str]:
        """The metric each family is reported in: the main one, or the first there is."""
        present = self.rows.groupby("family", observed=True)["metric"].unique()
        return {
            family: self.metrics[family] if self.metrics.get(family) in set(found) else sorted(map(str, found))[0]
            for family, found in present.items()
        }

    @cached_property
    def tasks(self) -> dict[tuple[str, ...], tuple[str, ...]]:
        """Group -> the tasks its family means are taken over.

        The set that keeps the most (method, task) pairs when each method must have all of it: a method scored on fewer
        tasks is left out of the family mean instead of changing what everybody's mean is over.
        """
        pairs = self.scores[[*GROUP, "method", "task"]].drop_duplicates().astype(str)
        chosen: dict[tuple[str, ...], tuple[str, ...]] = {}
        for group, part in pairs.groupby(GROUP):
            owned = {str(method): frozenset(tasks) for method, tasks in part.groupby("method")["task"]}
            chosen[group] = tuple(sorted(_largest_common(list(owned.values()))))
            self._note_incomplete(group, owned, frozenset(chosen[group]))
        return chosen

    def _note_incomplete(
        self, group: tuple[str, ...], owned: Mapping[str, frozenset[str]], chosen: frozenset[str]
    ) -> None:
        where = f"{Setting(*group[:3]).title}, {group[4]}" + ("" if group[3] == "float32" else f", {group[3]}")
        for method, tasks in owned.items():
            if chosen - tasks:
                missing = ", ".join(sorted(chosen - tasks))
                self.notes.append(f"{where}: {method} was not scored on {missing}; it has no mean over this family.")
        spare = sorted(frozenset().union(*owned.values()) - chosen)
        if spare:
            self.notes.append(
                f"{where}: {', '.join(spare)} not scored for every method; left out of the family's mean."
            )

    @cached_property
    def by_seed(self) -> pd.DataFrame:
        """Mean over the family's tasks: one row per group x method x seed x budget; incomplete ones left out."""
        keep = pd.DataFrame(
            [(*group, task) for group, tasks in self.tasks.items() for task in tasks], columns=[*GROUP, "task"]
        )
        scores = self.scores
        for name in keep:
            keep[name] = pd.Categorical(keep[name], categories=scores[name].cat.categories)
        scores = scores.merge(keep, on=list(keep), how="inner")
        means = scores.groupby([*GROUP, "method", "seed", *BUDGET], observed=True)["value"].agg(["mean", "size"])
        means = means.rename(columns={"mean": "value", "size": "tasks"}).reset_index()
        needed = pd.Series({group: len(tasks) for group, tasks in self.tasks.items()})
        full = needed.reindex(pd.MultiIndex.from_frame(means[GROUP].astype(str))).to_numpy()
        self._note_short_seeds(means[means["tasks"].to_numpy() < full])
        return means[means["tasks"].to_numpy() == full].reset_index(drop=True)

    def _note_short_seeds(self, short: pd.DataFrame) -> None:
        short = short[short["method"].astype(str).isin(self.methods)]
        for key, _ in short.groupby([*SETTING, "family", "method", "seed"], observed=True):
            *setting, family, method, seed = map(str, key)
            where = f"{Setting(*setting).title}, {family}"
            self.notes.append(f"{where}: {method} seed {seed or 'none'} lacks a task at some budgets; left out there.")

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """Mean over seeds of `by_seed`, one row per group x method x budget.

        Columns: `GROUP`, method, layer, dim, mean, low, high (95 % interval over seeds; NaN with one seed), seeds, tasks.
        """
        return intervals(self.by_seed, [*GROUP, "method", *BUDGET])

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """Every setting that has rows."""
        found = self.scores[SETTING].drop_duplicates().astype(str)
        return tuple(sorted(Setting(*row) for row in found.itertuples(index=False)))

    def families(self, setting: Setting) -> tuple[str, ...]:
        """The families scored in a setting, in the order of `MAIN_METRIC`."""
        found = set(pick(self.scores, setting)["family"].astype(str))
        return (*(name for name in MAIN_METRIC if name in found), *sorted(found - set(MAIN_METRIC)))

    def metric(self, family: str) -> str:
        """The metric a family is reported in."""
        return self._metric_of[family]

    def metric_title(self, family: str) -> str:
        """The metric a family is reported in, as prose."""
        return METRIC_TITLE.get(self.metric(family), self.metric(family))

    def trained_dims(self, method: str, backbone: str) -> frozenset[int]:
        """The widths a method was trained at; empty when the provenance does not say."""
        dims: set[int] = set()
        for record in self.provenance.values():
            cell = record.get("cell", {})
            if cell.get("method") == method and cell.get("backbone") == backbone:
                dims.update(int(dim) for dim in record.get("trained_dims") or ())
        return frozenset(dims)


def pick(frame: pd.DataFrame, setting: Setting | None = None, **fixed: object) -> pd.DataFrame:
    """The rows of a frame in a setting and with the given values."""
    wanted = {**(setting._asdict() if setting else {}), **fixed}
    mask = np.ones(len(frame), dtype=bool)
    for name, value in wanted.items():
        mask &= (frame[name] == value).to_numpy()
    return frame[mask]


def _categorical(rows: pd.DataFrame) -> pd.DataFrame:
    """Text columns as categories ('' for missing): a million rows then fit in memory and group fast."""
    columns: dict[str, Any] = {}
    for name in (*_TEXT, *_LABELS):
        codes, found = pd.factorize(rows[name], use_na_sentinel=False)
        texts = [_as_text(value) for value in found]
        known = sorted(set(texts))
        places = np.array([known.index(text) for text in texts], dtype=np.int32)
        columns[name] = pd.Categorical.from_codes(places[codes] if len(codes) else [], categories=known)
    for name in BUDGET:
        columns[name] = rows[name].to_numpy(dtype=np.int32)
    for name in ("value", "stderr", "n"):
        columns[name] = rows[name].to_numpy(dtype=np.float64)
    return pd.DataFrame(columns)


def _as_text(value: object) -> str:
    """A value of a text column: a seed that a CSV reader turned into 0.0 is '0', and nothing is ''."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _spread(rows: pd.DataFrame) -> pd.DataFrame:
    """Let methods without a corpus stand beside the trained ones of every corpus of their backbone."""
    blank = (rows["corpus"] == "").to_numpy()
    corpora = rows.loc[~blank, SETTING].drop_duplicates()
    if not blank.any() or corpora.empty:
        return rows
    spread = rows[blank].drop(columns="corpus").merge(corpora, on=["backbone", "protocol"], how="left")
    spread["corpus"] = spread["corpus"].fillna("")
    return pd.concat([rows[~blank], spread[rows.columns]], ignore_index=True)


def _largest_common(sets: Sequence[frozenset[str]]) -> frozenset[str]:
    """The set among them that keeps the most (owner, member) pairs; ties go to more owners, then to the first name."""
    candidates = sorted(set(sets), key=sorted)
    return max(candidates, key=lambda one: (len(one) * sum(one <= other for other in sets), -len(one)))


def intervals(values: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Mean over seeds with a 95 % interval, for every group of `by`.

    Args:
        values: columns `by`, value, tasks; one row per seed.
        by: the columns that name a group.

    Returns:
        Columns `by`, mean, low, high, seeds, tasks. low and high are NaN where there is one seed.
    """
    from scipy import stats as s

    grouped = values.groupby(list(by), observed=True)
    out = grouped["value"].agg(["mean", "std", "size"]).rename(columns={"size": "seeds"})
    half = s.t.ppf(0.975, out["seeds"] - 1) * out["std"] / np.sqrt(out["seeds"])
    out["low"], out["high"], out["tasks"] = out["mean"] - half, out["mean"] + half, grouped["tasks"].first()
    return out.reset_index()[[*by, "mean", "low", "high", "seeds", "tasks"]]
