"""A log whose transactions change members: `rekey-1` gives replica 1 a new vote key.

As in the ledger, the set of height h is the one in the state after block h-2, and the epoch rises
with every change. A replica signs with the key that the set of the epoch it names has for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from typing_extensions import override

from consensus.effects import Decide
from consensus.events import BlockExecuted
from consensus.restore import Decided
from consensus.state import Config
from crypto.validators import Epoch, ValidatorSet
from tests.simulation.application import LogApplication
from tests.simulation.ideal import make_signer, vote_key

REKEY = b"rekey-"
GENERATION = 1_000
"""Keys of a replica are those of numbers so far apart in the table of ideal signatures."""


@dataclass(slots=True, kw_only=True)
class ChangingLog(LogApplication):
    """An ordered log that knows the members of every height up to two above its tip."""

    def members(self, height: int) -> tuple[Epoch, ValidatorSet]:
        """Return the epoch and the set of a height."""
        epoch, members = 0, self.validators
        for below in range(1, height - 1):
            for transaction in self.decided_at(below):
                if transaction.startswith(REKEY):
                    epoch += 1
                    members = _rekeyed(members, int(transaction.removeprefix(REKEY)), epoch)
        return Epoch(epoch), members

    @override
    def execute(self, decided: Decide) -> BlockExecuted:
        executed = LogApplication.execute(self, decided)
        return replace(executed, validators=self.members(self.height + 2)[1])

    @override
    def validator_sets(self) -> Mapping[Epoch, ValidatorSet]:
        return dict(self.members(height) for height in range(1, self.height + 3))

    @override
    def _decided(self) -> Decided:
        epoch, members = self.members(self.height + 1)
        return replace(
            LogApplication._decided(self),
            epoch=epoch,
            validators=members,
            next_validators=self.members(self.height + 2)[1],
        )


def signing_by_epoch(config: Config, application: ChangingLog) -> Config:
    """Return the configuration with a signer that finds its key in the set of each epoch."""
    return replace(config, sign=_signer(application))


def _signer(application: ChangingLog) -> Callable[[Epoch, bytes], bytes]:
    def sign(epoch: Epoch, preimage: bytes) -> bytes:
        member = application.validator_sets()[epoch].member(application.replica)
        assert member is not None, "nobody leaves in these stories"
        return make_signer(_number(application.replica, member.vote_key))(preimage)

    return sign


def _number(replica: int, key: bytes) -> int:
    numbers = (replica + GENERATION * epoch for epoch in range(GENERATION))
    return next(number for number in numbers if vote_key(number) == key)


def _rekeyed(members: ValidatorSet, replica: int, epoch: int) -> ValidatorSet:
    return ValidatorSet(
        members=tuple(
            replace(one, vote_key=vote_key(replica + GENERATION * epoch))
            if one.index == replica
            else one
            for one in members.members
        )
    )
