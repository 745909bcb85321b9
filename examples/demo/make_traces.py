#!/usr/bin/env python3
"""Makes the three traces of one day that `wattle demo` replays. Needs nothing but Python 3.

The traces are made up, not recorded: shapes that are typical of a day, with a little seeded noise.
Run it again to get the same files: python3 make_traces.py
"""

import math
import random
from pathlib import Path

SEED = 2026
STEP_HOURS = 0.5
HOURS = [index * STEP_HOURS for index in range(int(24 / STEP_HOURS))]


def bell(hour, centre, width):
    """A bump of height 1 at `centre`; the day goes round, so 23:30 is near 00:30."""
    away = min(abs(hour - centre), 24 - abs(hour - centre))
    return math.exp(-0.5 * (away / width) ** 2)


def sun(hour):
    """Clear-sky output of a solar roof, 1 at its highest: up at 06:00, highest at 12:30."""
    return max(0.0, math.sin(math.pi * (hour - 6.0) / 13.0)) ** 1.2 if 6.0 <= hour <= 19.0 else 0.0


def requests(noise):
    """Load relative to the day's peak: a morning and an evening peak over a quiet night."""
    raw = [0.30 + 0.70 * bell(h, 10.5, 2.6) + 0.24 * bell(h, 19.5, 2.0) for h in HOURS]
    raw = [value * (1 + noise.uniform(-0.03, 0.03)) for value in raw]
    return [value / max(raw) for value in raw]


def power_cap(noise):
    """Share of the range from idle to full power: a base from the grid, and the sun with its clouds."""
    shares = [0.55 + 0.45 * sun(h) * (1 - noise.choice([0, 0, 0, 0.1, 0.25])) for h in HOURS]
    return [min(1.0, max(0.45, share)) for share in shares]


def carbon_intensity(noise):
    """gCO2e/kWh of a grid with much solar power (the "duck curve"): low at noon, high in the evening."""
    return [
        380 - 230 * sun(h) + 110 * bell(h, 19.5, 1.6) + 30 * bell(h, 7.0, 1.3) + noise.uniform(-8, 8)
        for h in HOURS
    ]


def write(name, column, values, digits, what):
    lines = [f"# {what} Made by make_traces.py (seed {SEED}), not recorded.", f"seconds,{column}"]
    lines += [f"{int(h * 3600)},{value:.{digits}f}" for h, value in zip(HOURS, values)]
    Path(__file__).with_name(name).write_text("\n".join(lines) + "\n")


def main():
    noise = random.Random(SEED)
    write("requests.csv", "requests_per_second_fraction", requests(noise), 4,
          "Load of a day, relative to its peak.")
    write("power-cap.csv", "power_cap_fraction", power_cap(noise), 4,
          "Power cap of a day, as a share of the range from idle to full power.")
    write("carbon-intensity.csv", "carbon_intensity_g_per_kwh", carbon_intensity(noise), 1,
          "Carbon intensity of a day.")


if __name__ == "__main__":
    main()
