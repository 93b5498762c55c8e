"""How methods look: one color, marker and line per method, bound once, the same in every figure and in the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipic_bench.analysis.quality import View
from mipic_bench.figures import default_reference

# Okabe and Ito's palette for color-blind readers (jfly.uni-koeln.de/color) without its yellow, which is lost on white
# paper, and two of Paul Tol's muted set.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933")
UNTRAINED = "#6B7280"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
_ABLATION_DASHES: tuple[tuple[float, ...], ...] = ((4, 1.5), (5, 1.2, 1, 1.2), (2, 1), (6, 2, 2, 2))
_SECOND_ROUND = (5, 1.2)  # of base methods beyond the palette; a legend shows the gaps beside the marker
_UNTRAINED_DASHES = ((1.0, 1.4), (4.0, 1.4, 1.0, 1.4), (4.0, 2.0), (8.0, 2.0))
INK, FAINT = "#1F2328", "#C9CED6"
RC: Any = {
    "svg.hashsalt": "mipic-bench",  # element ids do not change from one drawing to the next
    "svg.fonttype": "none",  # text stays text: searchable, readable aloud, in the page's color
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": 8,
    "axes.facecolor": "none",
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # where it is put anyhow; left open, every drawing measures all labels to see whether they reach it
    "axes.labelsize": 8,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "hatch.linewidth": 0.4,
}


@dataclass(frozen=True)
class Look:
    """How one method is drawn. `dashes` is empty for a solid line, else on/off lengths in points."""

    color: str
    marker: str
    dashes: tuple[float, ...] = ()

    @property
    def line(self) -> Any:
        """The line style as matplotlib takes it."""
        return (0, self.dashes) if self.dashes else "-"


@dataclass(frozen=True)
class Style:
    """The looks of a study's methods, and which method is to stand out.

    Args:
        looks: method -> look.
        reference: the method that differences are taken from.
        highlight: the method drawn strongest, the others faint; None draws all alike.
    """

    looks: Mapping[str, Look]
    reference: str | None = None
    highlight: str | None = None

    def __getitem__(self, method: str) -> Look:
        return self.looks[method]

    def alpha(self, method: str) -> float:
        """Opacity of what belongs to a method."""
        return 1.0 if self.highlight in (None, method) else 0.3

    def width(self, method: str) -> float:
        """Line width in points."""
        return 2.2 if self.highlight == method else 1.4

    def line(self, method: str) -> dict[str, Any]:
        """Return a method's line with small markers, as `Axes.plot` takes it."""
        look = self[method]
        return {
            "color": look.color, "linestyle": look.line, "marker": look.marker, "ms": 3.6, "mec": "white", "mew": 0.4,
            "lw": self.width(method), "alpha": self.alpha(method), "gid": gid(method),
        }  # fmt: skip


def bind(view: View) -> dict[str, Look]:
    """Give every method of a study its look: trained base methods solid as far as the colors go, ablations dashed, untrained ones gray.

    Ablations take other colors than their method and the reference, beside which they are drawn.
    """
    trained = [method for method in view.every_method if method not in view.untrained]
    seeds = view.rows.groupby("method")["seed"].nunique()
    # trained base methods take the most distinct colors, whatever ablations and swept values stand between them; of many
    # those with the most seeds, which a study is about
    order = sorted(
        trained,
        key=lambda method: (method not in view.methods, method in view.bases, method in view.fitted, -seeds[method]),
    )
    looks: dict[str, Look] = {}
    siblings: dict[str, int] = {}
    for place, method in enumerate(order):
        marker, base = MARKERS[place % len(MARKERS)], view.bases.get(method)
        if base is None:
            looks[method] = Look(PALETTE[place % len(PALETTE)], marker, () if place < len(PALETTE) else _SECOND_ROUND)
            continue
        taken = {looks[other].color for other in (base, default_reference(view)) if other in looks}
        free = [color for color in PALETTE if color not in taken]
        nth = siblings[base] = siblings.get(base, -1) + 1
        looks[method] = Look(free[nth % len(free)], marker, _ABLATION_DASHES[place % len(_ABLATION_DASHES)])
    for place, method in enumerate(m for m in view.every_method if m in view.untrained):
        looks[method] = Look(
            UNTRAINED, MARKERS[-1 - place % len(MARKERS)], _UNTRAINED_DASHES[place % len(_UNTRAINED_DASHES)]
        )
    return looks


def gid(methods: Sequence[str] | str) -> str:
    """The id of a drawn element that belongs to a method; the page turns it into a `data-method` attribute."""
    return f"method:{methods if isinstance(methods, str) else ' '.join(methods)}"
