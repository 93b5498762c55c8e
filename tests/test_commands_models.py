"""The commands about one model, and what every command shares: study files, JSON for scripts, trackers."""

import json
import os
import sys

import pandas as pd
import pytest
from task_files import write_sts

import mipic_bench as mb
from mipic_bench.cli import main
from mipic_bench.commands import config
from mipic_bench.planning import asking
from mipic_bench.results import commit
from mipic_bench.training import accelerating

FAST = ("--backbone", "tiny", "--task", "toy-sts", "--dims", "8,64", "--layers", "2", "--dtype", "float32")


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    """Return a function that runs a command line and gives its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["mipic-bench", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capfd.readouterr()
        return ended.value.code or 0, written.out, written.err

    return run


def test_run_export_evaluate_profile_report(command, tmp_path):
    code, out, err = command("run", "-m", "mrl", *FAST, "--max-steps", 2, "--keep-checkpoints")
    assert code == 0, err
    code, out, err = command("export", "mrl--tiny", "--layer", 2, "--dim", 8, "--out", "exported")
    assert (code, out) == (0, 'exported: load it with SentenceTransformer("exported")\n')
    code, out, err = command("evaluate", "exported", "--name", "cut", "--task", "toy-sts", "--json", "-q")
    assert (code, err) == (0, "")
    rows = pd.DataFrame(json.loads(out))
    assert set(rows["backbone"]) == {"cut"}
    assert rows["layer"].max() == 2
    assert rows["dim"].max() == 8
    code, out, err = command("evaluate", "exported", "--name", "cut", "--task", "toy-sts")
    assert code == 0 and "Dense" not in err  # it does no more than cut
    code, out, err = command("evaluate", "mrl--tiny--toy", "--task", "toy-pair", "--dims", 8, "--layers", 2)
    assert code == 0, err
    assert "its weights were kept" in err.replace("\n", " ")
    assert "pair · mrl" in out
    code, out, err = command("profile", "--backbone", "tiny", "--index-size", 500, "--dims", "8,64", "-q")
    assert code == 0, err
    assert "MFLOPs per text" in out
    assert "500 random vectors" in out
    code, out, err = command("report", "--out", "report")
    assert code == 0, err
    assert (tmp_path / "report" / "index.html").is_file()


def test_published_numbers_stand_in_a_report_that_is_given_them(command, tmp_path):
    for seed in (0, 1):
        assert (
            command("run", "-m", "pretrained,mrl", *FAST, "--max-steps", 1, "--seeds", seed, "--verify", "-q")[0] == 0
        )
    fields = "source,locator,family,task,split,metric,method,backbone,layer,dim,value"
    (tmp_path / "theirs.csv").write_text(f"{fields}\nx,Table 1,sts,toy-sts,test,spearman,theirs,tiny,2,8,0.5\n")
    code, _, err = command("report", "--out", "report", "--baselines", "theirs.csv", "--highlight", "mrl")
    assert code == 0, err
    words = (tmp_path / "report" / "report.md").read_text()
    assert "## Published" in words and "theirs" in words and "figures/published--tiny--toy.png" in words
    (tmp_path / "theirs.csv").write_text(f"{fields}\nx,Table 1,sts,toy-sts,test,spearman,theirs,tiny,last,8,0.5\n")
    assert command("report", "--out", "report", "--baselines", "theirs.csv")[0] == 0
    words = (tmp_path / "report" / "report.md").read_text()  # layer 2 of 4 is not the last
    assert "figures/published--tiny--toy.png" not in words
    code, _, err = command("report", "--out", "other", "--results", "nothing")
    assert code == 2 and "holds no finished run" in err
    code, _, err = command("compare", "--out", "c.csv", "--results", "nothing")
    assert code == 2 and "holds no finished run" in err and not (tmp_path / "c.csv").exists()


def test_a_study_file_gives_the_options(command, tmp_path):
    study = {
        "method": '["pretrained", "mrl"]',
        "backbone": '"tiny"',
        "seeds": "[0, 1]",
        "task": '"toy-sts"',
        "dims": "[8, 64]",
        "layers": "2",
        "max_steps": "2",
        "keep-checkpoints": "true",
        "results": '"mine"',
        "corpus": f'"{tmp_path / "words" / "mine.csv"}"',
    }
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "mine.csv").write_text("text\n" + "\n".join(f"word {n}" for n in range(8)))
    (tmp_path / "study.toml").write_text("\n".join(f"{key} = {value}" for key, value in study.items()))
    code, out, err = command("run", "--config", "study.toml", "--dims", "16", "--json", "-q")
    assert code == 0, err
    rows = pd.DataFrame(json.loads(out))
    assert set(rows["dim"]) == {16}  # the command line stands above the file
    assert set(zip(rows["method"], rows["seed"], strict=True)) == {("pretrained", ""), ("mrl", "0"), ("mrl", "1")}
    assert len(list((tmp_path / "mine" / "checkpoints").iterdir())) == 2
    [record] = (tmp_path / "mine" / "runs").glob("pretrained*.json")
    kept = json.loads(record.read_text())["study"]
    assert kept["seeds"] == [0, 1]
    assert (
        "results" not in kept and kept["corpus"] == "mine.csv"
    )  # where things are on this machine is nobody's business
    code, out, err = command("plan", "--config", "study.toml", "--json")
    assert [cell["status"] for cell in json.loads(out)] == ["pending"] * 3


def test_of_paths_in_a_study_file_the_last_part_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    said = {
        "corpus": f"{tmp_path}/a.csv,toy",
        "method": ["./mine/x.toml", "mrl"],
        "backbone": "org/model",
        "task": ",".join(["stsb"] * 100),  # longer than any file name may be
        "epochs": 3,
    }
    (tmp_path / "study.toml").write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in said.items()))
    told = {**said, "corpus": "a.csv,toy", "method": ["x.toml", "mrl"]}
    assert config.copied(tmp_path / "study.toml") == told


def test_paths_at_home_are_found_whoever_wrote_them(command, tmp_path, monkeypatch):
    """No shell expands the `~` of a study file, of quoted words, or of Python."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_sts(tmp_path / "home" / "d" / "mine" / "test.csv", [0, 2, 5])
    words = tmp_path / "home" / "words.csv"
    words.write_text("text\n" + "\n".join(f"word {n}" for n in range(8)))
    recipe = 'title = "Mine"\nsource = "ours"\n[terms.mrl]\nterm = "nested_info_nce"\n'
    (tmp_path / "home" / "own.toml").write_text(recipe)
    study = {
        "method": "~/own.toml",
        "results": "~/there",
        "data": "~/d",
        "task": ["mine", "~/d/mine"],
        "corpus": "~/words.csv",
    }
    (tmp_path / "home" / "study.toml").write_text(
        "\n".join(f"{key} = {json.dumps(value)}" for key, value in study.items())
    )
    asked = ("--backbone", "tiny", "--dims", 8, "--layers", 2, "--max-steps", 1, "--quiet")
    code, _, err = command("run", "--config=~/study.toml", *asked)
    assert code == 0, err
    assert command("report", "--results=~/there", "--out=~/report", "--baselines=~/ther?")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert (tmp_path / "home" / "report" / "index.html").is_file()
    assert set(mb.load_results("~/there")["task"]) == {"mine"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("metod = 'mrl'", "unknown key 'metod'"),
        ("method = ", "cannot be read as TOML"),
        ("[method]\nname = 'mrl'", "method: is {'name': 'mrl'}"),
        ("metod = 'mrl'\nsedes = 3", "unknown key 'sedes'"),
    ],
)
def test_mistakes_in_a_study_file(command, tmp_path, text, words):
    (tmp_path / "study.toml").write_text(text)
    code, out, err = command("run", "--config", "study.toml")
    assert (code, out) == (2, "")
    assert words in err
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


