"""`medledger bench report`: results made readable, as a page and as pictures."""

from pathlib import Path

import click

from benchmarks.report.making import write_report
from commands.bench import BENCH_ERRORS, bench
from commands.output import Exit, failures, say, settings, show


@bench.command()
@click.argument(
    "directories", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True)
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where report.html and the pictures go [the first directory].",
)
def report(directories: tuple[Path, ...], out: Path | None) -> None:
    """Make report.html and PNG plots from one or several results.

    Results of networks that differ in one thing (nodes, dead ones) become the points of a curve; a
    directory also stands for the results in the folders below it. Plots need matplotlib: pip
    install 'medledger[bench]'. Without it the page has its tables.

    \b
    Example:
      medledger bench report results/grant
      medledger bench report results/n4 results/n7 results/n10 --out results
    """
    with failures(BENCH_ERRORS | {OSError: Exit.LOCAL}):
        first = directories[0]
        target = out or (first if first.is_dir() else first.parent)
        target.mkdir(parents=True, exist_ok=True)
        page = write_report(directories, target, say)
    if settings().as_json:
        show({"report": str(page)})
    say(f"the report is {page}")
