"""The stated family of questions: what each component of a method, or change to it, is worth at small, middle and full width.

Stated before looking: every component x (smallest, middle, full width) x task family, at the last layer, in float32.
Holm's correction covers them all within one setting (backbone, corpus, protocol). Everything else is exploratory.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mipic_bench.families import MAIN_METRIC
from mipic_bench.stats.estimates import SAME, UNKNOWN
from mipic_bench.stats.grid import Grid, grids
from mipic_bench.stats.paired import compare, match
from mipic_bench.stats.significance import ALPHA, holm

PRECISION = "float32"
ROLES = ("smallest", "middle", "full")
COLUMNS = (
    "component", "family", "width_role", "dim", "layer", "difference", "low", "high", "low_wide", "high_wide",
    "seeds", "tasks", "p", "p_holm", "verdict", "detectable", "note",
    "comparison", "ablation", "backbone", "corpus", "protocol", "metric", "p_kind", "sd", "excluded", "improvement", "questions",
)  # fmt: skip
REMOVED = "no-"  # how the name of an ablation begins that takes a component away
_SETTING = ["backbone", "corpus", "protocol"]
_PLACE = ["backbone", "corpus", "protocol", "method", "family", "layer", "dim"]


def components(rows: pd.DataFrame, base_method: str) -> dict[str, str]:
    """Return the components that ablations of a method speak for: method name -> ablation.

    A swept value ("alpha=0.5") and the source's own settings ("as-published") are variants of the method, not components.
    """
    own = rows[(rows["base_method"] == base_method) & (rows["method"] != base_method)]
    found = own[["method", "ablation"]].drop_duplicates().astype(str).sort_values("method")
    pairs = zip(found["method"], found["ablation"], strict=True)
    return {method: name for method, name in pairs if name and "=" not in name and name != "as-published"}


def questions(
    rows: pd.DataFrame,
    base_method: str,
    *,
    ablations: Sequence[str] | None = None,
    metrics: Mapping[str, str] = MAIN_METRIC,
    split: str = "test",
    seed: int = 0,
) -> pd.DataFrame:
    """Answer the stated family of questions about one method.

    A difference is the score with the component minus the score without it (`comparison` spells it out). Positive, or
    "better", means that the method is better with it. An ablation `no-pic` takes the component `pic` away: the base method
    minus it. Any other, `mean-soft` say, changes the method: it minus the base method, and the component is `mean-soft`.
    The verdict stands on Holm's corrected p and on the interval; the intervals themselves are not corrected.

    Args:
        rows: the columns of `mipic_bench.results.rows.COLUMNS`.
        base_method: the method that its ablations are compared with.
        ablations: the components to ask about (names of ablations); all by default, as `components` finds them.
        metrics: family -> the one metric that speaks for it.
        split: the split that counts where a task has it.
        seed: of the bootstrap.

    Returns:
        one line per question, columns `COLUMNS`. A question that no data answer is there with NaN, the verdict "cannot
        be told" and its reason; it does not count in Holm's correction. `questions` is the size of the corrected family.

    Raises:
        UserError: two runs of one cell.
    """
    named = components(rows, base_method)
    if ablations is not None:
        named = {method: name for method, name in named.items() if name in ablations}
    own = rows["method"].isin([base_method, *named]) & (rows["precision"] == PRECISION)
    found = grids(rows[own.to_numpy()], metrics=metrics, split=split)
    asked = _asked(found, base_method, named)
    if asked.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    settings = [_answer(found, part, base_method, seed) for _, part in asked.groupby(_SETTING, sort=True)]
    return pd.concat(settings, ignore_index=True)[list(COLUMNS)]


def _asked(found: Sequence[Grid], base_method: str, named: Mapping[str, str]) -> pd.DataFrame:
    """Return the questions, one line each: setting, component, family, role, dim and layer."""
    index = pd.concat([grid.index.assign(family=grid.family) for grid in found]) if found else pd.DataFrame()
    lines: list[dict[str, object]] = []
    if index.empty:
        return pd.DataFrame(lines)
    for key, group in index.groupby(_SETTING, sort=True):
        budgets = _widths(group, base_method)
        for method, ablation in named.items():
            if base_method not in set(group["method"]) or method not in set(group["method"]):
                continue
            for family in (grid.family for grid in found if grid.family in set(group["family"])):
                for role, (layer, dim) in budgets.items():
                    place = dict(zip(_SETTING, key, strict=True))
                    place |= {
                        "method": method,
                        "ablation": ablation,
                        "component": ablation.removeprefix(REMOVED),
                        "comparison": " - ".join(_sides(base_method, method, ablation)),
                        "family": family,
                    }
                    lines.append({**place, "width_role": role, "layer": layer, "dim": dim})
    return pd.DataFrame(lines)


def _sides(base_method: str, method: str, ablation: str) -> tuple[str, str]:
    """Return the method with the component, then the one without it."""
    return (base_method, method) if ablation.startswith(REMOVED) else (method, base_method)


def _widths(group: pd.DataFrame, base_method: str) -> dict[str, tuple[int, int]]:
    """Choose the last layer and the smallest, middle and full width that the base and most of its ablations have there.

    An ablation that lacks one of them leaves its own question open, not those of the others.
    """
    own = group[group["method"] == base_method]
    if own.empty:
        return {}
    layer = int(own["layer"].max())
    by_method = group[group["layer"] == layer].groupby("method")["dim"].agg(set)
    others = by_method.drop(base_method)
    every = sorted(by_method[base_method])
    dims = [dim for dim in every if 2 * sum(dim in own for own in others) >= len(others)] or every
    chosen = {"full": dims[-1], "smallest": dims[0], "middle": dims[(len(dims) - 1) // 2]}
    kept = {role: dim for role, dim in chosen.items() if role == "full" or dim != dims[-1]}
    if kept.get("middle") == kept.get("smallest"):
        kept.pop("middle", None)
    return {role: (layer, int(kept[role])) for role in ROLES if role in kept}


def _answer(found: Sequence[Grid], asked: pd.DataFrame, base_method: str, seed: int) -> pd.DataFrame:
    """Compare, correct and judge the questions of one setting."""
    pairs = []
    removed = asked["ablation"].str.startswith(REMOVED)
    for grid in found:
        places = pd.MultiIndex.from_frame(grid.index.assign(family=grid.family)[_PLACE])
        base = np.flatnonzero((grid.index["method"] == base_method).to_numpy())
        without, changed = (
            np.flatnonzero(places.isin(pd.MultiIndex.from_frame(part[_PLACE])))
            for part in (asked[removed], asked[~removed])
        )
        pairs += [match(grid, base, without), match(grid, changed, base)]
    answers = compare([pair for pair in pairs if len(pair.index)], questions=len(asked), seed=seed)
    answers["method"] = answers["left"].where(answers["left"] != base_method, answers["right"])
    result = asked.merge(answers, on=_PLACE, how="left")
    result["p_holm"] = holm(result["p"].to_numpy(dtype=np.float64))
    result["questions"] = int(result["p"].notna().sum())
    unsure = ~(result["p_holm"] <= ALPHA)
    result["verdict"] = result["verdict"].where(~unsure | result["verdict"].isin([UNKNOWN, SAME]), SAME)
    result["verdict"] = result["verdict"].astype(object).where(result["difference"].notna(), UNKNOWN)
    result[["seeds", "tasks", "excluded"]] = result[["seeds", "tasks", "excluded"]].fillna(0).astype(np.int64)
    result["note"] = [_note(line) for line in result.to_dict("records")]
    return result


def _note(line: dict[str, object]) -> str:
    if pd.isna(line["difference"]):
        return "not scored on both sides at this budget"
    missed = line["verdict"] == SAME and (float(str(line["low"])) > 0 or float(str(line["high"])) < 0)
    parts = [
        str(line["note"]),
        f"p by {line['p_kind']}" if line["p_kind"] else "",
        f"the interval excludes 0, but not after Holm's correction for {line['questions']} questions" if missed else "",
    ]
    return "; ".join(part for part in parts if part)
