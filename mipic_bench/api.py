"""The commands as functions: `import mipic_bench as mb`, then `mb.run(...)`. Rows come back as a pandas DataFrame.

Every function takes what its command takes, but for the funnels of `evaluate`, and raises `mipic_bench.errors.UserError`
where that would exit with code 2.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from mipic_bench.analysis.tables import Table
from mipic_bench.errors import UserError
from mipic_bench.paths import expanded
from mipic_bench.planning.parsing import words
from mipic_bench.running.outcome import FailedCellsError, swept

Names = str | Sequence[str]
Folder = str | Path

__all__ = [
    "FailedCellsError",
    "Tables",
    "compare",
    "evaluate",
    "export",
    "load_results",
    "profile",
    "report",
    "run",
    "tables",
]


class Tables(list[Table]):
    """Tables that a notebook shows as tables and `print` as Markdown."""

    def _repr_markdown_(self) -> str:
        return "\n".join(table.markdown() for table in self)

    def __str__(self) -> str:
        return self._repr_markdown_()


def run(
    methods: Names,
    *,
    backbone: Names = "minilm",
    corpus: Names = "toy",
    tasks: Names = (),
    suite: Names = (),
    data: Folder | None = None,
    seeds: int | Iterable[int] = 0,
    results: Folder = "results",
    quiet: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Train methods and score them at every (layer, dim) budget; a finished run is not run again.

    Args:
        methods: names ("mipic", "mipic-no-pic", "mipic-alpha=0.5"), globs ("mipic*") or TOML files.
        backbone: names, hub ids or folders.
        corpus: names or files to train on.
        tasks: names or folders; without tasks and suite every task of `data`, else the toy suite.
        suite: named lists of tasks.
        data: a folder of local datasets.
        seeds: one or several.
        results: the folder of runs, made if it is not there.
        quiet: whether progress is kept from stderr.
        options: as the command line has them: split, protocol, exclude_leaked, dims, layers, precisions, changes (as --set takes
            them), epochs, max_steps, batch_size, max_length, learning_rate (one, or method -> rate), dtype, device, jobs, cluster, retry,
            offline, verify, diagnostics, keep_checkpoints, keep_vectors, checkpoint_every, track.

    Returns:
        The rows of what was asked for, columns `mipic_bench.results.rows.COLUMNS`.

    Raises:
        UserError: a mistake in what is asked for; nothing is run then.
        FailedCellsError: some cells failed.
        KeyboardInterrupt: stopped by the user; the same call goes on where it stopped.

    Example:
        >>> import mipic_bench as mb
        >>> rows = mb.run(["pretrained", "mrl"], backbone="tiny", tasks="toy-sts", dims=[8, 64], layers=[2, 4], max_steps=2)
        >>> rows.groupby("method").size().to_dict()
        {'mrl': 8, 'pretrained': 8}
        >>> best = rows[rows["metric"] == "spearman"].nlargest(1, "value")
        >>> sorted(best.columns[-4:])
        ['metric', 'n', 'stderr', 'value']
    """
    from mipic_bench.planning.asking import RUNNING, ask, check_seeds, sorted_options
    from mipic_bench.planning.plan import plan
    from mipic_bench.planning.request import Inputs

    request = ask(
        words(methods),
        backbones=words(backbone),
        corpora=words(corpus),
        named=words(tasks),
        suites=words(suite),
        data=None if data is None else expanded(data),
        seeds=check_seeds(seeds),
        results=expanded(results),
        **sorted_options(options, RUNNING, signature(run).parameters),
    )
    inputs = Inputs(request)
    return swept(plan(request, inputs), request, inputs, quiet)


