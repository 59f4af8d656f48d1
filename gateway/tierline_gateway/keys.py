"""API keys to tenants; keys themselves are kept only as hashes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

HEADER_AUTHORIZATION = "authorization"
_SCHEME = "bearer "


def key_digest(key: str) -> bytes:
    """Return the hash under which a key is kept; keys are random and long, so a plain fast hash is enough.

    Header bytes that are no UTF-8 arrive as lone surrogates; they hash to what no key of a Secret has.
    """
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


@dataclass(frozen=True)
class KeyTable:
    """Digest of each key and the tenant it stands for."""

    tenants: Mapping[bytes, str]

    def tenant_of(self, key: str) -> str | None:
        """Return the tenant of `key`, None when nobody has it.

        One look-up however many tenants there are. Its time tells something about digests only, and whoever knows a
        part of a random key's digest is no nearer to the key.
        """
        return self.tenants.get(key_digest(key))


def bearer_token(header: str | None) -> str | None:
    """Return the key in an Authorization header, None when there is none."""
    if header is None or not header.lower().startswith(_SCHEME):
        return None
    return header[len(_SCHEME) :].strip() or None
