"""A client: one person's keys, one node to talk to, and the founders it trusts.

Whatever is done with it stands in the modules beside: `client.records`, `client.access`,
`client.people`. A client acts for one account, or for nobody while that account does not exist yet.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from client.epochs import follow_epochs
from client.errors import (
    AnswerRejected,
    LocalError,
    NotReachable,
    OutcomeRejected,
    Untrusted,
)
from client.http import Node, Patience, get_bytes, open_node
from client.proving import fetch_entries, prove, scan_entries
from client.seen import HEIGHT_END, keep_seen, load_seen_epochs, load_seen_height
from client.session import find_node_index, open_session
from client.transactions import Outcome, submit
from client.trust import ProvenView, Trust, check_header, make_trust
from client.wallet import Keys, Wallet, find_keys
from crypto.errors import DecodeError
from crypto.hashing import ChainId, Digest
from crypto.schema import decode
from crypto.validators import ReplicaId
from genesis.document import GenesisDocument, chain_id_of
from genesis.errors import GenesisError
from genesis.files import FILE_BYTES_MAX, load_genesis, parse_genesis
from ledger.exchange import SealedHeader

T = TypeVar("T")

GENESIS_NAME: Final = "genesis.json"


@dataclass(slots=True, kw_only=True)
class Client:
    """An open connection.

    `keys` are those of the account it acts for; `height` is the last block that holds a transaction
    of this client: what it proves from then on is at least as new.
    """

    node: Node
    trust: Trust
    node_index: ReplicaId
    founding: GenesisDocument
    wallet: Wallet
    keys: Keys | None
    height: int = 0

    @property
    def chain_id(self) -> ChainId:
        return self.trust.chain_id

    @property
    def actor(self) -> Keys:
        """The keys of the account it acts for; raises `LocalError` if it acts for nobody."""
        if self.keys is None:
            raise LocalError("say who acts: --as LABEL", code="client.no_actor")
        return self.keys


@asynccontextmanager
async def open_client(
    urls: str | Sequence[str],
    genesis: GenesisDocument | Path,
    wallet: Wallet,
    *,
    actor: str | None = None,
    patience: Patience | None = None,
) -> AsyncIterator[Client]:
    """Connect to the first node of `urls` that answers, and open a session for `actor`.

    `genesis` is the pinned founding document. Raises `NotReachable` if no node answers,
    `Untrusted` if one is of another chain, `UnknownLabel` for an actor without keys here.
    """
    document = load_genesis(genesis) if isinstance(genesis, Path) else genesis
    trust = make_trust(document)
    trust.height = load_seen_height(wallet.home, trust.chain_id)
    load_seen_epochs(wallet.home, trust)
    keys = None if actor is None else find_keys(wallet, actor)
    async with AsyncExitStack() as stack:
        candidates = [urls] if isinstance(urls, str) else list(urls)
        node, node_index = await _first_reachable(stack, candidates, trust, patience)
        client = Client(
            node=node,
            trust=trust,
            node_index=node_index,
            founding=document,
            wallet=wallet,
            keys=keys,
        )
        stack.callback(lambda: keep_seen(wallet.home, trust))
        if keys is not None:
            await open_session(node, trust, keys, node_index=node_index)
        yield client


async def pin_genesis(home: Path, url: str, chain_id: ChainId) -> GenesisDocument:
    """Fetch the founding document of a chain id given by somebody trusted, and keep it in `home`.

    Raises `Untrusted` if the node's document is not the one of that id.
    """
    async with open_node(url) as node:
        text = await get_bytes(node, "/v1/genesis", bytes_max=FILE_BYTES_MAX)
    try:
        document = parse_genesis(text, title=url)
    except GenesisError as problem:
        raise Untrusted(f"{url}: {problem}", code="trust.genesis") from problem
    if chain_id_of(document) != chain_id:
        raise Untrusted(
            f"{url} is of chain {chain_id_of(document).hex()[:16]}, wanted is "
            f"{chain_id.hex()[:16]}; check the address",
            code="trust.wrong_chain",
        )
    await asyncio.to_thread(_keep_genesis, home, text)
    return document


async def ask(
    client: Client,
    question: Callable[[ProvenView], T],
    keys: Iterable[bytes] = (),
    *,
    at_least_height: int = 0,
) -> T:
    """Return a pure function's answer over proven state (`client.proving.prove`)."""
    answer, _ = await ask_view(client, question, keys, at_least_height=at_least_height)
    return answer


