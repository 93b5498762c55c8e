"""The functions that users call from Python: their examples run, their slips are told, importing them costs nothing."""

import doctest
import inspect
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import mipic_bench as mb
from mipic_bench import api
from mipic_bench.models import costs
from mipic_bench.models.evaluating import evaluation
from mipic_bench.results.folder import COLUMNS

FUNCTIONS = [name for name in api.__all__ if inspect.isfunction(getattr(api, name))]
FAST = {"backbone": "tiny", "tasks": "toy-sts", "dims": [8, 64], "layers": [2, 4], "dtype": "float32"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_examples_of_docstrings(name):
    finder = doctest.DocTestFinder(recurse=False)
    [example] = finder.find(getattr(api, name), name, globs={})
    if name != "report":
        assert example.examples
    outcome = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)
    assert outcome.failed == 0


def test_rows_are_those_that_were_asked_for():
    rows = mb.run(["mrl"], seeds=[0, 1], max_steps=2, **FAST)
    assert tuple(rows.columns) == COLUMNS
    assert set(rows["seed"]) == {"0", "1"}
    assert set(zip(rows["layer"], rows["dim"], strict=True)) == {(2, 8), (2, 64), (4, 8), (4, 64)}
    more = mb.run(["mrl"], seeds=[0, 1], max_steps=2, **(FAST | {"dims": [16]}))
    assert set(more["dim"]) == {16}
    everything = mb.load_results()
    assert set(everything["dim"]) == {8, 16, 64}
    again = mb.run(["mrl"], seeds=[0, 1], max_steps=2, **FAST)  # nothing is run: the very same rows
    assert again.equals(rows)


def test_a_run_with_kept_weights_is_scored_at_more_budgets_without_training():
    rows = mb.run("mrl", max_steps=2, keep_checkpoints=True, **FAST)
    [run] = rows["run"].unique()
    more = mb.evaluate(run.rpartition("--")[0], tasks=["toy-sts", "toy-pair"], dims=[32], layers=[1])
    assert set(more["run"]) == {run}
    assert set(more["method"]) == {"mrl"}
    assert set(more["task"]) == {"toy-sts", "toy-pair"}
    assert set(more["dim"]) == {32}
    for other in ({"name": "other"}, {"pooling": "cls"}, {"max_length": 16}, {"dtype": "bfloat16"}):
        with pytest.raises(mb.UserError, match="keeps its name"):
            mb.evaluate(run, **other)


def test_cells_that_cannot_be_trained_are_told():
    asked = {**FAST, "changes": ["terms.mrl.task = 'cosent'"]}
    with pytest.warns(UserWarning, match=r"skipped, .*needs scored pairs"):
        assert mb.run("mrl", max_steps=2, **asked).empty


def test_a_run_of_a_recipe_of_ones_own_is_scored_by_the_folder_of_its_weights(tmp_path):
    (tmp_path / "mine.toml").write_text('title = "Mine"\nsource = "ours"\n[terms.mrl]\nterm = "nested_info_nce"\n')
    asked = {**FAST, "results": tmp_path / "results"}
    rows = mb.run(str(tmp_path / "mine.toml"), max_steps=2, keep_checkpoints=True, **asked)
    [run] = rows["run"].unique()
    with pytest.raises(mb.UserError, match=r"mine\.toml is a file of its own(?s:.*)give the folder of its weights"):
        mb.evaluate(run, results=asked["results"])
    again = mb.evaluate(tmp_path / "results" / "checkpoints" / run, tasks="toy-sts", dims=[8], layers=[2])
    assert len(again)


def test_a_run_without_kept_weights_is_not_trained_again():
    rows = mb.run("mrl", max_steps=2, **FAST)
    with pytest.raises(mb.UserError, match="were not kept"):
        mb.evaluate(rows["run"].iloc[0], tasks="toy-pair")


