"""Tables as `sweeps.replicates` gives them, with outcomes drawn from known distributions."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

Builder = Callable[..., pd.DataFrame]


def build(
    *,
    seeds: int = 10,
    data_orders: int = 1,
    widths: Sequence[str] = ("[64]",),
    rates: Sequence[float] = (0.01,),
    aggressiveness: Sequence[float] = (0.25, 0.5),
    gain: float = 0.004,
    shrink: float = 1.0,
    twin_aggressiveness: float | None = None,
    random_state: int = 0,
) -> pd.DataFrame:
    """Twins and pruned trials whose seeds are correlated; `gain` shifts and `shrink` scales the pruned arms."""
    generator = np.random.default_rng(random_state)
    rows = []
    arms = [("none", twin_aggressiveness), *(("mp_threshold", a) for a in aggressiveness)]
    luck = generator.standard_normal((seeds, data_orders))
    for width in widths:
        for rate in rates:
            for rule, amount in arms:
                own = generator.standard_normal((seeds, data_orders))
                pruned = rule != "none"
                spread = (0.01 * luck + 0.005 * own) * (shrink if pruned else 1.0)
                accuracy = 0.9 + spread + (gain if pruned else 0.0)
                trial = f"{width}-{rate}-{rule}-{amount}"
                for (seed, data_order), value in np.ndenumerate(accuracy):
                    rows.append(
                        {
                            "sweep": "example",
                            "trial_id": trial,
                            "replicate_id": f"{trial}-{seed}-{data_order}",
                            "role": "pruned" if pruned else "twin",
                            "status": "finished",
                            "seeds.initialisation": seed,
                            "seeds.data_order": data_order,
                            "seeds.split": 0,
                            "model.kind": "mlp",
                            "model.widths": width,
                            "training.optimiser.lr": rate,
                            "prune.rule": rule,
                            "prune.aggressiveness": amount,
                            "prune.every": 4 if pruned else None,
                            "test_accuracy": value,
                            "test_loss": 1 - value,
                            "classes_never_predicted": 0,
                        }
                    )
    return pd.DataFrame(rows)


@pytest.fixture
def sweep_table() -> Builder:
    return build
