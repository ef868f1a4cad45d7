"""Which of its keys a node uses: those it holds, those the ledger names, and the end of old ones.

A node votes at height h with the key that the set of height h names for it. Keys that are to follow
wait in a keystore of their own. When the set of the next height names them they are in force; when
the first block of their epoch is decided and executed, nothing is signed with the former vote key
any more, and its keystore is destroyed: whoever steals the machine later cannot vote in the past.

    keys/node.keystore   the present keys
    keys/next.keystore   the next ones, if some were made (`medledger validators rekey`)

Destroying overwrites the present file and then gives the next one its name, so a crash in between
leaves a file of zeros beside the one that counts, and the next start finishes the work.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crypto.errors import CryptoError
from crypto.keystore import Kdf
from crypto.signatures import (
    Scheme,
    SignatureJob,
    public_key,
    remember_valid,
    sign_preimage,
)
from crypto.validators import Epoch, ReplicaId, Validator, ValidatorSet
from shell.keys import (
    KEYSTORE_NAME,
    NEXT_KEYSTORE_NAME,
    NodeKeys,
    load_node_keys,
    make_node_keys,
    save_node_keys,
)
from storage.files import SYSTEM_FILES

log = logging.getLogger("medledger.keys")


@dataclass(slots=True, kw_only=True)
class OwnKeys:
    """The keys of the node `replica`.

    `present` are in force, `following` wait or are None; `former` were in force at the height
    before and are about to be destroyed. `seen_ns` is when the file of the next keys was changed
    that was read last; `is_missing` says that the operator was told of a key that is not here.
    """

    directory: Path
    replica: ReplicaId
    passphrase: str = field(repr=False)
    present: NodeKeys
    following: NodeKeys | None = None
    former: NodeKeys | None = None
    seen_ns: int = 0
    is_missing: bool = False


def open_own_keys(directory: Path, passphrase: str, replica: ReplicaId) -> OwnKeys:
    """Load the present keys and the next ones, finishing a change that a crash interrupted.

    Raises what `crypto.keystore.load_keystore` raises.
    """
    if (directory / NEXT_KEYSTORE_NAME).exists() and _is_destroyed(directory / KEYSTORE_NAME):
        _promote(directory)
    present = load_node_keys(directory, passphrase)
    keys = OwnKeys(directory=directory, replica=replica, passphrase=passphrase, present=present)
    _find_following(keys)
    return keys


def make_next_keys(
    directory: Path, passphrase: str, *, created_ms: int, kdf: Kdf, keeps_tls: bool
) -> NodeKeys:
    """Make and keep the keys that are to follow, or return those that wait already.

    A running node finds them by itself. With `keeps_tls` only the vote key is another.
    """
    if (directory / NEXT_KEYSTORE_NAME).exists():
        return load_node_keys(directory, passphrase, name=NEXT_KEYSTORE_NAME)
    keys = make_node_keys()
    if keeps_tls:
        keys = NodeKeys(vote=keys.vote, tls=load_node_keys(directory, passphrase).tls)
    save_node_keys(
        directory, keys, passphrase, created_ms=created_ms, kdf=kdf, name=NEXT_KEYSTORE_NAME
    )
    return keys


def sign_at(
    keys: OwnKeys, sets: Mapping[Epoch, ValidatorSet], epoch: Epoch, preimage: bytes
) -> bytes:
    """Sign with the vote key that the set of `epoch` names for this node.

    `sets` are those around the tip; with one that is not there, or names a key that is not here,
    nothing can be signed that anybody would accept: the present key has to do.
    """
    member = sets[epoch].member(keys.replica) if epoch in sets else None
    for held in (keys.present, keys.following, keys.former):
        if held is not None and member is not None and _is_of(held, member):
            signature = sign_preimage(held.vote, preimage)
            # It comes back in certificates.
            remember_valid(SignatureJob(Scheme.ED25519, member.vote_key, signature, preimage))
            return signature
    return sign_preimage(keys.present.vote, preimage)


def holds(keys: OwnKeys, validators: ValidatorSet) -> bool:
    """Whether the key that a set names for this node is here; True if it names none."""
    member = validators.member(keys.replica)
    if member is None or _is_held(keys, member):
        return True
    _find_following(keys)  # Made while the node ran.
    return _is_held(keys, member)


def learn_under(keys: OwnKeys, vote_key: bytes) -> bool:
    """Use the keys that the ledger names for this learner; return whether they are others.

    A learner has signed no vote that could count: the former key is destroyed at once.
    """
    if public_key(keys.present.vote).data == vote_key:
        return False
    _find_following(keys)  # Made while the node ran.
    following = keys.following
    if following is None or public_key(following.vote).data != vote_key:
        return False
    keys.present, keys.following = following, None
    _destroy_former(keys)
    return True


def put_in_force(keys: OwnKeys, tip_set: ValidatorSet, next_set: ValidatorSet) -> bool:
    """Use the keys that the next height's set names; return whether they are others than before.

    `tip_set` is the set of the executed tip: once it names the keys in force too, the former vote
    key has nothing left to sign and is destroyed.
    """
    member = next_set.member(keys.replica)
    if member is None:
        return False
    following = keys.following
    is_changed = following is not None and _is_of(following, member)
    if following is not None and is_changed:
        keys.former, keys.present, keys.following = keys.present, following, None
        log.info("next keys in force", extra={"node": keys.replica})
    voted = tip_set.member(keys.replica)
    if keys.former is not None and voted is not None and _is_of(keys.present, voted):
        _destroy_former(keys)
    return is_changed


def _destroy_former(keys: OwnKeys) -> None:
    path = keys.directory / KEYSTORE_NAME
    descriptor = SYSTEM_FILES.open_for_writing(path)
    try:
        SYSTEM_FILES.write(descriptor, bytes(os.fstat(descriptor).st_size), 0)
        SYSTEM_FILES.sync(descriptor)
    finally:
        SYSTEM_FILES.close(descriptor)
    _promote(keys.directory)
    keys.former = None
    log.info("former vote key destroyed", extra={"node": keys.replica})


def _promote(directory: Path) -> None:
    SYSTEM_FILES.rename(directory / NEXT_KEYSTORE_NAME, directory / KEYSTORE_NAME)
    SYSTEM_FILES.sync_directory(directory)


def _is_destroyed(path: Path) -> bool:
    return not path.exists() or not any(path.read_bytes())


def _find_following(keys: OwnKeys) -> None:
    """Read the next keys if their file has changed since it was read last."""
    path = keys.directory / NEXT_KEYSTORE_NAME
    try:
        changed_ns = path.stat().st_mtime_ns
        if changed_ns != keys.seen_ns:
            keys.seen_ns = changed_ns
            keys.following = load_node_keys(
                keys.directory, keys.passphrase, name=NEXT_KEYSTORE_NAME
            )
    except FileNotFoundError:
        return
    except CryptoError as problem:
        log.warning("next keys not usable", extra={"path": str(path), "reason": str(problem)})


def _is_held(keys: OwnKeys, member: Validator) -> bool:
    held = (keys.present, keys.following)
    return any(one is not None and _is_of(one, member) for one in held)


def _is_of(keys: NodeKeys, member: Validator) -> bool:
    return public_key(keys.vote).data == member.vote_key
