"""A sweep on two Ray nodes of this machine, one of which is killed on the way: `make sweep-demo`."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hltm.base.command import console
from numeric.studies.sweep.report import Wanted, grouped, parameters_that_vary, status_lines, status_of
from numeric.studies.sweep.store import Store

sys.path.insert(0, str(Path(__file__).parent.parent / "sweep"))
from loopback import loopback_cluster

GRID = Path(__file__).parent.parent.parent / "docs" / "examples" / "sweep.toml"


def main() -> int:
    """Run it; the exit code is that of the sweep."""
    with tempfile.TemporaryDirectory(prefix="sweep-demo-") as folder:
        place = Path(folder) / "sweep.db"
        with loopback_cluster(nodes=2, cpus=1) as cluster:
            say(f"two Ray nodes, the head at {cluster.address}")
            command = [sys.executable, "-m", "numeric", "sweep", str(GRID), "--store", str(place)]
            with subprocess.Popen([*command, "--ray", cluster.address, "--stack", "6"]) as driver:
                wait_for_results(place, driver)
                say("killing the second node")
                cluster.nodes[1].kill()
                code = driver.wait()
        with Store(place, create=False) as store:
            print_table(store)
        return code


def say(text: str) -> None:
    """One line of the story."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def wait_for_results(place: Path, driver: "subprocess.Popen[bytes]") -> None:
    """Until some are done and some are not."""
    while driver.poll() is None:
        time.sleep(0.3)
        if place.exists():
            with Store(place) as store:
                if store.counts()["done"] >= 12:
                    return


def print_table(store: Store) -> None:
    """Means over seeds."""
    from rich.table import Table

    names = tuple(parameters_that_vary(store))
    first = names[0]
    means = {y: grouped(store, Wanted(first, y, names[1:])) for y in ("final_loss", "before", "after")}
    table = Table(*names[1:], first, "seeds", *means, title="means over seeds, with 95 % confidence intervals")
    for key, line in means["after"].items():
        for x, one in line.items():
            cells = [f"{m.mean:.4f} ± {m.half_width or 0.0:.4f}" for m in (means[y][key][x] for y in means)]
            table.add_row(*key, str(x), str(one.number), *cells)
    shown = console(highlight=False)
    shown.width = max(shown.width, 160)
    shown.print(table)
    for text in status_lines(status_of(store)):
        say(text)


if __name__ == "__main__":
    sys.exit(main())
