from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from sweeps import document
from sweeps.assembly import build_trial
from sweeps.errors import SpecError
from sweeps.seeds import Seeds, crossed
from sweeps.spec import build_spec, load_spec

EXAMPLES = Path(__file__).parents[2] / "examples"
DESIGN = """
name: fashion-variance
trial:
  data: {kind: digits, validation: 300}
  model: {kind: mlp, widths: [256, 256], output_activation: none}
  initialisation: {kind: normal_fan_in}
  training: {epochs: 20, batch_size: 128, optimiser: {kind: sgd, lr: 0.02, momentum: 0.9},
             schedule: {kind: step, factor: 0.96, every: 1}, l1: 5.0e-6, l2: 5.0e-6}
  prune: {rule: mp_threshold, aggressiveness: 0.5, every: 4, noise: {kind: bema_two_pass, beta: 0.1},
          gate: {max_distance: off}, layers: [{match: "fc*", rule: none}], budget: 0.5}
  measures: {end: [spectra], at_epochs: {}}
space:
  model.widths: {grid: [[256, 256], [512, 512]]}
  training.optimiser.lr: {loguniform: [0.003, 0.05]}
  prune.aggressiveness: {grid: [0.25, 0.5, 0.75]}
design: {kind: grid}
replicates: {initialisation: 10}
baseline: true
objective: {metric: validation_accuracy, statistic: mean, mode: max}
resources: {cpus: 1, gpus: 0}
storage: ./sweeps-data
tracking: {uri: null}
"""


def spec(**changes):
    plain = document.parse(DESIGN)
    for path, value in changes.items():
        plain = document.assign(plain, path.replace("__", "."), value)
    return build_spec(plain)


def problems(override):
    with pytest.raises(SpecError) as raised:
        load_spec(document.parse(DESIGN), overrides=[override])
    return [str(problem) for problem in raised.value.problems]


def test_yaml_to_spec_to_yaml_is_the_identity():
    assert document.parse(spec().to_yaml()) == document.parse(DESIGN)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_survives_the_way_through_yaml(path):
    loaded = load_spec(path)
    again = load_spec(document.parse(loaded.to_yaml(resolved=True)))
    assert again == loaded
    assert again.to_yaml(resolved=True) == loaded.to_yaml(resolved=True)


def test_the_shortest_spec_is_complete():
    short = build_spec({"name": "x"})
    assert short.trial.model.options["widths"]
    assert document.parse(short.to_yaml()) == {"name": "x"}
    assert document.parse(short.to_yaml(resolved=True))["trial"]["training"]["optimiser"]["momentum"] == 0.9


def test_fields_of_the_design_have_their_values():
    trial = spec().trial
    assert trial.prune.gate.max_distance == "off"
    assert trial.prune.budget == 0.5
    assert trial.prune.layers[0].applies_to("fc1", "linear")
    assert not trial.prune.layers[0].applies_to("head", "linear")
    assert trial.training.l1 == 5e-6
    assert crossed(spec().replicates) == [Seeds(i) for i in range(10)]


def test_seeds_are_crossed_and_may_be_listed():
    replicates = spec(replicates={"initialisation": [3, 7], "data_order": 2}).replicates
    assert crossed(replicates) == [Seeds(3, 0), Seeds(3, 1), Seeds(7, 0), Seeds(7, 1)]


def test_a_point_may_choose_another_kind_with_its_options():
    point = {"initialisation": {"kind": "kaiming_uniform"}, "training.optimiser.lr": 0.01}
    trial = spec().trial_at(point)
    assert trial.initialisation.kind == "kaiming_uniform"
    assert trial.training.optimiser.options["lr"] == 0.01
    assert trial.training.optimiser.options["momentum"] == 0.9


