"""Commands that need no sweep to have run; the others are in end_to_end."""

import json
import shlex
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from sweeps import document
from sweeps.cli import app, running, show
from sweeps.errors import SpecError, SweepNotFound
from sweeps.progress import SweepProgress
from sweeps.spec import Objective, load_spec
from sweeps.tracking import Lag

SPEC = """
name: tiny
trial:
  data: {kind: synthetic, train_examples: 100, validation: 20}
  model: {kind: mlp, widths: [60]}
  training: {epochs: 4, batch_size: 10}
  prune: {every: 2}
replicates: {initialisation: 2}
"""


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(SPEC)
    return path


def ask(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_init_writes_a_spec_that_is_valid_and_refuses_to_write_over_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "next: sweeps plan mine.yaml" in ask("init", "mine.yaml")
    assert load_spec(tmp_path / "mine.yaml").name == "my-sweep"
    refused = CliRunner().invoke(app, ["init", "mine.yaml"])
    assert refused.exit_code != 0
    assert "mine.yaml exists already" in str(refused.exception)


def test_check_and_plan_need_nothing_but_the_spec(spec, tmp_path):
    assert "is a valid sweep: tiny, 2 trials, 4 replicates" in ask("check", spec)
    shown = ask("plan", spec, "--storage", tmp_path / "none", "--trials")
    assert "tiny: 2 trials (1 unpruned twin), 4 replicates" in shown
    assert "MiB a trial" in shown
    assert len([line for line in shown.splitlines() if " pruned " in line or " twin " in line]) == 2
    plain = json.loads(ask("plan", spec, "--storage", tmp_path / "none", "--json"))
    assert plain["recorded"] == {"new": 4}
    assert plain["price"]["trials"] == 2
    assert plain["packs"] == {"packs": {}, "unmeasured": 0, "alone": {"resources.pack is never": 2}}
    assert "packs" not in shown
    many = ("--set", "resources.pack=2", "--set", "space={training.l1: {grid: [0, 1.0e-4, 1.0e-3]}}")
    shown = ask("plan", spec, "--storage", tmp_path / "none", *many)
    assert "packs: 2 of 2 trials; 2 trials alone: left over of their kind" in shown
    searched = ("--set", "resources.pack=auto", "--set", "design={kind: tpe, trials: 4}")
    space = ("--set", "space={training.l1: {uniform: [0, 0.1]}}")
    shown = ask("plan", spec, "--storage", tmp_path / "none", *searched, *space)
    assert "packs: none; 5 trials alone: tpe chooses them one by one" in shown
    assert "a launch trains 10 replicates at most (4 trials to choose, 1 twin of the best)" in shown.replace(
        "\n", " "
    )
    assert "memory up to " in shown
    assert not (tmp_path / "none").exists()


def test_names_lists_registries_with_options(spec):
    shown = ask("names", "rules")
    assert "mp_threshold" in shown
    assert "horizon=None" in shown
    with pytest.raises(Exception, match="unknown kind 'rulez'; known: "):
        ask("names", "rulez")


def test_the_printed_schema_accepts_the_spec(spec):
    schema = json.loads(ask("schema"))
    jsonschema.Draft202012Validator(schema).validate(document.parse(SPEC))


def test_an_override_that_matches_no_layer_lists_the_layers(spec):
    with pytest.raises(SpecError, match=r"prune\.layers\.0\.match: 'convv\*' matches no layer; known: .*head"):
        ask("check", spec, "--set", "prune.layers=[{match: 'convv*', rule: none}]")
    assert "valid" in ask("check", spec, "--set", "prune.layers=[{match: 'head', rule: none}]")


def test_an_empty_storage_says_so(tmp_path):
    assert "no sweeps here yet" in ask("list", "--storage", tmp_path)
    with pytest.raises(SweepNotFound, match=r"no sweep 'x' in .*; there: none"):
        ask("status", "x", "--storage", tmp_path)


def test_progress_is_lines_where_there_is_no_terminal(capsys):
    display = show.Display()
    display.update(SweepProgress(Objective(), trials=2, replicates=4))
    display.update(SweepProgress(Objective(), trials=2, replicates=4))
    display.stop()
    assert capsys.readouterr().out.count("0/2 trials") == 1


def test_waiting_for_mlflow_is_said_with_what_it_does_not_show(capsys):
    display = show.Display()
    display.wait(Lag())
    for reason in ("nobody answers", "still nobody"):
        display.wait(Lag(replicates=3, trials=1, reason=reason))
    display.stop()
    said = "waiting for MLflow; not in MLflow yet: 3 replicates, 1 trial (nobody answers)\n"
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("command", ["run", "submit"])
def test_retry_takes_only_what_a_replicate_can_have_ended_as(command, spec):
    refused = CliRunner().invoke(app, [command, str(spec), "--retry", "stopped"], env={"COLUMNS": "200"})
    assert refused.exit_code == 2
    assert "'stopped' is not one of 'failed', 'timed_out', 'diverged', 'all'" in refused.output


def test_the_command_to_go_on_with_is_the_one_that_was_given():
    given = ["budget.max_hours=0.1", "space={training.l1: {grid: [0, 1.0e-4]}}"]
    said = running.repeated(
        Path("my spec.yaml"),
        given,
        storage="s3://bucket/a",
        address=None,
        tracking_uri="http://me:secret@there:5000",
        retry="failed",
    )
    words = shlex.split(said)
    assert words[:3] == ["sweeps", "run", "my spec.yaml"]
    assert words[3:7] == ["--set", given[0], "--set", given[1]]
    assert words[7:] == ["--storage", "s3://bucket/a", "--tracking-uri", "http://there:5000", "--retry", "failed"]
