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

# from the ground up; a part imports from its own level and from those below it, at its top and inside its functions
LEVELS = (
    "errors families paths registry settings shapes states",
    "results data objectives",
    "posthoc stats tasks backbones",
    "recipes corpora encoding",
    "evaluators training",
    "analysis adapter official",
    "planning figures",
    "running reporting",
    "models",
    "api commands",
    "cli",
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names.split()}


def part_of(module):
    return module.split(".")[1]


def module_of(path):
    names = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


MODULES = {module_of(path): path for path in SOURCES}
INSIDE = [module for module in MODULES if module != "mipic_bench"]


@cache
def imports(module, later=True):
    """Return the modules of the package that a module imports: when it is imported itself, and with `later` at any time."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree) if later else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = ".".join([package] * bool(node.level) + [node.module] * bool(node.module))
            names = {f"{source}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else source for name in names}
    return (found & set(MODULES)) - {module}


@pytest.mark.parametrize("module", INSIDE)
def test_imports_point_one_way(module):
    own = part_of(module)
    above = {name for name in map(part_of, imports(module)) if LEVEL[name] > LEVEL[own]}
    assert not above, f"{own} imports {', '.join(sorted(above))} from above"


def test_every_part_has_one_level_and_one_place_in_the_readme():
    parts = sorted(set(map(part_of, INSIDE)))
    assert sorted(name for names in LEVELS for name in names.split()) == parts
    if not (ROOT / "README.md").is_file():
        pytest.skip("needs the checkout")
    house = re.search(r"## The house\n\n```\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = house[1].partition("mipic_bench/\n")[2].splitlines()
    drawn = [name for line in lines for name in re.findall(r"(\w+)(?:\.py|/)", re.split(r"   +", line.strip())[0])]
    assert sorted(drawn) == parts


def test_every_path_of_the_package_that_a_page_names_is_there():
    if not (ROOT / "README.md").is_file():
        pytest.skip("needs the checkout")
    pages = [*ROOT.glob("*.md"), *ROOT.glob(".github/*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("tests/*/README.md")]
    named = {name for page in pages for name in re.findall(r"mipic_bench/[\w/]+(?:\.py)?", page.read_text("utf-8"))}
    assert len(named) > 5
    assert [name for name in sorted(named) if not (ROOT / name).exists() and "_data" not in name] == []


def test_no_two_parts_need_each_other():
    needs = {}
    for module in INSIDE:
        needs.setdefault(part_of(module), set()).update(set(map(part_of, imports(module))) - {part_of(module)})
    assert not in_circles(needs)


def test_no_two_modules_need_each_other_to_be_imported():
    assert not in_circles({module: imports(module, later=False) for module in INSIDE})


def in_circles(needs):
    """Return what cannot come after all that it needs."""
    while free := {part for part, others in needs.items() if not others & set(needs)}:
        needs = {part: others for part, others in needs.items() if part not in free}
    return sorted(needs)


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
    "analysis.tables",
    "analysis.compare",
    "figures",
    "reporting",
    "recipes.methods",
    "results.merge",
    "commands.listing",
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