def test_lists_for_scripts(command):
    for kind in ("methods", "backbones", "tasks", "suites", "corpora", "terms", "baselines"):
        code, out, _ = command("list", kind, "--json")
        assert code == 0
        assert json.loads(out)
    code, out, err = command("run", "-m", "pretrained", *FAST, "-q")
    code, out, err = command("compare", "--out", "c.csv", "--json")
    assert (code, json.loads(out)) == (0, [])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("evaluate", "tinny"), "did you mean tiny"),
        (("evaluate", "n" * 300), "unknown backbone 'nnn"),  # longer than any file name may be
        (("run", "-m", "pretrained", "--backbone", "n" * 300), "unknown backbone 'nnn"),
        (("evaluate", "tiny", "--task", "n" * 300), "unknown task 'nnn"),
        (("evaluate", "tiny", "--data", ".", "--task", "n" * 300), "unknown task 'nnn"),
        (("run", "-m", "mrl", "--backbone", "tiny", "--corpus", "n" * 300), "unknown corpus 'nnn"),
        (("show", "mipic", "--backbone", "0x0"), "unknown backbone '0x0'"),
        (("show", "mipic", "--backbone", "²x8"), "unknown backbone '²x8'"),
        (("list", "corpora", "--data", "nothing"), "no such folder"),
        (("evaluate", "./nothing"), "there is no folder"),
        (("evaluate", "mrl--tiny--toy--s0"), "unknown run"),
        (("evaluate", "tiny", "--prompt", "query"), "no prompt of that name"),
        (("evaluate", "tiny", "--dims", "8,x"), "'x' is not a whole number"),
        (("profile", "--backbone", "tiny", "--layers", "9"), "9 is not within 1..4"),
        (("export", "mrl", "--layer", "1", "--dim", "1", "--out", "out"), "unknown run"),
        (("run", "-m", "mrl", "--backbone", "tiny", "--track", "tensorbord"), "did you mean tensorboard"),
    ],
)
def test_slips_end_with_code_2_and_nothing_written(command, tmp_path, words, told):
    code, out, err = command(*words)
    assert (code, out) == (2, "")
    assert told in err.replace("\n", " ")
    assert "Traceback" not in err
    assert not any(tmp_path.iterdir())


