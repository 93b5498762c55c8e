"""Which rows count: of two runs of a cell the newer, of a task its newest data, of a family one metric, of a group the same tasks.

What is left out is never averaged in silently: it stands in `notes`.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mipic_bench.analysis.selection import GROUP, SETTING, Setting, categorical, largest_common, spread
from mipic_bench.families import MAIN_METRIC
from mipic_bench.results.folder import UNIT, units
from mipic_bench.tasks import official_names


class CountedRows:
    """Rows and their provenance, and the rows among them that count.

    Args:
        rows: rows with the columns of `mipic_bench.results.rows.COLUMNS`.
        provenance: run name -> provenance; may be empty. `every_record` holds it all, `provenance` that of the runs that
            count: those with rows here, and of two runs of one cell the newer.
    """

    def __init__(self, rows: pd.DataFrame, provenance: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.given = rows
        self.every_record = dict(provenance or {})
        self.notes: list[str] = []
        every = categorical(rows)
        older = self._older(every)
        newest = every[~every["run"].isin(older)] if older else every
        counted = set(newest["run"].unique())
        self.provenance = {run: record for run, record in self.every_record.items() if run in counted}
        self.data: dict[tuple[str, ...], str] = {}  # task, split, protocol -> data and scorer, where provenance says
        self.rows = self._of_one_data(newest)

    def _older(self, rows: pd.DataFrame) -> frozenset[str]:
        """Return all runs of a cell but its newest: they were trained differently, and a mean over them means nothing."""
        runs = rows[["run", "method", "backbone", "corpus", "seed"]].drop_duplicates().astype(str)
        created = {run: record.get("created", "") for run, record in self.every_record.items()}
        created = created or self.given.attrs.get("created", {})
        runs["created"] = [str(created.get(run, "")) for run in runs["run"]]
        runs = runs.sort_values(["created", "run"])
        older = runs[runs.duplicated(["method", "backbone", "corpus", "seed"], keep="last")]
        for run, told in zip(older["run"], older["created"], strict=True):
            another = "a newer" if told else "another"  # nothing says which is newer: the last by name stands
            self.notes.append(
                f"Run {run} is left out: {another} run of the same method, backbone, corpus and seed exists."
            )
        return frozenset(older["run"])

    def _of_one_data(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Leave out what was scored before a task's data or its scorer changed: numbers on unlike data are not compared."""
        held: dict[tuple[str, ...], dict[tuple[str, str], list[str]]] = {}  # unit -> data and scorer -> runs
        for run, record in self.provenance.items():
            for unit, entry in units(record).items():
                data = (str(entry.get("digest", "")), str(entry.get("evaluator_version", "")))
                held.setdefault(unit, {}).setdefault(data, []).append(run)
        outdated: list[tuple[str, ...]] = []
        for unit, by_data in sorted(held.items()):
            latest = {
                data: max(str(self.provenance[run].get("created", "")) for run in by_data[data]) for data in by_data
            }
            newest = max(sorted(latest), key=latest.__getitem__)
            self.data[unit] = f"{newest[0][:12]} (scorer version {newest[1]})"
            runs = sorted(run for data, own in by_data.items() if data != newest for run in own)
            outdated += [(run, *unit) for run in runs]
            if runs:
                told = ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
                self.notes.append(
                    f"{unit[0]} ({unit[1]}, protocol {unit[2]}): its data or its scorer changed between runs; what was "
                    f"scored before is left out, of {told}. The command that made a run scores the task again."
                )
        if not outdated:
            return rows
        places = pd.MultiIndex.from_frame(rows[["run", *UNIT]].astype(str))
        return rows[~places.isin(outdated)]

    @cached_property
    def metrics(self) -> dict[str, str]:
        """Family -> the metric it is reported in: the main one, or the first there is."""
        present = self.rows[["family", "metric"]].drop_duplicates().astype(str)
        chosen: dict[str, str] = {}
        families = set(present["family"])
        for family in (*(name for name in MAIN_METRIC if name in families), *sorted(families)):
            there = sorted(present.loc[present["family"] == family, "metric"])
            wanted = MAIN_METRIC.get(family, "")
            chosen.setdefault(family, wanted if wanted in there else there[0])
        return chosen

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The rows that may count: each family's metric, on the test split of a task where anybody has scored it.

        Methods without training stand beside every corpus.
        """
        rows = self.rows
        metric = np.array([self.metrics[family] for family in rows["family"].cat.categories], dtype=object)
        names = rows["metric"].cat.categories.to_numpy(dtype=object)
        wanted = metric[rows["family"].cat.codes] == names[rows["metric"].cat.codes]
        defined = rows["value"].notna().to_numpy()
        self._note_undefined(rows[wanted & ~defined])
        rows = spread(rows[wanted & defined])
        rank = (rows["split"] != "test").astype(int)
        best = rank.groupby([rows[name] for name in (*SETTING, "task")], observed=True).transform("min")
        kept = rows[(rank == best).to_numpy()].reset_index(drop=True)
        if len(kept) < len(rows):
            self._note_other_splits(rows, kept)
        return self._each_dataset_once(kept)

    def _each_dataset_once(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Where a dataset was scored both as mteb's own task and as ours by mteb's rules, the official scores count."""
        there = rows[[*SETTING, "task"]].drop_duplicates().astype(str)
        places = set(there.itertuples(index=False, name=None))
        names = official_names()
        twice = [(*place[:3], names[place[3]]) for place in sorted(places) if place[3] in names]
        twice = [place for place in twice if place in places]
        for *setting, task in twice:
            self.notes.append(
                f"{Setting(*setting).title}: {task} is mteb's own task here as well, which counts; ours is left out."
            )
        if not twice:
            return rows
        return rows[~pd.MultiIndex.from_frame(rows[[*SETTING, "task"]].astype(str)).isin(twice)].reset_index(drop=True)

    def _note_undefined(self, rows: pd.DataFrame) -> None:
        """Say where a score has no value: a mean cannot be over it."""
        for key, part in rows.groupby([*SETTING, "method", "task"], observed=True):
            *setting, method, task = map(str, key)
            told = f"{len(part)} score{'s have' if len(part) > 1 else ' has'} no value"
            self.notes.append(f"{Setting(*setting).title}: {method} on {task}: {told}; left out.")

    def _note_other_splits(self, rows: pd.DataFrame, kept: pd.DataFrame) -> None:
        """Say which methods a task lost because the others have it on test."""
        place = [*SETTING, "method", "task"]
        there = set(kept[place].drop_duplicates().astype(str).itertuples(index=False, name=None))
        for *setting, method, task, split in (
            rows[[*place, "split"]].drop_duplicates().astype(str).itertuples(index=False, name=None)
        ):
            if (*setting, method, task) not in there:
                self.notes.append(
                    f"{Setting(*setting).title}: {method} has {task} on {split} alone, others on test; left out."
                )

    @cached_property
    def counted(self) -> pd.DataFrame:
        """The rows that family means are taken over: for every method of a group the same tasks, those of `tasks`."""
        scores = self.scores
        pairs = scores[[*GROUP, "method", "task"]].drop_duplicates()
        groups = list(pairs[GROUP].astype(str).itertuples(index=False, name=None))
        keep = [task in self.tasks[group] for group, task in zip(groups, pairs["task"].astype(str), strict=True)]
        pairs = pairs[np.array(keep, dtype=bool)]
        found = pairs.groupby([*GROUP, "method"], observed=True)["task"].transform("size").to_numpy()
        needed = [len(self.tasks[group]) for group, kept in zip(groups, keep, strict=True) if kept]
        return scores.merge(pairs[found == np.array(needed, dtype=int)], how="inner")

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
            chosen[group] = tuple(sorted(largest_common(list(owned.values()))))
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
    def vectors(self) -> pd.DataFrame:
        """The rows that count whose vectors are stored as float32: what methods are compared on."""
        return self.counted[(self.counted["precision"] == "float32").to_numpy()]
