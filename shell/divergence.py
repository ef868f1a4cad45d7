"""What a node leaves behind that has computed another result than a quorum has decided.

The block whose result is disputed is executed once more upon the state before it. If that gives
what is stored, this program computes something else than the others'; if not, a second execution
differs from the first, or the state was damaged on the disk.
"""

import json
import logging
from collections.abc import Sequence
from typing import Any

from consensus.effects import Decide
from crypto.schema import encode
from ledger.blocks import Header
from ledger.receipts import Receipt
from ledger.transactions import Transaction, decode_transaction
from ledger.transition import BlockResult, apply_block
from shell.chain import Chain
from storage import blocks as stored_blocks
from storage.errors import StorageError
from storage.files import SYSTEM_FILES, replace_file
from storage.layout import NodeLayout
from storage.receipts import get_receipts

log = logging.getLogger("medledger.divergence")

Report = dict[str, Any]


class StateDiverged(Exception):
    """A decided block states another result of its parent than this node has computed.

    Either this node's state is damaged or its program differs from the others': it must not go
    on, and its operator has to compare. `report` says what there is to compare.
    """

    code = "state.diverged"

    def __init__(self, text: str, report: Report) -> None:
        super().__init__(text)
        self.report = report


def check_roots(chain: Chain, header: Header, decision: Decide) -> None:
    """Raise `StateDiverged` unless a decided header carries the results this node has computed."""
    tip = chain.tip
    for what, stated, ours in (
        ("state root", header.state_root, tip.state_root),
        ("receipts root", header.receipts_root, tip.receipts_root),
    ):
        if stated != ours:
            raise StateDiverged(
                f"block {header.height} states the {what} {stated.hex()} after block {tip.height};"
                f" this node computed {ours.hex()}. Run `medledger fsck`, and compare"
                f" diverged-{tip.height}.json and the versions with the other members",
                make_report(chain, header, decision),
            )


def make_report(chain: Chain, header: Header, decision: Decide) -> Report:
    """Return, as JSON, both roots, the block they are about, and what it wrote by key."""
    tip = chain.tip
    transactions = _transactions_at(chain, tip.height)
    return {
        "chain_id": chain.chain_id.hex(),
        "height": tip.height,
        "roots": {
            "state": {"decided": header.state_root.hex(), "computed": tip.state_root.hex()},
            "receipts": {
                "decided": header.receipts_root.hex(),
                "computed": tip.receipts_root.hex(),
            },
        },
        "decided_by": {
            "header": decision.block.header.hex(),
            "certificate": encode(decision.certificate).hex(),
        },
        "block": {
            "digest": tip.digest.hex(),
            "time_ms": tip.time_ms,
            "transactions": [one.signed.hex() for one in transactions],
        },
        "receipts": [_receipt_row(one) for one in _receipts_at(chain, tip.height)],
        **_executed_again(chain, transactions),
    }


def leave_report(layout: NodeLayout, problem: Exception) -> None:
    """Write what is to be compared into the node's directory, unless it stands there already.

    A start after the first stop comes to the same end, and then cannot execute again.
    """
    if not isinstance(problem, StateDiverged):
        return
    path = layout.diverged(problem.report["height"])
    if path.exists():
        return
    content = json.dumps(problem.report, indent=1).encode() + b"\n"
    try:
        replace_file(SYSTEM_FILES, path, content)
    except StorageError as failure:
        log.warning("no report of what differs", extra={"reason": str(failure)})


def _executed_again(chain: Chain, transactions: Sequence[Transaction]) -> Report:
    """What the block writes in a second execution, each entry beside what is stored."""
    before, tip = chain.stored.world.certified, chain.tip
    if before is None or before.height != tip.height - 1:
        return {"second_execution": "not possible after a start", "writes": []}
    again = apply_block(
        before,
        chain_id=chain.chain_id,
        height=tip.height,
        time_ms=tip.time_ms,
        transactions=transactions,
    )
    rows = _writes_of(chain, again)
    is_same = all(row["stored"] == row["again"] for row in rows)
    is_same = is_same and list(again.receipts) == _receipts_at(chain, tip.height)
    return {"second_execution": "same" if is_same else "different", "writes": rows}


def _writes_of(chain: Chain, result: BlockResult) -> list[Report]:
    view = chain.view()
    return [
        {
            "key": key.hex(),
            "name": key.decode("ascii", "backslashreplace"),
            "stored": _hex(view.get(key)),
            "again": _hex(value),
        }
        for key, value in sorted(result.writes.items())
    ]


def _transactions_at(chain: Chain, height: int) -> list[Transaction]:
    block = stored_blocks.get_block(chain.stored, height)
    signed = () if block is None else block.transactions
    return [decode_transaction(one, chain.chain_id) for one in signed]


def _receipts_at(chain: Chain, height: int) -> list[Receipt]:
    return list(get_receipts(chain.stored, height) or ()) if height else []


def _receipt_row(receipt: Receipt) -> Report:
    return {"tx_id": receipt.tx_id.hex(), "code": receipt.code, "encoded": encode(receipt).hex()}


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
