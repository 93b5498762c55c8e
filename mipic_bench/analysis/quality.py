"""Rows in, quality at every budget out: the mean of the rows that count over tasks and then over seeds.

Every table, figure and sentence of a report reads its numbers from one `View`, so they cannot disagree.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from copy import copy
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from mipic_bench import stats
from mipic_bench.analysis.counting import CountedRows
from mipic_bench.analysis.selection import BUDGET, GROUP, SETTING, Setting, pick, spread, swept_value
from mipic_bench.families import METRIC_TITLE

T = TypeVar("T")


class View(CountedRows):
    """What tables, figures and reports look at: rows, their provenance, and the frames derived from them, once each.

    Args:
        rows: rows with the columns of `mipic_bench.results.rows.COLUMNS`.
        provenance: run name -> provenance; may be empty. `every_record` holds it all, `provenance` that of the runs that
            count: those with rows here, and of two runs of one cell the newer.
        profile: cost per budget, columns backbone, layer, dim, precision and any of `figures.pareto.COSTS`.
        published: numbers of others, as `baselines.load` returns them.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        provenance: Mapping[str, Mapping[str, Any]] | None = None,
        profile: pd.DataFrame | None = None,
        published: pd.DataFrame | None = None,
    ) -> None:
        super().__init__(rows, provenance)
        self.profile, self.published = profile, published
        self._made: dict[Hashable, Any] = {}

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The methods to compare: those without training first, then each method followed by its ablations.

        A swept number of a method that is there too, in every setting of it, is left to the figure of the sweep: to choose
        the best of many swept values beside the others would be tuning on the scored split. Another word ("pooling=cls") is
        an ablation.
        """
        known = spread(self.rows[[*SETTING, "method"]].drop_duplicates().astype(str))
        places: dict[str, set[tuple[str, ...]]] = {}
        for *setting, method in known[[*SETTING, "method"]].itertuples(index=False, name=None):
            places.setdefault(method, set()).add(tuple(setting))
        return tuple(
            name
            for name in self.every_method
            if swept_value(name) is None or not places[name] <= places.get(self.bases.get(name, ""), set())
        )

    def compared(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of a frame that are of the methods to compare."""
        return frame[frame["method"].isin(self.methods).to_numpy()]

    @cached_property
    def every_method(self) -> tuple[str, ...]:
        """All methods with rows, swept values among them, in the order of `methods`."""
        known = self.rows[["method", "base_method", "ablation", "seed"]].drop_duplicates().astype(str)
        known["trained"] = known.groupby("method")["seed"].transform(lambda seeds: (seeds != "").any())
        return tuple(known.sort_values(["trained", "base_method", "ablation", "method"])["method"].drop_duplicates())

    @cached_property
    def untrained(self) -> frozenset[str]:
        """The methods without training."""
        trained = self.rows.loc[self.rows["seed"] != "", "method"].unique()
        return frozenset(self.every_method) - frozenset(map(str, trained))

    @cached_property
    def without_corpus(self) -> frozenset[str]:
        """The methods that read no corpus: neither trained nor fitted."""
        read = self.rows.loc[self.rows["corpus"] != "", "method"].unique()
        return frozenset(self.every_method) - frozenset(map(str, read))

    @cached_property
    def fitted(self) -> frozenset[str]:
        """The methods that read a corpus and train no encoder, by the provenance: transforms of frozen vectors."""
        losses = {
            str(record["cell"]["method"]): record.get("recipe", {}).get("terms") for record in self.provenance.values()
        }
        return frozenset(method for method, terms in losses.items() if not terms) - self.without_corpus

    @cached_property
    def bases(self) -> dict[str, str]:
        """Ablation -> the method it was made from."""
        known = self.rows.loc[self.rows["ablation"] != "", ["method", "base_method"]].drop_duplicates()
        return dict(sorted(zip(known["method"].astype(str), known["base_method"].astype(str), strict=True)))

    @cached_property
    def ablations(self) -> dict[str, str]:
        """Method -> its ablation ('' for a method that is none)."""
        known = self.rows[["method", "ablation"]].drop_duplicates().astype(str)
        return dict(sorted(zip(known["method"], known["ablation"], strict=True)))

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """Quality per method and budget: `stats.scores` of the rows that count.

        Columns: `GROUP`, method, layer, dim, metric, mean, low, high (95 % interval over seeds; NaN with one seed),
        low_wide, high_wide (tasks as a sample too), seeds, tasks, missing, note. Budgets where a method lacks a task of
        the family have no line.
        """
        found = self._estimates(self.counted)
        self._note_budgets()
        self._note_full_width()
        short = found[found["missing"] > 0]
        for key, part in short.groupby([*SETTING, "family", "method"], observed=True):
            *setting, family, method = map(str, key)
            where = f"{Setting(*setting).title}, {family}"
            self.notes.append(
                f"{where}: seeds of {method} that lack a task are left out ({part['seeds'].min()} remain)."
            )
        return self._whole(found, {group: len(tasks) for group, tasks in self.tasks.items()})

    def _note_budgets(self) -> None:
        """Say at how many budgets a family has no mean because a task of it was scored at fewer than the others."""
        places = self.counted[[*GROUP, "task", *BUDGET]].drop_duplicates()
        for key, part in places.groupby(GROUP, observed=True):
            own = part.groupby("task", observed=True).size()
            every = len(part[BUDGET].drop_duplicates())
            if short := [str(task) for task, count in own.items() if count < every]:
                *setting, precision, family = map(str, key)
                where = f"{Setting(*setting).title}, {family}" + ("" if precision == "float32" else f", {precision}")
                what = f"{', '.join(short)} {'was' if len(short) == 1 else 'were'} scored at fewer (layer, dim) budgets"
                self.notes.append(f"{where}: {what} than other tasks of the family, which has no mean at the rest.")

    def _note_full_width(self) -> None:
        """Say of which backbones the full width was not scored."""
        largest = self.rows.groupby("backbone", observed=True)["dim"].max()
        for backbone, dim in largest.items():
            if dim < self.widths[str(backbone)]:
                what = f"the full width, {self.widths[str(backbone)]}, was not scored ({dim} at most)"
                self.notes.append(f"{backbone}: {what}; nothing is said of what a smaller width keeps of it.")

    def _estimates(self, rows: pd.DataFrame) -> pd.DataFrame:
        """`stats.scores` by family."""
        found = stats.scores(rows, metrics=self.metrics)
        return found[found["family"] != stats.FAMILY_MEAN].reset_index(drop=True)

    def _whole(self, found: pd.DataFrame, tasks: Mapping[tuple[str, ...], int]) -> pd.DataFrame:
        """The estimates of the budgets that have all tasks of their group."""
        groups = found[GROUP].astype(str).itertuples(index=False, name=None)
        whole = found["tasks"].to_numpy() == np.array([tasks[group] for group in groups], dtype=int)
        return found[whole].reset_index(drop=True)

    @cached_property
    def stored_tasks(self) -> dict[tuple[str, ...], tuple[str, ...]]:
        """Setting and family -> the tasks that every precision has: what budgets of unlike precisions are compared on.

        Some tasks have fewer precisions than others (int8 takes its limits from a training or dev split, in retrieval from the documents).
        """
        common: dict[tuple[str, ...], frozenset[str]] = {}
        for (*setting, _, family), tasks in self.tasks.items():
            common[*setting, family] = common.get((*setting, family), frozenset(tasks)) & frozenset(tasks)
        return {place: tuple(sorted(tasks)) for place, tasks in common.items()}

    @cached_property
    def stored(self) -> pd.DataFrame:
        """`estimates` over the tasks of `stored_tasks`."""
        common = self.stored_tasks
        if all(tasks == common[*setting, family] for (*setting, _, family), tasks in self.tasks.items()):
            return self.estimates
        pairs = self.counted[[*SETTING, "family", "task"]].drop_duplicates()
        keep = [place[-1] in common[place[:-1]] for place in pairs.astype(str).itertuples(index=False, name=None)]
        rows = self.counted.merge(pairs[np.array(keep, dtype=bool)], how="inner")
        return self._whole(self._estimates(rows), {group: len(common[*group[:3], group[4]]) for group in self.tasks})

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` returns, made the first time the key is asked for."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]  # type: ignore[no-any-return]

    def differences(self, reference: str) -> pd.DataFrame:
        """Every other method minus the reference at every budget: `stats.differences` of `vectors`.

        The test behind p is one that can reach 0.05 after a correction for all other methods.
        """

        def make() -> pd.DataFrame:
            others = len(self.every_method) - 1
            found = stats.differences(self.vectors, reference, metrics=self.metrics, questions=max(1, others))
            return found[found["family"] != stats.FAMILY_MEAN].reset_index(drop=True)

        return self.once(("differences", reference), make)

    def questions(self, base: str) -> pd.DataFrame:
        """What each component of a method is worth: `stats.questions` of `vectors`, with base_method and method."""

        def make() -> pd.DataFrame:
            found = stats.questions(self.vectors, base, metrics=self.metrics)
            return found.assign(base_method=base, method=base + "-" + found["ablation"].astype(str))

        return self.once(("questions", base), make)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """`vectors` at the budgets of `estimates`: along a curve every width is over the same tasks."""
        place = [*GROUP, "method", *BUDGET]
        whole = pd.MultiIndex.from_frame(self.estimates[place].astype(str))
        own = self.vectors.groupby(place, observed=True, sort=False)
        there = pd.MultiIndex.from_frame(own.size().reset_index()[place].astype(str)).isin(whole)
        return self.vectors if there.all() else self.vectors[there[own.ngroup().to_numpy()]]

    @cached_property
    def retentions(self) -> pd.DataFrame:
        """Score over full-width score of the same run: `stats.retentions` of `curves`."""
        return stats.retentions(self.curves, metrics=self.metrics, full=self.widths)

    @cached_property
    def budgets(self) -> pd.DataFrame:
        """Area and smallest good widths of every curve: `stats.budgets` of `curves`."""
        return stats.budgets(self.curves, metrics=self.metrics, full=self.widths)

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """Every setting that has rows, the one with the most methods first."""
        methods = self.scores[[*SETTING, "method"]].drop_duplicates().astype(str)
        many = methods.groupby(SETTING).size().to_dict()
        return tuple(sorted(self._families, key=lambda setting: (-many[tuple(setting)], setting)))

    def families(self, setting: Setting) -> tuple[str, ...]:
        """The families scored in a setting, in the order of `FAMILIES`."""
        return tuple(family for family in self.metrics if family in self._families[setting])

    @cached_property
    def _families(self) -> dict[Setting, set[str]]:
        found: dict[Setting, set[str]] = {}
        for *setting, family in self.scores[[*SETTING, "family"]].drop_duplicates().astype(str).itertuples(index=False):
            found.setdefault(Setting(*setting), set()).add(str(family))
        return found

    def metric_title(self, family: str) -> str:
        """The metric a family is reported in, as prose."""
        return METRIC_TITLE.get(self.metrics[family], self.metrics[family])

    @cached_property
    def depths(self) -> dict[str, int]:
        """Backbone -> its last layer, by the provenance; where that does not say, the deepest that was scored."""
        return self._of_backbones("layer", "depth")

    @cached_property
    def widths(self) -> dict[str, int]:
        """Backbone -> its full width, by the provenance; where that does not say, the widest that was scored."""
        return self._of_backbones("dim", "width")

    def _of_backbones(self, column: str, key: str) -> dict[str, int]:
        largest = self.rows.groupby("backbone", observed=True)[column].max()
        found = {str(backbone): int(value) for backbone, value in largest.items()}
        for _, record in self.records():
            if value := record.get("backbone", {}).get(key):
                found[str(record.get("cell", {}).get("backbone"))] = int(value)
        return found

    def trained_dims(self, method: str, backbone: str) -> frozenset[int]:
        """The widths a method was trained at; empty when the provenance does not say."""
        dims: set[int] = set()
        for _, record in self.records(method=method, backbone=backbone):
            dims.update(int(dim) for dim in record.get("trained_dims") or ())
        return frozenset(dims)

    def records(self, **cell: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield name and provenance of the runs that count and whose cell has these values (method, backbone, corpus)."""
        for run, record in sorted(self.provenance.items()):
            own = record.get("cell", {})
            if all(str(own.get(name)) == value for name, value in cell.items()):
                yield run, record

    def part(self, settings: tuple[Setting, ...]) -> "View":
        """A view of some settings without the rows themselves, for another process to draw figures from."""
        methods = (
            "every_method",
            "methods",
            "untrained",
            "without_corpus",
            "fitted",
            "bases",
            "ablations",
            "depths",
            "widths",
        )
        for name in (*methods, "estimates", "stored", "stored_tasks", "retentions"):
            getattr(self, name)  # made now: the rows that it comes from are left behind
        part = copy(self)
        part.__dict__ = {
            name: value for name, value in self.__dict__.items() if name not in ("given", "rows", "scores", "counted")
        }
        for name in ("estimates", "stored", "retentions", "vectors"):
            frame = getattr(self, name)
            part.__dict__[name] = pd.concat([pick(frame, setting) for setting in settings])
        part.__dict__["settings"] = settings
        part._made = {}
        return part
