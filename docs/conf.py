"""Sphinx: Markdown pages (MyST), the furo theme, the reference from docstrings."""

from importlib.metadata import version as installed_version

import django
from django.conf import settings

# The reference imports models, and those want a configured Django.
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "django_bgtasks",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3"}},
    USE_TZ=True,
)
django.setup()

project = "django-bgtasks"
author = "django-bgtasks contributors"
copyright = author
release = installed_version("django-bgtasks")
version = release.rpartition(".")[0]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# What "python -m benchmarks report" writes is part of the page that includes it.
exclude_patterns = ["_build", "performance/*.md"]
nitpicky = False  # Python's and Django's own names are links only with a network

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"django-bgtasks {version}"
