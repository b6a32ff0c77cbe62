"""Seeds added while a sweep runs, on real Ray and a real MLflow."""

import json
from pathlib import Path

import pytest

from tests.end_to_end.conftest import SPEC, launch

pytestmark = pytest.mark.slow
LRS = "{grid: [0.05, 0.1, 1.0e+30]}"
ADAPTIVE = (
    SPEC.replace(LRS, "{grid: [0.05]}")
    .replace("{grid: [0.5, 0.8]}", "{grid: [0.8]}")
    .replace("{initialisation: 3}", "{initialisation: 3, until: {interval: 0.001, max: 5}}")
)


def test_a_launch_adds_seeds_in_rounds_and_the_next_one_finds_nothing_to_train(tmp_path: Path) -> None:
    launched = launch(tmp_path, ADAPTIVE)
    assert "adaptive: 3 to 5 seeds a trial" in launched.output
    assert "trained 10 replicates" in launched.output
    plan = json.loads((launched.folder / "plan.json").read_text())
    assert [len(trial["replicates"]) for trial in plan["trials"]] == [5, 5]
    replicates = json.loads(launched.ask("replicates", launched.name, "--json"))
    assert len(replicates) == 10
    assert {row["status"] for row in replicates} == {"finished"}
    assert "a launch trains 0" in launched.ask("plan", str(launched.spec))