BAD = {
    "training.epocs=3": "trial.training.epocs: is not a field of trial.training; did you mean epochs? known here: "
    "augmentation, batch_size, ",
    "trail={}": "trail: is not a field here; did you mean trial?",
    "model.width=[3]": "trial.model.width: is not a field of trial.model; did you mean widths?",
    "model.kind=lenett": "trial.model.kind: unknown architecture 'lenett'; known: ",
    "prune.rule=discard_blk": "trial.prune.rule: unknown pruning rule 'discard_blk'; known: ",
    "prune.noise.kind=bemma": "trial.prune.noise.kind: unknown noise estimator 'bemma'; known: ",
    "prune.options={horizn: 3}": "trial.prune.options.horizn: is not a field of trial.prune.options; "
    "did you mean horizon?",
    "prune.layers=[{match: a, rule: nope}]": "trial.prune.layers.0.rule: unknown pruning rule 'nope'",
    "training.epochs=three": "trial.training.epochs: must be a valid integer",
    "training.epochs='5'": "trial.training.epochs: must be a number, as it stands; got '5'",
    "training.epochs=true": "trial.training.epochs: must be a number, as it stands; got True",
    "prune.aggressiveness=true": "trial.prune.aggressiveness: must be a number, as it stands; got True",
    "prune.options={horizon: '3'}": "trial.prune.options.horizon: must be a number, as it stands; got '3'",
    "prune.layers=[{match: a, aggressiveness: '0.1'}]": "trial.prune.layers.0.aggressiveness: must be a number",
    "model.widths=[64, '64']": "trial.model.widths.1: must be a number, as it stands; got '64'",
    "model.bias=1": "trial.model.bias: must be true or false; got 1",
    "training.optimiser.lr='0.1'": "trial.training.optimiser.lr: must be a number, as it stands; got '0.1'",
    "training.augmentation=[{kind: crop, padding: true}]": "trial.training.augmentation.0.padding: must be",
    "data.validation='5'": "trial.data.validation: must be a number, as it stands; got '5'",
    "baseline='no'": "baseline: must be true or false; got 'no'",
    "space.training.l1={uniform: ['0', 1]}": "space.training.l1.uniform.0: must be a number, as it",
    "training.epochs=0": "trial.training.epochs: must be greater than or equal to 1; got 0",
    "prune.aggressiveness=1.5": "trial.prune.aggressiveness: must be less than or equal to 1; got 1.5",
    "prune.budget=0": "trial.prune.budget: must be greater than 0; got 0",
    "prune.noise.beta=1": "trial.prune.noise.beta: must be less than 1; got 1",
    "training.optimiser.lr=-1": "trial.training.optimiser.lr: must be greater than 0; got -1",
    "training.l1=.inf": "trial.training.l1: must be a finite number",
    "prune.every=20": "trial.prune.every: 20 is no pruning at all in a training of 20 epochs",
    "prune.start=20": "trial.prune.start: 20 is no pruning at all in a training of 20 epochs",
    "prune.start=0": "trial.prune.start: must be greater than or equal to 1; got 0",
    "space.training.lrr={grid: [1, 2]}": "space.training.lrr: is not a field of training; known here: ",
    "space.model.widths={grid: []}": "space.model.widths.grid: List should have at least 1 item",
    "space.prune.aggressiveness={uniform: [0, 2]}": "space.prune.aggressiveness: must be less than or equal to 1; "
    "got 2.0",
    "space.model.widths={grid: [[64], 7]}": "space.model.widths: must be a valid list; got 7",
    "replicates.initialisation=0": "replicates.initialisation: must be a number of seeds, 1 or more, or a list of "
    "different seeds, 0 or more; got 0",
    "replicates.initialisation=[1, 1]": "replicates.initialisation: must be a number of seeds",
    "objective.metric=validation_acc": "objective.metric: unknown metric 'validation_acc'; known: ",
    "objective.metric=test_accuracy": "objective.metric: test_accuracy reports, it does not choose",
    "objective.mode=best": "objective.mode: must be 'max' or 'min'; got 'best'",
    "design.kind=grit": "design.kind: unknown design 'grit'; known: ",
    "design={kind: random}": "design.points: is required and not given",
    "resources.cpus=0": "resources.cpus: must be greater than 0; got 0",
    "name=../up": "name: '../up' is not a sweep name; allowed: letters",
    "name=a/b": "name: 'a/b' is not a sweep name",
    "name=a..b": "name: 'a..b' is not a sweep name",
    "measures.at_epochs={2: [spektra]}": "trial.measures.at_epochs.2.0: unknown measure 'spektra'; known: ",
    "measures.at_epochs={99: [certify]}": "trial.measures.at_epochs.99: is no epoch of this training; allowed",
    "measures.at_epochs={-1: [certify]}": "trial.measures.at_epochs.-1: is no epoch of this training; allowed",
    "measures.end=[spektra]": "trial.measures.end.0: unknown measure 'spektra'; known: ",
}


