"""What `import rmt` promises: cheap, complete, and functions that stay functions."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rmt


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_every_name_it_lists_is_there() -> None:
    names = [name for name in dir(rmt) if not name.startswith("_")]
    assert {"fit", "prune", "spectrum", "Pruner", "RULES", "NOISE", "MarchenkoPastur"} <= set(names)
    assert all(getattr(rmt, name) is not None for name in names)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="module 'rmt' has no attribute 'prun'"):
        rmt.prun  # noqa: B018


def test_importing_it_does_not_import_torch() -> None:
    assert run("import sys, rmt, rmt.registry; print('torch' in sys.modules)").strip() == "False"


@pytest.mark.slow
def test_a_function_stays_one_when_its_module_is_imported_first() -> None:
    code = "import rmt.spectrum; from rmt.spectrum import Spectrum; import rmt; print(callable(rmt.spectrum))"
    assert run(code).strip() == "True"
