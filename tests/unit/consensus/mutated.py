"""Messages that a liar makes of valid ones: fields, lists and certificates bent one by one.

A mutation works on the plain tuples below the codec, so that most of what comes out still parses:
random bytes seldom get past the first length.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Final

from crypto.encoding import pack
from crypto.schema import to_plain

Path = tuple[int, ...]
EDGES: Final = (0, 1, 2, 3, 4, 9, 64, 2**16 - 1, 2**32 - 1, 2**63, 2**64 - 1)


def mutate(message: object, others: Sequence[object], draw: random.Random) -> bytes:
    """The encoding of a wire-type value with one to three of its parts replaced."""
    plain: object = to_plain(message)
    parts = [part for one in (message, *others) for _, part in walk(to_plain(one))]
    for _ in range(draw.randint(1, 3)):
        places = [path for path, _ in walk(plain) if path not in {(), (0,)}]  # Keep the tag.
        path = draw.choice(places)
        plain = replaced(plain, path, bend(at(plain, path), parts, draw))
    return pack(plain)


def walk(plain: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """Every part of a plain value with the way to it."""
    yield path, plain
    if isinstance(plain, tuple):
        for index, item in enumerate(plain):
            yield from walk(item, (*path, index))


def at(plain: object, path: Path) -> object:
    for index in path:
        assert isinstance(plain, tuple), "paths lead through arrays"
        plain = plain[index]
    return plain


def replaced(plain: object, path: Path, part: object) -> object:
    if not path:
        return part
    assert isinstance(plain, tuple), "paths lead through arrays"
    index, rest = path[0], path[1:]
    return (*plain[:index], replaced(plain[index], rest, part), *plain[index + 1 :])


def bend(part: object, parts: Sequence[object], draw: random.Random) -> object:
    """Another value of the same kind, now and then of another kind."""
    if draw.random() < 0.1:
        return draw.choice(parts)
    if draw.random() < 0.2:
        return draw.choice([one for one in parts if type(one) is type(part)])
    match part:
        case bool():
            return not part
        case int():
            return draw.choice((*EDGES, min(part + 1, EDGES[-1]), max(part - 1, 0)))
        case bytes():
            return bent_bytes(part, draw)
        case tuple():
            return bent_tuple(part, draw)
        case _:
            return draw.choice(parts)


def bent_bytes(part: bytes, draw: random.Random) -> bytes:
    if not part or draw.random() < 0.1:
        return part + b"\x00"
    index = draw.randrange(len(part))
    return part[:index] + bytes([part[index] ^ 1 << draw.randrange(8)]) + part[index + 1 :]


def bent_tuple(part: tuple[object, ...], draw: random.Random) -> tuple[object, ...]:
    """The same items with one twice, one gone, or in another order."""
    if not part:
        return part
    index = draw.randrange(len(part))
    match draw.randrange(3):
        case 0:
            return (*part[:index], part[index], *part[index:])
        case 1:
            return (*part[:index], *part[index + 1 :])
        case _:
            return tuple(draw.sample(part, len(part)))
