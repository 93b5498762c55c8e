"""Recipes: overlays and their order, what decides the key, one model per width, transforms, and bad ones told in three parts."""

from pathlib import Path

import pytest
from command_line import caller

from mipic_bench.commands import listing
from mipic_bench.errors import UserError, UserErrors
from mipic_bench.recipes.methods import catalog, find
from mipic_bench.recipes.recipe import Recipe, read, variants
from mipic_bench.recipes.resolved import resolve
from mipic_bench.recipes.schema import Training
from mipic_bench.shapes import Shape

SHAPE = Shape(4, 64)
GOOD = """
title = "Mine"
source = "ours"
about = "Mine."
alpha = 0.4

[terms.mrl]
term = "nested_info_nce"
weight = "alpha"

[terms.chain]
term = "chain_info_nce"
weight = "1 - alpha"

[training]
epochs = 2

[backbones.bert-base]
alpha = 0.5
terms.chain.reduction = "mean"

[ablations.no-chain]
title = "Mine without a chain"
terms.chain.weight = 0

[sweeps]
alpha = [0.2, 1]
"terms.chain.temperature" = [0.1]
"""


def write(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def mine(tmp_path) -> dict[str, Recipe]:
    return {recipe.method: recipe for recipe in variants(write(tmp_path, GOOD))}


def test_a_file_is_a_recipe_its_ablations_and_its_swept_values(mine):
    assert list(mine) == ["mine", "mine-no-chain", "mine-alpha=0.2", "mine-alpha=1", "mine-chain.temperature=0.1"]
    assert [recipe.ablation for recipe in mine.values()] == [
        "",
        "no-chain",
        "alpha=0.2",
        "alpha=1",
        "chain.temperature=0.1",
    ]
    assert {recipe.base_method for recipe in mine.values()} == {"mine"}


def test_overlays_apply_in_order_backbone_ablation_command_line_set(mine):
    def weight(recipe, backbone=""):
        return resolve(recipe, SHAPE, backbone).terms["mrl"].weight

    assert (weight(mine["mine"]), weight(mine["mine"], "bert-base")) == (0.4, 0.5)
    assert weight(mine["mine-alpha=0.2"], "bert-base") == 0.2
    assert weight(mine["mine-alpha=0.2"].set("alpha", 0.3), "bert-base") == 0.3
    assert resolve(mine["mine"], SHAPE, "bert-base").terms["chain"].reduction == "mean"
    assert resolve(mine["mine"], SHAPE, "").training.epochs == 2
    assert resolve(mine["mine"].set("training.epochs", 3), SHAPE, "").training.epochs == 3
    assert resolve(mine["mine"], SHAPE, "", {"epochs": 7}).training.epochs == 7
    named = mine["mine"].set("training.epochs", 3)  # "mine-epochs=3" says what was trained, whatever a study file says
    assert resolve(named, SHAPE, "", {"epochs": 7, "batch_size": 8}).training.epochs == 3


def test_pairs_listed_for_a_backbone_are_of_its_own_widths():
    """With other widths, and in ablations of the chain, the chain that stands there is the one that is changed."""
    shape, backbone = Shape(12, 768), "bert-base"
    of = {
        name: resolve(catalog()[name], shape, backbone)
        for name in ("mipic", "mipic-chain-short", "mipic-chain-fixed-dim")
    }
    whole = of["mipic"].terms["chain"].chain
    assert of["mipic-chain-short"].terms["chain"].chain == (whole[0], whole[-1])
    assert of["mipic-chain-fixed-dim"].terms["chain"].chain == tuple((768, layer) for _, layer in whole)
    few = catalog()["mipic"].set("dims", [64, 256, 768])
    found = resolve(few, shape, backbone)
    assert {dim for dim, _ in found.terms["chain"].chain} == {64, 256, 768}
    assert found.terms["attention"].layer_set == of["mipic"].terms["attention"].layer_set
    sizes = resolve(catalog()["starbucks"].set("dims", [64, 256, 768]), shape, backbone).terms["sizes"].sizes
    assert sizes == ((64, 4), (256, 8), (768, 12))


def test_a_weight_of_zero_takes_the_term_away_and_alpha_mixes(mine):
    assert list(resolve(mine["mine-no-chain"], SHAPE, "").terms) == ["mrl"]
    assert list(resolve(mine["mine-alpha=1"], SHAPE, "").terms) == ["mrl"]
    both = resolve(mine["mine"], SHAPE, "").terms
    assert both["mrl"].weight + both["chain"].weight == pytest.approx(1)


def test_a_changed_method_is_named_after_the_change(mine):
    assert mine["mine"].set("terms.chain.weight", 0.5).method == "mine-chain.weight=0.5"
    assert mine["mine-no-chain"].set("dims", [8, 64]).ablation == "no-chain-dims=[8,64]"
    assert mine["mine"].set("training.batch_size", 8).method == "mine-batch_size=8"


def test_what_decides_the_numbers_changes_the_identity_and_words_do_not(tmp_path):
    plain = resolve(next(variants(write(tmp_path, GOOD))), SHAPE, "").identity()
    for old, new, same in [
        ('title = "Mine"', 'title = "Yours"', True),
        ('about = "Mine."', 'about = "Other words."\ndeviations = ["none"]', True),
        ('weight = "alpha"', "weight = 0.4", True),
        ("epochs = 2", "epochs = 2\nbatch_size = 16", True),
        ("epochs = 2", "epochs = 3", False),
        ("alpha = 0.4", "alpha = 0.45", False),
        ("alpha = 0.4", "alpha = 0.4\ntemperature = 0.07", False),
        ("alpha = 0.4", 'alpha = 0.4\ndims = "full"', False),
        ('term = "nested_info_nce"', 'term = "nested_info_nce"\ndirections = "both"', False),
        ("[training]", '[posthoc]\ntransform = "pca"\n\n[training]', False),
        ("alpha = 0.4", 'alpha = 0.4\nprocedure = "per-dim"', False),
    ]:
        assert old in GOOD
        other = resolve(next(variants(write(tmp_path, GOOD.replace(old, new, 1)))), SHAPE, "").identity()
        assert (other == plain) == same, (old, new)


def test_a_raised_version_of_a_part_changes_the_identity(mine, monkeypatch):
    from mipic_bench.objectives import terms

    plain = resolve(mine["mine"], SHAPE, "").identity()
    monkeypatch.setattr(terms()["chain_info_nce"], "version", 99)
    assert resolve(mine["mine"], SHAPE, "").identity() != plain


def test_one_model_per_width():
    resolved = resolve(catalog()["single-dim"], SHAPE, "")
    assert list(resolved.per_dim) == list(resolved.nesting.dims) == [2, 4, 8, 16, 32, 64]
    assert all(one.nesting.dims == (dim,) and not one.per_dim for dim, one in resolved.per_dim.items())
    assert resolved.identity()["procedure"] == "per-dim"


def test_a_transform_stands_alone_or_after_training():
    alone, after = (resolve(catalog()[name], SHAPE, "") for name in ("pca", "full-pca"))
    assert not alone.trains and after.trains
    assert alone.identity()["posthoc"] == after.identity()["posthoc"] | {}
    assert (catalog()["pca"].fits, catalog()["pca"].trains) == (True, False)
    assert (catalog()["full-pca"].fits, catalog()["full-pca"].trains) == (True, True)
    assert not catalog()["mrl"].fits


def test_none_switches_clipping_off():
    assert Training(clip="none").clip is None
    assert resolve(catalog()["mrl-as-published"], SHAPE, "").training.clip is None


BAD = [
    ('title = "Mine"', "", ("mine.toml: title", "is missing", "README")),
    ('title = "Mine"', "title = 3", ("mine.toml: title", "valid string, found 3", "README")),
    ("alpha = 0.4", "alpha = 0.4\nalhpa = 0.4", ("mine.toml", "unknown key 'alhpa'", "did you mean alpha?")),
    ("alpha = 0.4", "alpha = 1.4", ("mine.toml: alpha", "less than or equal to 1, found 1.4", "README")),
    ("alpha = 0.4\n", "", ("mine: terms.mrl.weight", "'alpha' and the recipe has no alpha", "give a number")),
    ('term = "nested_info_nce"', 'term = "nested_infonce"', ("mine: terms.mrl", "unknown term", "nested_info_nce")),
    ('weight = "alpha"', "weight = -1", ("mine: terms.mrl.weight", "greater than or equal to 0, found -1", "README")),
    ('weight = "alpha"', "wieght = 1", ("mine: terms.mrl", "unknown key 'wieght'", "did you mean")),
    ('weight = "alpha"', 'weight = "beta"', ("mine: terms.mrl.weight", "'beta'", '"1 - alpha"')),
    ('weight = "alpha"', "temperature = 0", ("mine: terms.mrl.temperature", "greater than 0, found 0", "README")),
    ('term = "chain_info_nce"', 'term = "topk_cka"\ntemperature = 0.1',
     ("mine: terms.chain.temperature", "is 0.1, and topk_cka reads none", "take it out")),
    ('term = "nested_info_nce"', "term = [1]", ("mine: terms.mrl", "unknown term '[1]'", "nested_info_nce")),
    ('term = "nested_info_nce"', "term = 3", ("mine: terms.mrl", "unknown term '3'", "nested_info_nce")),
    ("[terms.mrl]", '[terms."a.b"]', ("mine: terms.a.b", "'a.b' is no name of a term", "without dots")),
    ("[terms.mrl]", "terms.x = 3\n[terms.mrl]", ("mine: terms.x", "is 3, not a table", "[terms.x]")),
    ("alpha = 0.4", "alpha = 0.4\ndims = [64, 8]", ("mine: dims", "[64, 8] are unsorted or repeated", "write [8, 64]")),
    ("alpha = 0.4", "alpha = 0.4\ndims = [8, 8, 64]", ("mine: dims", "unsorted or repeated", "write [8, 64]")),
    ("alpha = 0.4", "alpha = 0.4\ndims = [8, 128]", ("mine: dims", "width 128 is above the backbone's width 64", "1..64")),
    ("alpha = 0.4", "alpha = 0.4\ndims = []", ("mine: dims", "is [], no width at all", "1..64")),
    ("alpha = 0.4", 'alpha = 0.4\ndims = "all"', ("mine.toml: dims", "'default' or 'full' or a valid tuple, found 'all'", "")),
    ("alpha = 0.4", 'alpha = 0.4\nprocedure = "turns"', ("mine.toml: procedure", "'joint' or 'per-dim', found 'turns'", "")),
    ('term = "chain_info_nce"', 'term = "chain_info_nce"\nchain = [[8, 2], [4, 3]]',
     ("mine: terms.chain.chain", "(4, 3) does not rise above (8, 2)", "from narrow and shallow")),
    ('term = "chain_info_nce"', 'term = "chain_info_nce"\nchain = [[8, 2], [64, 9]]',
     ("mine: terms.chain.chain", "width 64 or layer 9 is above the backbone's 64 or 4", "that the backbone has")),
    ('term = "chain_info_nce"', 'term = "topk_cka"\ngammas = [0.1, 0.2]',
     ("mine: terms.chain.gammas", "2 gammas for 5 truncated widths", "one gamma per truncated width")),
    ('term = "chain_info_nce"', 'term = "topk_cka"\nlayer_set = [2, 9]',
     ("mine: terms.chain.layer_set", "layer 9 is above the backbone's depth 4", "1..4")),
    ('term = "chain_info_nce"', 'term = "attention_kl"\nlayer_set = [3, 2]',
     ("mine: terms.chain.layer_set", "layers [3, 2] are not rising", "rising order")),
    ("epochs = 2", "epochs = 0", ("mine: training.epochs", "greater than or equal to 1, found 0", "README")),
    ("epochs = 2", "epochs = true", ("mine: training.epochs", "should be a valid number, found True", "README")),
    ("epochs = 2", "lora = true", ("mine: training.lora", "should be a valid number, found True", "README")),
    ("epochs = 2", "learning_rate = inf", ("mine: training.learning_rate", "a finite number, found inf", "README")),
    ("epochs = 2", "weight_decay = inf", ("mine: training.weight_decay", "a finite number, found inf", "README")),
    ('weight = "alpha"', "weight = inf", ("mine: terms.mrl.weight", "a finite number, found inf", "README")),
    ('weight = "alpha"', "temperature = inf", ("mine: terms.mrl.temperature", "a finite number, found inf", "README")),
    ('term = "chain_info_nce"', 'term = "attention_kl"\neps = 0',
     ("mine: terms.chain.eps", "greater than 0, found 0", "README")),
    ("epochs = 2", "epoch = 2", ("mine: training", "unknown key 'epoch'", "did you mean epochs?")),
    ("epochs = 2", 'epochs = "two"', ("mine: training.epochs", "found 'two'", "README")),
    ("[training]", '[posthoc]\ntransform = "pac"\n[training]', ("mine: posthoc", "unknown transform 'pac'", "pca")),
    ("[training]", '[posthoc]\ntransform = ["pca"]\n[training]', ("mine: posthoc", "unknown transform '['pca']'", "pca")),
    ("[training]", "[posthoc]\nwhiten = true\n[training]", ("mine: posthoc", "names no transform", "pca")),
    ("[training]", '[posthoc]\ntransform = "pca"\nwhite = true\n[training]', ("mine: posthoc", "'white'", "whiten")),
    ("[training]", "[training", ("mine.toml", "cannot be read as TOML", "README")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "said"), BAD, ids=[new.replace("\n", " ")[-40:] or "empty" for _, new, _ in BAD]
)
def test_a_bad_recipe_is_refused_with_where_what_and_fix(tmp_path, old, new, said):
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        for recipe in variants(path):
            resolve(recipe, SHAPE, "")
    problem = caught.value.problems[0] if isinstance(caught.value, UserErrors) else caught.value
    where, what, fix = said
    assert problem.where == where
    assert what in problem.what
    assert fix in problem.fix and problem.fix


def test_an_alpha_that_no_weight_uses_is_refused(mine):
    with pytest.raises(
        UserError, match=r'mrl-alpha=0.5: alpha: is 0.5, and no term.s weight is "alpha" or "1 - alpha"'
    ):
        resolve(catalog()["mrl"].set("alpha", 0.5), SHAPE, "")
    numbers = mine["mine"].set("terms.mrl.weight", 2).set("terms.chain.weight", 1)  # the file's own alpha may stay
    assert resolve(numbers, SHAPE, "").terms["mrl"].weight == 2


def test_every_problem_is_told_at_once(tmp_path):
    bad = GOOD.replace('weight = "alpha"', "weight = -1").replace('weight = "1 - alpha"', "weihgt = 2")
    with pytest.raises(UserErrors) as caught:
        resolve(next(variants(write(tmp_path, bad))), SHAPE, "")
    assert [problem.where for problem in caught.value.problems] == ["mine: terms.mrl.weight", "mine: terms.chain"]


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"title = '\xff\xfe'")
    with pytest.raises(UserError, match="cannot be read as TOML"):
        read(path)


