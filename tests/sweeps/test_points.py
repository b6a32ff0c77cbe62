"""Which points a sweep has: designs, crossing, conditions and exclusions together, as a spec writes them."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.design import DESIGNS
from sweeps.errors import SpecError
from sweeps.identity import _json, trial_identity
from sweeps.planning import make_plan
from sweeps.space import Dimension, Space
from sweeps.spec import build_spec

TRIAL: dict[str, Any] = {
    "model": {"kind": "mlp", "widths": [16]},
    "training": {"epochs": 4},
    "prune": {"every": 2},
}
RULES = {"grid": ["mp_threshold", "magnitude"]}
LR = {"loguniform": [0.001, 0.1]}


def spec(**changes: Any):
    return build_spec({"name": "points", "trial": TRIAL, "replicates": {"initialisation": 2}, **changes})


def points(**changes: Any) -> list[dict[str, Any]]:
    made = make_plan(spec(baseline=False, **changes), lambda data: "print")
    return [dict(trial.point) for trial in made]


def problems(**changes: Any) -> list[str]:
    with pytest.raises(SpecError) as raised:
        spec(**changes)
    return [str(problem) for problem in raised.value.problems]


def test_a_dimension_that_does_not_apply_is_absent_and_multiplies_nothing():
    space = {
        "prune.options.keep_share": {"grid": [0.2, 0.4, 0.6], "when": {"prune.rule": "magnitude"}},
        "prune.rule": {"grid": ["mp_threshold", "magnitude", "mp_edge"]},
        "prune.noise.beta": {"grid": [0.1, 0.2], "when": {"prune.rule": ["mp_threshold", "mp_edge"]}},
    }
    found = points(space=space)
    assert len(found) == 3 + 2 + 2
    for point in found:
        assert ("prune.options.keep_share" in point) == (point["prune.rule"] == "magnitude")
        assert ("prune.noise.beta" in point) == (point["prune.rule"] != "magnitude")
        assert list(point) == [path for path in space if path in point]


def test_conditions_reach_through_each_other_and_into_the_trial():
    space = {
        "model": {"grid": [{"kind": "mlp"}, {"kind": "lenet5"}]},
        "model.widths": {"grid": [[8], [16]], "when": {"model.kind": "mlp"}},
        "training.l1": {"grid": [0.0, 0.1], "when": {"model.widths": [[16]]}},
        "training.l2": {"grid": [0.0, 0.1], "when": {"prune.rule": "mp_threshold", "training.l1": 0.1}},
    }
    found = points(space=space, design={"kind": "grid"})
    assert len(found) == 1 + 1 + 1 + 2
    assert sum("training.l2" in point for point in found) == 2
    assert all(point["model"]["kind"] == "mlp" for point in found if "model.widths" in point)


@pytest.mark.parametrize("inner_first", [True, False])
def test_a_dimension_below_another_is_in_its_trials_whichever_is_written_first(inner_first):
    space = {
        "training.optimiser": {"grid": [{"kind": "sgd"}, {"kind": "adam", "lr": 0.01}]},
        "training.optimiser.lr": {"grid": [0.2, 0.3], "when": {"training.optimiser.kind": "sgd"}},
    }
    made = make_plan(
        spec(baseline=False, space=dict(reversed(space.items())) if inner_first else space), lambda data: "print"
    )
    found = [(t.spec.training.optimiser.kind, t.spec.training.optimiser.options["lr"]) for t in made]
    assert sorted(found) == [("adam", 0.01), ("sgd", 0.2), ("sgd", 0.3)]


def test_a_drawn_dimension_does_not_move_when_another_gets_a_condition():
    plain = {"prune.rule": RULES, "training.optimiser.lr": LR, "prune.noise.beta": {"uniform": [0.1, 0.9]}}
    bound = {**plain, "prune.noise.beta": {"uniform": [0.1, 0.9], "when": {"prune.rule": "mp_threshold"}}}
    design = {"kind": "random", "points": 9}
    free, conditional = points(space=plain, design=design), points(space=bound, design=design)
    assert any("prune.noise.beta" not in point for point in conditional)
    assert all(point.items() <= whole.items() for point, whole in zip(conditional, free, strict=True))


@pytest.mark.parametrize("kind", ["random", "sobol", "latin_hypercube"])
def test_crossing_gives_every_cell_the_same_draws(kind):
    space = {"prune.rule": RULES, "training.optimiser.lr": LR, "prune.every": {"grid": [1, 2]}}
    found = points(space=space, design={"kind": kind, "points": 4, "cross": "grids"})
    assert len(found) == 2 * 2 * 4
    cells: dict[tuple[str, int], list[float]] = {}
    for point in found:
        cells.setdefault((point["prune.rule"], point["prune.every"]), []).append(point["training.optimiser.lr"])
    assert set(cells) == set(itertools.product(RULES["grid"], [1, 2]))
    assert len({tuple(draws) for draws in cells.values()}) == 1
    partly = points(space=space, design={"kind": kind, "points": 4, "cross": ["prune.rule"]})
    assert len(partly) == 2 * 4


def test_without_crossing_a_random_design_draws_grids_as_categories():
    space = {"prune.rule": RULES, "training.optimiser.lr": LR}
    assert len(points(space=space, design={"kind": "random", "points": 5})) == 5


def test_what_is_excluded_is_no_point_even_where_it_would_be_no_trial():
    space = {"training.epochs": {"grid": [2, 4, 8]}, "prune.every": {"grid": [1, 2, 4]}, "prune.rule": RULES}
    excluded = ["prune.every >= training.epochs", 'prune.rule == "magnitude" and training.epochs > 4']
    found = points(space=space, exclude=excluded)
    assert [(p["training.epochs"], p["prune.every"], p["prune.rule"]) for p in found] == [
        (epochs, every, rule)
        for epochs, every, rule in itertools.product([2, 4, 8], [1, 2, 4], RULES["grid"])
        if every < epochs and not (rule == "magnitude" and epochs > 4)
    ]


def test_an_exclusion_sees_what_the_trial_has_and_the_space_has_not():
    space = {"training.optimiser": {"grid": [{"kind": "sgd", "momentum": 0.0}, {"kind": "sgd"}, {"kind": "adam"}]}}
    assert len(points(space=space, exclude=["training.optimiser.momentum == 0.9"])) == 2
    assert len(points(space=space, exclude=["training.optimiser.beta1 == null"])) == 1


def test_an_exclusion_may_compare_what_is_a_number_at_some_points_only():
    space = {
        "prune.gate.max_distance": {"grid": ["off", 0.1, 0.3]},
        "prune.options.keep_share": {"grid": [0.5], "when": {"prune.rule": "magnitude"}},
    }
    excluded = ["prune.gate.max_distance > 0.2", "prune.options.keep_share > 0.1"]
    assert len(points(space={**space, "prune.rule": RULES}, exclude=excluded[:1])) == 4
    assert len(points(space={**space, "prune.rule": RULES}, exclude=excluded)) == 2


def test_an_exclusion_of_everything_is_refused():
    with pytest.raises(SpecError, match="exclude: leaves none of the 2 points"):
        points(space={"prune.rule": RULES}, exclude=["true"])


WHEN = {"grid": [0.1, 0.2]}
BAD = [
    (
        {"exclude": ["prune.rul == 1"]},
        "exclude.0: 'prune.rul == 1', at character 1: prune.rul is not known here; did ",
    ),
    ({"exclude": ["training.l1 +"]}, "exclude.0: 'training.l1 +', at character"),
    (
        {"space": {"training.l1": {**WHEN, "when": {"prune.rul": "a"}}}},
        "space.training.l1.when: prune.rul is neither a dimension nor a field of a trial; known: data.kind",
    ),
    (
        {"space": {"training.l1": {**WHEN, "when": {"prune.rule": "a"}}, "prune.rule": RULES}},
        "space.training.l1.when: prune.rule is never 'a'; it takes {'grid': ['mp_threshold', 'magnitude']}",
    ),
    (
        {"space": {"training.l1": {**WHEN, "when": {"prune.rule": "magnitude"}}}},
        "space.training.l1.when: prune.rule: 'magnitude' never holds in this sweep",
    ),
    (
        {
            "space": {
                "training.l1": {**WHEN, "when": {"training.l2": 0.1}},
                "training.l2": {**WHEN, "when": {"training.l1": 0.1}},
            }
        },
        "space: the conditions of training.l1, training.l2 form a circle",
    ),
    (
        {
            "space": {
                "prune.options.keep_share": {"grid": [2.0], "when": {"prune.rule": "magnitude"}},
                "prune.rule": RULES,
            }
        },
        "space.prune.options.keep_share: must be less than or equal to 1",
    ),
    (
        {"design": {"kind": "sobol", "points": 4, "cross": ["training.l1"]}, "space": {"training.l1": LR}},
        "design.cross: training.l1 is drawn from an interval; allowed: none here, or `grids`",
    ),
    ({"design": {"kind": "grid", "cross": "grids"}}, "design.cross: grid crosses every dimension already"),
    (
        {
            "design": {"kind": "random", "points": 4, "cross": ["training.l1"]},
            "space": {"prune.rule": RULES, "training.l1": {**WHEN, "when": {"prune.rule": "magnitude"}}},
        },
        "design.cross: training.l1 is crossed and depends on prune.rule, which is drawn; cross prune.rule too",
    ),
    ({"design": {"kind": "sobol", "points": 4, "seed": -1}}, "design.seed: must be greater than or equal to 0"),
    ({"budget": {"max_trials": 0}}, "budget.max_trials: must be greater than or equal to 1; got 0"),
    (
        {"budget": {"max_trials": 1}},
        "budget.max_trials: 1 has no room for a pruned trial and its twin; allowed: 2",
    ),
    (
        {"resources": {"gpus": 1.5}},
        "resources.gpus: 1.5 is no number of GPUs that Ray gives out; allowed: 0, a share",
    ),
    ({"budget": {"max_days": 2}}, "budget.max_days: is not a field of budget; "),
    (
        {"space": {"trianing.optimiser.lr": LR}},
        (
            "space.trianing.optimiser.lr: 'trianing.optimiser.lr' leads into no section of a trial; did you mean "
            "training.optimiser.lr? known sections: data, model, initialisation, training, prune, measures"
        ),
    ),
    (
        {"space": {"trial.training.epochs": {"grid": [2]}}, "exclude": ["training.l1 > 0"]},
        (
            "space.trial.training.epochs: 'trial.training.epochs' leads into no section of a trial; did you mean "
            "training.epochs? known"
        ),
    ),
    (
        {"space": {"replicates.initialisation": {"grid": [2]}}},
        "space.replicates.initialisation: 'replicates.initialisation' leads into no section of a trial; known ",
    ),
    (
        {"exclude": ["training.l1 > 0 and prune.rule > 3"], "space": {"prune.rule": RULES}},
        "exclude.0: 'training.l1 > 0 and prune.rule > 3', at character 21: prune.rule > 3 compares 'mp",
    ),
    (
        {"exclude": ['0 < training.optimiser.lr < "a"'], "space": {"training.optimiser.lr": LR}},
        "exclude.0: '0 < training.optimiser.lr < \"a\"', at character 1: ",
    ),
    (
        {"objective": {"statistic": "ci_low"}, "replicates": {"initialisation": 1}},
        "replicates: validation_accuracy.ci_low needs 2 or more replicates of a trial; got 1",
    ),
    ({"space": {"": LR}}, "space.: '' leads into no section of a trial; known sections: data"),
    (
        {
            "space": {
                "training.optimiser.lr": {"grid": [0.1]},
                "training.optimiser": {"grid": [{"kind": "sgd", "lr": 0.2}, {"kind": "adam", "lr": 0.01}]},
            }
        },
        (
            "space.training.optimiser.lr: is set by the dimension training.optimiser too, where that is "
            "{'kind': 'sgd', 'lr': 0.2}; leave lr out of the values of training.optimiser, or"
        ),
    ),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_bad_input_names_the_field_the_value_and_what_is_allowed(changes, message):
    found = problems(**changes)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_a_design_that_draws_numbers_only_refuses_a_category_unless_it_is_crossed():
    @DESIGNS.register("numbers_only", version=1, draws_categories=False)
    def numbers_only(space: Space) -> list[dict[str, Any]]:
        return [space.point({path: space[path].at(0.5) for path in space})]

    try:
        space = {"prune.rule": RULES, "training.l1": WHEN}
        message = "space.prune.rule: numbers_only draws numbers only, not one of ['mp_threshold', 'magnitude']"
        assert problems(space=space, design="numbers_only")[0].startswith(message)
        assert len(points(space=space, design={"kind": "numbers_only", "cross": ["prune.rule"]})) == 2
    finally:
        del DESIGNS._entries["numbers_only"]


def test_a_budget_keeps_the_first_points_whose_trials_fit_twins_counted():
    space = {"training.optimiser.lr": {"grid": [0.1, 0.2, 0.3]}, "prune.aggressiveness": {"grid": [0.5, 0.7]}}
    whole = make_plan(spec(space=space), lambda data: "print")
    cut = make_plan(spec(space=space, budget={"max_trials": 5}), lambda data: "print")
    assert [(t.role, t.point["training.optimiser.lr"]) for t in cut] == [
        ("twin", 0.1),
        ("twin", 0.2),
        ("pruned", 0.1),
        ("pruned", 0.1),
        ("pruned", 0.2),
    ]
    assert cut.points_left_out == 3
    assert {t.trial_id for t in cut} < {t.trial_id for t in whole}
    assert make_plan(spec(space=space, budget={"max_trials": 9}), lambda data: "print").points_left_out == 0


numbers = st.floats(0.001, 10, allow_nan=False)
intervals = st.tuples(numbers, st.floats(0.01, 5)).map(lambda pair: [pair[0], pair[0] + pair[1]])
whole = st.tuples(st.integers(1, 50), st.integers(1, 50)).map(lambda pair: [pair[0], sum(pair)])
dimensions = st.one_of(
    st.lists(st.one_of(st.integers(0, 9), st.text("ab", max_size=2)), min_size=1, max_size=4, unique=True).map(
        lambda values: {"grid": values}
    ),
    intervals.map(lambda ends: {"uniform": ends}),
    intervals.map(lambda ends: {"loguniform": ends}),
    whole.map(lambda ends: {"integers": ends}),
    whole.map(lambda ends: {"logintegers": ends}),
)


@st.composite
def spaces(draw: Any) -> Space:
    """Up to four dimensions; a later one may depend on values of an earlier grid."""
    given: dict[str, dict[str, Any]] = {}
    for name in draw(st.lists(st.sampled_from("abcd"), unique=True, max_size=4)):
        dimension = dict(draw(dimensions))
        listed = [path for path, above in given.items() if "grid" in above]
        if listed and draw(st.booleans()):
            above = draw(st.sampled_from(listed))
            dimension["when"] = {above: draw(st.sampled_from(given[above]["grid"]))}
        given[name] = dimension
    return Space({name: Dimension.model_validate(dimension) for name, dimension in given.items()})


@settings(max_examples=60)
@given(spaces(), st.sampled_from(sorted(DESIGNS)), st.integers(1, 12), st.integers(0, 5))
def test_points_are_allowed_distinct_reproducible_and_keep_their_conditions(space, kind, count, seed):
    entry = DESIGNS[kind]
    options = {"levels": 3} if kind == "grid" else {"points": count, "seed": seed}
    found = entry.function(space, **options)
    assert found == entry.function(space, **options)
    assert len({repr(point) for point in found}) == len(found) >= 1
    for point in found:
        assert all(space[path].allows(value) for path, value in point.items())
        for path, dimension in space.items():
            (above, wanted), *_ = (dimension.when or {"": None}).items()
            applies = not dimension.when or (above in point and point[above] == wanted)
            assert (path in point) == applies


@pytest.mark.parametrize("kind", ["sobol", "latin_hypercube"])
def test_draws_fill_each_dimension_evenly(kind):
    """As many slices of a dimension as points, each hit once: what independent draws do not give."""
    space = Space({name: Dimension(uniform=[0, 1]) for name in "abc"})
    found = DESIGNS[kind].function(space, points=16, seed=3)
    for name in "abc":
        assert sorted(int(point[name] * 16) for point in found) == list(range(16))
    assert found != DESIGNS[kind].function(space, points=16, seed=4)


def test_raising_the_points_of_a_sobol_design_keeps_those_drawn_before():
    space = Space({name: Dimension(uniform=[0, 1]) for name in "ab"})
    assert DESIGNS["sobol"].function(space, points=37)[:5] == DESIGNS["sobol"].function(space, points=5)


def test_names_put_together_from_sections_are_digests_of_the_whole_identity():
    import hashlib

    space = {
        "prune.rule": {"grid": ["none", *RULES["grid"]]},
        "training.optimiser.lr": LR,
        "model.widths": {"grid": [[8], [256, 256]]},
    }
    for trial in make_plan(spec(space=space, design={"kind": "sobol", "points": 12}), lambda data: "print"):
        identity = trial_identity(trial.spec, "print")
        assert trial.trial_id == hashlib.sha256(_json(identity).encode()).hexdigest()[:12]
        for replicate in trial.replicates:
            whole = _json(identity | {"seeds": replicate.seeds.document()})
            assert replicate.replicate_id == hashlib.sha256(whole.encode()).hexdigest()[:16]
        assert trial.spec == spec(space=space).trial_at(trial.point) or trial.role == "twin"
