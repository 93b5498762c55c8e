"""Layer x width tables of the page whose cells are colored: a heat map that can be read, hovered and copied."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib import colormaps

from mipic_bench.analysis.tables import Column, number, printed, records
from mipic_bench.figures._heat import ink


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
    lines = records(own)
    span = scale[1] - scale[0]
    places = [(record[column.key] - scale[0]) / span if span > 0 else 0.5 for record in lines]
    shades = colormaps[palette](np.array(places, dtype=float))
    # numbers and colors alone: nothing in a cell needs escaping, and there are thousands of them
    cells = {
        (record["layer"], record["dim"]): _cell(record, shade, column)
        for record, shade in zip(lines, shades, strict=True)
        if record[column.key] == record[column.key]
    }
    head = "".join(f'<th scope="col">{dim}</th>' for dim in dims)
    missing = '<td class="none" data-tip="not scored"></td>'
    body = "".join(
        f'<tr><th scope="row">{layer}</th>{"".join(cells.get((layer, dim), missing) for dim in dims)}</tr>'
        for layer in layers
    )
    return Markup(
        '<div class="scroll heats" data-method="{0}"><table class="heat"><caption>{0}</caption>'
        '<thead><tr><th scope="col">layer</th>{1}</tr></thead><tbody>{2}</tbody></table></div>'
    ).format(caption, Markup(head), Markup(body))


def _cell(record: Mapping[str, Any], shade: np.ndarray, column: Column) -> str:
    text = number(record[column.key], "gain" if column.kind == "difference" else column.kind)
    seeds = int(record["seeds"])
    tip = f"layer {record['layer']}, dim {record['dim']}\n{printed(record, column)}\n"
    tip += f"{seeds} seeds" if seeds > 1 else "1 run, no interval"
    real = column.kind == "difference" and (record["low"] > 0 or record["high"] < 0)
    red, green, blue = (round(255 * float(part)) for part in shade[:3])
    mark = ' class="real"' if real else ""
    color = f"background:#{red:02x}{green:02x}{blue:02x};color:{ink(shade)}"
    return f'<td{mark} style="{color}" data-tip="{tip}">{text}</td>'
