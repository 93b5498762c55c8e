"""What the terms of each method were worth over training: their weighted values and their shares."""

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from mipic_bench.analysis.quality import View
from mipic_bench.figures import Drawing
from mipic_bench.figures._axes import panels
from mipic_bench.figures._style import PALETTE, Style

_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)))


class TrainingTerms(Drawing):
    """One panel of values and one of shares per method, mean over its seeds."""

    title = "Terms over training"
    caption = (
        "Above: each term times its weight (the parts of the loss; log scale). Below: each term's share of the gradient "
        "norm where it was logged (run with --diagnostics), else of the loss: the norm of the gradient of the term times its "
        "weight with respect to the encoder's parameters, over the sum of these norms. Means over seeds. A term with nearly "
        "all of the share decides alone. Methods of a single term are left out beside methods of several."
    )
    needs = "It needs provenance with a training history."
    order = 90

    def draw(self, view: View, style: Style) -> Iterator[tuple[str, Figure]]:
        """One figure per setting that was trained in."""
        for setting in view.settings:
            histories = {}
            for method in view.methods:
                found = history(view, method, setting.backbone, setting.corpus)
                if len(found):
                    histories[method] = found
            several = {method: found for method, found in histories.items() if found["term"].nunique() > 1}
            if histories:
                yield setting.slug, _figure(several or histories, setting.title)


def history(view: View, method: str, backbone: str, corpus: str) -> pd.DataFrame:
    """What was logged of a method: columns step, term, value (times its weight), share, of ("gradient" or "loss").

    Where any training logged shares of the gradient norm, shares of the loss are left out (NaN): they are another thing.
    """
    lines: list[dict[str, Any]] = []
    for _, record in view.records(method=method, backbone=backbone, corpus=corpus):
        terms = record.get("recipe", {}).get("terms") or {}
        for entry in record.get("training", {}).get("history") or ():
            lines += _entry(entry, terms)
    frame = pd.DataFrame(lines, columns=["step", "term", "value", "share", "of"])
    if (of_gradient := frame["of"] == "gradient").any():
        frame = frame.assign(share=frame["share"].where(of_gradient), of="gradient")
    return frame.groupby(["step", "term", "of"], sort=False, as_index=False).mean() if len(frame) else frame


def _entry(entry: Mapping[str, Any], terms: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One logged step, a line per term that weighs anything."""
    weights = {name: float((terms.get(name) or {}).get("weight", 1)) for name in entry.get("terms") or {}}
    values = {name: weights[name] * float(value) for name, value in entry["terms"].items() if weights[name]}
    total = sum(map(abs, values.values())) or 1.0
    shares = entry.get("shares") or {}
    return [
        {
            "step": int(entry["step"]),
            "term": name,
            "value": value,
            "share": float(shares.get(name, abs(value) / total)),
            "of": "gradient" if shares else "loss",
        }
        for name, value in values.items()
    ]


def _figure(histories: Mapping[str, pd.DataFrame], title: str) -> Figure:
    across = min(4, len(histories))
    names = sorted({term for found in histories.values() for term in found["term"]})
    colors = {name: (PALETTE[place % len(PALETTE)], _DASHES[place % len(_DASHES)]) for place, name in enumerate(names)}
    handles = [Line2D([], [], color=color, linestyle=dash, label=name) for name, (color, dash) in colors.items()]
    rows = 2 * ceil(len(histories) / across)
    kinds = {method: str(found["of"].iloc[0]) for method, found in histories.items()}
    mixed = len(set(kinds.values())) > 1  # then each panel says for itself what its shares are of
    figure, axes = panels(
        rows * across, (1.75, 1.1), title=title, handles=handles, columns=across, margins=(0.55, 0.52, 0.12, 0.47),
        gaps=(0.55 if mixed else 0.42, 0.36 if rows == 2 else 0.46),
    )  # fmt: skip
    for place, (method, found) in enumerate(histories.items()):
        row, column = divmod(place, across)
        above, below = axes[2 * row * across + column], axes[(2 * row + 1) * across + column]
        _curves(above, below, found, colors)
        above.set_title(method)
        above.tick_params(labelbottom=False)
        if row == rows // 2 - 1 or place + across >= len(histories):
            below.set_xlabel("step")
        if column == 0:
            above.set_ylabel("weighted value")
        if column == 0 or mixed:
            below.set_ylabel(f"% of the {kinds[method]}")
    for place in range(len(histories), rows * across // 2):
        row, column = divmod(place, across)
        axes[2 * row * across + column].remove()
        axes[(2 * row + 1) * across + column].remove()
    return figure


def _curves(above: Axes, below: Axes, found: pd.DataFrame, colors: Mapping[str, tuple[str, Any]]) -> None:
    for term, part in found.groupby("term"):
        part = part.sort_values("step")
        color, dash = colors[str(term)]
        above.plot(part["step"], part["value"], color=color, linestyle=dash, lw=1.2)
        shares = part.dropna(subset="share")
        below.plot(shares["step"], 100 * shares["share"], color=color, linestyle=dash, lw=1.2)
    if (found["value"] > 0).all():
        above.set_yscale("log")
        wide = found["value"].max() > 50 * found["value"].min()  # labels at 1, 2, 5 would touch
        above.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5), numticks=7))
        above.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        above.yaxis.set_minor_locator(NullLocator())
    below.set_ylim(0, 102)
    below.set_yticks((0, 50, 100))