def test_models_of_all_kinds_give_the_same_numbers():
    from sentence_transformers import SentenceTransformer

    expected = mb.evaluate("tiny", **{**_asked(), "dims": [8, 16]})
    folder = mb.export(expected["run"].iloc[0], 2, 16, "exported")
    cut = mb.evaluate(folder, **{**_asked(), "layers": None, "dims": None})
    assert set(cut["layer"]) == {1, 2}
    assert max(cut["dim"]) == 16  # an exported budget is scored up to its own width
    memory = mb.evaluate(SentenceTransformer(str(folder), device="cpu"), name="mine", **{**_asked(), "dims": [8, 16]})
    assert set(memory["backbone"]) == {"mine"}
    for found in (cut[cut["layer"] == 2], memory):
        values = found.set_index(["dim", "metric"])["value"]
        both = expected.set_index(["dim", "metric"])["value"]
        common = both.index.intersection(values.index)
        assert len(common) >= 4
        np.testing.assert_allclose(values[common], both[common], atol=1e-5)


def _asked():
    return {"tasks": "toy-sts", "layers": [2], "dtype": "float32"}


def test_prompts_change_what_is_read(tmp_path):
    import json

    plain = mb.evaluate("tiny", **_asked())
    folder = mb.export(plain["run"].iloc[0], 4, 64, "exported")
    path = folder / "config_sentence_transformers.json"
    settings = json.loads(path.read_text())
    settings["prompts"] = {"query": "find: ", "document": ""}
    path.write_text(json.dumps(settings))
    named = mb.evaluate(folder, prompt="query", **_asked())
    written = mb.evaluate(folder, prompt="find: ", name="written", **_asked())
    with pytest.warns(UserWarning, match="its own prompts .query. are not added to texts"):
        bare = mb.evaluate(folder, name="bare", **_asked())
    assert named["backbone"].iloc[0].endswith("exported+query")
    np.testing.assert_array_equal(named["value"], written["value"])
    assert not np.allclose(named["value"], bare["value"])
    with pytest.raises(mb.UserError, match="no prompt of that name; it has: query"):
        mb.evaluate(folder, prompt="passage")


def test_queries_may_have_a_prompt_of_their_own():
    asked = {"tasks": "toy-retrieval", "layers": [4], "dims": [64], "dtype": "float32"}
    same = mb.evaluate("tiny", prompt="find: ", **asked)
    both = mb.evaluate("tiny", prompt="find: ", query_prompt="find: ", name="both", **asked)
    queries = mb.evaluate("tiny", query_prompt="find: ", name="queries", **asked)
    np.testing.assert_array_equal(same["value"], both["value"])
    assert not np.allclose(same["value"], queries["value"])
    documents = mb.evaluate("tiny", prompt="find: ", query_prompt="", name="documents", **asked)
    assert not np.allclose(same["value"], documents["value"])


def test_a_prompt_of_the_queries_alone_makes_a_name_of_its_own():
    """Two models of one name would be two runs of a cell, of which reports take the newer."""
    given = [("find: ", None), (None, "find: "), ("find: ", "find: "), ("find: ", "")]
    calls = [evaluation("tiny", prompt=prompt, query_prompt=query, named=["toy-sts"]) for prompt, query in given]
    names = [cell.backbone_name for _, _, [cell] in calls]
    assert len(set(names)) == len(names) and names[1].startswith("tiny+query-prompt-")
    assert [request.prompts.query for request, _, _ in calls] == [None, "find: ", "find: ", ""]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mb.run("mrl", backbone="tiny", dim=[8]), "unknown option 'dim'.*did you mean dims"),
        (lambda: mb.run("mlr", backbone="tiny"), "did you mean mrl"),
        (lambda: mb.run("mrl", backbone="tiny", protocol="clen"), "unknown protocol 'clen'.*did you mean clean"),
        (lambda: mb.run("mrl", backbone="tiny", tasks="toy-stss"), "did you mean toy-sts"),
        (lambda: mb.run("mrl", backbone="tiny", seeds=-1), "-1 is not within 0"),
        (lambda: mb.run("mrl", backbone="tiny", seeds=[]), "seeds: is empty"),
        (lambda: mb.run("mrl", backbone="tiny", dims=np.array([99, 8])), "dim 99 is not within 1..64"),
        (lambda: mb.run("mrl", backbone="tiny", seeds="0-4"), "'0-4' is not a list of whole numbers"),
        (lambda: mb.run("mrl", backbone="tiny", dims=[8.5]), "dims: .*is not a list of whole numbers"),
        (lambda: mb.evaluate("tiny", epochs=3), "unknown option 'epochs'"),
        (lambda: mb.evaluate("tiny", poolin="cls"), "did you mean pooling"),
        (lambda: mb.run("mrl", backbone="tiny", cluster="localhost"), "'localhost' is not dask://HOST:PORT"),
        (lambda: mb.evaluate("tiny", dims=99), "dim 99 is not within 1..64"),
        (lambda: mb.profile("tiny", device="cuda:77"), "'cuda:77' was asked for"),
        (lambda: mb.evaluate("tinny"), "did you mean tiny"),
        (lambda: mb.evaluate(3, name="x"), "a int is no name"),
        (lambda: mb.report("nothing"), "holds no finished run"),
        (lambda: mb.load_results("nothing"), "there is no folder nothing"),
        (lambda: mb.export("mrl", 1, 1, "out"), "unknown run"),
    ],
)
def test_slips_are_told(call, words):
    with pytest.raises(mb.UserError, match=f"(?s){words}"):
        call()


