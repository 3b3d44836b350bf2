"""Every check of this project. `nox` alone runs what must pass; `nox -l` lists the rest."""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["tests"]

PROJECT = nox.project.load_toml("pyproject.toml")
ALL = ".[cli,keyring,redis,otel]"


def group(name: str) -> tuple[str, ...]:
    return nox.project.dependency_groups(PROJECT, name)


@nox.session
def tests(session: nox.Session) -> None:
    """The tests, on the Python that runs nox."""
    session.install("-q", "-e", ALL, *group("test"))
    session.run("pytest", *session.posargs)
