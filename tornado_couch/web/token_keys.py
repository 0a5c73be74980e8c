"""The keys that verify JSON Web Tokens, each bound to the algorithms that fit it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["JWKS", "Key", "TokenKeys", "pyjwt"]

Key = str | bytes | Mapping[str, Any]
"""A PEM text, a secret as bytes, or a JWK (RFC 7517)."""

JWKS = Mapping[str, Sequence[Mapping[str, Any]]]
"""A JWK set: `{"keys": [...]}`."""

# RFC 7518 §3.2: a key of at least the hash's size, in bytes.
_HMAC_SIZES = {"HS256": 32, "HS384": 48, "HS512": 64}

_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1", "ES256K": "secp256k1"}

_RSA_BITS = 2048  # RFC 7518 §3.3


def pyjwt() -> Any:
    """The PyJWT module, which is an extra.

    Raises:
        ImportError: saying how to install it.
    """
    try:
        import jwt  # here: services without tokens do without it
    except ImportError:
        raise ImportError('BearerJWT needs PyJWT: pip install "tornado-couch[jwt]"') from None
    return jwt


class TokenKeys:
    """Keys by `kid`, each with those of the accepted algorithms that it is fit for.

    Raises:
        ValueError: algorithms are missing, unknown, "none", or HMAC mixed with others; or a key is
            fit for none of them.
    """

    def __init__(self, algorithms: Sequence[str], key: Key | None, keys: Mapping[str, Key] | JWKS | None) -> None:
        self._algorithms = _checked(algorithms)
        if key is not None:
            self._any_kid, self._keys = True, {"": self._bound(key)}
            return
        self._any_kid = False
        jwks = (keys or {}).get("keys")
        if isinstance(jwks, Sequence) and not isinstance(jwks, str | bytes):
            self._keys = self._of_set(jwks)
        else:
            self._keys = {kid: self._bound(each) for kid, each in (keys or {}).items()}  # type: ignore[arg-type]
        if not self._keys:
            raise ValueError(f"there is no key for {', '.join(self._algorithms)}")

    def find(self, header: Mapping[str, Any]) -> tuple[Any, list[str]]:
        """The key that a token's header names, and the algorithms that it may be used with.

        Raises:
            ValueError: there is none, or the header demands what is not understood.
        """
        if "crit" in header:  # RFC 7515 §4.1.11: we understand no extension
            raise ValueError("critical extensions")
        kid = header.get("kid")
        if self._any_kid or (kid is None and len(self._keys) == 1):
            return next(iter(self._keys.values()))
        if not isinstance(kid, str) or kid not in self._keys:
            raise ValueError("unknown key")
        return self._keys[kid]

    def _of_set(self, jwks: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, list[str]]]:
        """The usable keys of a JWK set; others are skipped, as RFC 7517 §5 asks."""
        found: dict[str, tuple[Any, list[str]]] = {}
        for each in jwks:
            kid = str(each.get("kid", ""))
            if each.get("use", "sig") != "sig":
                continue
            try:
                bound = self._bound(each)
            except ValueError:
                continue
            if kid in found:
                raise ValueError(f"two keys have the kid {kid!r}")
            found[kid] = bound
        return found

    def _bound(self, key: Key) -> tuple[Any, list[str]]:
        """The key as PyJWT reads it, with its algorithms."""
        fit: dict[str, Any] = {}
        faults: list[str] = []
        for name in self._algorithms:
            try:
                fit[name] = _prepared(key, name)
            except ValueError as error:
                faults.append(f"{name}: {error}")
        if not fit:
            raise ValueError(f"a key is fit for none of the algorithms ({'; '.join(faults)})")
        return next(iter(fit.values())), list(fit)


def _checked(algorithms: Sequence[str]) -> list[str]:
    if isinstance(algorithms, str) or not algorithms:
        raise ValueError('algorithms must be a list, such as ["RS256"]: a token never chooses its own')
    known = pyjwt().PyJWS().get_algorithms()
    for name in algorithms:
        if name not in known or name.lower() == "none":
            raise ValueError(f"{name!r} is no algorithm to sign with; there are {sorted(set(known) - {'none'})}")
    if len({name in _HMAC_SIZES for name in algorithms}) > 1:
        # A public key, which everybody has, must never be taken for an HMAC secret (RFC 8725 §2.1).
        raise ValueError("HMAC and public-key algorithms cannot be accepted together")
    return list(algorithms)


def _prepared(key: Key, name: str) -> Any:
    """The key as PyJWT's algorithm wants it: a public key, or a secret.

    Raises:
        ValueError: it does not fit, or is weaker than RFC 7518 asks; without a word of the key itself.
    """
    algorithm = pyjwt().PyJWS().get_algorithm_by_name(name)
    if isinstance(key, Mapping) and key.get("alg", name) != name:
        raise ValueError("the key is for another algorithm")
    try:
        ready = algorithm.from_jwk(json.dumps(dict(key))) if isinstance(key, Mapping) else algorithm.prepare_key(key)
    except (pyjwt().PyJWTError, TypeError, ValueError, KeyError, AttributeError):
        raise ValueError("the key is of another kind") from None
    if hasattr(ready, "public_key"):
        ready = ready.public_key()
    _refuse_weak(ready, name)
    return ready


def _refuse_weak(key: Any, name: str) -> None:
    if name in _HMAC_SIZES and len(key) < _HMAC_SIZES[name]:
        raise ValueError(f"the secret must have at least {_HMAC_SIZES[name]} bytes (RFC 7518 §3.2)")
    if name.startswith(("RS", "PS")) and key.key_size < _RSA_BITS:
        raise ValueError(f"the key must have at least {_RSA_BITS} bits (RFC 7518 §3.3)")
    if name in _CURVES and key.curve.name != _CURVES[name]:  # older PyJWT takes any curve
        raise ValueError(f"the key is not of the curve {_CURVES[name]} (RFC 7518 §3.4)")