def test_an_option_of_another_function_is_not_proposed():
    with pytest.raises(mb.UserError) as caught:
        mb.evaluate("tiny", seeds=[1])
    assert "seeds" not in caught.value.fix


def test_measured_costs_are_there_for_a_report():
    found = mb.profile("tiny", layers=[1], dims=[8], precisions="binary", index_size=1000)
    assert costs.read(Path("results")).iloc[0]["bytes"] == found["bytes"].iloc[0] == 1


def test_a_precision_that_is_named_twice_is_measured_once():
    found = mb.profile("tiny", layers=[1], dims=[8], precisions=["binary", "int8", "binary"], index_size=10)
    assert list(found["precision"]) == list(costs.read(Path("results"))["precision"]) == ["binary", "int8"]


def test_no_precision_named_means_all():
    asked = {"layers": [1], "dims": [8], "index_size": 10}
    assert set(mb.profile("tiny", precisions=(), **asked)["precision"]) == set(mb.profile("tiny", **asked)["precision"])


def test_a_model_in_memory_needs_a_name():
    class Model:
        tokenizer = None

        def save_pretrained(self, path):
            raise AssertionError

    with pytest.raises(mb.UserError, match="name='mine'"):
        mb.evaluate(Model())


def test_tables_are_shown_by_notebooks():
    shown = mb.tables(mb.evaluate("tiny", **_asked()))
    assert shown._repr_markdown_().startswith("**sts")
    assert "| layer |" in str(shown)


def test_tables_of_a_folder_show_the_newer_of_two_runs_and_say_so():
    for rate in (1e-5, 2e-5):
        mb.run(
            "mrl",
            backbone="tiny",
            tasks="toy-sts",
            dims=[8],
            layers=[1],
            max_steps=1,
            learning_rate=rate,
            results="two",
        )
        time.sleep(1.1)  # when a run was made is told to the second
    rows = mb.load_results("two")
    assert rows["run"].nunique() == len(rows.attrs["created"]) == 2
    older = min(rows.attrs["created"], key=rows.attrs["created"].get)
    with pytest.warns(UserWarning, match=f"{older} is left out: a newer run"):
        mb.tables(rows)


def test_report_is_written():
    mb.run(["pretrained", "mrl"], max_steps=2, **FAST)
    page = mb.report(out="report")
    assert page.name == "index.html"
    assert page.is_file()


def test_no_submodule_hides_a_function_of_the_same_name():
    names = {path.stem for path in Path(mb.__file__).parent.iterdir()}
    assert not names & (set(mb.__all__) - {"api", "objectives"})
    for name in mb.__all__:
        assert callable(getattr(mb, name)) or inspect.ismodule(getattr(mb, name))
    assert set(mb.__all__) <= set(dir(mb))
    assert "methods" in inspect.signature(mb.run).parameters


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, time; start = time.perf_counter(); import mipic_bench; spent = time.perf_counter() - start\n"
    code += "heavy = {'torch', 'pandas', 'numpy', 'transformers', 'matplotlib'} & set(sys.modules)\n"
    code += "assert not heavy, heavy; print(spent)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.2
