"""Workload files: all of ours are valid, and what is wrong with another is said in a sentence."""

from pathlib import Path

import pytest

from benchmarks.errors import WorkloadInvalid
from benchmarks.workload import load_workload, workload_names


@pytest.mark.parametrize("name", workload_names())
def test_every_workload_of_the_product_is_valid(name: str) -> None:
    workload = load_workload(name)

    assert workload.name == name
    assert workload.title


def test_the_product_has_the_workloads_it_promises() -> None:
    promised = {"register", "grant", "revoke", "put", "read", "hospital_day", "blobs"}

    assert promised <= set(workload_names())


def test_what_is_said_on_the_command_line_counts_more_than_the_file() -> None:
    workload = load_workload("grant", {"seconds": 7.5, "warmup_s": 1, "patients": 3})

    assert (workload.seconds, workload.warmup_s, workload.patients) == (7.5, 1, 3)
    assert workload.shares == {"grant": 1}


def test_a_workload_of_ones_own_is_named_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "night.toml"
    file.write_text('title = "A night"\nfractions = [0.5]\n[shares]\nread = 3\ngrant = 1\n')

    workload = load_workload(str(file))

    assert (workload.name, workload.fractions) == ("night", (0.5,))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title = [", "cannot be read as TOML"),
        ("[shares]\ngrant = 1", "`title` says in a few words"),
        ('title = "x"', "either [shares] or `blob_bytes`"),
        ('title = "x"\npatient = 3\n[shares]\ngrant = 1', "no key 'patient'; known: batch_ms"),
        ('title = "x"\npatients = 0\n[shares]\ngrant = 1', "`patients` is a whole number from 1"),
        ('title = "x"\npatients = 2.5\n[shares]\ngrant = 1', "not 2.5"),
        ('title = "x"\npatients = true\n[shares]\ngrant = 1', "not True"),
        ('title = "x"\nseconds = 4\nwarmup_s = 4\n[shares]\ngrant = 1', "leaves nothing of a run"),
        ('title = "x"\n[shares]\ngive = 1', "no kind 'give'; known: grant, put, read"),
        ('title = "x"\n[shares]\ngrant = 0', "`shares.grant` is a whole number from 1"),
        ('title = "x"\n[shares]\ngrant = 1\nrevoke = 2', "more rights are taken back than given"),
        ('title = "x"\nrecords = 0\n[shares]\nread = 1', "reads need `records`"),
        ('title = "x"\nfractions = [0]\n[shares]\ngrant = 1', "a fraction is above 0"),
        ('title = "x"\nfractions = ["a"]\n[shares]\ngrant = 1', "`fractions` are numbers"),
        ('title = "x"\nblob_bytes = [0]', "`blob_bytes` is a whole number"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_sentence(
    tmp_path: Path, text: str, told: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)

    with pytest.raises(WorkloadInvalid) as raised:
        load_workload(str(file))

    assert told in str(raised.value)
    assert "mine.toml" in str(raised.value)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(WorkloadInvalid, match=r"name one of .*grant, "):
        load_workload("holiday")
