import re
from pathlib import Path

from p2p.frames import CONTROL_BYTES_MAX, FIRST_KIND, HEADER_BYTES, Control
from p2p.lanes import DROPPABLE, Lane

PAGE = Path(__file__).resolve().parents[3] / "docs" / "p2p.md"


def body_bytes_max(text: str) -> int:
    """The upper end of what the page says about a body: `u32`, `8` or `1..64, a code`."""
    return 4 if text == "u32" else int(re.findall(r"\d+", text)[-1])


def test_the_page_lists_the_kinds_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)

    assert {(int(kind), name) for kind, name, _ in rows} == {
        (control.value, control.name) for control in Control
    }


def test_the_page_gives_the_sizes_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| [A-Z_]+ \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)

    sizes = {int(kind): body_bytes_max(body) for kind, body in rows}

    assert sizes == {int(control): bytes_max for control, bytes_max in CONTROL_BYTES_MAX.items()}
    assert f"Kinds from\n{FIRST_KIND} belong" in PAGE.read_text()
    assert f"{HEADER_BYTES} bytes of header" in PAGE.read_text()


def test_the_page_says_which_lanes_drop() -> None:
    rows = dict(re.findall(r"^\| ([A-Z]+) \| [^|]+ \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE))

    assert set(rows) == {lane.name for lane in Lane}
    assert {name for name, end in rows.items() if "drops" in end} == {
        lane.name for lane in DROPPABLE
    }
