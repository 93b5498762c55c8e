"""Mean ranks of the methods over all tasks, with Nemenyi's critical difference (Demsar 2006)."""

from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mipic_bench import stats
from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, pick, small_dim
from mipic_bench.figures import Drawing
from mipic_bench.figures._axes import new_figure
from mipic_bench.figures._style import INK, Style, gid
from mipic_bench.stats import Ranking

_ROW, _LETTER = 0.19, 0.062  # inches between two names; of a letter


class CriticalDifference(Drawing):
    """One diagram per width: 32 dims (or the nearest) and full width."""

    title = "Ranks over tasks"
    caption = (
        "Mean rank over the tasks of all families at the last layer, 1 is best; each task counts once, its scores are means "
        "over seeds. A bar joins methods whose ranks are within Nemenyi's critical difference (CD): they are not "
        "distinguishable. Ranks are taken within a task, so metrics are not mixed."
    )
    needs = "It needs three methods and two tasks that all of them have."
    order = 80

    def draw(self, view: View, style: Style) -> Iterator[tuple[str, Figure]]:
        """One figure per setting and width."""
        for setting in view.settings:
            for dim, ranking in rankings(view, setting).items():
                yield f"{setting.slug}--dim-{dim}", _figure(ranking, style, f"{setting.title} · {dim} dims")


def rankings(view: View, setting: Setting) -> dict[int, Ranking]:
    """The rankings at 32 dims (or the nearest width) and at full width, where Friedman's test can be made."""
    points = view.compared(pick(view.vectors, setting))
    if points.empty:
        return {}
    layer, dims = int(points["layer"].max()), sorted({int(dim) for dim in points["dim"]})
    found = {}
    for dim in dict.fromkeys((small_dim(dims), dims[-1])):
        ranking = stats.ranking(pick(points, layer=layer, dim=dim), metrics=view.metrics)
        if len(ranking.methods) > 2 and ranking.critical_difference == ranking.critical_difference:
            found[dim] = ranking
    return found


def _figure(ranking: Ranking, style: Style, title: str) -> Figure:
    half = (len(ranking.methods) + 1) // 2
    bars = len(ranking.groups)
    high = 0.95 + 0.13 * bars + _ROW * half
    margin = max(1.5, _LETTER * (max(map(len, ranking.methods)) + 9))  # a name, its rank and the gaps
    wide = 2 * margin + 3.35
    figure = new_figure((wide, high))
    axes = figure.add_axes((margin / wide, 0.04, 3.35 / wide, 1 - 0.62 / high))
    lowest, deepest = 1, len(ranking.methods)
    axes.set_xlim(lowest, deepest)
    axes.set_ylim(high - 0.75, 0)
    axes.xaxis.tick_top()
    axes.set_xticks(range(lowest, deepest + 1))
    axes.grid(False)
    axes.yaxis.set_visible(False)
    for side in ("left", "bottom", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["top"].set_visible(True)
    for row, group in enumerate(ranking.groups):
        ranks = [ranking.mean_ranks[ranking.methods.index(method)] for method in group]
        axes.plot(
            [min(ranks) - 0.03, max(ranks) + 0.03], [0.12 + 0.13 * row] * 2, color=INK, lw=3, solid_capstyle="round"
        )
    for place, (method, mean) in enumerate(zip(ranking.methods, ranking.mean_ranks, strict=True)):
        left = place < half
        row = place if left else len(ranking.methods) - 1 - place
        _name(axes, method, mean, 0.22 + 0.13 * bars + _ROW * row, (lowest, deepest), left, style)
    shown = "; ranks differ" if ranking.p <= 0.05 else "; ranks are not distinguishable"
    p = "p < 0.001" if ranking.p < 0.001 else f"p = {ranking.p:.3f}" if ranking.p == ranking.p else "undefined"
    figure.text(
        0.5, 1 - 0.1 / high,
        f"{title} · {len(ranking.tasks)} tasks · CD {ranking.critical_difference:.2f} · Friedman {p}{shown}",
        ha="center", va="top", fontsize=8,
    )  # fmt: skip
    return figure


def _name(axes: Axes, method: str, mean: float, y: float, ends: tuple[int, int], left: bool, style: Style) -> None:
    """Lead a line from a mean rank to the method's name at the side."""
    edge = ends[0] if left else ends[1]
    look, alpha = style[method], style.alpha(method)
    axes.plot([mean, mean, edge], [0, y, y], color=look.color, lw=1.2, alpha=alpha, clip_on=False, gid=gid(method))
    words = f"{method}  {mean:.2f} " if left else f" {mean:.2f}  {method}"
    words = words.replace(" ", "\u00a0")  # SVG would make one space of two
    axes.text(
        edge, y, words, ha="right" if left else "left",
        va="center",
        fontsize=7.5, color=INK, alpha=alpha, gid=gid(method), clip_on=False,
    )  # fmt: skip
