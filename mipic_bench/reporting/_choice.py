"""Which method to use at a width, and how sure that is.

In each family the method with the highest mean leads. Another method is behind it when their paired difference over
seeds stays a difference after Holm's correction for all methods the leader is compared with; otherwise it cannot be told
from the leader. That the leader is chosen by the same scores is not corrected for: of many equal methods, one is called
behind more often than 5 % of the time. The method to use is the one that leads, or cannot be told from the leader, in the most families.
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
        scores: method -> its mean as a fraction, best first.
        against: one line per other method: method, difference (leader minus it), low, high, p_holm, seeds, detectable.
        shown: the leader's score with its interval, printed.
        seeds: of the leader.
        tasks: the mean is over so many tasks.
    """

    family: str
    metric: str
    scores: dict[str, float]
    against: pd.DataFrame
    shown: str
    seeds: int
    tasks: int

    @property
    def leader(self) -> str:
        """The method with the highest mean."""
        return next(iter(self.scores))

    @cached_property
    def behind(self) -> tuple[str, ...]:
        """The methods that the leader is better than, sure after Holm's correction."""
        sure = (self.against["p_holm"] <= ALPHA) & (self.against["low"] > 0)
        return tuple(self.against.loc[sure, "method"])

    @cached_property
    def unknown(self) -> tuple[str, ...]:
        """The methods for which there is no interval."""
        return tuple(self.against.loc[self.against["low"].isna(), "method"])

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
    points = pick(view.estimates, setting, precision="float32", dim=dim)
    points = points[points["method"].isin(view.methods)]
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
    return int(pick(view.estimates, setting, precision="float32")["layer"].max())


def _standing(view: View, setting: Setting, part: pd.DataFrame, family: str, layer: int, dim: int) -> Standing:
    lines = records(part)
    leader = lines[0]
    found = pick(view.differences(leader["method"]), setting, family=family, layer=layer, dim=dim)
    found = found[found["method"].isin(part["method"])]
    against = pd.DataFrame(
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
    scores = {record["method"]: record["mean"] for record in lines}
    against = against.sort_values("difference", kind="stable").reset_index(drop=True)
    shown = printed(leader, SCORE)
    return Standing(family, view.metric_title(family), scores, against, shown, leader["seeds"], leader["tasks"])


def recommended(view: View, found: Sequence[Standing]) -> str:
    """The method that may be best in the most families; among equals the best ranked, then a method that is no ablation.

    A family in which one method alone was scored decides nothing.
    """
    contested = [standing for standing in found if len(standing.scores) > 1] or found

    def merit(method: str) -> tuple[int, float, bool]:
        families = sum(standing.may_be_best(method) for standing in contested)
        ranks = [list(s.scores).index(method) if method in s.scores else len(view.methods) for s in contested]
        return families, -float(np.mean(ranks)), method not in view.bases

    return max((name for name in view.methods if any(name in s.scores for s in found)), key=merit)
