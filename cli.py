"""The `medledger` command: composes the groups in `commands/` and nothing else."""

import sys

import click

from commands.access import access
from commands.bench import bench
from commands.bench_growth import growth as growth  # Puts itself under `bench`.
from commands.bench_peers import beside as beside  # Puts itself under `bench`.
from commands.bench_report import report as report  # Puts itself under `bench`.
from commands.demo import demo
from commands.devnet import devnet
from commands.doctor import doctor
from commands.fsck import fsck
from commands.gov import gov
from commands.init import init
from commands.join import invite, join
from commands.keys import keys
from commands.metrics import metrics
from commands.node import node
from commands.output import Settings
from commands.peers import peers
from commands.person import person
from commands.prune import prune
from commands.record import record
from commands.recover import recover
from commands.rekey import rekey as rekey  # Puts itself under `node`.
from commands.running import run
from commands.sim import sim
from commands.tx import tx
from commands.validators import validators
from commands.verify import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="Print results as JSON.")
@click.version_option(package_name="medledger")
@click.pass_context
def medledger(context: click.Context, *, as_json: bool) -> None:
    """A permissioned ledger for consortia of hospitals.

    Exit status: 0 done, 1 refused by the ledger, 2 wrong usage, 3 outcome unknown (not reachable
    or timed out), 4 failure on this side.
    """
    context.obj = Settings(as_json=as_json)


for group in (
    access,
    bench,
    demo,
    devnet,
    doctor,
    fsck,
    gov,
    init,
    invite,
    join,
    keys,
    metrics,
    node,
    peers,
    person,
    prune,
    record,
    recover,
    sim,
    tx,
    validators,
    verify,
):
    medledger.add_command(group)


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(medledger, sys.argv[1:]))


if __name__ == "__main__":
    main()
