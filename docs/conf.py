"""The configuration of Sphinx."""

import functools
import inspect

from telnyx_oauth import __version__

project = "telnyx_oauth"
author = "The telnyx_oauth contributors"
project_copyright = "2026, the telnyx_oauth contributors"
release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
default_role = "code"  # docstrings write code in single backticks
html_theme = "furo"
html_title = f"telnyx_oauth {release}"
exclude_patterns = ["_build", "examples"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
nitpicky = False


def show_lines_as_they_are(_app, _context, lines):
    """Make a literal block of a block that click must not wrap."""
    first = next((number for number, line in enumerate(lines) if line.startswith("| ")), None)
    if first is not None:
        last = next((number for number in range(first, len(lines)) if not lines[number].startswith("|")), len(lines))
        block = [f"   {line.removeprefix('| ')}" for line in lines[first:last]]
        lines[first:last] = ["::", "", *block, ""]


def as_written(kind, name, *default):
    """The property itself, where `getattr` on the class returns the class of its value."""
    member = inspect.getattr_static(kind, name, None)
    return member if isinstance(member, (property, functools.cached_property)) else getattr(kind, name, *default)


def setup(app):
    app.add_autodoc_attrgetter(type, as_written)
    app.connect("sphinx-click-process-description", show_lines_as_they_are)
