"""The interpreter with PyFlink: made once in the cache, when a test first asks for it."""

from __future__ import annotations

import hashlib
import shutil
from importlib.resources import files
from pathlib import Path

from cdc_assets.flink.python_environment import find_python, make_environment
from cdc_assets.lab.cache import Cache
from cdc_assets.lab.flink_cluster import FLINK_VERSION, find_java
from cdc_assets.lab.packages import load_packages

# The lab has Flink's jars already, in the very same package; a second copy is 230 MB.
_SHARED = "apache-flink-libraries"
_MARKER = ".complete"


def ensure_interpreter(cache: Cache) -> Path:
    """Return the interpreter, made on first use and checked against the locked checksums.

    Raises:
        ConfigurationError: No Python that PyFlink has wheels for, or a step failed.
    """
    lock = files("cdc_assets.flink.interpreter").joinpath("requirements.lock").read_bytes()
    folder = cache.root / f"pyflink-{hashlib.sha256(lock).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if (folder / _MARKER).is_file():
        return python
    maker = find_python()
    with cache.filling():
        if not (folder / _MARKER).is_file():  # another process may have been faster
            shutil.rmtree(folder, ignore_errors=True)
            make_environment(folder, maker, without=(_SHARED,))
            (folder / _MARKER).touch()
    return python


def script_environment(cache: Cache) -> dict[str, str]:
    """Return what a script needs in the lab: Java, and Flink's jars where the lab has them."""
    flink = next(each for each in load_packages() if each.name == f"flink-{FLINK_VERSION}")
    return {
        "JAVA_HOME": str(find_java().parents[1]),
        "FLINK_LIB_DIR": str(cache.folder(flink) / "lib"),
        "FLINK_OPT_DIR": str(cache.folder(flink) / "opt"),
    }
