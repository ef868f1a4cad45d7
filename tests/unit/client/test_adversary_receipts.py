"""A node that lies while a receipt is exported costs its client one refused answer."""

from dataclasses import replace
from pathlib import Path

import pytest

from client.connection import open_client
from client.errors import Untrusted
from client.receipts import export_receipt
from client.wallet import create_wallet
from crypto.hashing import Digest
from crypto.keystore import KDF_CHEAPEST
from crypto.schema import encode
from crypto.validators import Epoch
from crypto.votes import Height
from ledger.contracts.governance import get_validators
from ledger.exchange import EpochLink, EpochLinks, ReceiptProof
from ledger.receipts import Receipt
from tests.unit.client.lying_proxy import lying
from tests.unit.client.small_node import SmallNode, serve
from tests.unit.ledger.small_consortium import genesis

TX_ID = Digest(b"t" * 32)


async def test_changes_of_members_without_end_are_not_gathered(tmp_path: Path) -> None:
    """The node says that a million sets came before, and answers with the same one for ever."""
    node = SmallNode()
    sealed = node.sealed_header(node.tip().height)
    assert sealed is not None
    receipt = Receipt(tx_id=TX_ID, height=Height(1), index=0, accepted=True, code="ok", events=())
    far = replace(sealed, header=replace(sealed.header, epoch=Epoch(999_999)))
    proof = ReceiptProof(
        signed=b"x",
        receipt=receipt,
        header=sealed.header,
        above=far,
        tx_path=(),
        receipt_path=(),
    )
    link = EpochLink(sealed_header=sealed, validators=get_validators(node.view()))
    wallet = create_wallet(tmp_path, "nine words that nobody guesses", kdf=KDF_CHEAPEST)
    async with (
        serve(node) as upstream,
        lying(upstream) as (liar, url),
        open_client(url, genesis(), wallet) as client,
    ):
        liar.swallowed["GET /v1/transactions/"] = encode(proof)
        liar.swallowed["GET /v1/epochs"] = encode(EpochLinks(links=(link,) * 4))
        liar.seen.clear()

        with pytest.raises(Untrusted):
            await export_receipt(client, TX_ID)

    assert liar.seen.count("GET /v1/epochs") == 1
