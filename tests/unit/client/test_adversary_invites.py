"""An invite can be made of any chain, one that its operators have restarted too."""

from dataclasses import replace

from client.http import open_node
from client.invites import make_invite
from crypto.schema import encode
from crypto.validators import after_restart
from genesis.invite import check_invite
from genesis.state import founding_validators
from tests.unit.client.lying_proxy import lying
from tests.unit.client.small_node import SmallNode, serve
from tests.unit.ledger.small_consortium import genesis


async def test_the_invite_of_a_restarted_chain_names_the_set_that_went_on() -> None:
    node = SmallNode()
    sealed = node.sealed_header(node.tip().height)
    assert sealed is not None
    founders = founding_validators(genesis())
    header = replace(sealed.header, epoch=after_restart(sealed.header.epoch))
    restarted = node.certified.sealed(header, validators=founders)
    async with serve(node) as upstream, lying(upstream) as (proxy, url):
        proxy.swallowed["GET /v1/headers/latest"] = encode(restarted)

        async with open_node(url) as asked:
            invite = await make_invite(asked, genesis())

    check_invite(invite)
    assert invite.validators == founders
    assert invite.free_index == 4
