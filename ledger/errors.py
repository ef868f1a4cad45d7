"""Everything that transactions, blocks and genesis may do wrong, each with a stable code.

Three kinds of wrong are kept apart because they end differently: an `InvalidTransaction` is turned
away at the door, an `InvalidBlock` makes replicas refuse a proposal, and a `Refused` transaction
stands in its block with a receipt that carries the code.
"""


class LedgerError(Exception):
    """Root of the room's errors; `code` is stable and may be shown to a user or a peer."""

    code: str = "ledger.error"


class InvalidTransaction(LedgerError):
    """Bytes that are no admissible transaction of this chain; no state was asked."""

    code = "transaction.invalid"


class Malformed(InvalidTransaction):
    """Not the canonical encoding of a signed transaction."""

    code = "transaction.malformed"


class TransactionTooLarge(InvalidTransaction):
    """The transaction, or a sidecar that travels with it, is above its limit."""

    code = "transaction.too_large"


class WrongChain(InvalidTransaction):
    """Signed for another consortium."""

    code = "transaction.wrong_chain"


class InvalidWindow(InvalidTransaction):
    """The validity window is empty or longer than the parameter allows."""

    code = "transaction.window"


class UnknownKind(InvalidTransaction):
    """No contract has a transaction of this kind."""

    code = "transaction.unknown_kind"


class InvalidPayload(InvalidTransaction):
    """The payload is not the canonical encoding of its kind's schema."""

    code = "transaction.payload"


class InvalidSidecars(InvalidTransaction):
    """The sidecars beside the transaction are not those whose digests its body lists."""

    code = "transaction.sidecars"


class NotSigned(InvalidTransaction):
    """The signature is not one that the key in the transaction made over its body."""

    code = "transaction.signature"


class MirroredSignature(InvalidTransaction):
    """The ECDSA signature is the mirrored (high-S) spelling of a valid one."""

    code = "transaction.high_s"


class Expired(InvalidTransaction):
    """The validity window has ended."""

    code = "transaction.expired"


class TooEarly(InvalidTransaction):
    """The validity window has not begun."""

    code = "transaction.early"


class UnknownSender(InvalidTransaction):
    """No account with the sender's id is registered."""

    code = "transaction.unknown_sender"


class KeyInactive(InvalidTransaction):
    """The key in the transaction is not the sender's sign key in force."""

    code = "key.inactive"


class Replayed(InvalidTransaction):
    """A decided block holds the transaction already; its receipt says what became of it."""

    code = "transaction.replayed"


class Refused(LedgerError):
    """The rules say no to a well-formed transaction; it stands in its block with this code.

    `text` explains it to the node's own user and is not agreed on; `fields` are, in the receipt's
    event, so they hold what the user needs to mend it (who is missing, which id is taken).
    """

    def __init__(
        self, code: str, text: str = "", fields: "tuple[tuple[str, bytes | str | int], ...]" = ()
    ) -> None:
        super().__init__(text or code)
        self.code = code
        self.text = text
        self.fields = fields


class InvalidBlock(LedgerError):
    """A proposal that breaks a rule every replica checks alike; `code` names the rule."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class PoolError(LedgerError):
    """The pool does not take this transaction now."""

    code = "pool.error"


class PoolFull(PoolError):
    """No room in the transaction's lane; it may be offered again later."""

    code = "pool.full"


class AccountFull(PoolError):
    """The sender already has as many transactions waiting as one account may."""

    code = "pool.account_full"


class AlreadyPooled(PoolError):
    """A transaction with this id is waiting already."""

    code = "pool.duplicate"