def test_completion_is_offered(command):
    code, out, _ = command("--help")
    assert code == 0
    assert "--install-completion" in out


class Tracker:
    """What a tracker of accelerate is asked to do, written down."""

    made: list = []
    requires_logging_directory = False
    name = "fake"

    def __init__(self, project, **options):
        self.project, self.options, self.settings, self.steps, self.ended = project, options, {}, [], False
        Tracker.made.append(self)

    def start(self):
        pass

    def store_init_configuration(self, values):
        self.settings = values

    def log(self, values, step=None, **_):
        self.steps.append((step, values))

    def finish(self):
        self.ended = True


def test_trainings_log_to_trackers(command, monkeypatch):
    from accelerate import tracking

    Tracker.made.clear()
    monkeypatch.setattr(asking, "check_trackers", lambda names: None)
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "fake", Tracker)
    code, _, err = command("run", "-m", "mipic", *FAST, "--max-steps", 3, "--track", "fake")
    assert code == 0, err
    [tracker] = Tracker.made
    assert tracker.ended
    assert tracker.settings["cell/method"] == "mipic"
    assert tracker.settings["training/learning_rate"] == 2e-5
    assert all(isinstance(value, bool | int | float | str) for value in tracker.settings.values())
    assert [step for step, _ in tracker.steps] == [1, 2, 3]
    assert {"loss", "lr", "terms/mrl", "terms/attention", "terms/cka", "terms/chain"} <= set(tracker.steps[0][1])


def test_trackers_that_are_not_installed_are_told(command):
    import importlib.util

    missing = [name for name in accelerating.TRACKERS if importlib.util.find_spec(name) is None]
    if not missing:
        pytest.skip("all are installed")
    code, _, err = command("run", "-m", "mrl", *FAST, "--track", missing[0])
    assert code == 2
    assert f"{missing[0]} is not installed" in err


def sts_folder(place):
    place.mkdir(parents=True)
    lines = ["a cat,a dog,1", "a man runs,a man is running,4.5", "sun,moon,2", "red car,blue car,3"]
    (place / "test.csv").write_text("sentence1,sentence2,score\n" + "\n".join(lines) + "\n")


def test_a_data_folder_without_tasks_is_refused_before_anything_is_trained(command, tmp_path):
    sts_folder(tmp_path / "data" / "odd")
    (tmp_path / "data" / "notes").mkdir()
    code, out, err = command("evaluate", "tiny", "--data", "data/odd")
    assert (code, out) == (2, "") and "it is a task itself: give the folder above it, and --task odd" in err
    code, _, err = command("run", "-m", "mrl", "--backbone", "tiny", "--data", "data/notes")
    assert code == 2 and "no folder in it is a task" in err and not (tmp_path / "results").exists()
    code, out, _ = command("check", "--data", "data")
    assert code == 0 and "tasks 1" in out and "neither a task nor a corpus: notes (holds nothing)" in out


