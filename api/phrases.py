"""Short phrases about members, times and sizes, of which the sentences of a diagnosis are made."""

from api.facts import Facts, MemberFacts


def state_of(facts: Facts, member: MemberFacts) -> str:
    """Say in a few words what a member does or does not do."""
    name = member.name
    if member.link != "connected":
        reason = f" ({link_reason(member)})" if member.link_reason else ""
        if member.heard_ms is None:
            return f"{name} was never heard{reason}"
        return f"{name} has been silent for {span(member.heard_ms)}{reason}"
    if member.heard_ms is None:
        return f"{name} is connected and has said nothing yet"
    if member.heard_ms > facts.silent_after_ms:
        return f"{name} is connected and has been silent for {span(member.heard_ms)}"
    if member.is_fenced:
        return f"{name} is fenced and signs nothing"
    if member.is_listening:
        return f"{name} has just started and listens before it votes"
    if member.height is not None and member.height + 1 < facts.height:
        return f"{name} is behind, at block {member.height}"
    return f"{name} is heard"


def link_reason(member: MemberFacts) -> str:
    """Return why there is no link; one that the member gave itself loses the mark of that."""
    return member.link_reason.removeprefix("peer.")


def span(elapsed_ms: int) -> str:
    if elapsed_ms < 10_000:
        return f"{elapsed_ms / 1_000:.1f} s"
    if elapsed_ms < 120_000:
        return f"{elapsed_ms // 1_000} s"
    if elapsed_ms < 2 * 3_600_000:
        return f"{elapsed_ms // 60_000} minutes"
    return f"{elapsed_ms // 3_600_000} hours"


def offset(offset_ms: int | None) -> str:
    assert offset_ms is not None, "only offsets that are known are told"
    return f"{span(abs(offset_ms))} {'ahead' if offset_ms > 0 else 'behind'}"


def mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):,.1f} MiB"


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'} {'is' if number == 1 else 'are'}"


def names(names: list[str] | tuple[str, ...]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
