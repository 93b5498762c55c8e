"""What each component of a method is worth, as a forest plot: with and without each, and on top of plainer methods."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, pick
from mipic_bench.figures import Drawing
from mipic_bench.figures._axes import panels
from mipic_bench.figures._style import INK, Style, gid
from mipic_bench.results.folder import safe
from mipic_bench.stats.estimates import BETTER, WORSE
from mipic_bench.stats.questions import REMOVED

_WIDTHS = {"smallest": "smallest width", "middle": "middle width", "full": "full width"}


@dataclass(frozen=True)
class Line:
    """One difference of the plot: its group (a component), the method it belongs to, the family, the numbers."""

    group: str
    method: str
    family: str
    numbers: pd.Series


class AblationForest(Drawing):
    """Differences with intervals, one panel per width."""

    title = "What each component is worth"
    caption = (
        "Upper part: the score of the method with a component, or a change, minus its score without. Lower part, add one: "
        "what a component brings on top of the plain method whose terms it extends. Points ×100 with 95 % intervals over "
        "seeds; filled: a difference (in the upper part after Holm's correction), hollow: not distinguishable from 0."
    )
    needs = "It needs a method and an ablation of it."
    order = 40

    def draw(self, view: View, style: Style) -> Iterator[tuple[str, Figure]]:
        """One figure per setting and method with ablations."""
        for base in view.methods:
            if base not in view.bases.values():
                continue
            answers = view.questions(base)
            for setting in view.settings:
                own = pick(answers, setting)
                own = own[own["difference"].notna()]
                if len(own):
                    yield f"{setting.slug}--{safe(base)}", _figure(view, style, setting, base, own)


def _figure(view: View, style: Style, setting: Setting, base: str, own: pd.DataFrame) -> Figure:
    roles = [role for role in _WIDTHS if (own["width_role"] == role).any()]
    budgets = {role: own.loc[own["width_role"] == role, ["layer", "dim"]].iloc[0] for role in roles}
    parts = {role: list(_lines(view, setting, own[own["width_role"] == role], budgets[role])) for role in roles}
    names = list(dict.fromkeys((line.group, line.family) for lines in parts.values() for line in lines))
    handles = [
        Line2D([], [], color=INK, marker="o", linestyle="-", label="a difference"),
        Line2D([], [], color=INK, marker="o", linestyle="-", mfc="white", label="not distinguishable from 0"),
    ]
    labels = _labels(names)
    left = 0.2 + 0.058 * max(map(len, labels))
    figure, axes_of = panels(
        len(roles), (1.95, 0.19 * len(names) + 0.06), title=f"{base} · {setting.title} · points ×100", handles=handles,
        margins=(left, 0.52, 0.12, 0.47), gaps=(0.2, 0), share=True,
    )  # fmt: skip
    for axes, role in zip(axes_of, roles, strict=True):
        _panel(axes, parts[role], names, style)
        dim = int(budgets[role]["dim"])
        whole = role != "full" or dim == view.widths[setting.backbone]
        axes.set_title(f"{_WIDTHS[role] if whole else 'largest width scored'}: {dim} dims")
    _name_lines(axes_of, names, labels)
    return figure


def _lines(view: View, setting: Setting, answers: pd.DataFrame, budget: pd.Series) -> Iterator[Line]:
    """The differences of one width: the method's own components in the order of the families, then additions."""
    base = str(answers["base_method"].iloc[0])
    for component, part in answers.groupby("component", sort=False):
        for _, numbers in part.iterrows():
            yield Line(f"{component} in {base}", str(numbers["method"]), numbers["family"], numbers)
    for plain, extended, component in additions(view, base):
        found = pick(view.differences(plain), setting, method=extended, layer=budget["layer"], dim=budget["dim"])
        for _, numbers in found.iterrows():
            yield Line(f"{component} on top of {plain}", extended, numbers["family"], numbers)


def additions(view: View, base: str) -> list[tuple[str, str, str]]:
    """Pairs of methods of which the second has the terms of the first and one component more: (plain, extended, component).

    A component is what an ablation of the base takes away; which parts a method has is read from the provenance.
    """
    terms = {method: _terms(view, method) for method in view.methods}
    own = [method for method, parent in view.bases.items() if parent == base and method in view.methods]
    removed = [method for method in own if view.ablations[method].startswith(REMOVED) and terms[method]]
    parts = {view.ablations[method].removeprefix(REMOVED): terms[base] - terms[method] for method in removed}
    found = []
    for plain in view.methods:
        if plain in (base, *own) or not terms[plain]:
            continue
        for name, part in parts.items():
            for extended in (base, *own):
                if part and not part & terms[plain] and terms[extended] == terms[plain] | part:
                    found.append((plain, extended, name))
    return found


def _terms(view: View, method: str) -> frozenset[str]:
    """The parts of a method: each term that weighs anything, by name and settings but its weight, and its transform.

    Empty where the provenance does not say.
    """
    for _, record in view.records(method=method):
        recipe = record.get("recipe", {})
        terms = {name: term for name, term in (recipe.get("terms") or {}).items() if term.get("weight", 1) != 0}
        parts = {**terms, **({"posthoc": recipe["posthoc"]} if recipe.get("posthoc") else {})}
        return frozenset(
            json.dumps([name, {key: value for key, value in part.items() if key != "weight"}], sort_keys=True)
            for name, part in parts.items()
        )
    return frozenset()


def _panel(axes: Axes, lines: Sequence[Line], names: Sequence[tuple[str, str]], style: Style) -> None:
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
    axes.grid(False, axis="y")
    for line in lines:
        numbers, y = line.numbers, names.index((line.group, line.family))
        sure = numbers["verdict"] in (BETTER, WORSE)
        color, alpha = style[line.method].color, style.alpha(line.method)
        if numbers["low"] == numbers["low"]:
            axes.plot(
                [100 * numbers["low"], 100 * numbers["high"]],
                [y, y],
                color=color,
                alpha=alpha,
                lw=1.4,
                gid=gid(line.method),
            )
        axes.plot(
            [100 * numbers["difference"]], [y], "o", color=color, mfc=color if sure else "white", alpha=alpha,
            ms=4.8, gid=gid(line.method),
        )  # fmt: skip
    axes.set_xlabel("points gained by having it")


def _labels(names: Sequence[tuple[str, str]]) -> list[str]:
    """The name of each line: component and family, the component once."""
    return [
        f"{group} · {family}" if place == 0 or names[place - 1][0] != group else family
        for place, (group, family) in enumerate(names)
    ]


def _name_lines(beside: Sequence[Axes], names: Sequence[tuple[str, str]], labels: Sequence[str]) -> None:
    """Name the lines at the left, and draw a rule between components."""
    beside[0].set_yticks(range(len(names)), labels)
    beside[0].set_ylim(len(names) - 0.5, -0.5)
    for panel in beside:
        panel.tick_params(axis="y", length=0)
        for place in range(1, len(names)):
            if names[place][0] != names[place - 1][0]:
                panel.axhline(place - 0.5, color="#C9CED6", linewidth=0.7, zorder=0)
