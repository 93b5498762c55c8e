"""Layer x width tables of the page whose cells are colored: a heat map that can be read, hovered and copied."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.colors import to_hex

from mipic_bench.tables import Column, number, printed


def heat_table(caption: str, own: pd.DataFrame, scale: tuple[float, float], column: Column, palette: str) -> Markup:
    """One method's table.

    Args:
        caption: its heading: the method.
        own: one line per budget: layer, dim, seeds and the columns that `column` names.
        scale: the values at the two ends of the palette.
        column: what is printed in a cell; the interval goes into the text that appears over it.
        palette: a matplotlib color map.
    """
    layers, dims = (sorted(int(value) for value in own[name].unique()) for name in ("layer", "dim"))
    cells = {(record["layer"], record["dim"]): record for record in own.to_dict("records")}
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(dim) for dim in dims)
    body = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            layer, Markup("").join(_cell(cells.get((layer, dim)), scale, column, palette) for dim in dims)
        )
        for layer in layers
    )
    return Markup(
        '<div class="scroll heats" data-method="{0}"><table class="heat"><caption>{0}</caption>'
        '<thead><tr><th scope="col">layer</th>{1}</tr></thead><tbody>{2}</tbody></table></div>'
    ).format(caption, head, body)


def _cell(record: Mapping[str, Any] | None, scale: tuple[float, float], column: Column, palette: str) -> Markup:
    if record is None or record[column.key] != record[column.key]:
        return Markup('<td class="none" data-tip="not scored"></td>')
    low, high = scale
    value = float(record[column.key])
    shade = colormaps[palette](0.5 if high <= low else (value - low) / (high - low))
    text = number(value, "gain" if column.kind == "difference" else column.kind)
    seeds = int(record["seeds"])
    tip = f"layer {record['layer']}, dim {record['dim']}\n{printed(record, column)}\n"
    tip += f"{seeds} seeds" if seeds > 1 else "1 run, no interval"
    real = column.kind == "difference" and (record["low"] > 0 or record["high"] < 0)
    return Markup('<td{} style="background:{};color:{}" data-tip="{}">{}</td>').format(
        Markup(' class="real"') if real else "", to_hex(shade), _ink(shade), tip, text
    )


def _ink(shade: tuple[float, float, float, float]) -> str:
    """Black or white, whichever is easier to read on a color (WCAG relative luminance)."""
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in shade[:3])
    return "#000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#fff"
