"""The house rules that a program can hold."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import telnyx_oauth
from telnyx_oauth import errors


def modules(repository: Path) -> list[Path]:
    return sorted((repository / "telnyx_oauth").rglob("*.py"))


def trees(repository: Path) -> list[tuple[str, ast.Module]]:
    root = repository / "telnyx_oauth"
    return [(str(path.relative_to(root)), ast.parse(path.read_text(encoding="utf-8"))) for path in modules(repository)]


def fresh(code: str) -> str:
    """What a new interpreter prints that has seen nothing of this process but where the package is."""
    where = str(Path(telnyx_oauth.__file__).parent.parent)
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": where, "PATH": os.environ["PATH"]},
        check=True,
        capture_output=True,
        text=True,
    )
    assert answer.stderr == ""
    return answer.stdout


# --- what the package offers


def test_each_public_name_is_listed_and_can_be_had():
    assert sorted(telnyx_oauth.__all__) == sorted(set(telnyx_oauth.__all__) & set(dir(telnyx_oauth)))
    assert [name for name in telnyx_oauth.__all__ if not hasattr(telnyx_oauth, name)] == []


def test_type_checkers_see_the_very_names_that_the_program_gets(repository):
    tree = ast.parse((repository / "telnyx_oauth" / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        alias.name: importlib.import_module(f".{node.module or alias.name}", "telnyx_oauth")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }
    assert seen.keys() == set(telnyx_oauth.__all__)
    assert [
        name for name, module in seen.items() if getattr(module, name, module) is not getattr(telnyx_oauth, name)
    ] == []


def test_a_name_that_does_not_exist_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = telnyx_oauth.no_such_name


@pytest.mark.parametrize(
    "name", [module.name for module in pkgutil.walk_packages(telnyx_oauth.__path__, "telnyx_oauth.")]
)
def test_each_module_offers_what_its_all_lists(name):
    if name.endswith("__main__"):
        return
    module = importlib.import_module(name)
    missing = [entry for entry in getattr(module, "__all__", ()) if not hasattr(module, entry)]
    assert not missing


def test_importing_the_package_imports_nobody_elses_module_and_few_of_its_own():
    new = fresh(
        "import sys; old = set(sys.modules); import telnyx_oauth; print(*sorted(set(sys.modules) - old))"
    ).split()
    own = [name for name in new if name.partition(".")[0] == "telnyx_oauth"]
    strangers = {name.partition(".")[0] for name in new} - sys.stdlib_module_names - {"telnyx_oauth"}
    assert not strangers
    assert len(own) <= 12, own


def test_the_version_is_the_installed_one():
    try:
        installed = importlib.metadata.version("telnyx-oauth")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package is importable here without being installed")
    assert telnyx_oauth.__version__ == installed


# --- how its files are made


def test_each_module_says_first_what_it_owns(repository):
    assert [name for name, tree in trees(repository) if tree.body and not (ast.get_docstring(tree) or "").strip()] == []


def test_no_module_imports_the_package_by_name(repository):
    def absolute(tree: ast.Module) -> bool:
        return any(
            (
                isinstance(node, ast.ImportFrom)
                and node.level == 0
                and (node.module or "").partition(".")[0] == "telnyx_oauth"
            )
            or (isinstance(node, ast.Import) and any(n.name.partition(".")[0] == "telnyx_oauth" for n in node.names))
            for node in ast.walk(tree)
        )

    assert [name for name, tree in trees(repository) if absolute(tree)] == []


SMALL = 80
# Small modules with one importer that stay apart, and why.
APART = {
    "managers": "loaded when a client has tokens to manage; a client with an API key alone runs without the token manager",
    "transport.connections": "the two pools of a client are transport, and `client` above it is wiring",
    "sandbox.metadata": "one module for each group of the sandbox's endpoints",
}
# Circles that stay, and why.
CIRCLES = {
    frozenset({"validation", "validation.introspection", "validation.validator"}): "the package loads a name of an "
    "annotation when it is looked up, so no module waits for another",
}
# Docstrings that open with a question word, or speak of whoever, nobody and somebody. These numbers may only fall.
QUESTIONS = 195
INDEFINITES = 30


def imports(repository: Path) -> dict[str, set[str]]:
    """The modules of the package that each module imports: anywhere, in functions and for type checkers too."""
    root = repository / "telnyx_oauth"
    paths = {path.relative_to(root).with_suffix("").parts: path for path in modules(repository)}
    paths = {parts[:-1] if parts[-1] == "__init__" else parts: path for parts, path in paths.items()}

    def targets(parts: tuple[str, ...], path: Path) -> Iterator[tuple[str, ...]]:
        package = parts if path.name == "__init__.py" else parts[:-1]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                above = package[: len(package) + 1 - node.level]
                source = (*above, *(node.module.split(".") if node.module else ()))
                for alias in node.names:
                    yield (*source, alias.name) if (*source, alias.name) in paths else source

    return {".".join(parts): {".".join(each) for each in targets(parts, path)} for parts, path in paths.items()}


def circles(graph: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """The groups of modules of which each can be reached from each other."""
    reached = {name: set(targets) for name, targets in graph.items()}
    for middle in graph:
        for targets in reached.values():
            if middle in targets:
                targets.update(reached[middle])
    return {
        frozenset(other for other in reached[name] if name in reached[other]) for name in graph if name in reached[name]
    }


def test_no_small_module_has_a_single_importer(repository):
    graph = imports(repository)
    importers = {name: {other for other, targets in graph.items() if name in targets} for name in graph}
    length = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in located(repository)}
    crumbs = {name for name, others in importers.items() if len(others) == 1 and length.get(name, SMALL) < SMALL}
    assert crumbs - APART.keys() == set(), "each belongs in the module that imports it"


def located(repository: Path) -> list[tuple[str, Path]]:
    """The modules by their names, without those that only stand for their package."""
    root = repository / "telnyx_oauth"
    return [
        (".".join(path.relative_to(root).with_suffix("").parts), path)
        for path in modules(repository)
        if path.name not in ("__init__.py", "__main__.py")
    ]


def test_no_modules_import_each_other_in_a_circle(repository):
    assert circles(imports(repository)) - CIRCLES.keys() == set()


def docstrings(repository: Path) -> list[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        text
        for _, tree in trees(repository)
        for node in ast.walk(tree)
        if isinstance(node, kinds) and (text := ast.get_docstring(node))
    ]


def test_docstrings_open_with_a_noun_or_an_imperative(repository):
    opening = re.compile(r"(?:What|Whether|Where|Who|Whoever|When|How|Which)\b")
    questions = [text.partition("\n")[0] for text in docstrings(repository) if opening.match(text)]
    assert len(questions) <= QUESTIONS, "\n".join(questions)


def test_docstrings_name_who_does_it(repository):
    vague = re.compile(r"\b(?:whoever|nobody|somebody)\b", re.IGNORECASE)
    sentences = [text for text in docstrings(repository) if vague.search(text)]
    assert len(sentences) <= INDEFINITES, "\n\n".join(sentences)


# --- what stands beside it


def commands(text: str) -> list[str]:
    return re.findall(r"^python3 -m venv .*$", text, flags=re.MULTILINE)


def test_the_readme_has_two_commands_and_the_second_is_what_ci_runs(repository):
    demo, test = commands((repository / "README.md").read_text(encoding="utf-8"))
    assert demo == "python3 -m venv .venv && .venv/bin/pip install -q -e '.[cli]' && .venv/bin/telnyx-oauth demo"
    assert test == "python3 -m venv .venv && .venv/bin/pip install -q nox && .venv/bin/nox"
    assert commands((repository / ".ci" / "run").read_text(encoding="utf-8")) == [test]
    assert os.access(repository / ".ci" / "run", os.X_OK)


def test_no_tracked_file_knows_of_one_machine(repository):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    places = re.compile("|".join(rf"/{place}/" for place in ("work", "root", "home/[a-z]+", "tmp", "Users/[a-z]+")))
    hosts = re.compile("|".join(("py" + "pi.org", "pythonh" + "osted", "registry." + "npmjs")))
    matches = [
        name
        for name in listed.stdout.decode().split("\0")
        if name and (repository / name).is_file()
        for text in [(repository / name).read_text(encoding="utf-8", errors="replace")]
        if places.search(text) or hosts.search(text)
    ]
    assert matches == []


def snippets(repository: Path) -> list[str]:
    return re.findall(
        r"^```python\n(.*?)^```", (repository / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def test_the_readme_shows_nothing_that_does_not_exist(repository):
    shown = [
        node
        for snippet in snippets(repository)
        for node in ast.walk(ast.parse(snippet))
        if isinstance(node, ast.ImportFrom)
    ]
    own = [
        (node.module, alias.name)
        for node in shown
        if (node.module or "").startswith("telnyx_oauth")
        for alias in node.names
    ]
    assert own
    assert [(module, name) for module, name in own if not hasattr(importlib.import_module(module), name)] == []


def test_each_error_in_the_readme_exists(repository):
    names = set(re.findall(r"\b[A-Z]\w+Error\b", (repository / "README.md").read_text(encoding="utf-8")))
    assert "TelnyxError" in names
    assert [name for name in names if not hasattr(errors, name)] == []


def test_each_environment_variable_that_the_package_reads_is_in_the_readme(repository):
    read = {
        name
        for path in modules(repository)
        for name in re.findall(r"\bTELNYX_[A-Z]+(?:_[A-Z]+)*\b", path.read_text(encoding="utf-8"))
    }
    readme = (repository / "README.md").read_text(encoding="utf-8")
    assert {"TELNYX_API_KEY", "TELNYX_BASE_URL"} <= read
    assert [name for name in sorted(read) if f"`{name}`" not in readme and not constant(repository, name)] == []


def constant(repository: Path, name: str) -> bool:
    """Tell if it is one of the package's own names, such as `TELNYX_ISSUER`."""
    return any(
        isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name
        for _, tree in trees(repository)
        for node in ast.walk(tree)
    )


def test_importing_the_package_loads_no_typing():
    # `typing` alone costs several times what the rest of the import does.
    code = "import sys; before = set(sys.modules); import telnyx_oauth; print('typing' in set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
