"""The rules of the house: imports point one way, torch only where it computes, nothing that runs code when it is read."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import mipic_bench

PACKAGE = Path(mipic_bench.__file__).parent
ROOT = PACKAGE.parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

# from the ground up; a module imports at its top from its own level and from those below it
LEVELS = (
    "errors families paths registry shapes parsing stopping commit memory offline output",
    "states rows packed results recipe schema methods failures locks objectives posthoc checks datafiles changes reproduce selection",
    "backbones tasks corpora evaluators toy toy_words leakage stats provenance progress",
    "official trainer embed batches vocabulary vectors prompts checkpoint tables figures quality baselines compare alike merge"
    " model_card costs",
    "request plan estimate record accelerating views run attempts engines sweep report mapping export asking evaluating funnels"
    " profiling outcome adapter",
    "config options listing commands_run commands_models cli api",
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names.split()}


def module_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def top_imports(path):
    """Return the parts of the package that a file imports when it is imported itself."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in [part for part in tree.body if isinstance(part, (ast.Import, ast.ImportFrom))]:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif node.level:
            folders = ("mipic_bench", *path.relative_to(PACKAGE).parent.parts)
            base = ".".join(folders[: len(folders) - node.level + 1])
            names = [f"{base}.{node.module or alias.name}" for alias in node.names]
        else:
            names = [
                f"{node.module}.{alias.name}" if node.module == "mipic_bench" else node.module for alias in node.names
            ]
        found |= {name.split(".")[1] for name in names if name.startswith("mipic_bench.")}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = module_of(path)
    if own != "__init__":
        above = {name for name in top_imports(path) if LEVEL[name] > LEVEL[own]}
        assert not above, f"{own} imports {', '.join(sorted(above))} from above"


def test_every_part_has_one_level_and_one_place_in_the_readme():
    parts = sorted({module_of(path) for path in SOURCES} - {"__init__"})
    assert sorted(name for names in LEVELS for name in names.split()) == parts
    if not (ROOT / "README.md").is_file():
        pytest.skip("needs the checkout")
    house = re.search(r"## The house\n\n```\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    drawn = re.findall(
        r"(\w+)(?:\.py|/)",
        house[1].partition("mipic_bench/\n")[2].replace("commands_*", "commands_run.py commands_models"),
    )
    assert sorted(drawn) == parts


def test_no_two_parts_need_each_other():
    needs = {}
    for path in SOURCES:
        needs.setdefault(module_of(path), set()).update(top_imports(path) - {module_of(path)})
    while free := {part for part, others in needs.items() if not others & set(needs)}:
        needs = {part: others for part, others in needs.items() if part not in free}
    assert not needs, "each of these needs another one of them: " + ", ".join(sorted(needs))


def test_objectives_never_import_backbones():
    for path in (PACKAGE / "objectives").glob("*.py"):
        assert "backbones" not in path.read_text(encoding="utf-8").replace("[backbones", ""), path.name


def test_the_extras_that_messages_name_exist():
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("needs the checkout")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {name for path in SOURCES for name in re.findall(r"mipic-bench\[(\w+)\]", path.read_text())}
    assert named and named <= set(extras)


LIGHT = (
    "cli",
    "stats",
    "tables",
    "figures",
    "report",
    "recipe",
    "methods",
    "results",
    "merge",
    "compare",
    "listing",
    "objectives",
)


def test_what_only_reads_rows_and_recipes_does_not_load_torch():
    code = f"""
import importlib, sys
for name in {LIGHT}:
    importlib.import_module("mipic_bench." + name)
    if "torch" in sys.modules:
        sys.exit(name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr.strip()} loads torch"


@cache
def code_of(path):
    """Return a file's code: no comments, no docstrings."""
    return ast.unparse(without_docstrings(ast.parse(path.read_text(encoding="utf-8"))))


def without_docstrings(tree):
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0] = ast.Pass()
    return tree


FORBIDDEN = {
    "pickle": r"\bimport (c?[pP]ickle|dill|cloudpickle|shelve|marshal)\b|\bfrom (pickle|dill|cloudpickle|shelve|joblib) import (dump|load)",
    "files of joblib": r"joblib\.(dump|load)\(",
    "NumPy's pickles": r"allow_pickle=True|\.to_pickle\(|read_pickle\(",
    "torch's pickles": r"torch\.(save|load)\((?!.*weights_only=True)",
    "accelerate's pickles": r"\.(save_state|load_state)\(",
    "code that comes with a model": r"trust_remote_code=True",
    "evaluation of text": r"(?<![\w.])(eval|exec)\(",
}
CHECKED = [
    path
    for folder in ("mipic_bench", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path != Path(__file__)
]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_nothing_is_read_or_written_that_can_run_code(what):
    for path in SOURCES if what == "evaluation of text" else CHECKED:
        found = re.search(FORBIDDEN[what], code_of(path))
        assert not found, f"{path.relative_to(ROOT)}: {what}: {found.group(0)}"


GLOBAL = r"np\.random\.(seed|rand\w*|shuffle|choice|permutation)\(|\brandom\.(seed|random|shuffle|choice)\("


def test_no_generator_of_numpy_or_python_is_global():
    for path in SOURCES:
        found = re.search(GLOBAL, code_of(path))
        assert not found, f"{path.name}: {found.group(0)}"
