"""How the documentation is built: `make docs`."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel

from tornado_couch import __version__

project = "tornado_couch"
author = copyright = "the tornado_couch authors"  # noqa: A001 - Sphinx's name
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
smartquotes = False  # `--host` in a sentence is two hyphens
html_theme = "furo"
html_title = f"tornado_couch {release}"
html_copy_source = False
# Nothing of the pages comes from elsewhere, so they can be read without a network.
html_theme_options = {"source_repository": "", "navigation_with_keys": False}

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Class arguments", "params_style")]
napoleon_use_ivar = True  # an attribute that is documented twice would be a warning
nitpicky = False  # the types of other libraries have no pages here

_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)(?=(\w)?)")
_SECTION = re.compile(r"[A-Z][a-z]+( [a-z]+)?:")


def _literal(found: re.Match[str]) -> str:
    # A letter that follows at once has to be told apart.
    return f"``{found[1]}``" + ("\\ " if found[2] else "")


def _as_restructured_text(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Our docstrings have single backticks for code, and examples that are indented and nothing else."""
    if any(line.startswith("├") for line in lines):  # a tree, which is all that follows the first paragraph
        start = lines.index("") + 1
        lines[start:] = [f"    {line}".rstrip() for line in lines[start:]]
    made: list[str] = []
    section = example = False
    for line in lines:
        if line and not line.startswith(" "):
            section, example = _SECTION.fullmatch(line) is not None, False
        if line.startswith("    ") and not section and not example and not (made and made[-1]):
            example = True
            made += ["::", ""]
        made.append(line if example else _CODE.sub(_literal, line))
    lines[:] = made


def _plain_help(app: object, context: object, lines: list[str]) -> None:
    """Help texts are plain; a word that ends in an underscore would be a reference in reStructuredText."""
    lines[:] = [re.sub(r"(?<=\w)_(?!\w)", r"\\_", _CODE.sub(_literal, line)) for line in lines]


def _is_inherited(app: object, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """Leave out what every model inherits from pydantic, which documents it itself."""
    return True if name.startswith("model_") and hasattr(BaseModel, name) else None


def setup(app: object) -> None:
    """Sphinx calls it."""
    connect = app.connect  # type: ignore[attr-defined]
    connect("autodoc-process-docstring", _as_restructured_text, priority=400)
    connect("autodoc-skip-member", _is_inherited)
    for part in ("description", "options", "arguments"):
        connect(f"sphinx-click-process-{part}", _plain_help)


exclude_patterns = ["_build", *(path.name for path in Path(__file__).parent.glob("_*.md"))]
