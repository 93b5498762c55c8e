"""The wheel and the sdist hold what is needed, and the installed wheel works outside the checkout."""

import os
import subprocess
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[1]
if not (ROOT / "mipic_bench").is_dir():
    pytest.skip("needs the checkout", allow_module_level=True)


def call(*words, cwd=None, check=True):
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "MIPIC_BENCH"))}
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, cwd=cwd, env=clean, check=False
    )
    assert not check or done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a fresh wheel and sdist."""
    place = tmp_path_factory.mktemp("build")
    venv.create(place / "venv", with_pip=True)
    python = place / "venv" / "bin" / "python"
    got = call(python, "-m", "pip", "install", "-q", "hatchling", check=False)
    if got.returncode:
        pytest.skip("hatchling cannot be installed: no package index")
    call(python, "-m", "hatchling", "build", "-d", place / "dist", cwd=ROOT)
    return place / "dist"


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """A fresh environment with the wheel, and the packages of this one behind it."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place / "venv", with_pip=True)
    [wheel] = built.glob("*.whl")
    call(place / "venv" / "bin" / "python", "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel)
    packages = next((place / "venv" / "lib").glob("python*")) / "site-packages"
    # entries of a .pth file are not searched for .pth files: the checkout, installed here as editable, stays unseen
    (packages / "shared.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    (place / "work").mkdir()
    return place


def test_the_wheel_holds_the_data(built):
    [wheel] = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, kinds in (("methods", ("*.toml", "*.md")), ("baselines", ("*.csv", "*.md"))):
        for kind in kinds:
            for path in (ROOT / folder).glob(kind):
                assert f"mipic_bench/_data/{folder}/{path.name}" in names
    for path in (ROOT / "mipic_bench").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.relative_to(ROOT).as_posix() in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [
        name for name in names if name.startswith(("tests/", "results/", "reports/", ".")) or name.endswith(".pyc")
    ]


def test_the_sdist_holds_what_the_tests_need(built):
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = ("README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "constraints.txt", "pyproject.toml")
    assert set(wanted) <= names
    for folder in ("mipic_bench", "methods", "baselines", "tests"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".toml", ".csv", ".html", ".css", ".js", ".md"):
                assert path.relative_to(ROOT).as_posix() in names


def test_the_installed_wheel_works_elsewhere(installed):
    work, binaries = installed / "work", installed / "venv" / "bin"
    where = call(binaries / "python", "-c", "import mipic_bench; print(mipic_bench.__file__)", cwd=work).stdout
    assert str(installed) in where
    methods = call(binaries / "mipic-bench", "list", "methods", cwd=work).stdout
    assert "mipic-no-pic" in methods
    assert "chain" in call(binaries / "mipic-bench", "show", "mipic", cwd=work).stdout
    assert "all well" in call(binaries / "mipic-bench", "check", cwd=work).stdout
    run = ("run", "-m", "mipic", "--backbone", "tiny", "--max-steps", "2", "--task", "toy-sts", "--layers", "2")
    assert "sts · mipic" in call(binaries / "mipic-bench", *run, "--keep-checkpoints", cwd=work).stdout
    call(binaries / "mipic-bench", "report", "--out", "page", cwd=work)
    assert (work / "page" / "index.html").is_file()
    call(binaries / "mipic-bench", "compare", "--out", "c.csv", cwd=work)
    call(binaries / "mipic-bench", "export", "mipic", "--layer", "2", "--dim", "8", "--out", "cut", cwd=work)
    loads = "from sentence_transformers import SentenceTransformer as S; print(S('cut').encode(['a', 'b']).shape)"
    assert call(binaries / "python", "-c", loads, cwd=work).stdout.strip() == "(2, 8)"
