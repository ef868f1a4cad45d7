"""From a path of the model to a script that plays it again, and back.

    model n=4 heights=1 views=1 restarts=1 liar=2
    0 proposes
    | 0 persists proposal, pre_prepare
    | 0 sends pre_prepare v0 h1v0r0a
    1 is handed pre_prepare v0 h1v0r0a
    broken S1: ...

The first line gives the bounds; each line after it is one step, named as the search names it; the
lines that open with `| ` say what the replica did. `broken` on the last line says what must be
found there; without it everything holds. A script is a scenario file like any other, so a bug that
was found stays found.
"""

from pathlib import Path

from consensus.effects import Decide
from consensus.messages import NewView, PrePrepare, ViewChange
from tests.model.bounds import Bounds, name_of
from tests.model.explore import Model, Result, State, apply_named, start
from tests.model.repertoire import describe_new_view, describe_report
from tests.model.replica import Said

OPENING = "model "
BROKEN = "broken "
OUTPUT = "| "


def script_of(result: Result) -> str:
    """Return the path of a result as a script, without what the replicas did."""
    lines = [header(result.bounds), *result.path]
    if result.violation is not None:
        lines.append(BROKEN + result.violation)
    return "\n".join(lines) + "\n"


def write_script(result: Result, folder: Path) -> Path:
    """Write the script of a violation where it can be found; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"liar{result.bounds.byzantine}_{len(result.path)}_steps.txt"
    path.write_text(play(script_of(result)), encoding="utf-8")
    return path


def header(bounds: Bounds) -> str:
    marks = [
        f"n={bounds.replicas}",
        f"heights={bounds.heights}",
        f"views={bounds.view_max}",
        f"restarts={bounds.restarts}",
        f"liar={bounds.byzantine}",
    ]
    marks += ["leaves"] if bounds.leaves else []
    marks += ["apart"] if bounds.executes_apart else []
    return OPENING + " ".join(marks)


def read_header(line: str) -> Bounds:
    words = line.removeprefix(OPENING).split()
    numbers = dict(word.split("=") for word in words if "=" in word)
    return Bounds(
        replicas=int(numbers["n"]),
        heights=int(numbers["heights"]),
        view_max=int(numbers["views"]),
        restarts=int(numbers["restarts"]),
        byzantine=int(numbers["liar"]),
        leaves="leaves" in words,
        executes_apart="apart" in words,
    )


def is_path(text: str) -> bool:
    return any(line.startswith(OPENING) for line in text.splitlines())


def play(text: str) -> str:
    """Play a script step by step; return it with what the replicas did below each step.

    Raises `AssertionError` for a step that is not possible there, for an invariant that breaks
    where the script does not say so, and for one that holds although it says so.
    """
    model: Model | None = None
    state: State = ()
    broken: str | None = None
    out: list[str] = []
    for line in text.splitlines():
        if line.startswith(OUTPUT):
            continue
        out.append(line)
        if not line.strip() or line.startswith("#"):
            continue
        if model is None:
            model = Model(read_header(line))
            state = start(model)
        elif line.startswith(BROKEN):
            assert broken == line.removeprefix(BROKEN), f"not broken there, but: {broken}"
            broken = None
        else:
            assert broken is None, f"{broken}\n" + "\n".join(out)
            replica, name = line.split(" ", 1)
            state, said, broken = apply_named(model, state, int(replica), name)
            out += [f"{OUTPUT}{replica} {describe(one)}" for one in said]
    assert broken is None, f"{broken}\n" + "\n".join(out)
    return "\n".join(out) + "\n"


def describe(said: Said) -> str:
    match said:
        case Decide(block=block):
            return f"decides {name_of(block.digest)}"
        case NewView():
            return f"sends {describe_new_view(said)}"
        case ViewChange():
            return f"sends view_change v{said.view} {describe_report(said)}"
        case PrePrepare():
            return f"sends pre_prepare v{said.view} {name_of(said.digest)}"
        case _:
            kind = type(said).__name__.lower()
            return f"sends {kind} v{said.view} {name_of(said.digest)}"
