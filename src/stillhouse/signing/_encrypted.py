"""Private keys under a passphrase, with a derivation that is costly to guess against.

`cryptography` reads PKCS8 that is encrypted with scrypt, but writes it with 2,048 rounds of PBKDF2
only. Sources: RFC 5958 (EncryptedPrivateKeyInfo), RFC 8018 (PBES2), RFC 7914 (scrypt).
"""

import base64
import hashlib
import os

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

# 16 MiB and a fifth of a second; OWASP's password storage cheat sheet counts it as equal to its
# first choice, which takes more memory than OpenSSL allows by itself.
_N, _R, _P = 16_384, 8, 5
_SALT_BYTES, _KEY_BYTES = 16, 32
_INTEGER, _OCTETS, _OBJECT, _SEQUENCE = 0x02, 0x04, 0x06, 0x30
_PBES2 = bytes.fromhex("2a864886f70d01050d")  # 1.2.840.113549.1.5.13
_SCRYPT = bytes.fromhex("2b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11
_AES_256_CBC = bytes.fromhex("60864801650304012a")  # 2.16.840.1.101.3.4.1.42


def encrypted_pem(private_der: bytes, passphrase: str) -> bytes:
    """PKCS8 as EncryptedPrivateKeyInfo in PEM: PBES2 with scrypt and AES-256-CBC.

    Args:
        private_der: The key as PKCS8 in DER.
        passphrase: Taken as UTF-8.
    """
    salt, vector = os.urandom(_SALT_BYTES), os.urandom(16)
    key = hashlib.scrypt(
        passphrase.encode(), salt=salt, n=_N, r=_R, p=_P, dklen=_KEY_BYTES, maxmem=64 << 20
    )
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
    hidden = encryptor.update(padder.update(private_der) + padder.finalize())
    costs = b"".join(_der(_INTEGER, _big_endian(number)) for number in (_N, _R, _P))
    derivation = _of(_SCRYPT, _der(_SEQUENCE, _der(_OCTETS, salt) + costs))
    cipher = _of(_AES_256_CBC, _der(_OCTETS, vector))
    scheme = _of(_PBES2, _der(_SEQUENCE, derivation + cipher))
    whole = _der(_SEQUENCE, scheme + _der(_OCTETS, hidden + encryptor.finalize()))
    lines = base64.b64encode(whole)
    return b"".join(
        [
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
            *(lines[place : place + 64] + b"\n" for place in range(0, len(lines), 64)),
            b"-----END ENCRYPTED PRIVATE KEY-----\n",
        ]
    )


def _of(identifier: bytes, parameters: bytes) -> bytes:
    """An AlgorithmIdentifier."""
    return _der(_SEQUENCE, _der(_OBJECT, identifier) + parameters)


def _der(tag: int, content: bytes) -> bytes:
    """A value with its tag and length; all here are shorter than 256 bytes."""
    length = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])
    return bytes([tag]) + length + content


def _big_endian(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1)  # the first bit is the sign