async def ask_view(
    client: Client,
    question: Callable[[ProvenView], T],
    keys: Iterable[bytes] = (),
    *,
    at_least_height: int = 0,
) -> tuple[T, ProvenView]:
    """The same, with the view it was answered from."""
    least = max(client.height, at_least_height)
    return await prove(
        client.node,
        client.trust,
        question,
        keys,
        at_least_height=least,
        is_following=client.keys is not None,
    )


async def entries(client: Client, keys: Iterable[bytes]) -> ProvenView:
    """Return proven entries, at most 256."""
    wanted = tuple(dict.fromkeys(keys))
    return await fetch_entries(client.node, client.trust, wanted, at_least_height=client.height)


async def scan(client: Client, prefix: bytes) -> ProvenView:
    """Return the proven entries under a prefix; a node may leave some out."""
    return await scan_entries(client.node, client.trust, prefix, at_least_height=client.height)


async def later_heights(client: Client) -> AsyncIterator[int]:
    """Yield heights to look at, one after the other, for something that others have just done.

    First whatever the node has certified; then the newest block it has that may change the state;
    last its newest block, which is certified with the next: then even a block that had not reached
    this node has. On an idle chain that takes as long as an idle block.
    """
    yield 0
    path = "/v1/headers/latest"
    body = await get_bytes(client.node, path, bytes_max=SealedHeader.WIRE_BYTES_MAX)
    try:
        sealed = decode(SealedHeader, body)
    except DecodeError as problem:
        raise AnswerRejected(f"{path}: not a sealed header: {problem}") from problem
    await follow_epochs(client.node, client.trust, sealed.header.epoch)
    header = check_header(client.trust, sealed)
    if header.tx_count:
        yield header.height
        return
    yield header.height - 1
    yield header.height


async def act(
    client: Client,
    kind: str,
    payload: Any,
    *,
    sidecars: Sequence[tuple[Digest, bytes]] = (),
) -> Outcome:
    """Sign, submit and wait for the receipt; raise `Refused` or `OutcomeUnknown`.

    `sidecars` are (digest, content) pairs.
    """
    outcome = await submit(
        client.node, client.trust, client.actor, kind, payload, sidecars=sidecars
    )
    if not 0 < outcome.height < HEIGHT_END:
        raise AnswerRejected(f"the node names block {outcome.height}, which no chain has")
    client.height = max(client.height, outcome.height)
    return outcome


def check_done(outcome: Outcome, what: str, *, is_done: bool) -> None:
    """Raise `OutcomeRejected` unless proven state shows what the node says was committed.

    A receipt is the node's word: one that keeps a transaction to itself can say that all is well.
    """
    if not is_done:
        raise OutcomeRejected(
            f"the node says that block {outcome.height} holds transaction {outcome.tx_id.hex()}, "
            f"but proven state does not show that {what}; ask another node"
        )


def _keep_genesis(home: Path, text: bytes) -> None:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / GENESIS_NAME).write_bytes(text)


@asynccontextmanager
async def acting_as(client: Client, keys: Keys) -> AsyncIterator[Node]:
    """Open a second session at the same node, for other keys of the wallet: a key agent's, say."""
    async with open_node(client.node.url, patience=client.node.patience) as node:
        await open_session(node, client.trust, keys, node_index=client.node_index)
        yield node


async def _first_reachable(
    stack: AsyncExitStack,
    urls: Sequence[str],
    trust: Trust,
    patience: Patience | None,
) -> tuple[Node, ReplicaId]:
    reasons = []
    for url in urls:
        node = await stack.enter_async_context(open_node(url, patience=patience))
        try:
            return node, await find_node_index(node, trust)
        except NotReachable as problem:
            reasons.append(str(problem))
    raise NotReachable("; ".join(reasons) or "no node's address is given; use --node URL")