def test_check_tells_all_bad_recipes_and_where_they_are(tmp_path, monkeypatch):
    write(tmp_path, GOOD.replace("alpha = 0.4", "alpha = 2"), "one.toml")
    write(tmp_path, GOOD.replace("bert-base", "bert-bass"), "two.toml")
    write(tmp_path, GOOD, "three.toml")
    monkeypatch.setattr(listing, "shipped", lambda kind: tmp_path if kind == "methods" else tmp_path / "none")
    with pytest.raises(UserErrors) as caught:
        listing.check_all([], None)
    assert [problem.where for problem in caught.value.problems] == ["one.toml: alpha", "two.toml"]
    assert "bert-base" in caught.value.problems[1].fix


def test_own_recipes_are_shown_with_their_ablations_and_checked(tmp_path, monkeypatch):
    from rich.console import Console

    path = write(tmp_path, GOOD + "\n[ablations.hot]\nalpha = 0.9\n", "mine.toml")
    console = Console(record=True, width=100)
    console.print(listing.described([str(path), "mine-hot"], "minilm", []))
    text = console.export_text()
    assert "mine: " in text and "mine-hot: " in text
    monkeypatch.setattr(listing, "shipped", lambda _: tmp_path / "none")
    assert "recipes 1" in str(listing.check_all([path], None))
    bad = write(tmp_path, GOOD + "\n[ablations.hot]\nalpha = 9\n", "bad.toml")
    with pytest.raises(UserError, match="bad-hot"):
        listing.check_all([path, bad], None)


