"""What every recipe promises: it resolves everywhere, says what it is, trains on every kind of corpus, and is proven."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import methods_table  # noqa: E402
from training import on_tiny, one_thread, train  # noqa: E402

from mipic_bench.backbones.sources import ENTRIES  # noqa: E402
from mipic_bench.commands import listing  # noqa: E402
from mipic_bench.paths import shipped  # noqa: E402
from mipic_bench.recipes.methods import catalog  # noqa: E402
from mipic_bench.recipes.recipe import read, variants  # noqa: E402
from mipic_bench.recipes.resolved import resolve  # noqa: E402
from mipic_bench.shapes import Shape, default_chain, default_dims  # noqa: E402

FILES = sorted(shipped("methods").glob("*.toml"))
CATALOG = catalog()
NAMED = {
    name: recipe for name, recipe in CATALOG.items() if "=" not in name
}  # swept values are one method with other numbers
SHAPES = sorted(
    {entry.shape for entry in ENTRIES.values()} | {Shape(2, 32)}, key=lambda shape: (shape.width, shape.depth)
)
ROOT = Path(__file__).parents[2]
DEMANDED = {"head_rate_factor"}  # training settings that a method itself may demand


def test_the_methods_of_the_field_are_there():
    assert {
        *("pretrained", "full", "single-dim", "pca", "random-projection", "random-dims", "mrl", "2d-mrl", "2d-mrl-st"),
        *("2d-mrl-st-linear", "starbucks", "ese", "espresso", "mipic", "mipic-notebook", "sdr-mrl", "smec"),
        "matryoshka-adaptor",
    } <= {path.stem for path in FILES}


def test_the_grid_of_ablations_is_there():
    asked = "no-sia no-pic no-attention no-cka mean soft mean-soft forward-kl detach no-lift all-tokens fixed-k last-layer as-published"
    assert {f"mipic-{name}" for name in asked.split()} <= set(CATALOG)
    assert {f"mipic-alpha={number / 10}" for number in range(1, 10) if number != 4} <= set(CATALOG)
    assert CATALOG["mipic"].body["alpha"] == 0.4
    published = {name.removesuffix("-as-published") for name in CATALOG if name.endswith("-as-published")}
    assert {"mipic", "mipic-notebook", "2d-mrl", "2d-mrl-st", "starbucks", "ese", "espresso"} <= published


def test_no_two_methods_share_a_name_or_a_title():
    every = [recipe for path in FILES for recipe in variants(path)]
    assert len({recipe.method for recipe in every}) == len(every) == len(CATALOG)
    titles = [recipe.raw["title"] for recipe in NAMED.values()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_says_what_it_is(path):
    file = read(path)
    assert file.title and file.source and file.about.strip()
    assert len(methods_table.first_sentence(file.about)) < 130, "its first sentence is a line of the README's table"
    assert all(raw.get("title") for raw in file.ablations.values()), "an ablation has a title of its own"
    assert set(file.training) <= DEMANDED, (
        "training settings are the common default: others belong to an ablation as-published"
    )
    assert set(file.backbones) <= set(ENTRIES)


@pytest.mark.parametrize("name", CATALOG)
def test_it_resolves_on_every_shape_and_named_backbone(name):
    recipe = CATALOG[name]
    for shape in SHAPES:
        resolved = resolve(recipe, shape, "")
        assert resolved.trains == recipe.trains or resolved.posthoc is not None or not recipe.body.get("terms")
        assert all(0 <= layer <= shape.depth for layer in resolved.layers)
        assert resolve(recipe, shape, "").identity() == resolved.identity()
    for backbone in recipe.backbones:
        resolve(recipe, ENTRIES[backbone].shape, backbone)


@pytest.mark.parametrize("name", [name for name, recipe in CATALOG.items() if recipe.ablation])
def test_an_ablation_changes_what_decides_the_numbers(name):
    recipe, shape = CATALOG[name], Shape(12, 768)
    assert resolve(recipe, shape, "").identity() != resolve(CATALOG[recipe.base_method], shape, "").identity()


def test_no_two_methods_are_the_same_numbers():
    shape, seen = Shape(12, 768), {}
    for name, recipe in CATALOG.items():
        resolved = resolve(recipe, shape, "")
        other = seen.setdefault(repr((resolved.trains, resolved.identity())), name)
        assert other == name, f"{name} and {other} are one method"


def test_published_sizes_and_chains_are_those_of_the_sources():
    starbucks = resolve(CATALOG["starbucks"], Shape(12, 768), "bert-base").terms["sizes"]
    assert starbucks == resolve(CATALOG["starbucks"], Shape(12, 768), "").terms["sizes"], (
        "the rule gives the published sizes"
    )
    assert starbucks.sizes == ((32, 2), (64, 4), (128, 6), (256, 8), (512, 10), (768, 12))
    lengths = {"tinybert": (6, 5), "bert-base": (7, 6), "bge-m3": (7, 6), "qwen3-embedding-0_6b": (7, 6)}
    for backbone, (layers, links) in lengths.items():
        mipic = resolve(CATALOG["mipic"], ENTRIES[backbone].shape, backbone)
        assert len(mipic.terms["attention"].layer_set) == layers  # 36 SIA terms on TinyBERT, 42 elsewhere
        assert len(mipic.terms["chain"].chain) == links + 1
        assert mipic.terms["mrl"].weight == (0.4 if backbone in ("tinybert", "bert-base") else 0.5)
    assert default_chain(6, default_dims(384)) == resolve(CATALOG["mipic"], Shape(6, 384), "").terms["chain"].chain


@pytest.mark.parametrize("name", NAMED)
def test_show_describes_it(name):
    listing.described([name], "minilm", [])


@pytest.mark.parametrize("name", [name for name, recipe in NAMED.items() if not recipe.ablation and recipe.trains])
def test_it_trains_on_pairs_triplets_and_scored_pairs(name):
    resolved = on_tiny(NAMED[name], max_steps=2)
    for kind in ("pairs", "triplets", "scored"):
        _, history = train(next(iter(resolved.per_dim.values()), resolved), kind)
        assert history.steps == 2 and all(math.isfinite(entry["loss"]) for entry in history.entries)


@pytest.mark.parametrize("name", [name for name, recipe in NAMED.items() if recipe.fits])
def test_a_transform_fits_and_serves_every_width(name):
    resolved = resolve(NAMED[name], Shape(4, 64), "")
    quick = {"iterations": 3} if "iterations" in type(resolved.posthoc).model_fields else {}
    vectors = np.random.default_rng(0).standard_normal((80, 64)).astype(np.float32)
    with one_thread():
        fitted = resolved.posthoc.model_copy(update=quick).fit(vectors, resolved.nesting.dims, 0)
    assert all(fitted.at(vectors, dim).shape == (80, dim) for dim in (2, 5, 8, 64))


@pytest.mark.parametrize("name", [recipe.method for recipe in NAMED.values() if not recipe.ablation])
def test_its_proof_is_there(name):
    resolved = resolve(CATALOG[name], listing.REFERENCE_SHAPE, "")
    missing = [path for path in methods_table.proofs(resolved) if not list(ROOT.glob(path))]
    assert not missing


def test_the_readmes_table_is_the_generated_one():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    head, start, rest = text.partition("<!-- methods -->\n")
    block, end, _ = rest.partition("<!-- /methods -->")
    if not (start and end and block.strip()):
        pytest.skip("the README has no table of methods yet")
    assert block == methods_table.table()
