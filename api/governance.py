"""Who governs and who votes: validators and their epochs, evidence, proposals and their ballots.

All of it is public: whoever reaches the node may ask, and may have it proven (`/v1/state/witness`).
"""

from aiohttp import web

from api.context import Api
from api.errors import ApiError
from api.governance_render import render_evidence, render_node, render_proposal
from api.parsing import path_hex, query_decimal
from api.render import Json
from ledger.contracts.governance import epoch_at, get_latest_epoch
from ledger.nodes import NodeEntry, get_node, get_nodes
from ledger.proposals import get_evidence, get_open_proposals, get_proposal
from ledger.state import StateView

PROPOSAL_BYTES = 32
INDEX_END = 1 << 16


async def list_validators(api: Api, _request: web.Request) -> web.StreamResponse:
    """Return every node that votes, will vote or learns, by index, and the epoch of now."""
    chain = api.ports.chain
    view, height = chain.view(), chain.tip().height
    epoch, latest = epoch_at(view, height + 1), get_latest_epoch(view)
    rows = [_row(view, node, height) for node in get_nodes(view)]
    answer: Json = {
        "height": height,
        "epoch": epoch.epoch,
        "latest_epoch": latest.epoch,
        "latest_epoch_begins": latest.first_height,
        "quorum": epoch.validators.quorum.strong,
        "tolerated_faults": epoch.validators.quorum.f,
        "validators": [row for row in rows if row["state"] != "removed"],
    }
    return web.json_response(answer)


async def get_validator(api: Api, request: web.Request) -> web.StreamResponse:
    """Return one node, a removed one too, with the evidence recorded against it."""
    index = query_decimal(request.match_info["index"], "index")
    chain = api.ports.chain
    view = chain.view()
    node = get_node(view, index) if index < INDEX_END else None
    if node is None:
        raise ApiError("validator.unknown", f"no node {index} is or was a validator")
    evidence = [render_evidence(one) for one in get_evidence(view, index)]
    return web.json_response({**_row(view, node, chain.tip().height), "evidence": evidence})


async def list_proposals(api: Api, _request: web.Request) -> web.StreamResponse:
    """Return the proposals that are open for ballots, in the order they were made."""
    chain = api.ports.chain
    view, height = chain.view(), chain.tip().height
    rows = []
    for entry in get_open_proposals(view):
        proposal = get_proposal(view, entry.proposal_id)
        assert proposal is not None, "an open proposal has an entry"
        if height + 1 < proposal.expires_height:
            rows.append(render_proposal(view, proposal, height + 1))
    return web.json_response({"height": height, "proposals": rows})


async def get_one_proposal(api: Api, request: web.Request) -> web.StreamResponse:
    """Return one proposal with its ballots, a closed one too."""
    chain = api.ports.chain
    view = chain.view()
    proposal = get_proposal(view, path_hex(request, "proposal", PROPOSAL_BYTES))
    if proposal is None:
        raise ApiError("proposal.unknown", "no proposal was made under this id")
    return web.json_response(render_proposal(view, proposal, chain.tip().height + 1))


def _row(view: StateView, node: NodeEntry, height: int) -> Json:
    """Return a node as it stands at the height after the tip."""
    voting = epoch_at(view, height + 1).validators
    return render_node(node, voting, changes_at=get_latest_epoch(view).first_height)
