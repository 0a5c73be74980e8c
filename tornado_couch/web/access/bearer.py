"""`BearerJWT`: authentication by JSON Web Tokens (RFC 6750, RFC 7519), and the keys that verify them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tornado.httputil import HTTPServerRequest

from ..problems import Problem
from .principals import Principal, credentials_of, quoted, unauthenticated

__all__ = ["JWKS", "BearerJWT", "Key", "TokenKeys", "pyjwt"]

Key = str | bytes | Mapping[str, Any]
"""A PEM text, a secret as bytes, or a JWK (RFC 7517)."""

JWKS = Mapping[str, Sequence[Mapping[str, Any]]]
"""A JWK set: `{"keys": [...]}`."""

# RFC 7518 §3.2: a key of at least the hash's size, in bytes.
_HMAC_SIZES = {"HS256": 32, "HS384": 48, "HS512": 64}

_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1", "ES256K": "secp256k1"}

_RSA_BITS = 2048  # RFC 7518 §3.3


def pyjwt() -> Any:
    """Return the PyJWT module, which an extra installs.

    Raises:
        ImportError: PyJWT is not installed; the message says how to install it.
    """
    try:
        import jwt  # imported here, so that services without tokens do not need it
    except ImportError:
        raise ImportError('BearerJWT needs PyJWT: pip install "tornado-couch[jwt]"') from None
    return jwt


class TokenKeys:
    """Keys by `kid`, each with the accepted algorithms that it can be used with.

    Raises:
        ValueError: algorithms are missing, unknown, "none", or HMAC mixed with others; or a key
          fits none of them.
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
        """Return the key that a token's header names, and the algorithms that it may be used with.

        Raises:
            ValueError: no such key exists, or the header demands an extension that we do not understand.
        """
        if "crit" in header:  # RFC 7515 §4.1.11: we support no extensions
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
        """Return the key as PyJWT reads it, with its algorithms."""
        fit: dict[str, Any] = {}
        faults: list[str] = []
        for name in self._algorithms:
            try:
                fit[name] = _prepared(key, name)
            except ValueError as error:
                faults.append(f"{name}: {error}")
        if not fit:
            raise ValueError(f"a key fits none of the algorithms ({'; '.join(faults)})")
        return next(iter(fit.values())), list(fit)


def _checked(algorithms: Sequence[str]) -> list[str]:
    if isinstance(algorithms, str) or not algorithms:
        raise ValueError('algorithms must be a list, such as ["RS256"]: a token never chooses its own')
    known = pyjwt().PyJWS().get_algorithms()
    for name in algorithms:
        if name not in known or name.lower() == "none":
            raise ValueError(f"{name!r} is not a signing algorithm; choose from {sorted(set(known) - {'none'})}")
    if len({name in _HMAC_SIZES for name in algorithms}) > 1:
        # A public key, which everybody has, must never be taken for an HMAC secret (RFC 8725 §2.1).
        raise ValueError("HMAC and public-key algorithms cannot be accepted together")
    return list(algorithms)


