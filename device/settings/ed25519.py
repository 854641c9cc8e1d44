"""Ed25519 signatures (RFC 8032), by libsodium: the one place that imports its binding.

Keys and signatures are bytes of the lengths named here; anything else raises ValueError.
"""

from typing import Final

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


def new_seed() -> bytes:
    """Return a new private key from the kernel's randomness."""
    return bytes(SigningKey.generate())


def public_key(seed: bytes) -> bytes:
    """Return the public key that belongs to a private one."""
    return bytes(SigningKey(seed).verify_key)


def signature(seed: bytes, message: bytes) -> bytes:
    """Return the signature of `message`; the same each time."""
    return bytes(SigningKey(seed).sign(message).signature)


def is_signed(public: bytes, message: bytes, signed: bytes) -> bool:
    """Whether `signed` is the signature of `message` by the private key that belongs to `public`."""
    try:
        VerifyKey(public).verify(message, signed)
    except BadSignatureError:
        return False
    return True