def test_a_precision_that_a_task_cannot_have_is_told_and_an_empty_run_can_be_reported(command, tmp_path):
    sts_folder(tmp_path / "data" / "odd")
    code, out, err = command("evaluate", "tiny", "--data", "data", "--precision", "int8")
    assert code == 0 and "odd: no text outside the scored rows to take int8 limits from" in err
    assert out == "no rows: nothing could be scored at what was asked for\n"
    code, _, err = command("report", "--out", "report")
    assert code == 0, err
    code, _, err = command("evaluate", "tiny", "--data", "data", "--precision", "float32,binary+rescore")
    assert "odd: binary+rescore is a way of searching, so sts has no such rows" in err


def test_scores_that_are_undefined_are_told(command, tmp_path):
    sts_folder(tmp_path / "data" / "odd")
    (tmp_path / "data" / "equal").mkdir()
    (tmp_path / "data" / "equal" / "test.csv").write_text("sentence1,sentence2,score\na,b,1\na,b,2\na,b,3\n")
    asked = ("--data", "data", "--dims", "8,16", "--layers", "1,4")
    for more in ((), ("--json",)):
        code, _, err = command("evaluate", "tiny", *asked, *more)
        assert code == 0 and err.count("undefined at") == 1
        assert "task equal: spearman is undefined at 4 of 4 budgets (zero or non-finite vectors, or scores" in err
    with pytest.warns(UserWarning, match="task equal: spearman is undefined at 1 of 1 budget "):
        mb.evaluate("tiny", data="data", dims=[8], layers=[1])


def test_plots_that_the_disk_does_not_take_are_told_and_cost_no_row(command, tmp_path, monkeypatch):
    replace = os.replace

    def full(source, place):
        if str(place).endswith(".png"):
            raise OSError(28, "No space left on device")
        replace(source, place)

    monkeypatch.setattr(commit.os, "replace", full)
    code, out, err = command("run", "-m", "pretrained", *FAST)
    assert code == 0 and "1 cell: 1 done" in err and "rows: results/runs" in out
    assert "note: not every plot was drawn: results/figures/" in err and "No space left on device" in err
    assert not list((tmp_path / "results" / "figures").iterdir())


def test_without_float32_the_tables_are_of_what_there_is(command):
    code, out, _ = command("evaluate", "tiny", "--task", "toy-pair", "--dims", "16", "--precision", "binary")
    assert code == 0 and "pair · pretrained · tiny, without training · binary" in " ".join(out.split())


def test_the_tables_are_of_what_was_asked_for_alone(command, tmp_path):
    for name in ("one", "two"):
        sts_folder(tmp_path / "data" / name)
    (tmp_path / "data" / "two" / "test.csv").write_text("sentence1,sentence2,score\na,b,1\nb,b,5\nc d,c,3\n")
    first = command("evaluate", "tiny", "--data", "data", "--task", "two", "--results", "fresh")[1]
    command("evaluate", "tiny", "--data", "data", "--task", "one")
    second = command("evaluate", "tiny", "--data", "data", "--task", "two")[1]
    assert "mean of 1 task" in second
    assert second.replace("results", "fresh") == first


def test_costs_of_several_backbones_are_one_json(command, tmp_path, monkeypatch):
    import mipic_bench.models.profiling as profiling

    frames = {
        name: pd.DataFrame([{"backbone": name, "layer": 1, "dim": 8, "precision": "float32"}])
        for name in ("tiny", "minilm")
    }
    monkeypatch.setattr(profiling, "profile", lambda name, *_: frames[name])
    monkeypatch.setattr("mipic_bench.models.costs.write", lambda frame, results: (results, ""))
    code, out, err = command("profile", "--backbone", "tiny,minilm", "--json", "-q")
    assert (code, err) == (0, "") and [line["backbone"] for line in json.loads(out)] == ["tiny", "minilm"]
