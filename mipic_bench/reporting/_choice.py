"""Which method to use at a width, and how sure that is.

In each family the method with the highest mean leads, unless another is better on the seeds that both have: then that.
Another method is behind it when their paired difference over seeds stays a difference after Holm's correction for all
methods the leader is compared with; otherwise it cannot be told from the leader. That the leader is chosen by the same
scores is not corrected for: of many equal methods, one is called behind more often than 5 % of the time. The method to use
is the one that leads, or cannot be told from the leader, in the most families.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from mipic_bench import stats
from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, pick
from mipic_bench.analysis.tables import DIFFERENCE, SCORE, printed, records
from mipic_bench.stats.significance import ALPHA


@dataclass(frozen=True)
class Standing:
    """How the methods stand in one family at one budget.

    Attributes:
        family: of the tasks.
        metric: its name in prose.
        layer, dim: the budget.
        scores: method -> its mean as a fraction: the leader's, then best first.
        against: one line per other method: method, difference (leader minus it), low, high, p_holm, seeds, detectable.
        shown: the leader's score with its interval, printed.
        seeds: of the leader.
        tasks: the mean is over so many tasks.
    """

    family: str
    metric: str
    layer: int
    dim: int
    scores: dict[str, float]
    against: pd.DataFrame
    shown: str
    seeds: int
    tasks: int

    @property
    def leader(self) -> str:
        """The method that leads."""
        return next(iter(self.scores))

    @cached_property
    def leaders(self) -> tuple[str, ...]:
        """The leader and the methods of the very same mean."""
        return tuple(name for name in self.scores if self.rank(name) == 0)

    def rank(self, method: str) -> int:
        """How many methods stand before it; those of the very same mean share a place."""
        means = [round(mean, 9) for mean in self.scores.values()]  # the last digits depend on the order of adding up
        return means.index(means[list(self.scores).index(method)])

    @cached_property
    def behind(self) -> tuple[str, ...]:
        """The methods that the leader is better than, sure after Holm's correction."""
        return surely_behind(self.against)

    @cached_property
    def unknown(self) -> tuple[str, ...]:
        """The methods for which there is no interval."""
        return tuple(self.against.loc[self.against["low"].isna(), "method"])

    def without_interval(self, seeds: int) -> tuple[str, ...]:
        """Those of `unknown` that so many seeds are shared with: none, or one."""
        shared = self.against["seeds"].clip(upper=1) == seeds
        return tuple(name for name in self.against.loc[shared, "method"] if name in self.unknown)

    @cached_property
    def overtaken(self) -> tuple[str, ...]:
        """The methods of a higher mean over their own seeds that are behind the leader on those that both have."""
        behind = set(self.against.loc[self.against["difference"] > 0, "method"])
        return tuple(name for name, mean in self.scores.items() if mean > self.scores[self.leader] and name in behind)

    @cached_property
    def tied(self) -> tuple[str, ...]:
        """The methods that cannot be told from the leader although there are intervals."""
        return tuple(name for name in self.scores if name not in (self.leader, *self.behind, *self.unknown))

    def lead_over(self, method: str) -> str:
        """The leader's difference from a method with its interval, printed."""
        (record,) = records(self.against[self.against["method"] == method])
        return printed(record, DIFFERENCE)

    def may_be_best(self, method: str) -> bool:
        """Whether the method leads or is not known to be behind."""
        return method in self.scores and method not in self.behind


def standings(view: View, setting: Setting, dim: int) -> list[Standing]:
    """How the methods stand in every family at a width of the last layer."""
    return view.once(("standings", setting, dim), lambda: _standings(view, setting, dim))


def _standings(view: View, setting: Setting, dim: int) -> list[Standing]:
    points = view.compared(pick(view.estimates, setting, precision="float32", dim=dim))
    if points.empty:  # scored at other precisions alone
        return []
    layer = depth_scored(view, setting)
    return [
        _standing(view, setting, part.sort_values(["mean", "method"], ascending=[False, True]), family, layer, dim)
        for family in view.families(setting)
        if len(part := points[(points["family"] == family) & (points["layer"] == layer)])
    ]


def depth_scored(view: View, setting: Setting) -> int:
    """The deepest layer scored in a setting."""
    return int(view.compared(pick(view.estimates, setting, precision="float32"))["layer"].max())


def surely_behind(against: pd.DataFrame) -> tuple[str, ...]:
    """The methods whose difference stays one after Holm's correction, the other method being better."""
    return tuple(against.loc[(against["p_holm"] <= ALPHA) & (against["low"] > 0), "method"])


def against(view: View, setting: Setting, standing: Standing, method: str) -> pd.DataFrame:
    """A method minus every other in a family, as `Standing.against` has the leader's."""
    return _against(view, setting, standing.family, standing.layer, standing.dim, method, list(standing.scores))


def _standing(view: View, setting: Setting, part: pd.DataFrame, family: str, layer: int, dim: int) -> Standing:
    lines = {str(record["method"]): record for record in records(part)}
    place = (view, setting, family, layer, dim)
    name = next(iter(lines))
    found = _against(*place, name, list(lines))
    passed = {name}
    # means are over each method's own seeds: who is better on the seeds that both have leads
    while better := [one for one in lines if one in surely_behind(_turned(found)) and one not in passed]:
        name = better[0]
        passed.add(name)
        found = _against(*place, name, list(lines))
    leader = lines[name]
    scores = {one: lines[one]["mean"] for one in (name, *(other for other in lines if other != name))}
    shown = printed(leader, SCORE)
    own = (leader["seeds"], leader["tasks"])
    return Standing(family, view.metric_title(family), layer, dim, scores, found, shown, *own)


def _against(
    view: View, setting: Setting, family: str, layer: int, dim: int, method: str, others: Sequence[str]
) -> pd.DataFrame:
    """One line per other method: the method minus it, smallest difference first."""
    found = pick(view.differences(method), setting, family=family, layer=layer, dim=dim)
    found = found[found["method"].isin(others)]
    frame = pd.DataFrame(
        {
            "method": found["method"].to_numpy(),
            "difference": -found["difference"].to_numpy(),
            "low": -found["high"].to_numpy(),
            "high": -found["low"].to_numpy(),
            "p_holm": stats.holm(found["p"].to_numpy(dtype=float)) if len(found) else np.zeros(0),
            "seeds": found["seeds"].to_numpy(),
            "detectable": found["detectable"].to_numpy(),
        }
    )
    return frame.sort_values("difference", kind="stable").reset_index(drop=True)


def _turned(against: pd.DataFrame) -> pd.DataFrame:
    """The same differences, each other method minus the method."""
    return against.assign(difference=-against["difference"], low=-against["high"], high=-against["low"])


def recommended(view: View, found: Sequence[Standing]) -> str:
    """The method that may be best in the most families; among equals the best ranked, then a method that is no ablation.

    A family in which one method alone was scored decides nothing.
    """
    contested = [standing for standing in found if len(standing.scores) > 1] or found

    def merit(method: str) -> tuple[int, float, bool]:
        families = sum(standing.may_be_best(method) for standing in contested)
        ranks = [s.rank(method) if method in s.scores else len(view.methods) for s in contested]
        return families, -float(np.mean(ranks)), method not in view.bases

    return max((name for name in view.methods if any(name in s.scores for s in found)), key=merit)
