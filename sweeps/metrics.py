"""The names of the numbers that a training reports, and which of them may choose."""

from __future__ import annotations

from sweeps.errors import SelectionOnTest, SpecError

HISTORY = {
    "train_loss": "data term of the loss, running mean of the epoch",
    "train_penalty": "l1 Σ|θ| + l2 Σθ² at the end of the epoch",
    "train_accuracy": "running accuracy of the epoch",
    "validation_loss": "cross-entropy on the held-out examples",
    "validation_accuracy": "accuracy on the held-out examples",
    "learning_rate": "of the epoch",
    "parameters_kept": "share of the unpruned network's parameters, biases included",
    "non_zeros": "parameters that are not zero, biases included; a factored layer's are its factors'",
    "gradient_norm": "of the last step of the epoch",
    "weight_norm": "Euclidean norm of all parameters",
    "dead_units": "hidden units that no validation example activates",
    "classes_never_predicted": "output classes that no validation example is given",
    "train_seconds": "time of the epoch's training steps, of the whole stack",
    "evaluation_seconds": "time of the epoch's evaluation, of the whole stack",
}
FINAL = {
    "test_accuracy": "accuracy on the test set; reported, never chosen by",
    "test_loss": "cross-entropy on the test set; reported, never chosen by",
    "test_classes_never_predicted": "output classes that no test example is given",
    "test_examples": "size of the test set",
    "parameters": "number of parameters kept, biases included",
}
KNOWN = HISTORY | FINAL
SHARES = frozenset({"train_accuracy", "validation_accuracy", "parameters_kept"})
"""Those of each epoch that lie between 0 and 1."""
LEVELS = ("mean", "median", "iqm")
"""Statistics that lie between the least and the greatest value: one replicate is enough for them."""
# What is said of a metric over the replicates of a trial, as METRIC.STATISTIC.
STATISTICS = ("mean", "median", "sd", "ci_low", "ci_high", "iqm")
# Of its intervals.
LEVEL = 0.95


def better(metric: str) -> str:
    """Which end of a metric is the good one: `max` of accuracies, `min` of everything else."""
    return "max" if metric.endswith("accuracy") else "min"


def require_known(metric: str) -> None:
    """Refuse a metric that no training reports.

    Raises:
        SpecError: Lists the known ones.
    """
    if metric not in KNOWN:
        raise SpecError(f"unknown metric {metric!r}; known: {', '.join(sorted(KNOWN))}")


def refuse_test(metric: str, *, select_on_test: bool = False) -> None:
    """Refuse to choose between trials by what they scored on the test set.

    Raises:
        SelectionOnTest: The metric is a test metric and `select_on_test` is not given.
    """
    if metric.startswith("test_") and not select_on_test:
        raise SelectionOnTest(
            f"{metric} reports, it does not choose: ranking by it would fit the test set; "
            "use a validation_* metric, or give --select-on-test, which is stamped on the answer"
        )
