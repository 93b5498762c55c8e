"""The tables of the study's pages, made from its rows.

python tests/study/findings.py            prints them
python tests/study/findings.py --write    puts them between the marks of FINDINGS.md and README.md in results/study
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mipic_bench.analysis.quality import View
from mipic_bench.errors import raise_all
from mipic_bench.families import FAMILIES
from mipic_bench.figures.training_terms import history
from mipic_bench.results import packed
from mipic_bench.stats import FAMILY_MEAN, differences, mean_over_dims, scores, seeds_needed

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "results" / "study"
PAGES = (FOLDER / "FINDINGS.md", FOLDER / "README.md")
BACKBONE, SHALLOW = "minilm", "minilm-3"
CORPUS, SUPERVISED = "unsup_union", "nli_triplets"
LAST, FULL = {BACKBONE: 6, SHALLOW: 3}, 384
NARROW = (8, 16, 32, 64)  # the widths that the claim is about
SHOWN = (8, 16, 64, FULL)
TUNED = {"sts": "spearman", "classification": "accuracy", "pair": "ap"}
LOWER = "mipic-learning_rate=3e-06"  # MIPIC at a lower rate than the study's three values
PAPER = "-batch_size=16-epochs=5-learning_rate=2e-05"  # the training that the MIPIC paper states
EXITS = ("2d-mrl", "ese", "starbucks", "mrl", "full", "mipic")  # what an exit of the whole backbone is read from
DESIGNED_ON = (
    "stsb",
    "sick_r",
    "banking77",
    "tweeteval_emotion",
    "mrpc",
    "scitail",
)  # on their dev splits Pivot was chosen
IN_CORPUS = (
    "stsb",
    "sick_r",
    "banking77",
    "tweeteval_emotion",
    "tweeteval_irony",
    "mrpc",
    "wic",
)  # of unsup_union: training splits
FROZEN = ("pivot-untrained", "random-dims", "random-projection", "matryoshka-adaptor", "smec")  # they train no encoder
RIVALS = ("mrl", "2d-mrl", "ese", "starbucks", "full", "pca", "pretrained")
Pairs = Mapping[str, tuple[str, str]]  # label -> the two methods, left minus right
PARTS: Pairs = {
    "SIA where PIC is: `mipic` minus `mipic-no-sia`": ("mipic", "mipic-no-sia"),
    "SIA alone: `mipic-no-pic` minus `mrl`": ("mipic-no-pic", "mrl"),
    "PIC where SIA is: `mipic` minus `mipic-no-pic`": ("mipic", "mipic-no-pic"),
    "PIC alone: `mipic-no-sia` minus `mrl`": ("mipic-no-sia", "mrl"),
}
HALVES: Pairs = {
    "attention where CKA and PIC are: `mipic` minus `mipic-no-attention`": ("mipic", "mipic-no-attention"),
    "attention where PIC is: `mipic-no-cka` minus `mipic-no-sia`": ("mipic-no-cka", "mipic-no-sia"),
    "CKA where attention and PIC are: `mipic` minus `mipic-no-cka`": ("mipic", "mipic-no-cka"),
    "CKA where PIC is: `mipic-no-attention` minus `mipic-no-sia`": ("mipic-no-attention", "mipic-no-sia"),
    "attention alone: `mipic-no-cka-chain.weight=0` minus `mrl`": ("mipic-no-cka-chain.weight=0", "mrl"),
    "CKA alone: `mipic-no-attention-chain.weight=0` minus `mrl`": ("mipic-no-attention-chain.weight=0", "mrl"),
    "PIC where CKA is: `mipic-no-attention` minus `mipic-no-attention-chain.weight=0`": (
        "mipic-no-attention",
        "mipic-no-attention-chain.weight=0",
    ),
    "CKA and PIC on MRL: `mipic-no-attention` minus `mrl`": ("mipic-no-attention", "mrl"),
}
BALANCED: Pairs = {
    "means and soft attention: `mipic-mean-soft` minus `mipic`": ("mipic-mean-soft", "mipic"),
    "constant targets too: `mipic-balanced` minus `mipic-mean-soft`": ("mipic-balanced", "mipic-mean-soft"),
    "SIA where PIC is: `mipic-balanced` minus `mipic-balanced-no-sia`": ("mipic-balanced", "mipic-balanced-no-sia"),
    "SIA alone: `mipic-balanced-no-pic` minus `mrl`": ("mipic-balanced-no-pic", "mrl"),
    "PIC where SIA is: `mipic-balanced` minus `mipic-balanced-no-pic`": ("mipic-balanced", "mipic-balanced-no-pic"),
    "PIC alone: `mipic-balanced-no-sia` minus `mrl`": ("mipic-balanced-no-sia", "mrl"),
    "`mipic-balanced` minus `mrl`": ("mipic-balanced", "mrl"),
    "`mipic-balanced` minus `pretrained`": ("mipic-balanced", "pretrained"),
}

AS_PAPER: Pairs = {
    "in the paper's setting, `mipic` minus `mrl`": (f"mipic{PAPER}", f"mrl{PAPER}"),
    "in the paper's setting, `mipic` minus `pretrained`": (f"mipic{PAPER}", "pretrained"),
    "in the paper's setting, `mipic` minus `pca`": (f"mipic{PAPER}", "pca"),
    "in the paper's setting, `mrl` minus `pretrained`": (f"mrl{PAPER}", "pretrained"),
    "`mipic`: the paper's setting minus the study's": (f"mipic{PAPER}", "mipic"),
    "`mrl`: the paper's setting minus the study's": (f"mrl{PAPER}", "mrl"),
}


REST: Pairs = {
    **{
        f"`{name}` minus `pretrained`": (name, "pretrained")
        for name in ("random-dims", "random-projection", "smec", "matryoshka-adaptor")
    },
    **{f"`{name}` minus `pca`": (name, "pca") for name in ("smec", "matryoshka-adaptor")},
    **{f"`mrl` minus `{name}`": ("mrl", name) for name in ("random-dims", "random-projection", "smec")},
    **{
        f"`{name}` minus `mrl`": (name, "mrl")
        for name in ("matryoshka-adaptor", "espresso", "sdr-mrl", "2d-mrl-st", "2d-mrl-st-linear", "mipic-notebook")
    },
    "`espresso` minus `ese`": ("espresso", "ese"),
    "`2d-mrl-st` minus `2d-mrl`": ("2d-mrl-st", "2d-mrl"),
    "`2d-mrl-st-linear` minus `2d-mrl`": ("2d-mrl-st-linear", "2d-mrl"),
    "`mipic-notebook` minus `mipic`": ("mipic-notebook", "mipic"),
    **{f"`pivot` minus `{name}`": ("pivot", name) for name in ("matryoshka-adaptor", "espresso", "sdr-mrl")},
    "`pivot-untrained` minus `matryoshka-adaptor`": ("pivot-untrained", "matryoshka-adaptor"),
}


def tables(rows: pd.DataFrame) -> dict[str, str]:
    """Return name of a table -> Markdown, all from the rows of a folder of results."""
    last, supervised = deepest(rows, CORPUS), deepest(rows, SUPERVISED)
    shallow = deepest(rows, CORPUS, SHALLOW)
    alone = early_exit(rows)
    rows = rows[(rows["backbone"] == BACKBONE) & rows["corpus"].isin(["", CORPUS])]
    floats = rows[rows["precision"] == "float32"]
    questions = {
        "mrl": (last, _minus("mrl", (*RIVALS[1:], "pivot-untrained"))),
        "mipic": (last, _minus("mipic", RIVALS)),
        "lower": (last, _minus(LOWER, ("mipic", *RIVALS))),
        "paper": (last, AS_PAPER),
        "components": (last, PARTS),
        "halves": (last, HALVES),
        "balanced": (last, BALANCED),
        "pivot": (last, _minus("pivot", ("mrl", "mipic", "mipic-no-attention", *RIVALS[1:], "pivot-untrained"))),
        "rest": (last, REST),
        "supervised": (
            supervised,
            {
                **_minus("mipic", RIVALS),
                **_minus("mrl", RIVALS[1:]),
                **_minus("pivot", ("mrl", "mipic", *RIVALS[1:], "pivot-untrained")),
            },
        ),
        "supervised_components": (supervised, PARTS),
        "shallow": (
            shallow,
            {
                **_minus("mipic", RIVALS),
                **_minus("mrl", (*RIVALS[1:], "pivot-untrained")),
                **_minus("pivot", ("mrl", "mipic", "mipic-no-sia", *RIVALS[1:], "pivot-untrained")),
            },
        ),
        "shallow_components": (shallow, PARTS),
        "shallow_exit": (
            alone,
            {
                f"`{name}` at layer 3 of six, minus `{other}` on three": (name, f"{other} alone")
                for name in EXITS
                for other in dict.fromkeys(("mrl", name))
            },
        ),
    }
    return {
        "narrow": narrow(last),
        "supervised_narrow": narrow(supervised),
        "shallow_narrow": narrow(shallow),
        **{name: brief(part, pairs) for name, (part, pairs) in questions.items()},
        **{f"{name}_widths": against(part, pairs) for name, (part, pairs) in questions.items()},
        "layers": by_layer(floats, {**PARTS, **HALVES}),
        "balanced_layers": by_layer(floats, BALANCED),
        "tasks": by_task(
            {CORPUS: last, SUPERVISED: supervised},
            {**_minus("pivot", ["mrl"]), **_minus("pivot-untrained", ["pretrained"])},
        ),
        "unseen": by_kind_of_task(
            {BACKBONE: last, SHALLOW: shallow}, _minus("pivot", ("mrl", "mipic", "pca", "pretrained"))
        ),
        "exits": exits(floats),
        "precision": by_precision(
            rows[rows["layer"] == LAST[BACKBONE]], {**_minus("pivot", ["mrl"]), **_minus("mipic", ["mrl"])}
        ),
        "seeds": needed(last),
    }


def deepest(rows: pd.DataFrame, corpus: str, backbone: str = BACKBONE) -> pd.DataFrame:
    """Return the float32 rows of the last layer, of methods trained on a corpus or not at all."""
    kept = (rows["backbone"] == backbone) & (rows["layer"] == LAST[backbone]) & (rows["precision"] == "float32")
    return rows[kept & rows["corpus"].isin(["", corpus])]


def early_exit(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the whole backbone read where the shallow one ends, and those of the shallow one as "… alone"."""
    rows = rows[rows["corpus"].isin(["", CORPUS]) & (rows["precision"] == "float32")]
    rows = rows[(rows["layer"] == LAST[SHALLOW]) & rows["backbone"].isin([BACKBONE, SHALLOW])]
    alone = rows["backbone"] == SHALLOW
    return rows.assign(method=rows["method"].where(~alone, rows["method"] + " alone"), backbone=BACKBONE)


