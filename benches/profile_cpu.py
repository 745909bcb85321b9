#!/usr/bin/env python3
"""Compares the sampled search with measuring every point, on this machine's CPU and the bundled models.

Needs only Python's standard library, and a machine that does nothing else.

    benches/profile_cpu.py [--wattle target/release/wattle] [--rounds 3] [-- PROFILE FLAGS]

Profiles the four digit models as one family, once by each search. Then measures the point of most throughput that
each found anew, in turns, since a machine is not as fast at one time as at another. Prints for each model the ratio
of the two medians. Ends with code 1 where the sampled search took 3 minutes or longer, or found a point of less than
95 % of the throughput.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent / "examples" / "models"
# Test accuracies of examples/digits-accuracy.csv.
QUALITY = {"digits-xs": 0.9588, "digits-s": 0.9722, "digits-m": 0.9867, "digits-l": 0.9900}
KNOBS = {
    "batch_size": "--batch-sizes",
    "instances": "--instances",
    "cores_per_instance": "--cores-per-instance",
    "duty_cycle": "--duty-cycles",
}
LONGEST_SECONDS = 180.0
LEAST_RATIO = 0.95


def profile(wattle, folder, name, flags):
    """Profiles `name`; gives what is told of each model, and the seconds it took."""
    output = folder / "out.csv"
    command = [wattle, "--log", "error", "profile", name, "--models", str(folder / "models"), "--json"]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "-o", str(output), "--force", "--restart", *flags], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)["models"], time.monotonic() - began


def at(point):
    """The flags that measure one point alone."""
    flags = ["--search", "exhaustive"]
    for knob, flag in KNOBS.items():
        if point[knob] is not None:
            flags += [flag, str(point[knob])]
    return flags


def told(point):
    """The point in short."""
    return " ".join(f"{knob}={point[knob]}" for knob in KNOBS if point[knob] is not None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wattle", default="target/release/wattle")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("flags", nargs="*", help="flags of wattle profile, after --")
    args = parser.parse_args()
    flags = args.flags or ["--runtime", "rten", "--duty-cycles", "0.5,1"]
    # What is measured anew runs as it did before.
    runtime = next((["--runtime", value] for flag, value in zip(flags, flags[1:]) if flag == "--runtime"), [])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in QUALITY:
            shutil.copytree(MODELS / model, folder / "models" / model)
        (folder / "models" / "digits").mkdir()
        variants = [f'[[variants]]\nmodel = "{model}"\nquality = {quality}\n' for model, quality in QUALITY.items()]
        (folder / "models" / "digits" / "family.toml").write_text("".join(variants))
        found = {}
        for search in ["sampled", "exhaustive"]:
            models, seconds = profile(args.wattle, folder, "digits", ["--search", search, *flags])
            probes, points = sum(m["probes"] for m in models), sum(m["points"] for m in models)
            unsteady = sum(m["unsteady"] for m in models)
            known = [m["others_busy_mean"] for m in models if m["others_busy_mean"] is not None]
            others = f"{statistics.mean(known):.0%} of the CPU" if known else "an unknown share of the CPU"
            print(
                f"{search}: {probes} of {points} points, {unsteady} did not settle, {seconds:.1f} s; others kept "
                f"{others} busy",
                flush=True,
            )
            found[search] = ({m["model"]: m["answer"]["measured"]["point"] for m in models}, seconds)
        worst = 1.0
        for model in QUALITY:
            points = {search: found[search][0][model] for search in found}
            if points["sampled"] == points["exhaustive"]:
                print(f"{model}: both found {told(points['sampled'])}", flush=True)
                continue
            measured = {search: [] for search in found}
            for _ in range(args.rounds):
                for search, point in points.items():
                    models, _ = profile(args.wattle, folder, model, [*runtime, *at(point)])
                    measured[search].append(models[0]["answer"]["measured"]["throughput_rps"])
            medians = {search: statistics.median(figures) for search, figures in measured.items()}
            ratio = medians["sampled"] / medians["exhaustive"]
            worst = min(worst, ratio)
            for search, point in points.items():
                print(f"{model}: {search} found {told(point)}: {medians[search]:.0f} rows/s measured anew")
            print(f"{model}: ratio {ratio:.3f}", flush=True)
    seconds = found["sampled"][1]
    print(f"worst ratio {worst:.3f} (at least {LEAST_RATIO}), {seconds:.1f} s (less than {LONGEST_SECONDS:.0f} s)")
    sys.exit(0 if worst >= LEAST_RATIO and seconds < LONGEST_SECONDS else 1)


if __name__ == "__main__":
    main()
