"""Breadth-first search over every interleaving within the bounds.

A state of the model is the correct replicas and the soup of what they have said; the liar has no
state, as it can say at any time whatever its repertoire allows. A step of one replica depends on
that replica and on the soup alone, and `handle` is pure: so each is played once, remembered, and
from then on a few look-ups. Replicas are numbered as they are found.

A restart is one step, from any place between two effects of another step, or from rest. While a
replica is down it neither says nor hears anything, so to be down for a while is the same as to
restart at once and take no step for a while.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from consensus.effects import Decide
from consensus.state import height_of
from crypto.hashing import Digest
from crypto.votes import CommitCertificate
from tests.model.bounds import Bounds
from tests.model.repertoire import proofs
from tests.model.replica import Disk, Local, Said, Stage, Violation, begin, boot, end, identity
from tests.model.soup import Soup, bit_of, contradiction, proof_bit, seen_at
from tests.model.steps import Known, Step, steps

KNOWN_MAX = 5_000
"""Soups for which what can be handed is remembered."""

State: TypeAlias = tuple[int, ...]
"""The numbers of the correct replicas, ascending by replica, and then the mask of the soup."""


@dataclass(frozen=True, slots=True)
class Move:
    """A step as it is remembered: where it leads, and which bits it adds to the soup, in order.

    `restarts`: it ends with a restart; `broken`: what it breaks by itself.
    """

    name: str
    target: int
    bits: tuple[int, ...] = ()
    mask: int = 0
    restarts: bool = False
    broken: str | None = None


@dataclass(slots=True)
class Model:
    """What is remembered of one search: replicas by number, and their moves."""

    bounds: Bounds
    soup: Soup = field(default_factory=Soup)
    locals: list[Local] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)  # Heights on the disk of each.
    numbers: dict[tuple[int, Hashable], int] = field(default_factory=dict)
    played: dict[tuple[int, str], tuple[Move, ...]] = field(default_factory=dict)
    moves: dict[tuple[int, int], tuple[Move, ...]] = field(default_factory=dict)
    forgotten: dict[tuple[int, int], int] = field(default_factory=dict)
    decided: set[tuple[int, int]] = field(default_factory=set)  # Heights, and views that decided.
    known: dict[tuple[Digest, int], Known] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a search went: distinct states, depth, and the shortest way to a violation if any."""

    bounds: Bounds
    states: int
    transitions: int
    depth: int
    replica_states: int
    is_complete: bool
    decided: frozenset[tuple[int, int]]
    violation: str | None
    path: tuple[str, ...]


def explore(
    bounds: Bounds, *, states_max: int | None = None, after: tuple[str, ...] = ()
) -> Result:
    """Search everything within the bounds, or until something is broken.

    `after`: steps that have been taken already, to look closely at one corner.
    """
    model = Model(bounds)
    begins = start(model)
    for line in after:
        replica, name = line.split(" ", 1)
        begins, _, broken = apply_named(model, begins, int(replica), name)
        if broken is not None:
            return _result(model, {begins: None}, 0, 0, violation=broken, path=after)
    came: dict[State, tuple[State, str] | None] = {begins: None}
    frontier, depth, transitions = [begins], 0, 0
    while frontier:
        if states_max is not None and len(came) >= states_max:
            return _result(model, came, transitions, depth, is_complete=False)
        following: list[State] = []
        for state in frontier:
            for at, move in _moves(model, state):
                transitions += 1
                target = _after(model, state, at, move)
                if target in came:
                    continue
                came[target] = (state, f"{bounds.correct[at]} {move.name}")
                broken = move.broken or contradiction(model.soup, state[-1], move.bits)
                if broken is not None:
                    path = (*after, *path_to(came, target))
                    return _result(model, came, transitions, depth + 1, violation=broken, path=path)
                following.append(target)
        frontier = following
        depth += bool(frontier)
    return _result(model, came, transitions, depth)