def terms(view: View) -> str:
    """Return what share of the loss each of MIPIC's terms has at the first and the last logged step."""
    lines = []
    for method in ("mipic", "mipic-no-pic", "mipic-no-sia", "mipic-mean-soft", "mipic-balanced"):
        found = history(view, method, BACKBONE, CORPUS)
        for step in (found["step"].min(), found["step"].max()):
            at = found[found["step"] == step].set_index("term")["share"]
            told = [f"{100 * at[name]:.0f} %" if name in at else "" for name in ("mrl", "attention", "cka", "chain")]
            lines.append([f"`{method}`", str(step), *told])
    return _markdown(["method", "step", "MRL", "SIA: attention", "SIA: CKA", "PIC: chain"], lines)


def narrow(last: pd.DataFrame) -> str:
    """Return each method's mean over dims 8 to 64, per family and over them, best first; then its full width."""
    parts = {"8 to 64": scores(mean_over_dims(last, NARROW)), str(FULL): scores(last[last["dim"] == FULL])}
    families = [*_families(last), FAMILY_MEAN]
    first = parts["8 to 64"]
    order = first[first["family"] == FAMILY_MEAN].sort_values("mean", ascending=False)["method"]
    head = ["method", *families, f"{FAMILY_MEAN}, {FULL} dims", "seeds"]
    lines = []
    for method in order:
        own = first[first["method"] == method].set_index("family")
        full = parts[str(FULL)].set_index(["method", "family"]).loc[(method, FAMILY_MEAN)]
        cells = [_score(own.loc[family]) for family in families]
        trained = last.loc[last["method"] == method, "seed"].astype(str).ne("").any()
        seeds = str(own.loc[FAMILY_MEAN, "seeds"]) if trained else "no training"
        lines.append([f"`{method}`", *cells, _score(full), seeds])
    return _markdown(head, lines)