def evaluate(
    model: Any,
    *,
    name: str | None = None,
    prompt: str | None = None,
    query_prompt: str | None = None,
    pooling: str | None = None,
    tasks: Names = (),
    suite: Names = (),
    data: Folder | None = None,
    results: Folder = "results",
    quiet: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Score a model at every (layer, dim) budget, without training it.

    Args:
        model: a hub id, a folder, a name of `mipic-bench list backbones`, a run of `results` that kept its weights, or a
            `SentenceTransformer` in memory.
        name: what the model is called in rows; a model in memory needs one.
        prompt: what stands before every text: a name in the model's own table of prompts, or the text itself.
        query_prompt: the same, before the queries of retrieval tasks; "" for none there where other texts have one.
        pooling: "cls", "mean" or "last"; the model's own if None.
        tasks: names or folders; without tasks and suite every task of `data`, else the toy suite.
        suite: named lists of tasks.
        data: a folder of local datasets.
        results: the folder of runs.
        quiet: whether progress is kept from stderr.
        options: split, protocol, dims, layers, precisions, max_length, dtype, device, offline, verify, keep_vectors.

    Returns:
        The rows of what was asked for.

    Raises:
        UserError: nothing of that name; a run whose weights were not kept; no name for a model in memory.
        FailedCellsError: a task could not be scored.

    Example:
        >>> import mipic_bench as mb
        >>> rows = mb.evaluate("tiny", tasks=["toy-pair"], dims=[16], layers=[1, 4])
        >>> rows.loc[rows["metric"] == "ap", ["layer", "dim"]].values.tolist()
        [[1, 16], [4, 16]]
    """
    from mipic_bench.models.evaluating import evaluation, model_notes, saved
    from mipic_bench.planning.asking import SCORING, sorted_options

    asked = {
        "named": words(tasks),
        "suites": words(suite),
        "data": None if data is None else expanded(data),
        "results": expanded(results),
        **sorted_options(options, SCORING, signature(evaluate).parameters),
    }
    about = {"name": name, "prompt": prompt, "query_prompt": query_prompt, "pooling": pooling}
    with TemporaryDirectory() as scratch:
        if not isinstance(model, str | Path):
            model = saved(model, name, Path(scratch))
        request, inputs, cells = evaluation(str(model), **about, **asked)
        for note in model_notes(request, inputs, cells):
            warnings.warn(note, stacklevel=2)
        return swept(cells, request, inputs, quiet)


def load_results(results: Folder = "results") -> pd.DataFrame:
    """Return the rows of every finished run of a folder; broken runs are left out with a warning each.

    Raises:
        UserError: there is no such folder.

    Example:
        >>> import mipic_bench as mb
        >>> rows = mb.run("pretrained", backbone="tiny", tasks="toy-sts", dims=[8], layers=[1])
        >>> len(mb.load_results("results")) >= len(rows)
        True
    """
    from mipic_bench.results.folder import read, warned

    if not expanded(results).is_dir():
        raise UserError("results", f"there is no folder {results}", "name the folder that --results named")
    store = warned(read(expanded(results)))
    rows = store.rows()
    created = {run: str(record.get("created", "")) for run, record in store.provenance().items()}
    rows.attrs["created"] = created  # `tables` shows the newer of two runs of a cell
    return rows


def tables(rows: pd.DataFrame) -> Tables:
    """Return the layer x dim table of every family and method among some rows; a notebook shows them as tables.

    Example:
        >>> import mipic_bench as mb
        >>> shown = mb.tables(mb.evaluate("tiny", tasks="toy-sts", dims=[8, 16], layers=[1]))
        >>> print(shown[0].title)
        sts · pretrained · tiny, without training
    """
    from mipic_bench.analysis.quality import View
    from mipic_bench.analysis.tables import budget_tables

    view = View(rows)
    for note in view.notes:  # of two runs of a cell, which one was left out
        warnings.warn(note, stacklevel=2)
    return Tables(budget_tables(view))


def report(
    results: Folder = "results",
    out: Folder = "reports/report",
    *,
    reference: str | None = None,
    highlight: str | None = None,
    baselines: Names = (),
) -> Path:
    """Write the ablation report of a results folder, and return the path of its page.

    Args:
        results: the folder of runs; costs measured by `profile` there are shown too.
        out: the folder of the report.
        reference: the method that differences are taken from.
        highlight: the method that stands out.
        baselines: CSV files or globs of published numbers to show beside ours.

    Raises:
        UserError: no finished run, or a method that was not scored.
    """
    from mipic_bench.analysis import baselines as published
    from mipic_bench.models import costs
    from mipic_bench.reporting import build
    from mipic_bench.results.folder import read_finished, warned

    folder = expanded(results)
    store = warned(read_finished(folder))
    return build(
        store.rows(),
        store.provenance(),
        expanded(out),
        reference=reference,
        highlight=highlight,
        baselines=published.load(words(baselines)) if baselines else None,
        profile=costs.read(folder),
    )


def compare(
    results: Folder = "results",
    baselines: Names = (),
    *,
    tasks: Names = (),
    dims: Iterable[int] = (),
    backbone_map: Mapping[str, str] | None = None,
    only_comparable: bool = False,
) -> pd.DataFrame:
    """Return our rows beside published ones, each pair marked comparable or with the reason why not.

    Args:
        results: the folder of runs.
        baselines: CSV files or globs; the shipped ones if there are none.
        tasks: only these.
        dims: only these.
        backbone_map: ours -> theirs.
        only_comparable: leave out what differs in setting.

    Returns:
        One row per pair; `attrs["notes"]` holds sentences about it.

    Raises:
        UserError: no finished run; a task, dim or backbone that is not in our rows.

    Example:
        >>> import mipic_bench as mb
        >>> rows = mb.run("pretrained", backbone="tiny", tasks="toy-sts", dims=[8], layers=[1])
        >>> len(mb.compare("results"))  # nobody published numbers on toy data
        0
    """
    from mipic_bench.analysis import baselines as published
    from mipic_bench.analysis.compare import compare as join
    from mipic_bench.results.folder import read_finished, warned

    store = warned(read_finished(expanded(results)))
    return join(
        store.rows(),
        published.load(words(baselines)) if baselines else published.load(),
        store.provenance(),
        tasks=words(tasks),
        dims=tuple(dims),
        backbone_map=dict(backbone_map or {}),
        only_comparable=only_comparable,
    )


def export(
    run: str,
    layer: int,
    dim: int,
    out: Folder,
    *,
    backbone: str | None = None,
    data: Folder | None = None,
    offline: bool = False,
    results: Folder = "results",
) -> Path:
    """Write one budget of a run as a folder that `SentenceTransformer(out)` loads, with a model card.

    Args:
        run: its name, or the beginning of exactly one.
        layer: blocks to keep, 1..depth.
        dim: width to keep, 1..width.
        out: the folder to write; it must not be there, or be empty.
        backbone: where the weights of a run without training are, if they came from a local folder.
        data: a folder of local corpora, where a post-hoc transform that was not kept is fitted again.
        offline: never ask the hub.
        results: the folder of runs.

    Returns:
        The folder.

    Raises:
        UserError: no such run or budget, weights that were not kept, or a folder that holds something.

    Example:
        >>> import mipic_bench as mb
        >>> rows = mb.run("pretrained", backbone="tiny", tasks="toy-sts", dims=[8], layers=[1])
        >>> print(mb.export(rows["run"].iloc[0], layer=2, dim=16, out="exported"))
        exported
    """
    from mipic_bench.models.export import export as write

    place = None if data is None else expanded(data)
    return write(expanded(results), run, layer, dim, expanded(out), backbone=backbone, data=place, offline=offline)


def profile(
    backbone: str = "minilm",
    *,
    layers: Iterable[int] | None = None,
    dims: Iterable[int] | None = None,
    precisions: Names = ("float32", "int8", "binary", "binary+rescore"),
    index_size: int = 100_000,
    corpus: str = "toy",
    data: Folder | None = None,
    max_length: int = 256,
    dtype: str = "float32",
    device: str = "auto",
    offline: bool = False,
    results: Folder = "results",
) -> pd.DataFrame:
    """Measure what every budget of a backbone costs here: bytes, FLOPs, encoding, searching. Reports then show it.

    Args:
        backbone: a name, hub id or folder.
        layers: None for all.
        dims: None for the backbone's default widths.
        precisions: how vectors are stored.
        index_size: vectors in the index that is searched.
        corpus: whose first texts are encoded.
        data: a folder of local corpora.
        max_length: tokens kept of a text.
        dtype: arithmetic of encoding; "auto" is bfloat16 where the hardware has it.
        device: where texts are encoded; "auto" is a CUDA card if there is one.
        offline: never ask the hub.
        results: the folder of runs, into which the costs are written.

    Returns:
        A row per budget, columns as in results/README.md.

    Raises:
        UserError: no such backbone, budget or corpus.

    Example:
        >>> import mipic_bench as mb
        >>> costs = mb.profile("tiny", layers=(1,), dims=(16,), precisions=("float32", "binary"), index_size=1000)
        >>> costs[["precision", "bytes"]].values.tolist()
        [['float32', 64], ['binary', 2]]
    """
    from mipic_bench.models import costs
    from mipic_bench.models.profiling import Settings
    from mipic_bench.models.profiling import profile as measure

    settings = Settings(
        layers=None if layers is None else tuple(layers),
        dims=None if dims is None else tuple(dims),
        precisions=tuple(words(precisions)) or Settings.precisions,
        index_size=index_size,
        corpus=corpus,
        data=None if data is None else expanded(data),
        max_length=max_length,
        device=device,
        dtype=dtype,
        offline=offline,
    )
    found = measure(backbone, settings)
    _, replaced = costs.write(found, expanded(results))
    if replaced:
        warnings.warn(f"{backbone}: {replaced}", stacklevel=2)
    return found
