import asyncio
import ssl
import time
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from p2p.errors import InvalidIdentity, UnidentifiedPeer
from p2p.identity import (
    PROTOCOL,
    Identity,
    TlsContexts,
    install_certificate,
    load_identity,
    make_certificate,
    make_contexts,
    make_private_key_pem,
    peer_pin,
    spki_pin,
)

WEEK_S = 7 * 24 * 3600


def new_identity() -> Identity:
    return load_identity(make_private_key_pem())


def contexts_of(identity: Identity, *, made_at_s: int | None = None) -> TlsContexts:
    contexts = make_contexts()
    made_at_s = int(time.time()) if made_at_s is None else made_at_s
    certificate = make_certificate(identity, now_s=made_at_s, lifetime_s=WEEK_S)
    install_certificate(contexts, identity, certificate)
    return contexts


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ...]:
    """Run both sides of a handshake in memory and return them; raises what either raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(to_client, to_server, server_side=False),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    sides[1].version()
    return sides


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_a_pin_is_the_digest_of_the_public_key_info() -> None:
    identity = new_identity()
    der = identity.private_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    assert identity.pin == sha256(der).digest() == spki_pin(identity.private_key.public_key())


def test_a_key_keeps_its_pin_when_it_is_loaded_again() -> None:
    private_key_pem = make_private_key_pem()

    assert load_identity(private_key_pem).pin == load_identity(private_key_pem).pin


@pytest.mark.parametrize(
    "private_key_pem",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(ed25519.Ed25519PrivateKey.generate()),
        pem(rsa.generate_private_key(65537, 2048)),
    ],
)
def test_only_a_p256_key_is_an_identity(private_key_pem: bytes) -> None:
    with pytest.raises(InvalidIdentity):
        load_identity(private_key_pem)


def test_an_identity_does_not_show_its_key_in_logs() -> None:
    assert "private_key" not in repr(new_identity())


def test_both_sides_learn_the_other_pin_over_tls_1_3() -> None:
    one, other = new_identity(), new_identity()

    client, server = shake_hands(contexts_of(other).accepting, contexts_of(one).dialing)

    assert peer_pin(client.getpeercert(binary_form=True) or b"") == other.pin
    assert peer_pin(server.getpeercert(binary_form=True) or b"") == one.pin
    assert client.version() == server.version() == "TLSv1.3"
    assert client.selected_alpn_protocol() == server.selected_alpn_protocol() == PROTOCOL


@pytest.mark.parametrize("made_at_s", [0, 2**31, 2**33])
def test_dates_take_nobody_off(made_at_s: int) -> None:
    """Certificates long expired or not valid yet: the pin is what counts."""
    one, other = new_identity(), new_identity()

    client, _ = shake_hands(
        contexts_of(other, made_at_s=made_at_s).accepting,
        contexts_of(one, made_at_s=made_at_s).dialing,
    )

    assert peer_pin(client.getpeercert(binary_form=True) or b"") == other.pin


def test_a_certificate_is_backdated_and_short_lived() -> None:
    now_s = 1_800_000_000

    certificate = make_certificate(new_identity(), now_s=now_s, lifetime_s=WEEK_S)

    assert certificate.not_valid_before_utc.timestamp() < now_s - 3600
    assert certificate.not_valid_after_utc.timestamp() == now_s + WEEK_S


def test_a_new_certificate_of_the_same_key_has_the_same_pin() -> None:
    identity = new_identity()
    contexts = contexts_of(identity)
    renewed = make_certificate(identity, now_s=int(time.time()) + WEEK_S, lifetime_s=WEEK_S)

    install_certificate(contexts, identity, renewed)
    client, _ = shake_hands(contexts.accepting, contexts_of(new_identity()).dialing)

    shown = client.getpeercert(binary_form=True) or b""
    assert x509.load_der_x509_certificate(shown) == renewed
    assert peer_pin(shown) == identity.pin


def test_a_client_without_a_certificate_is_refused() -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.verify_mode = ssl.CERT_NONE

    with pytest.raises(ssl.SSLError, match=r"(?i)peer.did.not.return.a.certificate"):
        shake_hands(contexts_of(new_identity()).accepting, bare)


def test_tls_1_2_is_refused() -> None:
    old = contexts_of(new_identity()).dialing
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(ssl.SSLError):
        shake_hands(contexts_of(new_identity()).accepting, old)


async def test_a_session_cannot_be_resumed() -> None:
    server_contexts, client_contexts = contexts_of(new_identity()), contexts_of(new_identity())
    finished = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()
        await writer.wait_closed()
        finished.set()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=server_contexts.accepting)
    port = server.sockets[0].getsockname()[1]

    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client_contexts.dialing, server_hostname=""
    )
    await reader.read()
    session = writer.get_extra_info("ssl_object").session
    has_ticket = session is not None and session.has_ticket
    writer.close()
    await finished.wait()
    server.close()
    await server.wait_closed()

    assert not has_ticket


@pytest.mark.parametrize("der", [b"", b"\x30\x00", bytes(500), b"\x30\x82\xff\xff"])
def test_an_unreadable_certificate_identifies_nobody(der: bytes) -> None:
    with pytest.raises(UnidentifiedPeer):
        peer_pin(der)


def test_a_certificate_of_another_kind_of_key_identifies_nobody() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    template = make_certificate(new_identity(), now_s=1_800_000_000, lifetime_s=WEEK_S)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(template.not_valid_before_utc)
        .not_valid_after(template.not_valid_after_utc)
        .sign(key, None)
    )

    with pytest.raises(UnidentifiedPeer):
        peer_pin(certificate.public_bytes(serialization.Encoding.DER))