def brief(last: pd.DataFrame, pairs: Pairs) -> str:
    """Return a line per difference of two methods: each family on the mean over the narrow widths, then full width."""
    families = [*_families(last), FAMILY_MEAN]
    lines = []
    for label, (left, right) in pairs.items():
        own = last[last["method"].isin([left, right])]
        found, full = (differences(part, right) for part in (mean_over_dims(own, NARROW), own[own["dim"] == FULL]))
        cells = [*(_difference(found, family) for family in families), _difference(full, FAMILY_MEAN)]
        if any(cells):
            lines.append([label, *cells])
    return _markdown(["difference", *families, f"{FAMILY_MEAN}, {FULL} dims"], lines)


def against(last: pd.DataFrame, pairs: Pairs) -> str:
    """Return differences of two methods: per family, at some widths and on the mean over the narrow ones."""
    places = {f"{dim} dims": last[last["dim"] == dim] for dim in SHOWN}
    return _difference_table({**places, "mean of 8 to 64": mean_over_dims(last, NARROW)}, pairs)


def by_layer(floats: pd.DataFrame, pairs: Pairs) -> str:
    """Return differences of two methods at every layer, on the mean over the narrow widths."""
    part = mean_over_dims(floats, NARROW)
    return _difference_table(
        {f"layer {layer}": part[part["layer"] == layer] for layer in sorted(part["layer"].unique())}, pairs
    )


