"""Wire types of passwords, roles, sessions and the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models import Role
from schemas import Password, UserOut


class PasswordChange(BaseModel):
    """A new password."""

    password: Password = Field(description="8 to 72 bytes.", examples=["a red kite over the moor"])
    current: Annotated[str, Field(max_length=1000)] | None = Field(
        None, description="The present one, if it is your own account's.", examples=["kestrel 17"]
    )


class RoleChange(BaseModel):
    """What an account may do from now on."""

    role: Role = Field(examples=["race_director"])


class AccountOut(BaseModel):
    """An account's name and role."""

    model_config = ConfigDict(from_attributes=True)

    username: str = Field(examples=["ada"])
    role: Role = Field(examples=["race_director"])


class MeOut(UserOut):
    """The account of the token."""

    role: Role = Field(examples=["pilot"])


class RefreshIn(BaseModel):
    """A refresh token, which counts once."""

    refresh_token: str = Field(
        max_length=200,
        examples=["p2Yp0mC1q3hX8z7T9bW4Lg.8Qk1r0C5yq2mJt6nV3xZsA7dF9hE4uKw-bLpGiOYcRM"],
    )


class AuditEntryOut(BaseModel):
    """Who did what to what, and whence."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(examples=["0b9f3a52-6f0e-4a38-9f8e-0d1f2b1f9a77"])
    created_at: datetime = Field(examples=["2026-11-21T18:04:05Z"])
    actor_id: int | None = Field(
        description="null: nobody signed in, or the command line.", examples=[7]
    )
    actor: str = Field(description="The account's name then.", examples=["ada"])
    action: str = Field(examples=["account.sign_in"])
    target: str = Field(examples=["ada"])
    outcome: str = Field(description="done or refused.", examples=["done"])
    address: str = Field(examples=["192.0.2.7"])
    request_id: str = Field(
        description="As in the server's log.", examples=["273b8e00048b283525b66441dd87736b"]
    )


class AuditPage(BaseModel):
    """Entries, the newest first."""

    entries: list[AuditEntryOut]
    next: str | None = Field(description="What `before` of the next page is; null on the last.")


class AuditFilter(BaseModel):
    """Which page."""

    before: str | None = Field(None, max_length=100, description="`next` of the page before.")
    limit: int = Field(50, ge=1, le=200)
