"""Who sends a request, as far as its head tells."""

from __future__ import annotations

import ipaddress

from fastapi.security.utils import get_authorization_scheme_param
from starlette.datastructures import Headers
from starlette.types import Scope

SCHEME = "bearer"


def bearer_of(scope: Scope) -> str | None:
    """The token of the Authorization header."""
    scheme, token = get_authorization_scheme_param(Headers(scope=scope).get("authorization"))
    return token.strip() if scheme.lower() == SCHEME else None


def network(scope: Scope) -> str:
    """Words for whence it comes."""
    return f"address {network_of((scope.get('client') or ('unknown',))[0])}"


def network_of(address: str) -> str:
    """Whose address it is: of IPv6 everybody has 2**64."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