def by_task(corpora: Mapping[str, pd.DataFrame], pairs: Pairs) -> str:
    """Return differences of two methods task by task, on the mean over the narrow widths, a column per corpus."""
    parts = {name: mean_over_dims(rows, NARROW) for name, rows in corpora.items()}
    one = next(iter(parts.values()))
    lines = []
    for label, (left, right) in pairs.items():
        for family in _families(one):
            for task in sorted(one.loc[one["family"] == family, "task"].unique()):
                cells = []
                for part in parts.values():
                    own = part[(part["task"] == task) & part["method"].isin([left, right])]
                    cells.append(_difference(differences(own, right), family))
                lines.append([label, family, task, *cells])
    return _markdown(["difference", "family", "task", *parts], lines)


def by_kind_of_task(backbones: Mapping[str, pd.DataFrame], pairs: Pairs) -> str:
    """Return differences on the mean over the narrow widths: over tasks that a method or its corpus knows, and over the others.

    Retrieval is left out: its two tasks are of the others both times, so a mean over families would not be of the same ones.
    """
    lines = []
    for backbone, rows in backbones.items():
        for label, (left, right) in pairs.items():
            part = mean_over_dims(rows[rows["method"].isin([left, right]) & rows["family"].isin(TUNED)], NARROW)
            there = [part["task"].isin(tasks) for tasks in (DESIGNED_ON, IN_CORPUS)]
            found = [differences(part[kept], right) for known in there for kept in (known, ~known)]
            for family in [*_families(part), FAMILY_MEAN]:
                lines.append([f"`{backbone}`", label, family, *(_difference(one, family) for one in found)])
    head = ["designed on", "not designed on", "training text in the corpus", "none in the corpus"]
    return _markdown(["backbone", "difference", "family", *head], lines)


def exits(floats: pd.DataFrame) -> str:
    """Return the mean over families at full width, method by layer."""
    found = scores(floats[floats["dim"] == FULL])
    found = found[found["family"] == FAMILY_MEAN]
    layers = sorted(found["layer"].unique())
    cells = found.set_index(["method", "layer"])
    best = found[found["layer"] == LAST[BACKBONE]].sort_values("mean", ascending=False)["method"]
    lines = [[f"`{method}`", *(_score(cells.loc[(method, layer)]) for layer in layers)] for method in best]
    return _markdown(["method", *(f"layer {layer}" for layer in layers)], lines)


def by_precision(last: pd.DataFrame, pairs: Pairs) -> str:
    """Return differences of two methods in each precision, on the mean over the narrow widths.

    Over the tasks that have all three: int8 takes its limits from a training or dev split, which STS13 to STS15 lack.
    """
    names = ("float32", "int8", "binary")
    there = [set(last.loc[last["precision"] == name, "task"]) for name in names]
    part = mean_over_dims(last[last["task"].isin(set.intersection(*there))], NARROW)
    return _difference_table({name: part[part["precision"] == name] for name in names}, pairs)


def needed(last: pd.DataFrame, points: float = 0.5) -> str:
    """Return how many seeds show a difference of half a point: from the spread of the paired differences from MRL.

    Pivot is left out, which shares MRL's training, and so are methods that train no encoder, those with fewer than five
    seeds, and what was trained in the paper's setting.
    """
    found = differences(last, "mrl")
    other = found["note"].str.contains("has no training") | found["method"].str.endswith(PAPER)
    found = found[(found["seeds"] >= 5) & ~other & ~found["method"].isin(["pivot", *FROZEN])]
    lines = []
    for family in [*_families(last), FAMILY_MEAN]:
        for dim in (*NARROW, FULL):
            spread = found[(found["family"] == family) & (found["dim"] == dim)].set_index("method")["sd"]
            cells = [str(len(spread))]
            for sd in (spread.median(), spread.max()) if len(spread) else ():
                cells += [f"{100 * sd:.2f}", str(seeds_needed(points / 100, sd))]
            lines.append([family, str(dim), *cells, *([f"`{spread.idxmax()}`"] if len(spread) else ())])
    head = ["family", "dim", "methods", "s.d. of the difference, median", "seeds", "s.d., largest", "seeds", "whose"]
    return _markdown(head, lines)


