"""Optuna's TPE on the tables that wattle-search is measured on, for comparison.

    python3 -m venv venv && venv/bin/pip install optuna
    WATTLE_DATA=... cargo bench -p wattle-search --bench tables -- --export tables.json
    venv/bin/python tests/optuna/compare.py tables.json

It plays each table under the same bounds, with the same budget and 20 seeds, and prints the same scores:
the best throughput measured within the bound, as a share of the best there is. Each knob is a choice
among its values in the table, in order, as an integer. TPE is told the bound by Optuna's own means for
constraints (constraints_func), and starts with 4 points drawn by lot, as a third of the smallest budget:
its own 10 would leave it nothing to learn from. Combinations that the table lacks, and points that were
measured already, are pruned and cost nothing; up to 40 times the budget of them are allowed.
"""

import json
import re
import statistics
import sys
import warnings

import optuna

SEEDS = 20
OVER = 1.05
KNOBS = ["batch_size", "instances", "core_clock_mhz", "partition", "variant"]


def order(value):
    """Numbers by size, partitions by their slices, other names by the alphabet."""
    if isinstance(value, str):
        slices = re.match(r"\d+", value)
        return (0, int(slices.group()), value) if slices else (1, 0, value)
    return (0, value, "")


def play(table, bound, seed):
    """The throughput reached as a share of the best, probes made, and probes over the bound by 5 %."""
    values = {
        knob: sorted({row["point"][knob] for row in table["rows"] if row["point"][knob] is not None}, key=order)
        for knob in KNOBS
    }
    turned = {knob: choices for knob, choices in values.items() if len(choices) > 1}
    by_place = {
        tuple(choices.index(row["point"][knob]) for knob, choices in turned.items()): row for row in table["rows"]
    }
    sampler = optuna.samplers.TPESampler(
        seed=seed,
        n_startup_trials=4,
        multivariate=True,
        constraints_func=lambda trial: (trial.user_attrs.get("excess", 1.0),),
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    seen, over, best = set(), 0, 0.0
    budget = min(table["budget"], len(by_place))
    for _ in range(40 * table["budget"]):
        if len(seen) == budget:
            break
        trial = study.ask()
        place = tuple(trial.suggest_int(knob, 0, len(choices) - 1) for knob, choices in turned.items())
        row = by_place.get(place)
        if row is None:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        trial.set_user_attr("excess", row["bounded"] / bound - 1.0)
        study.tell(trial, row["throughput_rps"])
        if place in seen:
            continue
        seen.add(place)
        over += row["bounded"] > bound * OVER
        if row["bounded"] <= bound:
            best = max(best, row["throughput_rps"])
    most = max(row["throughput_rps"] for row in table["rows"] if row["bounded"] <= bound)
    return best / most, len(seen), over


def main():
    """Plays every table and prints the scores."""
    if len(sys.argv) != 2:
        sys.exit("found no file of tables; expected one argument, the JSON that the bench writes with --export")
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with open(sys.argv[1], encoding="utf-8") as file:
        tables = json.load(file)
    every, medians, capped, over = [], [], 0, 0
    for table in tables:
        played = [play(table, bound, seed) for bound in table["bounds"] for seed in range(SEEDS)]
        scores = [score for score, _, _ in played]
        every += scores
        medians.append(statistics.median(scores))
        if table["is_power"]:
            capped += sum(probes for _, probes, _ in played)
            over += sum(above for _, _, above in played)
        print(f"{table['name']:<28} {medians[-1]:.3f}", flush=True)
    tenth = sorted(every)[round((len(every) - 1) * 0.1)]
    print(f"median {statistics.median(every):.4f}, mean {statistics.mean(every):.4f}, 10th percentile {tenth:.4f}")
    print(f"worst table's median {min(medians):.4f}, probes over a cap by 5 % {over / max(capped, 1):.4f}")


if __name__ == "__main__":
    main()
