"""The methods as a paragraph that a paper can take over: only what was really done, from the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.document import flatten
from sweeps.report.blocks import Block, Paragraph, Section
from sweeps.report.contrasts import Contrasts
from sweeps.report.evidence import Evidence
from sweeps.report.words import is_missing, metric_words, plural, value_text
from sweeps.reservations import ADAPTIVE
from sweeps.statistics import wording
from sweeps.statistics.verdict import conditions

REFERENCES = (
    "Ke, Ma and Lin, arXiv:2006.00436 (BEMA and the Tracy–Widom threshold); Berlyand, Sandier, Shmalo and "
    "Zhang, arXiv:2310.03165 (pruning by the Marchenko–Pastur law); Brown and Forsythe, Journal of the "
    "American Statistical Association 69 (1974) 364; Holm, Scandinavian Journal of Statistics 6 (1979) 65."
)


def methods(evidence: Evidence, contrasts: Contrasts) -> Section:
    """Data, networks, training, pruning, replicates and statistics, in sentences."""
    trials: Sequence[Mapping[str, Any]] = evidence.plan["trials"]
    if not trials:
        return Section("methods", "Methods", [Paragraph("The plan is empty.")])
    settings = Settings(evidence)
    blocks: list[Block] = [
        Paragraph(" ".join([_data(settings), _networks(settings), _training(settings)])),
        Paragraph(" ".join([_pruning(settings), _replicates(evidence)])),
        Paragraph(_statistics(evidence, contrasts)),
        Paragraph(REFERENCES, strong="References."),
    ]
    return Section("methods", "Methods", blocks)


class Settings:
    """Values of the plan's configurations by dotted path, over the trials they make a difference to."""

    def __init__(self, evidence: Evidence) -> None:
        self._all = [(trial["role"], flatten(trial["config"])) for trial in evidence.plan["trials"]]

    def values(self, path: str) -> list[Any]:
        """Distinct values; those below `prune.` of pruned trials only."""
        found = [c.get(path) for role, c in self._all if role == "pruned" or not path.startswith("prune.")]
        return list({value_text(value): value for value in found if not is_missing(value)}.values())

    def text(self, path: str) -> str:
        """`0.02`, or `0.02 or 0.1`; empty where no trial has it."""
        texts = [value_text(value) for value in self.values(path)]
        if len(texts) > 4:
            return f"{texts[0]} … {texts[-1]} ({len(texts)} values)"
        return " or ".join(texts)

    def below(self, prefix: str, *, skip: Sequence[str] = ()) -> str:
        """`momentum 0.9, lr 0.02`: every option under a prefix, in the order of the configuration."""
        paths = dict.fromkeys(path for _, config in self._all for path in config if path.startswith(prefix))
        named = [
            (path.removeprefix(prefix), self.text(path)) for path in paths if path.removeprefix(prefix) not in skip
        ]
        return ", ".join(f"{name} {text}" for name, text in named if text)


def _data(settings: Settings) -> str:
    size = settings.text("data.train_size")
    limit = f", {size} examples for training" if size else ""
    return (
        f"Networks were trained on {settings.text('data.kind')}{limit}, with {settings.text('data.validation')} "
        "training examples held out for validation (class-balanced, by the split seed) and the test set apart."
    )


def _networks(settings: Settings) -> str:
    options = settings.below("model.", skip=["kind"])
    inside = f" ({options})" if options else ""
    drawn = settings.below("initialisation.", skip=["kind"])
    return (
        f"The architecture was {settings.text('model.kind')}{inside}, the initialisation "
        f"{settings.text('initialisation.kind')}{f' ({drawn})' if drawn else ''}."
    )


def _training(settings: Settings) -> str:
    options = settings.below("training.optimiser.", skip=["kind"])
    schedule = settings.below("training.schedule.", skip=["kind"])
    return (
        f"Training ran for {settings.text('training.epochs')} epochs in batches of "
        f"{settings.text('training.batch_size')} with {settings.text('training.optimiser.kind')} ({options}), "
        "learning-rate schedule "
        f"{settings.text('training.schedule.kind')}{f' ({schedule})' if schedule else ''}, penalties l1 = "
        f"{settings.text('training.l1')} and l2 = {settings.text('training.l2')}."
    )


