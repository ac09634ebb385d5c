"""The site's settings for its tests: nothing outside one directory is touched."""

import atexit
import os
import shutil
import tempfile

# Before the import below reads it; worker processes the tests start inherit it.
os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="bgtasks-example-")

from site_config.settings import *  # noqa: F403 (all but a few)

# A file, even on SQLite: other threads and processes must see the same rows.
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":  # noqa: F405 (as above)
    DATABASES["default"]["TEST"] = {"NAME": DATA_DIR / "test.sqlite3"}  # noqa: F405 (as above)

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

atexit.register(shutil.rmtree, os.environ["DATA_DIR"], ignore_errors=True)