def tuning(rows: pd.DataFrame, backbone: str, dims: Sequence[int]) -> str:
    """Return the mean over families and widths on dev at the last layer, method by learning rate; the best in bold.

    Args:
        rows: of `results/study/tuning`; the name of a trained method ends in its rate.
        backbone: of the rows that are read.
        dims: the widths of the mean.
    """
    rows = rows[(rows["backbone"] == backbone) & (rows["layer"] == LAST[backbone]) & (rows["precision"] == "float32")]
    found = scores(mean_over_dims(rows, dims), metrics=TUNED, split="dev")
    found = found[found["family"] == FAMILY_MEAN]
    named = found["method"].str.partition("-learning_rate=")
    cells = found.assign(method=named[0], rate=named[2]).pivot(index="method", columns="rate", values="mean") * 100
    rates = sorted(cells.columns, key=lambda rate: float(rate or "inf"))  # untrained methods, which have none, last
    lines = []
    for name, line in cells[rates].iterrows():
        several = line.count() > 1
        told = [
            "" if np.isnan(cell) else f"**{cell:.2f}**" if several and cell == line.max() else f"{cell:.2f}"
            for cell in line
        ]
        lines.append([f"`{name}`", *told])
    head = (f"{float(rate):.0e}".replace("e-0", "e-") if rate else "no training" for rate in rates)
    return _markdown(["method", *head], lines)


def _minus(method: str, rivals: Sequence[str]) -> Pairs:
    return {f"`{method}` minus `{rival}`": (method, rival) for rival in rivals}


def _families(rows: pd.DataFrame) -> list[str]:
    there = set(rows["family"])
    return [family for family in FAMILIES if family in there]


def _difference_table(places: Mapping[str, pd.DataFrame], pairs: Pairs) -> str:
    """Return a line per pair and family, a column per place."""
    lines = []
    for label, (left, right) in pairs.items():
        found = [differences(part[part["method"].isin([left, right])], right) for part in places.values()]
        for family in [*_families(next(iter(places.values()))), FAMILY_MEAN]:
            cells = [_difference(one, family) for one in found]
            if any(cells):
                lines.append([label, family, *cells])
    return _markdown(["difference", "family", *places], lines)


def _score(line: pd.Series) -> str:
    reach = (line["high"] - line["low"]) / 2
    return f"{100 * line['mean']:.1f}" + (f" ± {100 * reach:.1f}" if np.isfinite(reach) else "")


def _difference(found: pd.DataFrame, family: str) -> str:
    line = found[found["family"] == family]
    if line.empty or not np.isfinite(line.iloc[0]["difference"]):
        return ""
    low, mid, high = (_signed(100 * line.iloc[0][name]) for name in ("low", "difference", "high"))
    return f"{mid} [{low}, {high}]" if np.isfinite(line.iloc[0]["low"]) else mid


def _signed(value: float) -> str:
    """Return a number with its sign, which tells on which side of zero the end of an interval lies that is rounded to it."""
    return f"{value:+.1f}".replace("-", "−") if value else "0.0"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *lines))


def made() -> dict[str, str]:
    """Return every table by name, from the packed rows; runs that are not packed yet are no part of it."""
    rows, provenance = _packed(FOLDER)
    apart = pd.concat([rows, _packed(FOLDER / "single-dim")[0]])
    price = against(deepest(apart, CORPUS), {**_minus("mrl", ["single-dim"]), **_minus("pivot", ["single-dim"])})
    told = {**tables(rows), "terms": terms(View(rows, provenance)), "price": price}
    tuned = _packed(FOLDER / "tuning")[0]
    every = sorted(tuned["dim"].unique())
    return {
        **told,
        "tuning": tuning(tuned, BACKBONE, every),
        "tuning_narrow": tuning(tuned, BACKBONE, NARROW),
        "shallow_tuning": tuning(tuned, SHALLOW, every),
    }


def _packed(folder: Path) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    runs, problems = packed.read_all(folder)
    raise_all(problems)
    return pd.concat([run.rows for run in runs.values()], ignore_index=True), {
        name: dict(run.provenance) for name, run in runs.items()
    }


def marked(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and content of every marked table of a page."""
    yield from re.findall(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->", text, flags=re.DOTALL)


def main() -> None:
    """Print the tables, or write them into the pages."""
    found = made()
    if "--write" not in sys.argv[1:]:
        print("\n".join(f"{name}\n\n{table}" for name, table in found.items()))
        return
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name, old in marked(text):
            text = text.replace(f"<!-- {name} -->\n{old}<!--", f"<!-- {name} -->\n{found[name]}<!--")
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
