"""The quality-by-width charts of the page: small SVG drawings whose points can be hovered and reached by arrow keys."""

from collections.abc import Sequence
from math import log2

import pandas as pd
from markupsafe import Markup

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting
from mipic_bench.analysis.tables import SCORE, printed, records
from mipic_bench.figures._axes import roomy
from mipic_bench.figures._style import PALETTE, UNTRAINED, Style

_WIDE, _HIGH = 360.0, 236.0
_LEFT, _RIGHT, _TOP, _BELOW = 34.0, 10.0, 8.0, 36.0
_MARKERS = {
    "o": "M{0},{1}m-{2},0a{2},{2} 0 1,0 {3},0a{2},{2} 0 1,0 -{3},0",
    "s": "M{0},{1}m-{2},-{2}h{3}v{3}h-{3}z",
    "^": "M{0},{1}m0,-{2}l{2},{3}h-{3}z",
    "v": "M{0},{1}m0,{2}l{2},-{3}h-{3}z",
    "D": "M{0},{1}m0,-{2}l{2},{2}l-{2},{2}l-{2},-{2}z",
    "<": "M{0},{1}m-{2},0l{3},-{2}v{3}z",
    ">": "M{0},{1}m{2},0l-{3},-{2}v{3}z",
    "P": "M{0},{1}m-{2},-1.2h2v-2h2.4v2h2v2.4h-2v2h-2.4v-2h-2z",
    "X": "M{0},{1}m-{2},-{2}l{2},2 l{2},-2l-2,{2}l2,{2}l-{2},-2l-{2},2l2,-{2}z",
    "*": "M{0},{1}m0,-{2}l1.2,2.8h2.8l-2.2,2l.9,2.9l-2.7,-1.8l-2.7,1.8l.9,-2.9l-2.2,-2h2.8z",
}


def color(style: Style, method: str) -> str:
    """The method's color as a variable of the page, which is lighter in the dark."""
    hue = style[method].color
    return "var(--mu)" if hue == UNTRAINED else f"var(--m{PALETTE.index(hue)})"


def quality_chart(view: View, style: Style, setting: Setting, family: str, points: pd.DataFrame) -> Markup:
    """Draw one family's curves over the widths.

    Args:
        view: where the trained widths are known from.
        style: the looks of the methods.
        setting: of the points.
        family: of the points.
        points: estimates at one layer, columns method, dim, mean, low, high, seeds.
    """
    scale = _Scale(points)
    methods = [method for method in view.methods if (points["method"] == method).any()]
    curves = Markup("").join(
        _curve(points[points["method"] == method], method, style, scale, view.trained_dims(method, setting.backbone))
        for method in methods
    )
    full = points[points["dim"] == view.widths[setting.backbone]]
    label = f"{family}: {view.metric_title(family)} by width, {len(methods)} methods. Arrow keys move between points."
    return Markup(
        '<div class="chart" tabindex="0" role="group" aria-label="{}"><svg viewBox="0 0 {} {}" aria-hidden="true">{}{}{}</svg></div>'
    ).format(
        label,
        _n(_WIDE),
        _n(_HIGH),
        _axes(scale),
        _full_width(full, style, scale),
        curves,
    )


def legend(style: Style, methods: Sequence[str]) -> Markup:
    """The legend of all charts; pressing an entry highlights its method everywhere."""
    entries = Markup("").join(
        Markup(
            '<li><button type="button" value="{0}" aria-pressed="false"><svg width="30" height="12" aria-hidden="true">'
            '<path d="M1,6H29" class="curve" style="stroke:{1}{2}"/><path class="pt" d="{3}" style="fill:{1}"/></svg>{0}</button></li>'
        ).format(method, color(style, method), _dashes(style, method), _marker(style, method, 15, 6))
        for method in methods
    )
    return Markup('<ul class="legend" aria-label="Methods; press one to highlight it">{}</ul>').format(entries)