def test_check_tells_of_a_folder_that_is_a_task_itself(tmp_path):
    task = tmp_path / "reviews"
    task.mkdir()
    (task / "test.csv").write_text("text,label\na,b\nc,d\n")
    with pytest.raises(UserError, match="it is a task itself: give the folder above it, and --task reviews"):
        listing.check_all([], task)


def test_run_refuses_a_bad_recipe_before_anything_is_done(tmp_path):
    from mipic_bench.planning.plan import plan
    from mipic_bench.planning.request import Inputs, Request

    path = write(tmp_path, GOOD.replace("alpha = 0.4", "alpha = 0.4\ndims = [8, 128]"))
    request = Request(methods=tuple(find([str(path)])), backbones=("tiny",), results=tmp_path / "results")
    with pytest.raises(UserError, match="above the backbone's width 64"):
        plan(request, Inputs(request))
    assert not (tmp_path / "results").exists()


def test_every_shipped_recipe_passes_the_check():
    assert "recipes" in str(listing.check_all([], None))


REFUSED = {
    "an unknown term": ('term = "nested_info_nce"', 'term = "nested_infonce"', "unknown term 'nested_infonce'"),
    "an unknown key": ("alpha = 0.4", "alhpa = 0.4", "unknown key 'alhpa'"),
    "an unknown key of a term": ('weight = "alpha"', "wieght = 1", "unknown key 'wieght'"),
    "a wrong type": ('weight = "alpha"', "weight = [1]", "found [1]"),
    "a negative weight": ('weight = "alpha"', "weight = -1", "greater than or equal to 0, found -1"),
    "unsorted dims": ("alpha = 0.4", "alpha = 0.4\ndims = [64, 8]", "[64, 8] are unsorted or repeated"),
    "repeated dims": ("alpha = 0.4", "alpha = 0.4\ndims = [8, 8, 64]", "[8, 8, 64] are unsorted or repeated"),
    "a chain that does not rise": (
        "chain_info_nce",
        'chain_info_nce"\nchain = [[8, 2], [4, 3]]#',
        "does not rise above",
    ),
    "gammas of a wrong length": ("chain_info_nce", 'topk_cka"\ngammas = [0.1, 0.2]#', "2 gammas for"),
    "a layer out of range": ("chain_info_nce", 'topk_cka"\nlayer_set = [2, 99]#', "layer 99 is above"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_check_and_run_refuse_with_where_what_and_fix(mistake, tmp_path, monkeypatch, capsys):
    old, new, what = REFUSED[mistake]
    path = write(tmp_path, GOOD.replace(old, new, 1))
    monkeypatch.setattr(listing, "shipped", lambda kind: tmp_path if kind == "methods" else tmp_path / "none")
    call = caller(capsys, monkeypatch)
    run = ("run", f"--method={path}", "--backbone=tiny", "--task=toy-sts", f"--results={tmp_path / 'results'}")
    for words in (("check",), run):
        answer = call(*words)
        assert (answer.code, answer.out) == (2, "")
        told = answer.err.splitlines()
        [place] = [place for place, line in enumerate(told) if what in line]
        assert told[place].startswith("mine") and ": " in told[place].split(what)[0]
        assert told[place + 1].startswith("  ") and told[place + 1].strip()
        assert "Traceback" not in answer.err and not (tmp_path / "results").exists()


@pytest.mark.parametrize(("alpha", "kept"), [(0, "1 - alpha"), (1, "alpha")])
def test_a_term_that_alpha_takes_away_trains_nothing(tmp_path, alpha, kept):
    (tmp_path / "mine.toml").write_text(
        f'title = "Mine"\nsource = "ours"\nalpha = {alpha}\n[terms.mrl]\nterm = "nested_info_nce"\nweight = "{kept}"\n'
    )
    gone = "alpha" if kept == "1 - alpha" else "1 - alpha"
    [there], [nothing] = (
        find([str(tmp_path / "mine.toml")], change) for change in ([], [f'terms.mrl.weight = "{gone}"'])
    )
    assert there.trains and resolve(there, SHAPE, "tiny").trains
    assert not nothing.trains and not resolve(nothing, SHAPE, "tiny").trains


def test_recipe_files_have_names_of_their_own(tmp_path):
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        write(tmp_path / place, GOOD.replace("Mine", place))
    with pytest.raises(UserError, match="is called mine, as '.*one.mine.toml' is(?s:.*)rename one of the files"):
        find([str(tmp_path / "one" / "mine.toml"), str(tmp_path / "two" / "mine.toml")])
    own = write(tmp_path, GOOD, "mrl.toml")
    for refused in (lambda: find(["mrl", str(own)]), lambda: listing.check_all([own], None)):
        with pytest.raises(UserError, match="mrl.toml: is called as the shipped method mrl"):
            refused()
    shipped = write(tmp_path, (Path(__file__).parents[1] / "methods" / "mrl.toml").read_text("utf-8"), "mrl.toml")
    assert [recipe.method for recipe in find([str(shipped)])] == ["mrl"]


@pytest.mark.parametrize(
    "text", ["", "# nothing", "terms = {}", "terms.sdr = {}", "posthoc = {}", "dims = [8]\nterms.a = {}"]
)
def test_a_set_that_sets_nothing_is_refused(text):
    with pytest.raises(UserError, match="sets nothing"):
        find(["mrl"], [text])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('posthoc = "pca"', "posthoc: is 'pca', not a table(?s:.*)posthoc.transform = \"pca\""),
        ("terms = 3", "terms: is 3, not a table(?s:.*)terms.mrl.weight = 1"),
        ("training = 3", "training: is 3, not a table(?s:.*)training.epochs = 1"),
        ('posthoc.transform = ["pca"]', "posthoc: unknown transform"),
        ('terms.mrl.term = ["topk_cka"]', "terms.mrl: unknown term"),
    ],
)
def test_a_set_of_the_wrong_kind_is_told_before_anything_is_planned(tmp_path, text, told):
    from mipic_bench.planning.plan import plan
    from mipic_bench.planning.request import Inputs, Request

    request = Request(methods=tuple(find(["mrl"], [text])), backbones=("tiny",), results=tmp_path)
    with pytest.raises(UserError, match=told):
        plan(request, Inputs(request))


@pytest.mark.parametrize("text", ["backbones.tiny.dims = [8]", "ablations.x.dims = [8]", "sweeps.alpha = [0.5]"])
def test_a_set_of_what_only_files_have_is_refused(text):
    with pytest.raises(UserError, match="set the key itself"):
        find(["mrl"], [text])
