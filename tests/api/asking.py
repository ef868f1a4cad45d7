"""Asking a real server over real sockets, with sessions for whom a test names."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from api.app import RunningApi, start_api
from api.context import ApiConfig
from crypto.record_ids import AccountId
from crypto.schema import encode
from crypto.signatures import key_id, public_key, sign_preimage
from crypto.validators import ReplicaId
from ledger.exchange import SessionClaim, session_preimage
from tests.api.ports_in_memory import MemoryNode
from tests.unit.ledger.small_consortium import account_of, signing_key

MSGPACK = "application/msgpack"


@dataclass(slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a refusal, with the form that every refusal has."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.body
        problem = self.json
        assert set(problem) == {"type", "title", "status", "code", "detail", "definite"}
        assert problem["status"] == self.status
        assert isinstance(problem["definite"], bool)
        assert "Traceback" not in problem["detail"]
        return str(problem["code"])


@dataclass(slots=True)
class Server:
    node: MemoryNode
    api: RunningApi
    http: aiohttp.ClientSession
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api.port}"

    async def ask(
        self,
        method: str,
        path: str,
        *,
        by: str | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        """Send a request, in the session of the person labelled `by` if one is named."""
        sent = dict(headers or {})
        if by is not None:
            sent["Authorization"] = f"Bearer {await self.token(by)}"
        async with self.http.request(method, self.url + path, headers=sent, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, by: str | None = None, **options: Any) -> Answer:
        return await self.ask("GET", path, by=by, **options)

    async def post_wire(self, path: str, wire: Any, by: str | None = None) -> Answer:
        headers = {"Content-Type": MSGPACK}
        return await self.ask("POST", path, by=by, headers=headers, data=encode(wire))

    async def token(self, label: str) -> str:
        if label not in self.tokens:
            answer = await self.open_session(label)
            assert answer.status == 201, answer.body
            self.tokens[label] = answer.json["token"]
        return self.tokens[label]

    async def challenge(self, label: str) -> bytes:
        body = {"account": account_of(label).hex()}
        answer = await self.ask("POST", "/v1/sessions/challenge", json=body)
        assert answer.status == 200, answer.body
        return bytes.fromhex(answer.json["nonce"])

    async def open_session(self, label: str, **changes: Any) -> Answer:
        """Open a session; `changes` replace parts of what is signed, `sent` parts after that."""
        sent_instead = changes.pop("sent", {})
        signer = changes.pop("signer", label)
        nonce = changes.pop("nonce", None) or await self.challenge(label)
        now_ms = self.node.clock_ms()
        claim = SessionClaim(
            **{
                "chain_id": self.node.chain_id,
                "node_index": ReplicaId(self.node.node_index),
                "origin": self.url,
                "account": AccountId(account_of(label)),
                "key_id": key_id(public_key(signing_key(signer))),
                "nonce": nonce,
                "issued_ms": now_ms,
                "expires_ms": now_ms + 60_000,
                **changes,
            }
        )
        body = {
            "account": claim.account.hex(),
            "key_id": claim.key_id.hex(),
            "nonce": claim.nonce.hex(),
            "origin": claim.origin,
            "issued_ms": claim.issued_ms,
            "expires_ms": claim.expires_ms,
            "signature": sign_preimage(signing_key(signer), session_preimage(claim)).hex(),
            **sent_instead,
        }
        return await self.ask("POST", "/v1/sessions", json=body)


@asynccontextmanager
async def running(node: MemoryNode, config: ApiConfig | None = None) -> AsyncIterator[Server]:
    """A server for the node, and a way to ask it, until the end."""
    api = await start_api(node.ports(), host="127.0.0.1", port=0, config=config)
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as http:
            yield Server(node, api, http)
    finally:
        await api.close()