def path_to(came: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    """Return the steps that led to a state; breadth first, so none are fewer."""
    lines: list[str] = []
    while (before := came[state]) is not None:
        state, line = before
        lines.append(line)
    return tuple(reversed(lines))


def start(model: Model) -> State:
    """Everybody has started for the first time; nothing was said but heartbeats."""
    numbers = []
    for replica in model.bounds.correct:
        stage = boot(model.bounds, replica, None, 0)
        assert not stage.said, "a new replica has nothing to say"
        numbers.append(_number(model, replica, end(stage)))
    return (*numbers, 0)


def apply_named(
    model: Model, state: State, replica: int, name: str
) -> tuple[State, list[Said], str | None]:
    """Take the one step of a replica that has this name; return what it said, and what broke.

    Raises `AssertionError` if no step has: then the names of those that are possible are said.
    """
    at = model.bounds.correct.index(replica)
    local = model.locals[state[at]]
    seen = state[-1] & seen_at(model.soup, height_of(local.state))
    possible = {move.name: move for move in _find_moves(model, at, state[at], seen)}
    assert name in possible, f"{replica} cannot: {name}\npossible are:\n" + "\n".join(possible)
    move = possible[name]
    broken = move.broken or contradiction(model.soup, state[-1], move.bits)
    said = [
        one
        for bit in move.bits
        if not isinstance(one := model.soup.said[bit][1], CommitCertificate)
    ]
    return _after(model, state, at, move), said, broken


def _moves(model: Model, state: State) -> Iterator[tuple[int, Move]]:
    """Return every move from a state; the restarts too as long as some are left."""
    mask = state[-1]
    left = model.bounds.restarts - sum(model.locals[one].boots for one in state[:-1])
    for at, number in enumerate(state[:-1]):
        local = model.locals[number]
        seen = mask & seen_at(model.soup, height_of(local.state))
        moves = model.moves.get((number, seen))
        if moves is None:
            moves = _without_idle(number, _find_moves(model, at, number, seen))
            model.moves[number, seen] = moves
        for move in moves:
            if not move.restarts or left > 0:
                yield at, move


def _after(model: Model, state: State, at: int, move: Move) -> State:
    numbers = (*state[:at], move.target, *state[at + 1 : -1])
    mask = state[-1] | move.mask
    if move.broken is None:
        settled = min(model.settled[number] for number in numbers)
        if settled:
            mask = _forget(model, numbers, mask, settled)
    return (*numbers, mask)


def _forget(model: Model, numbers: State, mask: int, settled: int) -> int:
    """Drop the votes of heights that every correct replica has on disk: nobody goes back there.

    What is left of them is which certificates of the last one exist.
    """
    kept = model.forgotten.get((mask, settled))
    if kept is None:
        block = model.locals[numbers[0]].stored[settled - 1].block
        kept = mask
        found = list(proofs(model.bounds, model.soup, mask, block.height, block.digest))
        for height in range(1, settled + 1):
            kept &= ~model.soup.of_height.get(height, 0)
        for certificate in found:
            kept |= 1 << proof_bit(model.soup, certificate)
        model.forgotten[mask, settled] = kept
    return kept


def _without_idle(number: int, moves: list[Move]) -> tuple[Move, ...]:
    """Leave out steps that change nothing, and all but the first of those that do the same."""
    same = {
        (move.target, move.mask, move.broken, move.restarts): move
        for move in reversed(moves)
        if move.target != number or move.mask
    }
    return tuple(same.values())


def _find_moves(model: Model, at: int, number: int, mask: int) -> list[Move]:
    bounds, local = model.bounds, model.locals[number]
    replica = bounds.correct[at]
    found: list[Move] = []
    if len(model.known) > KNOWN_MAX:
        model.known.clear()
    known = model.known.setdefault((local.state.tip.digest, mask), {})
    for step in steps(bounds, model.soup, mask, local, known):
        played = model.played.get((number, step.name))
        if played is None:
            played = tuple(_play(model, replica, number, step))
            model.played[number, step.name] = played
        found += played
    if bounds.restarts > local.boots and height_of(local.state) <= bounds.heights:
        disk = (local.journal, local.stored)
        found.append(_restart(model, replica, local, disk, (), "restarts"))
    return found


def _play(model: Model, replica: int, number: int, step: Step) -> Iterator[Move]:
    """Play a step whole, and up to every place where the replica may die."""
    local = model.locals[number]
    stage = begin(model.bounds, replica, local)
    broken = _catching(stage, step)
    for one in stage.said:
        if isinstance(one, Decide):
            model.decided.add((one.block.height, one.certificate.view))
    said = tuple(bit_of(model.soup, replica, one) for one in stage.said)
    if broken is not None:
        yield Move(step.name, -1, said, sum(1 << one for one in set(said)), broken=broken)
        return
    target = _number(model, replica, end(stage))
    yield Move(step.name, target, said, sum(1 << one for one in set(said)))
    if model.bounds.restarts > local.boots:
        for place, (disk, count) in enumerate(stage.boundaries, start=1):
            name = f"{step.name}, and restarts after {place} of {len(stage.boundaries)} effects"
            yield _restart(model, replica, local, disk, said[:count], name)


def _catching(stage: Stage, step: Step) -> str | None:
    """Play a step; return what it breaks by itself, a raising core (X1) included."""
    try:
        step.play(stage)
    except Violation as problem:
        return str(problem)
    except (AssertionError, LookupError, ValueError, TypeError, AttributeError) as problem:
        return f"X1: replica {stage.replica} raises {type(problem).__name__}: {problem}"
    return None


def _restart(
    model: Model, replica: int, local: Local, disk: Disk, said: tuple[int, ...], name: str
) -> Move:
    try:
        stage = boot(model.bounds, replica, disk, local.boots + 1)
    except Violation as problem:
        return Move(name, -1, said, 0, restarts=True, broken=str(problem))
    repeated = (bit_of(model.soup, replica, one) for one in stage.said)
    bits = (*said, *repeated)
    mask = sum(1 << one for one in set(bits))
    return Move(name, _number(model, replica, end(stage)), bits, mask, restarts=True)


def _number(model: Model, replica: int, local: Local) -> int:
    key = (replica, identity(local, model.bounds.heights))
    number = model.numbers.get(key)
    if number is None:
        number = model.numbers[key] = len(model.locals)
        model.locals.append(local)
        model.settled.append(len(local.stored))
    return number


def _result(
    model: Model,
    came: dict[State, tuple[State, str] | None],
    transitions: int,
    depth: int,
    *,
    is_complete: bool = True,
    violation: str | None = None,
    path: tuple[str, ...] = (),
) -> Result:
    return Result(
        bounds=model.bounds,
        states=len(came),
        transitions=transitions,
        depth=depth,
        replica_states=len(model.locals),
        is_complete=is_complete and violation is None,
        decided=frozenset(model.decided),
        violation=violation,
        path=path,
    )
