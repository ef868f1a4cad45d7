"""What every test may ask for: shared data, seeds, hypothesis profiles, honest counts."""

import collections
import os
from pathlib import Path

import hypothesis
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
IN_CI = bool(os.environ.get("CI"))
SEEDS_DEFAULT = 5
# Tests in these directories carry the marker of the same name, so that no file can forget it.
MARKED_DIRECTORIES = ("integration", "simulation")

hypothesis.settings.register_profile("dev", max_examples=50, deadline=None)
hypothesis.settings.register_profile(
    "ci", max_examples=100, deadline=None, derandomize=True, print_blob=True
)
hypothesis.settings.register_profile(
    "nightly", max_examples=5_000, deadline=None, print_blob=True, derandomize=False
)
# `--hypothesis-profile=nightly` on the command line wins over this default.
hypothesis.settings.load_profile("ci" if IN_CI else "dev")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public records and vectors; its files are read by path, never copied."""
    configured = os.environ.get("MEDLEDGER_TEST_DATA")
    folder = Path(configured) if configured else REPOSITORY.parent / "shared" / "data"
    if folder.is_dir():
        return folder

    reason = f"no shared test data at {folder}; set MEDLEDGER_TEST_DATA to the folder that has it"
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("medledger", "seeds of simulations")
    group.addoption("--seed", type=int, help="replay this one seed")
    group.addoption("--first-seed", type=int, default=0, help="first seed of the range (0)")
    group.addoption(
        "--seeds",
        type=int,
        default=SEEDS_DEFAULT,
        metavar="COUNT",
        help=f"how many seeds each seeded test runs ({SEEDS_DEFAULT})",
    )


def pytest_configure(config: pytest.Config) -> None:
    if not selected_seeds(config):
        raise pytest.UsageError("--seeds: at least 1, or nothing is tested")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `seed` once per seed; a failing id shows what replays it."""
    if "seed" not in metafunc.fixturenames or _parametrizes_seed(metafunc):
        return
    metafunc.parametrize("seed", selected_seeds(metafunc.config), ids="seed={}".format)


def selected_seeds(config: pytest.Config) -> range:
    """The seeds this session runs; `--seed` alone wins over the range."""
    one = config.getoption("--seed")
    if one is not None:
        return range(one, one + 1)
    first = config.getoption("--first-seed")
    return range(first, first + config.getoption("--seeds"))


def _parametrizes_seed(metafunc: pytest.Metafunc) -> bool:
    """True when the test itself lists its seeds, as a regression of one found bug does."""
    marks = metafunc.definition.iter_markers("parametrize")
    return any("seed" in str(mark.args[0]).replace(" ", "").split(",") for mark in marks)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name in MARKED_DIRECTORIES:
            if item.path.is_relative_to(REPOSITORY / "tests" / name):
                item.add_marker(name)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how many cases of each layer really ran: a suite that skipped itself must be seen."""
    ran = collections.Counter(
        layer_of(report.nodeid)
        for outcome in ("passed", "failed", "xfailed", "xpassed")
        for report in terminalreporter.stats.get(outcome, [])
        if getattr(report, "when", None) == "call"
    )
    if not ran:
        return
    cases = ", ".join(f"{layer} {count}" for layer, count in sorted(ran.items()))
    terminalreporter.write_line(f"cases run: {cases}; {sum(ran.values())} in all")
    if ran["simulation"]:
        seeds = selected_seeds(config)
        terminalreporter.write_line(f"seeds run: {seeds.start}..{seeds.stop - 1}")


def layer_of(nodeid: str) -> str:
    """Name the layer of a test by its path: `unit/crypto`, `simulation`, or `doctests`."""
    parts = nodeid.split("::")[0].split("/")
    if parts[0] != "tests":
        return "doctests"
    return "/".join(parts[1:3]) if parts[1] == "unit" else parts[1]
