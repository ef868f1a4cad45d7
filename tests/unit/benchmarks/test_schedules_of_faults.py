"""What a workload or the command line may say about faults and links, and what it is told else."""

import tomllib

import pytest

from benchmarks.errors import InvalidScene
from benchmarks.scene.faults import (
    Fault,
    check_faults,
    needs_liars,
    needs_links,
    parse_fault_words,
    parse_faults,
    told,
)
from benchmarks.scene.links import LAN, parse_links

NAMES = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")

SCHEDULE = """
[[faults]]
at_s = 8.5
do = "heal"

[[faults]]
at_s = 5
do = "kill"
node = "primary"

[[faults]]
at_s = 6
do = "slow"
node = 2
delay_ms = 300

[[faults]]
at_s = 7
do = "partition"
apart = [3, 0]
"""


def test_a_schedule_is_read_in_order_of_time() -> None:
    faults = parse_faults(tomllib.loads(SCHEDULE)["faults"])

    assert faults == (
        Fault(at_s=5.0, do="kill", node="primary"),
        Fault(at_s=6.0, do="slow", node=2, delay_ms=300),
        Fault(at_s=7.0, do="partition", apart=(0, 3)),
        Fault(at_s=8.5, do="heal"),
    )
    assert needs_links(faults)
    assert not needs_links(faults[:1])
    assert not needs_liars(faults)


@pytest.mark.parametrize(
    "words",
    ["5 kill primary", "6 slow 2 300ms", "7 partition 0,3", "8.5 heal", "1 equivocate hospital-b"],
)
def test_the_words_of_the_command_line_are_those_of_the_results(words: str) -> None:
    assert told(parse_fault_words(words)) == words


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"do": "kill", "node": 1}, "at_s = None"),
        ({"at_s": True, "do": "kill", "node": 1}, "at_s = True"),
        ({"at_s": -1, "do": "kill", "node": 1}, "at_s = -1"),
        ({"at_s": 1, "do": "explode", "node": 1}, "use one of kill, stop"),
        ({"at_s": 1, "do": "kill"}, 'such as node = "primary"'),
        ({"at_s": 1, "do": "kill", "node": 1.5}, "name one node"),
        ({"at_s": 1, "do": "kill", "apart": [1]}, "wants one node"),
        ({"at_s": 1, "do": "heal", "node": 1}, "leave out node"),
        ({"at_s": 1, "do": "partition"}, "say who is cut off"),
        ({"at_s": 1, "do": "partition", "apart": "01"}, "such as [0, 1]"),
        ({"at_s": 1, "do": "slow", "node": 1}, "wants delay_ms"),
        ({"at_s": 1, "do": "kill", "node": 1, "delay_ms": 5}, "wants delay_ms"),
        ({"at_s": 1, "do": "slow", "node": 1, "delay_ms": 0}, "from 1 to"),
        ({"at_s": 1, "do": "slow", "node": 1, "delay_ms": "long"}, "from 1 to"),
        ({"at_s": 1, "do": "kill", "who": 1}, "unknown key who"),
        ("kill", "write a table"),
    ],
)
def test_a_fault_that_says_too_little_or_too_much_is_refused(table: object, why: str) -> None:
    with pytest.raises(InvalidScene) as refused:
        parse_faults([table])

    assert str(refused.value).startswith("faults[0]: ")
    assert why in str(refused.value)


def test_faults_that_are_no_tables_are_refused() -> None:
    with pytest.raises(InvalidScene, match=r"\[\[faults\]\]"):
        parse_faults({"at_s": 1})


@pytest.mark.parametrize("words", ["", "5", "soon kill primary", "5 partition 0,b"])
def test_words_that_are_no_fault_are_refused(words: str) -> None:
    with pytest.raises(InvalidScene, match="--fault"):
        parse_fault_words(words)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("1 kill 4", "there is no node 4"),
        ("1 partition 0,9", "there is no node 9"),
        ("1 kill nobody", "neither primary, backup or same"),
        ("1 continue same", "no fault comes before"),
    ],
)
def test_a_fault_about_a_node_that_is_not_there_is_refused(words: str, why: str) -> None:
    with pytest.raises(InvalidScene, match=why):
        check_faults([parse_fault_words(words)], NAMES)


def test_a_schedule_about_the_nodes_there_are_is_taken() -> None:
    words = ("1 stop primary", "2 continue same", "3 kill hospital-d", "4 partition 0,1")

    check_faults([parse_fault_words(one) for one in words], NAMES)


def test_a_profile_is_a_delay_one_way() -> None:
    assert parse_links("lan") == LAN
    assert [parse_links(one).delay_ms for one in ("0ms", "30ms", "100ms")] == [0, 30, 100]


@pytest.mark.parametrize("text", ["", "wan", "100", "1s", "-1ms", "9999ms"])
def test_a_profile_that_nobody_knows_is_refused(text: str) -> None:
    with pytest.raises(InvalidScene, match="use lan, 30ms, 100ms"):
        parse_links(text)