def _pruning(settings: Settings) -> str:
    rules = [text for value in settings.values("prune.rule") if (text := value_text(value)) != "none"]
    if not rules:
        return "Nothing was pruned."
    strength, budget = settings.text("prune.aggressiveness"), settings.text("prune.budget")
    how = f" with aggressiveness {strength}" if strength else ""
    how += f" to a budget of {budget}" if budget else ""
    start = settings.text("prune.start")
    since = f", from epoch {start} on," if start else ""
    return (
        f"Every {settings.text('prune.every')} epochs{since} layers were pruned by {wording.listing(rules)}{how}; "
        f"noise was estimated by {settings.text('prune.noise.kind')} with Tracy–Widom level "
        f"β = {settings.text('prune.noise.beta')}, the fit gate was {settings.text('prune.gate.max_distance')}. "
        "A layer was replaced by two low-rank factors where these have fewer parameters."
    )


def _replicates(evidence: Evidence) -> str:
    trials = evidence.plan["trials"]
    counts = {source: _counts(trials, source) for source in trials[0]["replicates"][0]["seeds"]}
    named = [
        f"{low} to {plural(high, f'{metric_words(source)} seed')}"
        if low < high
        else plural(high, f"{metric_words(source)} seed")
        for source, (low, high) in counts.items()
    ]
    twins = sum(trial["role"] == "twin" for trial in trials)
    sentence = f"Each of the {plural(len(trials), 'configuration')} was trained with {wording.listing(named)}."
    until = evidence.plan.get("until")
    if until:
        metric = metric_words(evidence.objective.metric)
        sentence += (
            f" Seeds were added while the interval of a configuration's {metric} was wider than "
            f"{until['interval']:g}, up to {until['max']}; looks were corrected by Bonferroni's method. {ADAPTIVE}"
        )
    if twins:
        sentence += (
            " Every pruned configuration has an unpruned twin with the same seeds, so that each comparison is "
            "between networks that began from the same weights and saw the same data in the same order."
        )
    return sentence


def _counts(trials: Sequence[Mapping[str, Any]], source: str) -> tuple[int, int]:
    """Fewest and most seeds of a source that a configuration has."""
    counts = [len({replicate["seeds"][source] for replicate in trial["replicates"]}) for trial in trials]
    return min(counts), max(counts)


def _statistics(evidence: Evidence, contrasts: Contrasts) -> str:
    objective = evidence.objective
    text = (
        f"Trials were ranked by the {objective.statistic} of the {metric_words(objective.metric)} in the last "
        "epoch; the test set took no part in any choice. Intervals of means are Student t intervals at 95 %."
    )
    if contrasts.answers is not None:
        corrected = contrasts.answers.correction.capitalize()
        held = conditions(contrasts.answers.columns)
        text += (
            " Means of pruned and unpruned networks were compared by the paired t test over seeds, their "
            "variances by the Brown–Forsythe test with a jackknife-t interval on the logarithm of the ratio; p "
            f"values were corrected by {corrected}'s method over all comparisons of a kind. Replicates that "
            "diverged or failed are counted and enter no mean; stopped ones enter no comparison."
        )
        text += " Rates of diverged and of dead networks have Clopper–Pearson intervals."
        if contrasts.answers.margin is not None:
            text += (
                f" Equivalence of means within ±{contrasts.answers.margin:g} was tested by two one-sided t tests "
                "(TOST), corrected likewise."
            )
        if any(one.interval for one in contrasts.answers.ranking):
            text += " Arms were ranked over seeds by Friedman's test with Nemenyi's critical difference."
        if contrasts.answers.columns.crossed:
            text += " Replicates of one initialisation were averaged, so that n is the number of initialisations."
        if held:
            text += f" All statements are conditional on {held}."
    return text
