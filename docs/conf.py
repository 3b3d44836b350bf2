"""How the documentation is built."""

from telnyx_oauth import __version__

project = "telnyx_oauth"
author = "The telnyx_oauth contributors"
project_copyright = "2026, the telnyx_oauth contributors"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = f"telnyx_oauth {release}"
exclude_patterns = ["_build", "examples"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
python_use_unqualified_type_names = True
nitpicky = False
