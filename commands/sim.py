"""`medledger sim`: whole replicas on virtual time, network and disks, drawn from seeds.

The simulator is part of the source's tests and is not installed; this verb runs it from there.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

import click

from commands.output import Exit, fail

SOURCE: Final = Path(__file__).resolve().parent.parent
"""Where the source lies when this runs from a checkout."""


@click.group()
def sim() -> None:
    """Run the replicas on simulated time, network and disks (from a source checkout)."""


@sim.command()
@click.option("--seeds", type=click.IntRange(1), default=100, show_default=True, help="How many.")
@click.option("--first-seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes."
)
def run(seeds: int, first_seed: int, workers: int) -> None:
    """Run a range of seeds; the last line says how many passed and failed.

    \b
    Example:
      medledger sim run --seeds 300 --first-seed 1000 --workers 2
    """
    simulate(
        "run",
        *("--seeds", str(seeds)),
        *("--first-seed", str(first_seed)),
        *("--workers", str(workers)),
    )


@sim.command()
@click.argument("what", metavar="SEED|FILE")
def replay(what: str) -> None:
    """Run one seed again, or the history that a failing run left in a file, to the event.

    \b
    Example:
      medledger sim replay artifacts/simulation/seed-4821.json
    """
    simulate("replay", str(Path(what).absolute()) if Path(what).is_file() else what)


def simulate(*arguments: str) -> None:
    """Run the simulator in the checkout and end as it ended."""
    if not (SOURCE / "tests" / "simulation" / "__main__.py").is_file():
        fail(
            Exit.LOCAL,
            "sim.no_source",
            "the simulator is not installed with medledger: run this in a source checkout, in the"
            " environment that `make setup` made",
        )
    sys.stdout.flush()
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    raise SystemExit(subprocess.run(command, cwd=SOURCE, check=False).returncode)
