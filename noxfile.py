"""Every check of this project. `nox` alone runs what must pass; `nox -l` lists the rest."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections import Counter
from itertools import chain
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests", "lint", "typing"]

PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = "[cli,keyring,redis,otel,speedups]"
PARALLEL = ("-n", "auto", "--maxprocesses", "4", "--dist", "worksteal")
"""A worker for each core. Not in pyproject.toml, so that `pytest` alone runs one process, as a debugger needs."""
ENDS = (
    "tests/blocking",
    "tests/hostile/test_exit.py",
    "tests/hostile/test_interrupts.py",
    "tests/tokens/test_endings.py",
)
"""The tests of exits, interrupts, forks, servers, greenlets and the driver, which a race may pass or fail by chance."""


def group(name: str) -> tuple[str, ...]:
    """The requirements of one of the dependency groups."""
    return nox.project.dependency_groups(PROJECT, name)


def install(session: nox.Session, *groups: str) -> None:
    """Install the package as it stands here, with every extra, and what these groups name."""
    session.install("-q", "-e", f".{EXTRAS}", *(requirement for name in groups for requirement in group(name)))


def only_with(session: nox.Session, path: str) -> None:
    """Go on only if there is something to run."""
    if not Path(path).exists():
        session.skip(f"There is nothing to run: {path} does not exist.")


@nox.session
def tests(session: nox.Session) -> None:
    """The tests, on the Python that runs nox. Arguments go to pytest."""
    install(session, "test")
    session.run("pytest", *PARALLEL, *session.posargs)


for version in ("3.11", "3.12", "3.13"):
    nox.session(name=f"tests-{version}", python=version, default=False)(tests.func)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, and which module may import which."""
    session.install("-q", *group("lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check", "--quiet")
    session.run("lint-imports", "--no-logo", silent=True)


@nox.session
def typing(session: nox.Session) -> None:
    """Static types under two checkers, the lines of `tests/typing/` that must fail, and no public name untyped."""
    install(session, "typing")
    session.run("mypy")
    session.run("pyright")
    verify = ("pyright", "--verifytypes", "telnyx_oauth", "--ignoreexternal", "--outputjson")
    told = json.loads(str(session.run(*verify, silent=True, success_codes=[0, 1])))["typeCompleteness"]
    # The blocking rows carry their types over from the async methods: pyright calls those inferred, and they are known.
    unknown = [
        symbol["name"]
        for symbol in told["symbols"]
        if symbol["isExported"] and not symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"]
    ]
    if unknown or not told["exportedSymbolCounts"]["withKnownType"]:
        session.error(f"These public names have no type that is known: {unknown}")


@nox.session(default=False)
def lowest(session: nox.Session) -> None:
    """The tests with the lowest version of each dependency that is allowed."""
    project = PROJECT["project"]
    sdk = [
        requirement for requirement in group("test") if requirement.startswith("opentelemetry-sdk")
    ]  # as old as its API
    allowed = chain(project["dependencies"], *project["optional-dependencies"].values(), sdk)
    install(session, "test")
    session.install("-q", *(requirement.replace(">=", "==") for requirement in allowed))
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Branch coverage, subprocesses included: all of `protocol/`, and of the whole what pyproject.toml demands."""
    install(session, "test")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *PARALLEL, *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")
    session.run("coverage", "report", "--include", "*/protocol/*", "--fail-under", "100")


def without_extras(session: nox.Session, wheel: Path) -> None:
    """Every public name is there with the plain dependencies alone, and the command says what it misses."""
    session.install("-q", "--force-reinstall", str(wheel))
    every_name = "import telnyx_oauth as package; [getattr(package, name) for name in package.__all__]"
    session.run("python", "-I", "-W", "error", "-c", every_name)
    said = session.run("telnyx-oauth", "demo", silent=True, success_codes=[1, 2])
    if "telnyx-oauth[cli]" not in str(said):
        session.error(f"The command does not say that it needs telnyx-oauth[cli]: {said}")


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """The tests of the source distribution against the built wheel, with the sources gone."""
    session.install("-q", "build")
    built = Path(session.create_tmp()) / "built"
    shutil.rmtree(built, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(built), ".", silent=True)
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    strangers = [name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith("telnyx_oauth")]
    if strangers:
        session.error(f"The wheel carries more than the package: {strangers}")
    without_extras(session, wheel)
    session.install("-q", f"{wheel}{EXTRAS}", *group("test"))
    shutil.unpack_archive(sdist, built)
    tree = built / sdist.name.removesuffix(".tar.gz")
    shutil.rmtree(tree / "telnyx_oauth")
    session.chdir(tree)
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """The documentation, where a warning is an error, and so is a link from page to page that leads nowhere."""
    only_with(session, "docs/conf.py")
    install(session, "docs")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html", *session.posargs)
    session.run("python", "docs/check_links.py", "docs/_build/html")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """The same work done by this package and by its peers, in turns, as ratios."""
    only_with(session, "benchmarks/__main__.py")
    install(session, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(default=False)
def properties(session: nox.Session) -> None:
    """The property tests with many more examples, and the other tests that take long."""
    install(session, "properties")
    session.env["HYPOTHESIS_PROFILE"] = "long"
    long = ("-m", "hypothesis or long", "-o", "faulthandler_timeout=3600")
    session.run("pytest", *long, *session.posargs, success_codes=[0, 5])


@nox.session(default=False)
def stress(session: nox.Session) -> None:
    """The tests of exits, interrupts, forks, servers and greenlets 20 times in a row, until one fails."""
    install(session, "test")
    for count in range(1, 21):
        session.log(f"Round {count} of 20")
        session.run("pytest", "-x", *PARALLEL, *ENDS, *session.posargs)


@nox.session(default=False)
def chaos(session: nox.Session) -> None:
    """Failures at length, on real processes and a real Valkey, as a table; fails where a figure is over its limit.

    Arguments name scenarios; see `tests/chaos/__main__.py`.
    """
    install(session, "test")
    session.run("python", "-m", "tests.chaos", *session.posargs)


def mutation_scores(told: str) -> dict[str, float]:
    """The share of mutants that were found, in percent and per module, from what `mutmut results` says; printed, too."""
    counts: dict[str, Counter[str]] = {}
    for line in told.splitlines():
        name, found, status = line.strip().rpartition(": ")
        if found:
            counts.setdefault(name.rpartition(".")[0].removeprefix("telnyx_oauth."), Counter())[status] += 1
    manager = (count for module, count in counts.items() if module.startswith("tokens."))
    counts["tokens"] = sum(manager, Counter[str]())
    columns = ("killed", "timeout", "survived", "no tests")
    print(f"{'':22}", *(f"{column:>9}" for column in (*columns, "other", "score")))
    scores: dict[str, float] = {}
    for module, count in sorted(counts.items()):
        total = count.total()
        scores[module] = 100 * (count["killed"] + count["timeout"]) / total if total else 0.0
        numbers = [count[column] for column in columns]
        print(
            f"{module:22}", *(f"{number:9}" for number in (*numbers, total - sum(numbers))), f"{scores[module]:8.1f}%"
        )
    return scores


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """Break the rules of freshness and the token manager in small ways: a test must notice nine of ten in each file.

    Arguments name mutants, as `mutmut results` and `mutmut show` do: those alone are tried, and nothing is demanded.
    """
    install(session, "mutation")
    shutil.rmtree("mutants", ignore_errors=True)
    session.env["HYPOTHESIS_PROFILE"] = "short"
    session.run("mutmut", "run", *session.posargs)
    if session.posargs:
        return
    told = str(session.run("mutmut", "results", "--all", "true", silent=True))
    print(*(line for line in told.splitlines() if not line.endswith((": killed", ": timeout"))), sep="\n")
    weak = {module: score for module, score in mutation_scores(told).items() if score < 90}
    if weak:
        session.error(f"Too few mutants are noticed in {', '.join(weak)}.")


@nox.session(default=False)
def browser(session: nox.Session) -> None:
    """A real browser on the consent page: the system's Chromium, driven by Playwright."""
    only_with(session, "tests/browser")
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        session.skip("No Chromium is installed. On Debian and Ubuntu: `apt-get install chromium`.")
    install(session, "browser")
    session.run("pytest", "tests/browser", *session.posargs)


@nox.session(default=False)
def interop(session: nox.Session) -> None:
    """Both sides against other people's servers and clients: npm's where npm is, and those that pip installs."""
    only_with(session, "tests/interop")
    install(session, "interop")
    if shutil.which("npm"):  # without it, the tests that need node say so and are skipped
        session.run("npm", "install", "--silent", "--no-package-lock", "--prefix", "tests/interop", external=True)
    session.run("pytest", "tests/interop", *session.posargs)


@nox.session(default=False)
def prism(session: nox.Session) -> None:
    """Every operation against Telnyx's OpenAPI documents, whose paths are the arguments, in the mock server Prism."""
    documents = [Path(argument).absolute() for argument in session.posargs]
    if not documents:
        session.error("Say where Telnyx's OpenAPI document is: nox -s prism -- openapi/spec3.yml")
    if shutil.which("npm") is None:
        session.skip("Prism comes by npm, and that is not installed.")
    install(session, "test")
    place = Path(session.create_tmp())
    session.run(
        "npm", "install", "--silent", "--no-audit", "--prefix", str(place), "@stoplight/prism-cli@5", external=True
    )
    session.env["PRISM"] = str(place / "node_modules" / ".bin" / "prism")
    session.env["TELNYX_OPENAPI"] = os.pathsep.join(map(str, documents))
    session.run("pytest", "tests/prism")
