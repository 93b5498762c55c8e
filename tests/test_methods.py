"""Finding methods: by name, by glob, by file, by a swept value; and changes put over them."""

import pytest

from mipic_bench.errors import UserError
from mipic_bench.planning.parsing import pieces
from mipic_bench.posthoc import transforms
from mipic_bench.recipes.methods import catalog, find, parse_change
from mipic_bench.recipes.resolved import resolve
from mipic_bench.recipes.schema import Training
from mipic_bench.shapes import Shape


def names(*specs: str, changes: tuple[str, ...] = ()) -> list[str]:
    return [recipe.method for recipe in find(specs, changes)]


def test_names_and_globs_are_found_once_in_order():
    assert names("mrl", "mipic-no-pic", "mrl") == ["mrl", "mipic-no-pic"]
    assert names("random-*") == [name for name in catalog() if name.startswith("random-")]
    assert names("mrl", "mr*")[0] == "mrl" and len(names("mr*")) > 5
    assert "mipic-alpha=0.5" in names("mipic*")


@pytest.mark.parametrize(
    ("name", "term", "key", "value"),
    [
        ("mipic-alpha=0.35", "mrl", "weight", 0.35),
        ("mipic-attention.temperature=0.3", "attention", "temperature", 0.3),
        ("mipic-mean-soft-alpha=0.7", "mrl", "weight", 0.7),
        ("mipic-no-pic-cka.k_min=4", "cka", "k_min", 4),
    ],
)
def test_any_value_of_a_key_is_a_method(name, term, key, value):
    [recipe] = find([name])
    assert recipe.base_method == "mipic"
    assert getattr(resolve(recipe, Shape(6, 384), "").terms[term], key) == value


@pytest.mark.parametrize(
    "change",
    [
        "alpha = 0.3",
        "training.learning_rate = 3e-6",
        "terms.attention.detach = true",
        'terms.mrl.directions = "both"',
        'terms.mrl.directions = "a b, c"',
        'terms.mrl.directions = "3"',
        "dims = [16, 32]",
        "terms.chain.chain = [[16, 2], [32, 4]]",
        'title = ["a", "b]c"]',
    ],
)
def test_a_changed_method_is_found_again_by_its_name(change):
    [changed] = find(["mipic"], [change])
    [twice] = find([changed.method], ["alpha = 0.1"])
    assert pieces([f"mrl,{changed.method}"]) == ["mrl", changed.method] or '"' in changed.method
    for recipe in (changed, twice):
        [again] = find([recipe.method])
        assert (again.method, again.raw) == (recipe.method, recipe.raw)


@pytest.mark.parametrize(
    "name", ["mipic-training={a=1,b=2}", "mipic-alpha=", "mipic-alpha=1 2", "mipic-x=y=z", "mrl=1"]
)
def test_a_name_whose_value_cannot_be_read_is_refused(name):
    with pytest.raises(UserError, match="--method"):
        find([name])


def test_no_name_and_a_pattern_after_an_equals_sign():
    with pytest.raises(UserError, match="no method is named"):
        find([])
    assert find(["mipic-alpha=*"]) == find(["mipic-alpha*"])


def test_values_of_training_and_of_a_transform_too():
    [batch], [warm], [own] = find(["mrl-batch_size=8"]), find(["pivot-posthoc.temperature=0.3"]), find(["smec-k=3"])
    assert resolve(batch, Shape(6, 384), "").training.batch_size == 8
    assert resolve(warm, Shape(6, 384), "").posthoc.temperature == 0.3
    assert resolve(own, Shape(6, 384), "").posthoc.k == 3
    assert (batch.method, warm.method) == ("mrl-batch_size=8", "pivot-posthoc.temperature=0.3")


def settable(recipe):
    """Every dotted key of a recipe, as `--set` takes them."""
    for name in recipe.raw.get("terms", {}):
        yield from (f"terms.{name}.{key}" for key in ("weight", "temperature", "steps"))
    yield from ("temperature", "alpha", "dims", "terms.more.term", "terms.more.weight")
    yield from (f"training.{key}" for key in Training.model_fields)
    yield from ("posthoc.transform", *(f"posthoc.{key}" for one in transforms().values() for key in one.model_fields))


@pytest.mark.parametrize("base", [name for name, recipe in catalog().items() if not recipe.ablation])
def test_a_name_stands_for_one_key_whatever_other_tables_call_theirs(base):
    recipe = catalog()[base]
    changed = {key: recipe.set(key, 3) for key in settable(recipe)}
    assert len({one.method for one in changed.values()}) == len(changed)
    for one in changed.values():
        [again] = find([one.method])
        assert (again.method, again.raw) == (one.method, one.raw)
        [twice] = find([one.set("posthoc.batch_size", 4).method])
        assert twice.raw == one.set("posthoc.batch_size", 4).raw


def test_a_shipped_swept_value_and_the_same_value_asked_for_are_one_method():
    shipped = catalog()["mipic-attention.temperature=0.5"]
    asked = catalog()["mipic"].set("terms.attention.temperature", 0.5)
    assert (shipped.method, shipped.ablation) == (asked.method, asked.ablation)
    assert resolve(shipped, Shape(6, 384), "").identity() == resolve(asked, Shape(6, 384), "").identity()


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('title = "Mine"\nsource = "ours"\n[terms.mrl]\nterm = "nested_info_nce"\n')
    assert names(str(path), "mrl") == ["mine", "mrl"]
    path.write_text(path.read_text() + "[ablations.short]\ndims = [8, 384]\n[sweeps]\nalpha = [0.5]\n")
    assert names(str(path)) == ["mine"]
    assert names(str(path), "mine-*") == ["mine", "mine-short", "mine-alpha=0.5"]
    assert names("mine-short-epochs=2", str(path)) == ["mine-short-epochs=2", "mine"]
    with pytest.raises(UserError, match="no file 'other.toml'"):
        find([str(tmp_path / "other.toml")])


def test_changes_are_toml_and_name_the_method():
    assert names("mrl", "full", changes=("terms.mrl.sampled_dims = 1",)) == [
        "mrl-mrl.sampled_dims=1",
        "full-terms.mrl.sampled_dims=1",  # it has no term of that name
    ]
    assert names("mrl", changes=("dims = [16, 384]", "training.epochs = 1")) == ["mrl-dims=[16,384]-epochs=1"]
    assert parse_change('terms.a = { weight = 0.5, term = "sdr" }') == [
        ("terms.a.weight", 0.5),
        ("terms.a.term", "sdr"),
    ]
    with pytest.raises(UserError, match="is not TOML"):
        find(["mrl"], ["dims = [16"])


@pytest.mark.parametrize(
    ("name", "near"), [("mipik", "mipic"), ("mipic-no-sai", "mipic-no-sia"), ("starbuck", "starbucks")]
)
def test_an_unknown_name_is_told_with_what_is_near(name, near):
    with pytest.raises(UserError) as caught:
        find([name])
    assert near in caught.value.fix


def test_an_unknown_key_of_a_swept_name_is_refused_when_it_is_resolved():
    [recipe] = find(["mipic-tempo=3"])
    with pytest.raises(UserError, match="unknown key 'tempo'"):
        resolve(recipe, Shape(6, 384), "")
