"""Calibration of the checks that draw, as they run: ``python tests/benchmarks/calibration.py [--seeds N]``.

The false-alarm rate of a run is raised to 1 %, so that there is something to count, and every check that has a share of
it runs under N seeds. What it refutes there is a false alarm, for the statements are true. A count that the rate cannot
explain (its exact 1 - 1e-6 interval lies above the rate) leaves with exit code 1; so does a check that was not found.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time

from verify.tolerance import statistics

RATE = 1e-2
CHECKS = {
    "order of theta": ("weighted-covariance-operator", ("order 2", "order 1")),
    "drift": ("two-layer-dynamics", ("toy, simple", "toy, triplet", "toy, infonce")),
    "rates": ("covariance-operator", ("minibatches", "trajectory")),
    "sampled covariance": ("activation-covariance", ("tree, sampled",)),
    "four ways": ("activation-covariance", ("four ways",)),
    "sampled covariance, trained": ("activation-covariance", ("tree, sampled",)),
    "drawn weights": ("lucky-nodes", ("tree",)),
    "initialisation": ("lucky-nodes", ("initialisation",)),
    "amplification": ("lucky-nodes", ("amplification",)),
    "emergence": ("lucky-nodes", ("emergence",)),
}


def main() -> int:
    """Run, print one line a check, and give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1000)
    asked = parser.parse_args()
    statistics.RUN_FALSE_ALARM = RATE
    # Levels are constants of the modules that are loaded only now.
    from verify.engine.statement import Context
    from verify.registry import entry

    assert set(CHECKS) == set(statistics.SHARES)
    wrong = 0
    for name, (slug, sources) in CHECKS.items():
        trained = ("drift", "rates", "sampled covariance, trained", "amplification", "emergence")
        kind = "trained" if name in trained else "float"
        checks = [
            check
            for check in entry(slug).load().checks
            if check.kind == kind and any(check.source.endswith(source) for source in sources)
        ]
        begun = time.perf_counter()
        found = collections.Counter(
            check.run(Context(seed=asked.first + seed)).status for check in checks for seed in range(asked.seeds)
        )
        runs = asked.seeds
        share = RATE * float(statistics.SHARES[name])
        low = statistics.proportion_interval(min(found["refuted"], runs), runs, 1 - 1e-6).low
        verdict = "ok" if checks and low <= share else "WRONG"
        wrong += verdict != "ok"
        print(
            f"{name}: {len(checks)} checks, {runs} seeds at a rate of {share:.1e}: {found['refuted']} refuted, "
            f"{found['abstained']} abstained, {found['holds']} held; {time.perf_counter() - begun:.0f} s; {verdict}",
            flush=True,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
