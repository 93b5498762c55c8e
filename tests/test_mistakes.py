"""Whatever a user gets wrong: exit code 2, told where, what and what to do, no traceback, nothing written."""

import re

import pytest
from command_line import caller
from hypothesis import HealthCheck, given, settings
from mistakes import MISTAKES
from small_sweeps import request, swept, write_data


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, one finished run, and a file in the way."""
    place = tmp_path_factory.mktemp("outside") / "inside" / "place"
    place.mkdir(parents=True)
    write_data(place / "data")
    assert swept(request(place, results=place / "finished")).exit_code == 0
    (place / "file.txt").write_text("in the way")
    return place


def everything(place):
    """Return path -> content of all files around a place."""
    return {path: path.read_bytes() for path in sorted(place.parents[1].rglob("*")) if path.is_file()}


def told(answer):
    """Say whether a mistake was told in three parts, by us or, for an option's form, by the parser of options."""
    ours = re.search(r"^\S.*: .+\n +\S", answer.err, re.MULTILINE)
    parser = all(sign in answer.err for sign in ("Usage:", "Try '", "Error"))
    return bool(ours) or parser


@pytest.fixture
def call(capsys, monkeypatch, place):
    monkeypatch.chdir(place)
    return caller(capsys, monkeypatch)


def judge(call, place, mistake):
    verb, (words, files) = mistake
    before = everything(place)
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    common = (
        "--method=mrl",
        "--backbone=tiny",
        "--corpus=pairs",
        "--task=likeness",
        "--data=data",
        "--results=new",
        "--offline",
    )
    asked = [option for option in common if option.split("=")[0] not in {word.split("=")[0] for word in words}]
    try:
        answer = call(*([verb, *asked, *words] if verb else words))
    finally:
        for name in files:
            (place / name).unlink()
            if name.startswith("data/"):
                (place / name).parent.rmdir()
    assert (answer.code, "Traceback" in answer.err) == (2, False), answer
    assert told(answer), answer
    assert everything(place) == before
    assert not (place / "new").exists()


# the fixtures hold nothing that an example could change: `judge` checks just that
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=200, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(mistake=MISTAKES)
def test_a_mistake_is_told_and_nothing_is_written(call, place, mistake):
    judge(call, place, mistake)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=2000, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(mistake=MISTAKES)
def test_many_mistakes_are_told_and_nothing_is_written(call, place, mistake):
    judge(call, place, mistake)
