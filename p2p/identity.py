"""Who a node is on the wire: a P-256 TLS key, and the contexts that show it and ask for others'.

A node is known by its *pin*, the SHA-256 of the SubjectPublicKeyInfo of its TLS key. Python's ssl
module lets a server ask for a client certificate only if it also verifies the chain, and there is
no chain of trust here. So every node issues its own certificate under one authority whose private
key is public (`_authority_key`, the same in every installation): it satisfies OpenSSL, it says
nothing about anybody, and the chain is trusted for nothing. TLS 1.3 itself proves that the other
side holds the private key of the certificate it shows (CertificateVerify, RFC 8446 §4.4.3), and
the pin of that key is compared right after the handshake, before the first frame is read
(docs/decisions/0050). Dates are not checked: an expired certificate takes no node off.
"""

import datetime
import hashlib
import os
import secrets
import ssl
import tempfile
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from typing_extensions import override

from p2p.errors import InvalidIdentity, UnidentifiedPeer

PROTOCOL: Final = "medledger-p2p/1"
"""The ALPN name: two nodes that do not share it do not talk."""

VISIT_PROTOCOL: Final = "medledger-visit/1"
"""The ALPN name of a caller that comes as a guest, whoever it is, and expects no certain key."""

BACKDATED_S: Final = 24 * 3600
"""How far before its making a certificate becomes valid, for observers whose clock is behind."""

_AUTHORITY_SEED: Final = b"medledger p2p authority without trust"
_AUTHORITY_NAME: Final = "medledger p2p authority without trust"
_AUTHORITY_SINCE: Final = datetime.datetime(2020, 1, 1)  # noqa: DTZ001 (X.509 times are UTC)
_AUTHORITY_UNTIL: Final = datetime.datetime(9999, 12, 31, 23, 59, 59)  # noqa: DTZ001 (RFC 5280: no end)
_NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which the ssl module does not name.


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A node's TLS key pair and its pin (32 bytes)."""

    private_key: ec.EllipticCurvePrivateKey = field(repr=False)
    pin: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsContexts:
    """The sides of the handshake, all showing one identity; `visiting` dials as a guest."""

    accepting: ssl.SSLContext
    dialing: ssl.SSLContext
    visiting: ssl.SSLContext


class UndecodedTls(ssl.SSLObject):
    """One side of a TLS connection that does not decode the certificate it is shown.

    Event loops ask for the decoded form of every certificate and use it for nothing; a stranger's
    certificate can make that decoding raise. The bytes are all that is wanted here.
    """

    @override
    def getpeercert(self, binary_form: bool = False) -> Any:
        return super().getpeercert(binary_form=True) if binary_form else {}


def make_private_key_pem() -> bytes:
    """Return a new TLS private key, unencrypted PKCS #8 in PEM; keeping it is the caller's work."""
    return _pem(ec.generate_private_key(ec.SECP256R1()), serialization.NoEncryption())


def load_identity(private_key_pem: bytes) -> Identity:
    """Return the identity of an unencrypted PEM key; raise `InvalidIdentity` if it is not P-256."""
    try:
        key = serialization.load_pem_private_key(private_key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise InvalidIdentity("not an unencrypted private key in PEM") from problem
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not _is_p256(key.curve):
        raise InvalidIdentity("not a P-256 key")
    return Identity(private_key=key, pin=spki_pin(key.public_key()))


def spki_pin(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the SHA-256 of the key's SubjectPublicKeyInfo (as in RFC 7469 §2.4), 32 bytes."""
    return hashlib.sha256(
        public_key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    ).digest()


def make_certificate(identity: Identity, *, now_s: int, lifetime_s: int) -> x509.Certificate:
    """Issue the identity's certificate, valid from a day ago until `lifetime_s` after `now_s`."""
    public_key = identity.private_key.public_key()
    return _issue(
        subject=identity.pin.hex()[:32],
        public_key=public_key,
        since=_utc(now_s - BACKDATED_S),
        until=_utc(now_s + lifetime_s),
        is_authority=False,
    )


def make_contexts() -> TlsContexts:
    """Return contexts that show nothing yet; `install_certificate` makes them usable."""
    return TlsContexts(
        accepting=_make_context(ssl.PROTOCOL_TLS_SERVER, PROTOCOL, VISIT_PROTOCOL),
        dialing=_make_context(ssl.PROTOCOL_TLS_CLIENT, PROTOCOL),
        visiting=_make_context(ssl.PROTOCOL_TLS_CLIENT, VISIT_PROTOCOL),
    )


def install_certificate(
    contexts: TlsContexts, identity: Identity, certificate: x509.Certificate
) -> None:
    """Show the certificate in every handshake that begins from now on.

    The ssl module reads keys from files only, so the key goes through a private directory,
    encrypted under a password that is never written, and is gone when this returns.
    """
    password = secrets.token_hex(32).encode()
    sealed = _pem(identity.private_key, serialization.BestAvailableEncryption(password))
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "identity.pem")
        with open(path, "xb") as file:
            file.write(certificate.public_bytes(serialization.Encoding.PEM) + sealed)
        for context in (contexts.accepting, contexts.dialing, contexts.visiting):
            context.load_cert_chain(path, password=password)


def peer_pin(certificate_der: bytes) -> bytes:
    """Return the pin of the certificate that the other side has shown in a finished handshake.

    Raises `UnidentifiedPeer` for a certificate or key that is not of the one kind we use.
    """
    try:
        public_key = x509.load_der_x509_certificate(certificate_der).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as problem:
        raise UnidentifiedPeer("a certificate that cannot be read") from problem
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or not _is_p256(public_key.curve):
        raise UnidentifiedPeer("not a P-256 key")
    return spki_pin(public_key)


def _make_context(side: int, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.sslobject_class = UndecodedTls
    context.check_hostname = False  # Peers are keys, not names.
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET  # A resumed session would show no certificate to pin,
    if side == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0  # and without tickets there is no early data either.
    context.set_alpn_protocols(list(protocols))
    context.load_verify_locations(cadata=_authority_der())
    return context


def _authority_key() -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.sha256(_AUTHORITY_SEED).digest())
    return ec.derive_private_key(number, ec.SECP256R1())


def _authority_der() -> bytes:
    authority = _issue(
        subject=_AUTHORITY_NAME,
        public_key=_authority_key().public_key(),
        since=_AUTHORITY_SINCE,
        until=_AUTHORITY_UNTIL,
        is_authority=True,
    )
    return authority.public_bytes(serialization.Encoding.DER)


def _issue(
    *,
    subject: str,
    public_key: ec.EllipticCurvePublicKey,
    since: datetime.datetime,
    until: datetime.datetime,
    is_authority: bool,
) -> x509.Certificate:
    authority_key = _authority_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(_AUTHORITY_NAME))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(
            x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), True
        )
        .add_extension(_key_usage(is_authority=is_authority), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), False
        )
    )
    if not is_authority:
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), False)
    return builder.sign(authority_key, hashes.SHA256())


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(
    key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption
) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def _is_p256(curve: ec.EllipticCurve) -> bool:
    return isinstance(curve, ec.SECP256R1)


def _utc(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
