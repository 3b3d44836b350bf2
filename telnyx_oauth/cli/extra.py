"""click, which the extra `cli` brings, or an error that says how to get it."""

from __future__ import annotations

from . import missing

try:
    import click
except ImportError:
    raise ImportError(missing("click"), name="click") from None

__all__ = ["click"]