def _prepared(key: Key, name: str) -> Any:
    """Return the key as PyJWT's algorithm expects it: a public key, or a secret.

    Raises:
        ValueError: the key does not fit, or is weaker than RFC 7518 requires; the message reveals nothing of the key.
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
    if name in _CURVES and key.curve.name != _CURVES[name]:  # older PyJWT versions accept any curve
        raise ValueError(f"the key is not on the curve {_CURVES[name]} (RFC 7518 §3.4)")


class BearerJWT:
    """Signed JSON Web Tokens (RFC 7519) as bearer tokens (RFC 6750), checked as RFC 8725 asks.

        BearerJWT(public_pem, algorithms=["ES256"], audience="https://api.example.com", issuer="https://id.example.com")

    A token chooses neither its algorithm nor its key: each key works with those of `algorithms` that
    fit it. `exp` is required, `nbf` and `iat` are checked if present, and a token for an audience is
    refused if no audience is configured.

    Args:
        key: the only key: a PEM text, a secret as bytes, or a JWK as a dict.
        keys: several keys by `kid`, so that old and new ones overlap; or a whole JWK set, `{"keys": […]}`
          (RFC 7517), of which keys of other kinds are skipped. A token must then name its key,
          unless there is just one.
        algorithms: the accepted algorithms, such as ["RS256"]. HMAC and public-key algorithms cannot be mixed.
        audience: the audience that the token must be for, or several of which it must name one; None if
          tokens have no audience, so that a token for one service is also valid for another.
        issuer: who must have issued the token, or several; None accepts any issuer that has the key.
        leeway: how many seconds clocks may differ.
        required: claims that must be present besides `exp` and the name.
        name_claim: the claim that becomes the principal's name.
        roles_claim: the claim with the roles, a list or a text separated by spaces such as `scope`; a
          sequence of names is a path, such as ("realm_access", "roles").
        realm: the realm in the challenge.

    Raises:
        ImportError: PyJWT is not installed.
        ValueError: no algorithms, an unknown one or "none", a mixture, or a key that does not fit or is weak.
    """

    # For the API document (OpenAPI 3.1 §4.8.27).
    security_scheme: ClassVar[Mapping[str, str]] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}

    def __init__(
        self,
        key: Key | None = None,
        *,
        algorithms: Sequence[str],
        audience: str | Sequence[str] | None,
        issuer: str | Sequence[str] | None,
        keys: Mapping[str, Key] | JWKS | None = None,
        leeway: float = 0.0,
        required: Sequence[str] = (),
        name_claim: str = "sub",
        roles_claim: str | Sequence[str] = "roles",
        realm: str = "api",
    ) -> None:
        if (key is None) == (keys is None):
            raise ValueError("BearerJWT: pass either `key` or `keys`")
        self._jwt = pyjwt()
        self._algorithms = algorithms
        self._keys = TokenKeys(algorithms, key, keys)
        self._audience = audience
        self._issuers = None if issuer is None else frozenset([issuer] if isinstance(issuer, str) else issuer)
        self._leeway = leeway
        self._required = ["exp", name_claim, *required]
        self._name_claim = name_claim
        self._roles_path = (roles_claim,) if isinstance(roles_claim, str) else tuple(roles_claim)
        self.challenge = f"Bearer realm={quoted(realm)}"

    def replace_keys(self, keys: Mapping[str, Key] | JWKS) -> None:
        """Use these keys from now on, to rotate keys in a running service.

        Raises:
            ValueError: a key does not fit; the previous keys remain in use.
        """
        self._keys = TokenKeys(self._algorithms, None, keys)

    async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
        """Return the principal that the token names; None without a bearer token.

        Raises:
            Problem: 401 with `error="invalid_token"` (RFC 6750 §3.1).
        """
        token = credentials_of(request, "bearer")
        if token is None:
            return None
        claims = self._claims(token)
        name = claims.get(self._name_claim)
        if not isinstance(name, str) or not name:
            raise self._refusal("The token does not name a user")
        return Principal(name, self._roles(claims), claims)

    def _claims(self, token: str) -> dict[str, Any]:
        jwt = self._jwt
        try:
            key, algorithms = self._keys.find(jwt.get_unverified_header(token))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=algorithms,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": self._required},
            )
        except jwt.ExpiredSignatureError:
            raise self._refusal("The token has expired") from None
        # With some made-up tokens, PyJWT raises Python's own errors.
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
            raise self._refusal("The token is not valid here") from None
        # We check this ourselves: older PyJWT versions accept only one issuer.
        issuer = claims.get("iss")
        if self._issuers is not None and not (isinstance(issuer, str) and issuer in self._issuers):
            raise self._refusal("The token is not valid here")
        return claims

    def _roles(self, claims: dict[str, Any]) -> frozenset[str]:
        found: Any = claims
        for name in self._roles_path:
            found = found.get(name) if isinstance(found, dict) else None
        roles = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
        return frozenset(role for role in roles if isinstance(role, str))

    def _refusal(self, reason: str) -> Problem:
        challenge = f'{self.challenge}, error="invalid_token", error_description="{reason}"'
        return unauthenticated(f"{reason}.", [challenge], "invalid-credentials")