@pytest.mark.parametrize("override", BAD)
def test_bad_input_names_the_path_the_value_and_what_is_allowed(override):
    found = problems(override)
    assert len(found) == 1
    assert found[0].startswith(BAD[override])


def test_whole_numbers_and_exponents_are_numbers():
    made = load_spec(
        document.parse(DESIGN), overrides=["training.l1=0", "training.l2=1e-3", "prune.aggressiveness=1"]
    )
    training = made.trial.training
    assert (training.l1, training.l2, made.trial.prune.aggressiveness) == (0.0, 0.001, 1.0)


def test_every_problem_is_reported_at_once():
    with pytest.raises(SpecError) as raised:
        load_spec(document.parse(DESIGN), overrides=["training.epochs=0", "name=a/b", "prune.rule=nope"])
    assert {p.path for p in raised.value.problems} == {"trial.training.epochs", "name", "trial.prune.rule"}


def test_a_missing_file_and_one_that_is_no_mapping_are_refused(tmp_path):
    with pytest.raises(SpecError, match=r"nosuch\.yaml can not be read"):
        load_spec(tmp_path / "nosuch.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(SpecError, match="holds list, not a mapping with name"):
        load_spec(tmp_path / "list.yaml")


def test_an_override_without_a_value_says_how_to_write_one():
    assert problems("training.epochs") == ["training.epochs: an override is written path=value"]


def test_the_schema_accepts_what_the_check_accepts_and_refuses_what_it_refuses():
    from sweeps.spec import SweepSpec

    schema = SweepSpec.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(yaml.safe_load(spec().to_yaml()))
    wrong = yaml.safe_load(spec().to_yaml())
    wrong["trial"]["model"]["width"] = [3]
    assert not validator.is_valid(wrong)
    wrong = yaml.safe_load(spec().to_yaml())
    wrong["trial"]["training"]["epochs"] = 0
    assert not validator.is_valid(wrong)


def test_an_initialisation_that_looks_at_activations_is_refused_beside_weights_from_a_file() -> None:
    model = {"kind": "torchvision", "model": "resnet18", "weights": "kept.safetensors"}
    build_trial({"model": {**model, "weights": None}, "initialisation": "lsuv"})
    build_trial({"model": model, "initialisation": "orthogonal"})
    with pytest.raises(SpecError, match=r"initialisation.kind: lsuv scales .* allowed: another initialisation"):
        build_trial({"model": model, "initialisation": "lsuv"})


@pytest.mark.parametrize(
    ("training", "said"),
    [
        (
            {"optimiser": {"kind": "sgd", "nesterov": True, "momentum": 0.0}},
            "optimiser.nesterov: true needs a mom",
        ),
        ({"epochs": 5, "schedule": {"kind": "cosine", "warmup": 6.0}}, "schedule.warmup: 6 is longer than the tr"),
    ],
)
def test_options_of_a_training_that_would_have_no_effect_are_refused(training: dict[str, Any], said: str) -> None:
    build_trial({"training": {"optimiser": {"kind": "sgd", "nesterov": True}, "schedule": {"warmup": 20.0}}})
    with pytest.raises(SpecError, match=f"training.{said}"):
        build_trial({"training": training})
