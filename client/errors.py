"""Everything that may go wrong on the user's side, each with a stable code.

Four ends are kept apart, because they ask for different steps: the rules or the node said no
(`Refused`), nobody knows yet whether it happened (`NotReachable`, `OutcomeUnknown`), the node's
answer does not hold (`Untrusted`), something here is missing or damaged (`LocalError`).
"""

from crypto.hashing import Digest


class ClientError(Exception):
    """Root of the room's errors; `code` is stable, the text one sentence with the way out."""

    code: str = "client.error"

    def __init__(self, text: str, *, code: str | None = None) -> None:
        super().__init__(text)
        if code is not None:
            self.code = code


class Refused(ClientError):
    """The ledger's rules or the node said no; `code` is theirs.

    `definite` says that the same request can never succeed; `retry_after_s` is when the node wants
    to be asked again, 0 if it does not say. `tx_id` is that of a refused transaction.
    """

    code = "refused"

    def __init__(
        self,
        code: str,
        text: str,
        *,
        definite: bool = True,
        status: int = 0,
        tx_id: Digest | None = None,
        retry_after_s: float = 0,
    ) -> None:
        super().__init__(text or code, code=code)
        self.definite = definite
        self.status = status
        self.tx_id = tx_id
        self.retry_after_s = retry_after_s


class NotReachable(ClientError):
    """No node answered; nothing was decided by that."""

    code = "node.unreachable"


class OutcomeUnknown(ClientError):
    """The transaction may or may not stand in a block; ask again for `tx_id`."""

    code = "outcome.unknown"

    def __init__(self, tx_id: Digest, text: str) -> None:
        super().__init__(text)
        self.tx_id = tx_id


class Untrusted(ClientError):
    """The node's answer does not hold against what is pinned or proven: ask another node."""

    code = "node.untrusted"


class WrongChain(Untrusted):
    """The node speaks for another consortium than the pinned one."""

    code = "trust.wrong_chain"


class CertificateRejected(Untrusted):
    """A header that no quorum of the pinned validators has decided."""

    code = "trust.certificate"


class Stale(Untrusted):
    """A state too old to decide about keys, or older than one already seen."""

    code = "trust.stale"


class ProofRejected(Untrusted):
    """A state entry whose proof does not lead to the certified root."""

    code = "trust.proof"


class AnswerRejected(Untrusted):
    """An answer that is malformed, or other than what was asked for."""

    code = "trust.answer"


class OutcomeRejected(Untrusted):
    """The node says that a transaction was committed, and proven state does not show its effect."""

    code = "trust.outcome"


class BytesRejected(Untrusted):
    """A blob or sidecar that is not the one the ledger names."""

    code = "trust.bytes"


class ReceiptRejected(Untrusted):
    """A storage receipt that its validator did not give."""

    code = "trust.storage_receipt"


class KeyRejected(Untrusted):
    """A seal key for which its owner's sign key does not vouch."""

    code = "trust.seal_key"


class AuthorRejected(Untrusted):
    """A record whose author did not sign it."""

    code = "trust.author"


class NotProven(Exception):
    """A function over proven state asked for an entry that nobody has proven yet.

    It is a question, not a failure: `client.proving` answers it by asking for that proof.
    """

    def __init__(self, key: bytes, *, is_prefix: bool = False) -> None:
        super().__init__(f"{'entries under' if is_prefix else 'entry'} {key!r} not proven")
        self.key = key
        self.is_prefix = is_prefix


class NotFound(ClientError):
    """Proven state holds no such thing."""

    code = "not_found"


class KeyPending(ClientError):
    """The rules may permit, but no envelope of the seal in force leads to a key of this wallet."""

    code = "key.pending"


class LocalError(ClientError):
    """Something on this side: a file, a label, a keystore."""

    code = "local.error"


class UnknownLabel(LocalError):
    """No account or contact of this name."""

    code = "wallet.unknown_label"


class LabelTaken(LocalError):
    """An account or contact of this name is there already."""

    code = "wallet.label_taken"


class DirectoryUnknown(LocalError):
    """The patient's names for categories and labels are not known here."""

    code = "directory.unknown"


class EnrolmentInvalid(LocalError):
    """An enrolment file that is damaged, altered, or for another hospital or chain."""

    code = "enrolment.invalid"
