"""The COSE layers (RFC 9052) that envelopes and messages share: Sign1 outside, Encrypt with HPKE inside.

Key encryption follows the COSE-HPKE draft: each recipient's `info` is its Recipient_structure, whose
extra information is the SHA-256 of the outer protected header. HPKE's one-shot call has no AAD of its own;
in this way a recipient is bound to sender and sequence all the same.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cbor2 import CBORTag
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from wire_format.canonical import decode, encode
from wire_format.errors import MalformedPacket, Misconfigured, Rejected, Untrusted
from wire_format.keys import Kem, OpenKey, SealKey, SigningKey, VerifyKey

ALG: Final = 1
CONTENT_TYPE: Final = 3
KEY_ID: Final = 4
IV: Final = 5
ENCAPSULATED_KEY: Final = -4
EDDSA: Final = -8
A256GCM: Final = 3
SIGN1_TAG: Final = 18
ENCRYPT_TAG: Final = 96
MAX_RECIPIENTS: Final = 8
_NONCE_BYTES: Final = 12
_CONTENT_KEY_BITS: Final = 256
_WRAPPED_BYTES: Final = _CONTENT_KEY_BITS // 8 + 16

ALGORITHM_NUMBERS: Final[Mapping[Kem, int]] = {
    # Private use (below -65536) until the post-quantum draft's number, proposed as 57, is assigned.
    Kem.MLKEM768_X25519: -65793,
    Kem.X25519: 50,  # HPKE-4-KE
}
_SUITES: Final = {
    Kem.MLKEM768_X25519: (Suite(KEM.MLKEM768_X25519, KDF.SHAKE256, AEAD.AES_256_GCM), KEM.MLKEM768_X25519),
    Kem.X25519: (Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305), KEM.X25519),
}


@dataclass(frozen=True, slots=True)
class Signed:
    """A parsed COSE_Sign1 whose signature is not yet verified."""

    protected: bytes
    header: Mapping[Any, Any]
    payload: bytes
    signature: bytes

    @property
    def key_id(self) -> bytes:
        """Which key claims to have signed."""
        key_id: bytes = self.header[KEY_ID]
        return key_id

    def verify(self, key: VerifyKey) -> None:
        """Raise `Untrusted` unless `key` signed this."""
        if key.key_id != self.key_id:
            raise Untrusted("The message names another signing key than the one enrolled for its sender.")
        key.verify(self.signature, _to_be_signed(self.protected, self.payload))


def protected_header(content_type: str, key: SigningKey, fields: Mapping[str, Any]) -> bytes:
    """Return the bytes of a Sign1 protected header: algorithm, content type, key id, and our fields."""
    return encode({ALG: EDDSA, CONTENT_TYPE: content_type, KEY_ID: key.public.key_id, **fields})


def sign1(protected: bytes, payload: bytes, key: SigningKey) -> bytes:
    """Return the COSE_Sign1 bytes (tag 18)."""
    signature = key.sign(_to_be_signed(protected, payload))
    return encode(CBORTag(SIGN1_TAG, [protected, {}, payload, signature]))


def parse_sign1(data: bytes, content_type: str, fields: Mapping[str, type]) -> Signed:
    """Return the parts of a COSE_Sign1 of exactly this content type and these header fields.

    Raises `Rejected` for everything else: what is laid out wrongly was never ours.
    """
    protected, unprotected, payload, signature = _tagged(data, SIGN1_TAG, 4)
    if unprotected != {} or not all(isinstance(p, bytes) for p in (protected, payload, signature)):
        raise Rejected("The signed message is laid out wrongly.")
    header = _map(protected)
    if set(header) != {ALG, CONTENT_TYPE, KEY_ID, *fields} or not isinstance(header[KEY_ID], bytes):
        raise Rejected("The signed message lacks a header field, or has one too many.")
    if header[ALG] != EDDSA or header[CONTENT_TYPE] != content_type:
        raise Rejected(f"The signed message is not of type {content_type}.")
    wrong = [name for name, kind in fields.items() if type(header[name]) is not kind]
    if wrong:
        raise Rejected(f"The signed message's header field {wrong[0]} is of the wrong kind.")
    return Signed(protected, header, payload, signature)


def encrypt(
    plaintext: bytes,
    recipients: Sequence[SealKey],
    protected: bytes,
    numbers: Mapping[Kem, int] = ALGORITHM_NUMBERS,
) -> bytes:
    """Return COSE_Encrypt bytes (tag 96), sealed to every recipient and bound to the outer `protected`.

    Raises `Misconfigured` for no, too many, or mixed recipients: a message is as strong as its weakest one.
    """
    kems = {key.kem for key in recipients}
    if len(kems) != 1 or len(recipients) > MAX_RECIPIENTS:
        raise Misconfigured(
            f"A message is sealed to 1 to {MAX_RECIPIENTS} recipients of one kind; these are "
            f"{len(recipients)} of kinds {sorted(kems)}: correct the recipients' keys."
        )
    content_key, nonce = AESGCM.generate_key(_CONTENT_KEY_BITS), os.urandom(_NONCE_BYTES)
    inner = encode({ALG: A256GCM})
    sealed = AESGCM(content_key).encrypt(nonce, plaintext, _content_aad(inner))
    wrapped = [_wrap(content_key, key, protected, numbers) for key in recipients]
    return encode(CBORTag(ENCRYPT_TAG, [inner, {IV: nonce}, sealed, wrapped]))


def decrypt(
    data: bytes,
    keys: Mapping[bytes, OpenKey],
    protected: bytes,
    numbers: Mapping[Kem, int] = ALGORITHM_NUMBERS,
) -> bytes:
    """Return the plaintext of a COSE_Encrypt, opened with whichever of `keys` it was sealed to.

    Raises `Rejected` if it is laid out wrongly, mixes kinds of recipients or is not for these keys, and
    `Untrusted` if it does not open: it was changed, or moved to another envelope.
    """
    inner, unprotected, sealed, recipients = _tagged(data, ENCRYPT_TAG, 4)
    nonce = unprotected.get(IV) if isinstance(unprotected, dict) and len(unprotected) == 1 else None
    if not isinstance(nonce, bytes) or len(nonce) != _NONCE_BYTES or not isinstance(sealed, bytes):
        raise Rejected("The sealed message is laid out wrongly.")
    if not isinstance(inner, bytes) or inner != encode({ALG: A256GCM}):
        raise Rejected("The sealed message uses another content encryption than AES-256-GCM.")
    parsed = _recipients(recipients, numbers)
    for recipient in parsed:
        key = keys.get(recipient.key_id)
        if key is not None and key.kem is recipient.kem:
            content_key = _unwrap(recipient, key, protected)
            return _open(content_key, nonce, sealed, inner)
    raise Rejected("The sealed message is not for any key of ours.")


def recipient_ids(data: bytes, numbers: Mapping[Kem, int] = ALGORITHM_NUMBERS) -> frozenset[bytes]:
    """Return the ids of the keys that a COSE_Encrypt is sealed to; raise `Rejected` for another layout."""
    recipients = _tagged(data, ENCRYPT_TAG, 4)[3]
    return frozenset(one.key_id for one in _recipients(recipients, numbers))


@dataclass(frozen=True, slots=True)
class _Recipient:
    protected: bytes
    kem: Kem
    key_id: bytes
    encapsulated: bytes
    wrapped: bytes


def _wrap(content_key: bytes, key: SealKey, protected: bytes, numbers: Mapping[Kem, int]) -> list[Any]:
    suite, kem = _SUITES[key.kem]
    own = encode({ALG: numbers[key.kem], KEY_ID: key.key_id})
    out = suite.encrypt(content_key, key.object, info=_info(own, protected))
    length = kem.enc_length()
    return [own, {ENCAPSULATED_KEY: out[:length]}, out[length:]]


def _unwrap(recipient: _Recipient, key: OpenKey, protected: bytes) -> bytes:
    suite, _ = _SUITES[recipient.kem]
    try:
        return suite.decrypt(
            recipient.encapsulated + recipient.wrapped, key.object, info=_info(recipient.protected, protected)
        )
    except (InvalidTag, ValueError) as error:
        raise Untrusted("The content key does not open: the message was changed on its way.") from error


def _open(content_key: bytes, nonce: bytes, sealed: bytes, inner: bytes) -> bytes:
    try:
        return AESGCM(content_key).decrypt(nonce, sealed, _content_aad(inner))
    except (InvalidTag, ValueError) as error:
        raise Untrusted("The content does not open: the message was changed on its way.") from error


def _recipients(value: object, numbers: Mapping[Kem, int]) -> list[_Recipient]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_RECIPIENTS:
        raise Rejected(f"The sealed message has not 1 to {MAX_RECIPIENTS} recipients.")
    parsed = [_recipient(item, numbers) for item in value]
    if len({r.kem for r in parsed}) > 1:
        raise Rejected("The sealed message mixes quantum-resistant and classical recipients.")
    return parsed


def _recipient(value: object, numbers: Mapping[Kem, int]) -> _Recipient:
    match value:
        case [bytes(own), {-4: bytes(encapsulated), **rest}, bytes(wrapped)] if not rest:
            header = _map(own)
        case _:
            raise Rejected("A recipient of the sealed message is laid out wrongly.")
    kem = next((k for k, number in numbers.items() if header.get(ALG) == number), None)
    key_id = header.get(KEY_ID)
    if kem is None or not isinstance(key_id, bytes) or len(header) != 2:  # noqa: PLR2004 - the two fields named
        raise Rejected("A recipient of the sealed message uses an unknown algorithm or lacks its key id.")
    if len(encapsulated) != _SUITES[kem][1].enc_length() or len(wrapped) != _WRAPPED_BYTES:
        raise Rejected("A recipient's encapsulated key has the wrong length.")
    return _Recipient(own, kem, key_id, encapsulated, wrapped)


def _info(own: bytes, protected: bytes) -> bytes:
    return encode(["HPKE Recipient", A256GCM, own, hashlib.sha256(protected).digest()])


def _content_aad(inner: bytes) -> bytes:
    return encode(["Encrypt", inner, b""])


def _to_be_signed(protected: bytes, payload: bytes) -> bytes:
    return encode(["Signature1", protected, b"", payload])


def _thawed(value: Any) -> Any:  # noqa: ANN401 - any CBOR value
    """Return lists and dicts for the immutable forms that the parser uses inside of a tag."""
    if isinstance(value, tuple):
        return [_thawed(part) for part in value]
    if isinstance(value, Mapping):
        return {key: _thawed(part) for key, part in value.items()}
    return value


def _map(data: bytes) -> dict[Any, Any]:
    value = decode(data)
    if not isinstance(value, dict):
        raise MalformedPacket("A protected header is no map.")
    return value


def _tagged(data: bytes, tag: int, length: int) -> list[Any]:
    match decode(data):
        case CBORTag(tag=found, value=tuple(value)) if found == tag and len(value) == length:
            return [_thawed(part) for part in value]
        case _:
            raise MalformedPacket(f"The message is not a COSE structure with tag {tag}.")
