"""Times as people write them, passphrases, logs, and the files of the demonstration."""

import json
import logging
import re
import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.logs import EventFormatter, start_logging
from commands.output import Exit
from commands.passphrase import read_passphrase
from commands.samples import PICTURE_SIDE, fhir_bundle, pdf_letter, png_image
from commands.times import parse_time_ms, time_text

NOW_MS = 1_795_240_000_000


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("90s", NOW_MS + 90_000),
        ("5m", NOW_MS + 300_000),
        ("12h", NOW_MS + 43_200_000),
        ("7d", NOW_MS + 604_800_000),
        ("2w", NOW_MS + 1_209_600_000),
        ("2026-12-24", 1_798_070_400_000),
        ("2026-12-24T18:00", 1_798_135_200_000),
        ("2026-12-24T18:00+02:00", 1_798_128_000_000),
        ("2026-12-24T18:00:00.001Z", 1_798_135_200_001),
        ("1969-12-31T23:59:59.999", -1),
        (None, None),
    ],
)
def test_times_are_read_as_people_write_them(text: str | None, time_ms: int | None) -> None:
    assert parse_time_ms(text, now_ms=NOW_MS, option="--until") == time_ms


@pytest.mark.parametrize(
    "text", ["", "soon", "7", "d", "-7d", "1.5d", "7 d", "2026-13-01", "1234567d"]
)
def test_what_is_no_time_is_wrong_usage(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_time_ms(text, now_ms=NOW_MS, option="--until")

    assert ended.value.code == Exit.USAGE
    assert capsys.readouterr().err.endswith("[time.form]\n")


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)))  # noqa: DTZ001 - made aware below
def test_a_time_that_is_shown_can_be_given_back(moment: datetime) -> None:
    time_ms = int(moment.replace(microsecond=0, tzinfo=UTC).timestamp()) * 1000

    assert parse_time_ms(time_text(time_ms), now_ms=NOW_MS, option="--from") == time_ms


def test_a_time_behind_the_calendar_can_be_shown() -> None:
    assert time_text(2**62).endswith(":27")
    assert time_text(253_402_300_800_000) == "10000-01-01 00:00:00"


def test_the_passphrase_is_the_first_line_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes("ä b c\r\nand no more\n".encode())
    monkeypatch.setenv("MEDLEDGER_PASSPHRASE", "another")

    assert read_passphrase(file, what="a wallet") == "ä b c"


def test_without_a_file_the_environment_has_the_passphrase(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MEDLEDGER_PASSPHRASE", "from outside")

    assert read_passphrase(None, what="a wallet") == "from outside"


@pytest.mark.parametrize("content", [b"", b"\nsecond line\n", b"\xff\xfe\n", None])
def test_a_file_without_a_passphrase_ends_the_command(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "passphrase"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SystemExit) as ended:
        read_passphrase(file, what="a wallet")

    assert ended.value.code == Exit.LOCAL
    assert capsys.readouterr().err.endswith("[passphrase.file]\n")


def test_nobody_is_asked_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_passphrase(None, what="the wallet in here")

    assert ended.value.code == Exit.USAGE
    captured = capsys.readouterr()
    assert "the wallet in here" in captured.err
    assert captured.err.endswith("[passphrase.missing]\n")


def event(text: str, **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("medledger.test", logging.WARNING, "f", 1, text, (), None)
    record.created, record.msecs = 1_795_240_000.25, 250.0
    vars(record).update(fields)
    return record


def test_an_event_in_json_holds_its_fields() -> None:
    told = json.loads(EventFormatter(as_json=True).format(event("block", height=3, path=Path("x"))))

    assert told == {
        "time": "2026-11-21T05:46:40.250Z",
        "level": "warning",
        "logger": "medledger.test",
        "event": "block",
        "height": 3,
        "path": "x",
    }


@pytest.mark.parametrize("as_json", [True, False])
def test_no_peer_can_write_a_line_of_its_own_into_the_log(*, as_json: bool) -> None:
    forged = event("refused", reason="bad\n2026-11-21T05:46:40.250Z info all is well\x1b[2J")

    line = EventFormatter(as_json=as_json).format(forged)

    assert "\n" not in line
    assert "\x1b" not in line
    assert "all is well" in line


def test_an_event_as_text_is_one_line() -> None:
    line = EventFormatter(as_json=False).format(event("block", height=3, peer="ä"))

    assert line == "2026-11-21T05:46:40.250Z warning medledger.test block height=3 peer=ä"


def test_an_exception_stands_beside_its_event() -> None:
    problem = OSError("the disk is gone")
    record = event("failed")
    record.exc_info = (OSError, problem, None)

    told = json.loads(EventFormatter(as_json=True).format(record))

    assert told["exception"].endswith("OSError: the disk is gone")


def test_only_our_own_events_follow_the_level(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root, ours = logging.getLogger(), logging.getLogger("medledger")
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    before = (root.level, ours.level)
    try:
        start_logging("debug", as_json=False)
        logging.getLogger("medledger.test").debug("ours")
        logging.getLogger("somebody.else").info("theirs")
    finally:
        root.setLevel(before[0])
        ours.setLevel(before[1])

    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "debug medledger.test ours" in err


def test_the_bundle_is_fhir_and_speaks_of_one_patient() -> None:
    bundle = json.loads(fhir_bundle())

    resources = [entry["resource"] for entry in bundle["entry"]]
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "collection")
    assert len({(one["resourceType"], one["id"]) for one in resources}) == len(resources)
    about = {
        (one.get("subject") or one["patient"])["reference"]
        for one in resources
        if one["resourceType"] != "Patient"
    }
    assert about == {"Patient/anna"}


def test_the_letter_is_a_pdf_whose_table_leads_to_its_objects() -> None:
    document = pdf_letter()

    trailer = re.search(rb"startxref\n(\d+)\n%%EOF\n\Z", document)
    assert trailer is not None
    start = int(trailer[1])
    lines = document[start:].split(b"\n")
    count = int(lines[1].split()[1])
    for number, line in enumerate(lines[3 : 2 + count], 1):
        offset = int(line[:10])
        assert document[offset:].startswith(b"%d 0 obj\n" % number)
    stream = re.search(rb"/Length (\d+) >>\nstream\n(.*)\nendstream", document, re.DOTALL)
    assert stream is not None
    assert int(stream[1]) == len(stream[2])


def test_the_scan_is_a_png_with_a_pixel_for_every_place() -> None:
    picture = png_image()

    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    chunks = {}
    at = 8
    while at < len(picture):
        (length,) = struct.unpack_from(">I", picture, at)
        body = picture[at + 4 : at + 8 + length]
        assert struct.unpack_from(">I", picture, at + 8 + length)[0] == zlib.crc32(body)
        chunks[body[:4]] = body[4:]
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBB", chunks[b"IHDR"][:10]) == (PICTURE_SIDE, PICTURE_SIDE, 8, 0)
    rows = zlib.decompress(chunks[b"IDAT"])
    assert len(rows) == PICTURE_SIDE * (PICTURE_SIDE + 1)
    assert not any(rows[:: PICTURE_SIDE + 1]), "no row is filtered"


def test_the_samples_are_the_same_every_time() -> None:
    assert (fhir_bundle(), pdf_letter(), png_image()) == (fhir_bundle(), pdf_letter(), png_image())
