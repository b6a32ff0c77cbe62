"""Plugins: modules of a spec's own, here and on the workers."""

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sweeps import best, load_model, plugins
from sweeps.assembly import build_trial
from sweeps.errors import SpecError
from sweeps.identity import trial_identity
from sweeps.initialisations import INITIALISATIONS
from sweeps.replay import replay
from sweeps.spec import build_spec
from tests.sweeps.test_replay import train

REPOSITORY = Path(__file__).parents[2]
STARTS = '''
from sweeps.initialisations import INITIALISATIONS

@INITIALISATIONS.register(version=1)
def NAME(module, generator, inputs, *, bias: float = 0.0):
    """All weights zero."""
    for parameter in module.parameters():
        parameter.data.zero_()
'''
SPEC = """
name: plugged
plugins: [my_lab.starts]
trial:
  data: {kind: digits, validation: 300, train_size: 100}
  model: {kind: mlp, widths: [8]}
  training: {epochs: 1, batch_size: 50}
  prune: {rule: none}
space:
  initialisation.kind: {grid: [my_zeros, normal_fan_in]}
replicates: {initialisation: 1}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "__init__.py").write_text("")
    (tmp_path / "my_lab" / "starts.py").write_text(STARTS.replace("NAME", "my_zeros"))
    (tmp_path / "sweep.yaml").write_text(SPEC)
    return tmp_path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder to import from; what is registered from it is taken out again."""
    known = set(INITIALISATIONS)
    sys.path.insert(0, str(tmp_path))
    yield tmp_path
    sys.path.remove(str(tmp_path))
    for name in set(INITIALISATIONS) - known:
        del INITIALISATIONS._entries[name]


def versions(kind: str) -> dict[str, int | str]:
    trial = build_trial({"initialisation": kind, "prune": {"rule": "none"}})
    found: dict[str, int | str] = trial_identity(trial, "f")["versions"]
    return found


def test_the_source_of_a_plugin_is_part_of_the_identity_of_the_trials_that_use_it_and_of_no_other(place: Path):
    for module, text in {"lab_a": STARTS, "lab_b": STARTS, "lab_c": STARTS.replace("All", "Each")}.items():
        (place / module).mkdir()
        (place / module / "__init__.py").write_text("")
        (place / module / "starts.py").write_text(text.replace("NAME", "zeros"))
        plugins.load([f"{module}.starts"])
        entry = INITIALISATIONS._entries.pop("zeros")
        INITIALISATIONS.register(module, version=2)(entry.function)
    digests = [versions(module)[f"initialisation:{module}"] for module in ("lab_a", "lab_b", "lab_c")]
    assert all(re.fullmatch("2:[0-9a-f]{16}", str(digest)) for digest in digests)
    assert digests[0] == digests[1] != digests[2]
    assert versions("normal_fan_in") == {}


def test_every_file_of_a_package_counts(place: Path):
    for package, extra in (("lab_d", "a = 1"), ("lab_e", "a = 2")):
        (place / package).mkdir()
        (place / package / "__init__.py").write_text("from . import more")
        (place / package / "more.py").write_text(STARTS.replace("NAME", "zeros"))
        (place / package / "constants.py").write_text(extra)
        plugins.load([package])
        INITIALISATIONS._entries[package] = INITIALISATIONS._entries.pop("zeros")
    assert versions("lab_d")["initialisation:lab_d"] != versions("lab_e")["initialisation:lab_e"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "ModuleNotFoundError: No module named 'lab_broken'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_plugin_that_can_not_be_imported_is_named_with_its_field(place: Path, text: str | None, why: str):
    if text is not None:
        (place / "lab_broken.py").write_text(text)
    importlib.invalidate_caches()
    with pytest.raises(SpecError) as raised:
        build_spec({"name": "plugged", "plugins": ["json", "lab_broken"]})
    assert str(raised.value) == f"plugins.1: the module 'lab_broken' can not be imported: {why}"


def forget(module: str, name: str) -> None:
    """As in another process, where nobody has loaded the plugin yet."""
    del INITIALISATIONS._entries[name], sys.modules[module], plugins._LOADED[module]
    importlib.invalidate_caches()


def test_what_is_made_from_records_knows_the_plugins_of_the_sweep(place: Path):
    source = place / "lab_kept.py"
    source.write_text(STARTS.replace("NAME", "kept").replace("zero_()", "fill_(0.01)"))
    plugins.load(["lab_kept"])
    planned = train(place, initialisation={"kind": "kept"})
    (place / "once" / "spec.yaml").write_text("name: once\nplugins: [lab_kept]\n")
    forget("lab_kept", "kept")
    assert load_model("once", storage=place)(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    forget("lab_kept", "kept")
    found = replay("once", planned.trial_id, root=place)
    assert found.is_equal
    assert not found.changed
    forget("lab_kept", "kept")
    assert best("once", storage=place)[0].spec.initialisation.kind == "kept"
    forget("lab_kept", "kept")
    source.write_text(source.read_text().replace("0.01", "0.02  "))
    found = replay("once", planned.trial_id, root=place)
    assert not found.is_equal
    assert re.search(
        "another version or source than in its record: initialisation:kept .version 1:[0-9a-f]{16}",
        "\n".join(found.lines()),
    )
    forget("lab_kept", "kept")
    source.unlink()
    with pytest.raises(SpecError, match=r"plugins.0: the module 'lab_kept' can not be imported"):
        replay("once", planned.trial_id, root=place)


@pytest.mark.slow
def test_workers_know_what_a_plugin_registers(lab: Path):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_", "RMT_", "TUNE_"))}
    done = subprocess.run(
        [sys.executable, "-c", "from sweeps.cli import main; main()", "run", "sweep.yaml"],
        cwd=lab,  # where the plugin is: not installed, as a person begins
        env={**inherited, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(path.read_text()) for path in lab.glob("sweeps-data/plugged/trials/*/*/record.json")]
    assert {record["status"] for record in records} == {"finished"}
    # Zeros everywhere: every logit is the same, and one class is always named.
    (zeros,) = [r for r in records if r["config"]["initialisation"]["kind"] == "my_zeros"]
    assert zeros["metrics"]["train_loss"] > 2.0