class _Scale:
    """Where widths and values lie on the paper."""

    def __init__(self, points: pd.DataFrame) -> None:
        self.dims = sorted(int(dim) for dim in points["dim"].unique())
        ends = pd.concat([points["mean"], points["low"], points["high"]]) * 100
        self.low, self.high = float(ends.min()), float(ends.max())
        room = max(self.high - self.low, 0.5) * 0.04
        self.low, self.high = self.low - room, self.high + room

    def x(self, dim: float) -> float:
        span = log2(self.dims[-1]) - log2(self.dims[0]) or 1.0
        return _LEFT + 6 + (log2(dim) - log2(self.dims[0])) / span * (_WIDE - _LEFT - _RIGHT - 12)

    def y(self, fraction: float) -> float:
        return _TOP + (self.high - 100 * fraction) / (self.high - self.low) * (_HIGH - _TOP - _BELOW)

    def ticks(self) -> list[float]:
        """Round values inside the range, about five."""
        step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if (self.high - self.low) / s <= 6)
        first = -(-self.low // step)
        return [step * (first + k) for k in range(8) if step * (first + k) <= self.high]


def _axes(scale: _Scale) -> Markup:
    parts = []
    for value in scale.ticks():
        y = scale.y(value / 100)
        parts.append(f'<path class="rule" d="M{_n(_LEFT)},{_n(y)}H{_n(_WIDE - _RIGHT)}"/>')
        parts.append(f'<text class="tick" x="{_n(_LEFT - 5)}" y="{_n(y + 3.5)}" text-anchor="end">{value:g}</text>')
    foot = _HIGH - _BELOW
    for dim in scale.dims:
        parts.append(f'<path class="axis" d="M{_n(scale.x(dim))},{_n(foot)}v4"/>')
    for dim in roomy(scale.dims, ()):
        parts.append(f'<text class="tick" x="{_n(scale.x(dim))}" y="{_n(foot + 15)}" text-anchor="middle">{dim}</text>')
    parts.append(f'<path class="axis" d="M{_n(_LEFT)},{_n(foot)}H{_n(_WIDE - _RIGHT)}"/>')
    middle = (_LEFT + _WIDE - _RIGHT) / 2
    parts.append(f'<text class="tick" x="{_n(middle)}" y="{_n(_HIGH - 5)}" text-anchor="middle">width (dim)</text>')
    return Markup("".join(parts))  # numbers only


def _full_width(points: pd.DataFrame, style: Style, scale: _Scale) -> Markup:
    own = points[points["method"] == style.reference]
    if own.empty:
        return Markup("")
    y = scale.y(float(own.iloc[0]["mean"]))
    return Markup('<path class="full" d="M{},{}H{}"><title>full width, {}</title></path>').format(
        _n(_LEFT), _n(y), _n(_WIDE - _RIGHT), style.reference
    )


def _curve(points: pd.DataFrame, method: str, style: Style, scale: _Scale, trained: frozenset[int]) -> Markup:
    points = points.sort_values("dim")
    hue = color(style, method)
    places = [(scale.x(dim), scale.y(mean)) for dim, mean in zip(points["dim"], points["mean"], strict=True)]
    line = "M" + "L".join(f"{_n(x)},{_n(y)}" for x, y in places)
    parts = [_band(points, hue, scale)]
    parts.append(Markup('<path class="curve" d="{}" style="stroke:{}{}"/>').format(line, hue, _dashes(style, method)))
    for record, (x, y) in zip(records(points), places, strict=True):
        seen = not trained or record["dim"] in trained
        parts.append(
            Markup(
                '<g><path class="pt{}" d="{}" style="fill:{}"/><circle class="hit" cx="{}" cy="{}" r="6" data-tip="{}"/></g>'
            ).format(
                "" if seen else " unseen", _marker(style, method, x, y), hue, _n(x), _n(y), _tip(record, method, seen)
            )
        )
    return Markup('<g class="method" data-method="{}">{}</g>').format(method, Markup("").join(parts))


def _band(points: pd.DataFrame, hue: str, scale: _Scale) -> Markup:
    known = points[points["low"].notna()]
    if len(known) < 2:
        return Markup("")
    above = [f"{_n(scale.x(dim))},{_n(scale.y(high))}" for dim, high in zip(known["dim"], known["high"], strict=True)]
    below = [f"{_n(scale.x(dim))},{_n(scale.y(low))}" for dim, low in zip(known["dim"], known["low"], strict=True)]
    return Markup('<path class="band" d="M{}L{}Z" style="fill:{}"/>').format(
        "L".join(above), "L".join(below[::-1]), hue
    )


def _tip(record: dict[str, float], method: str, seen: bool) -> str:
    seeds = int(record["seeds"])
    known = f"{seeds} seeds, 95 % interval" if seeds > 1 else "1 run, no interval"
    return f"{method} · dim {record['dim']}\n{printed(record, SCORE)}\n{known}" + (
        "" if seen else "\nwidth not trained"
    )


def _marker(style: Style, method: str, x: float, y: float) -> str:
    size = 3.2
    return _MARKERS[style[method].marker].format(_n(x), _n(y), _n(size), _n(2 * size))


def _dashes(style: Style, method: str) -> str:
    dashes = style[method].dashes
    return f";stroke-dasharray:{' '.join(_n(1.6 * length) for length in dashes)}" if dashes else ""


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
