"""Kept policies in the REST API: list, read, download, upload, export, delete.

They belong to their owners, to see and to change.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import IO, Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from auth import NamedAccount, VisitorDep, require_access
from database import SessionDep
from models import Policy
from racer.errors import InvalidInputError
from racer.policies import queries
from racer.policies.dependencies import Service
from racer.policies.queries import PolicyView
from racer.policies.schemas import (
    ExportFormat,
    PolicyDetail,
    PolicyFilter,
    PolicyOut,
    PolicyPage,
)
from racer.policy.archive import MAX_ARCHIVE_BYTES
from racer.web import paging
from racer.web.idempotency import CREATES
from racer.web.openapi import body, errors

router = APIRouter(tags=["policies"])
# Bodies that may be larger than others: a policy's zip and what a multipart form adds to it.
LARGE_BODIES = {r"/users/[^/]+/policies/?": MAX_ARCHIVE_BYTES + (64 << 10)}

_CHUNK = 64 << 10
_ZIPS = frozenset({"application/zip", "application/x-zip-compressed", "application/octet-stream"})
_MEDIA = {"onnx": "application/octet-stream", "safetensors": "application/octet-stream"}
_PROTECTED = errors(s401="The account has a password: sign in first.")
_OWN = _PROTECTED | errors(s404="There is no such thing.")
_KEEPING = (
    _OWN
    | {200: {"model": PolicyOut, "description": "It is there already."}}
    | errors(
        s409="The run has no policy, or its owner too many.",
        s503="The server's disk is full, or it is too busy.",
    )
)
_FILE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_ZIP = body("application/zip", "PK\u0003\u0004", binary=True)
_ONNX = body("application/octet-stream", "\b\n\u0012\u0007pytorch", binary=True)
_SENDING = _OWN | _ZIP
_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/zip": _FILE,
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": _FILE["schema"]}}
            },
        },
    }
}


def _found(policy_id: str, session: SessionDep, visitor: VisitorDep) -> PolicyView:
    """A policy that the visitor may use. Ends the request's transaction: files are sent, and the
    service writes, after it."""
    view = queries.get_policy(session, policy_id)
    require_access(view.policy.user, visitor, missing=queries.NO_POLICY)
    session.commit()
    return view


def _own_run(run_id: str, session: SessionDep, visitor: VisitorDep) -> str:
    """The id of a run whose policy the visitor may keep."""
    require_access(queries.run_owner(session, run_id), visitor, missing=queries.NO_RUN)
    session.commit()
    return run_id


def _own_account(user: NamedAccount, session: SessionDep) -> int:
    """Its id. Ends the request's transaction, as above."""
    session.commit()
    return user.id


Found = Annotated[PolicyView, Depends(_found, scope="function")]
OwnRun = Annotated[str, Depends(_own_run, scope="function")]
OwnAccount = Annotated[int, Depends(_own_account, scope="function")]
IfNoneMatch = Annotated[str, Header(max_length=2000)]


@router.get("/policies", summary="List policies, the newest first", responses=_PROTECTED)
def list_policies(
    session: SessionDep, visitor: VisitorDep, wanted: Annotated[PolicyFilter, Query()]
) -> PolicyPage:
    """A page of those that are one's own or an open account's; `next` is null on the last one."""
    found = queries.list_policies(
        session,
        visitor,
        username=wanted.username,
        name=wanted.name,
        track=wanted.track,
        origin=wanted.origin,
        drone_id=wanted.drone_id,
        before=wanted.before,
        limit=wanted.limit + 1,
    )
    more = len(found) > wanted.limit
    place = _place(found[wanted.limit - 1].policy) if more else None
    return PolicyPage(policies=[_out(view) for view in found[: wanted.limit]], next=place)


@router.get("/policies/{policy_id}", summary="Read a policy", responses=_OWN)
def read_policy(view: Found) -> PolicyDetail:
    """What it is, where it comes from, and its manifest."""
    return PolicyDetail(**_out(view).model_dump(), manifest=view.policy.manifest)


@router.get(
    "/policies/{policy_id}/download",
    summary="Download a policy as a zip",
    response_class=StreamingResponse,
    responses=_SENDING,
)
async def download_policy(
    view: Found, service: Service, if_none_match: IfNoneMatch = ""
) -> Response:
    """`policy.onnx`, `manifest.json` and a README that says how to fly it."""
    policy, tag = view.policy, f'"{view.policy.sha256}"'
    if _names(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag})
    file = await service.archive(policy.id, sha256=policy.sha256)
    return _sent(file, f"{_slug(view)}.zip", "application/zip", tag=tag)


@router.get(
    "/policies/{policy_id}/export",
    summary="Export a policy",
    response_class=StreamingResponse,
    responses=_SENDING
    | {200: {"content": _ZIP[200]["content"] | _ONNX[200]["content"]}}
    | errors(s501="It needs a package that the server lacks."),
)
async def export_policy(
    view: Found,
    service: Service,
    wanted: Annotated[ExportFormat, Query(alias="format")],
    if_none_match: IfNoneMatch = "",
) -> Response:
    """The network as ONNX, its weights as safetensors, or a zip of OpenVINO's IR."""
    policy, tag = view.policy, f'"{view.policy.sha256}-{wanted}"'
    if _names(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag})
    name, file = await service.export(policy.id, wanted, sha256=policy.sha256)
    media = _MEDIA.get(wanted, "application/zip")
    return _sent(file, f"{_slug(view)}-{name}", media, tag=tag)


@router.post(
    "/runs/{run_id}/policy",
    summary="Keep a run's best policy so far",
    status_code=201,
    openapi_extra=CREATES,
    responses=_KEEPING,
)
async def keep_policy(run_id: OwnRun, service: Service, response: Response) -> PolicyOut:
    """Also of a run that trains, rests or failed. One that finishes is kept by itself."""
    policy_id, is_new = await service.keep_run(run_id)
    response.status_code = 201 if is_new else 200
    return _out(await service.find(policy_id))


@router.post(
    "/users/{username}/policies",
    summary="Upload a policy",
    status_code=201,
    responses=_KEEPING | errors(s413="The zip is too large."),
    openapi_extra=_UPLOAD_BODY | CREATES,
)
async def upload_policy(
    user_id: OwnAccount,
    service: Service,
    request: Request,
    response: Response,
    name: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
) -> PolicyOut:
    """A zip of `policy.onnx` and `manifest.json`, as the body or as a form's `file`."""
    policy_id, is_new = await service.upload(user_id, _chunks(request), name=name)
    response.status_code = 201 if is_new else 200
    return _out(await service.find(policy_id))


@router.delete("/policies/{policy_id}", summary="Delete a policy", status_code=204, responses=_OWN)
async def delete_policy(view: Found, service: Service) -> None:
    """With its files. Policies that were made from it stay, without a parent."""
    await service.delete(view.policy.id)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """The zip in the request's body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind in _ZIPS:
            async for chunk in request.stream():
                yield chunk
        elif kind == "multipart/form-data":
            async with request.form(max_files=1, max_fields=8) as form:
                file = form.get("file")
                if not isinstance(file, UploadFile):
                    raise InvalidInputError("The form has no `file`. Send the zip in it.")
                while chunk := await file.read(_CHUNK):
                    yield chunk
        else:
            raise InvalidInputError(
                "Send the policy's zip as it is with the content type application/zip, or as the "
                "`file` of a multipart form."
            )
    except ClientDisconnect as error:
        raise InvalidInputError("The upload ended in the middle. Send it again.") from error


def _out(view: PolicyView) -> PolicyOut:
    policy = view.policy
    return PolicyOut(
        id=policy.id,
        username=policy.user.username,
        name=policy.name,
        version=policy.version,
        origin=policy.origin,
        drone_id=view.drone_id,
        run_id=policy.run_id,
        parent_id=policy.parent_id,
        track=policy.track,
        sha256=policy.sha256,
        size_bytes=policy.size_bytes,
        metrics=policy.metrics,
        created_at=policy.created_at,
    )


def _names(if_none_match: str, tag: str) -> bool:
    """Whether the client has it (RFC 9110, 13.1.2: the weak comparison)."""
    given = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return "*" in given or tag in given


def _slug(view: PolicyView) -> str:
    """A file name of what the policy is called; headers hold no other letters."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", view.policy.name).strip("-.")
    return f"{name[:80] or 'policy'}-v{view.policy.version}"


def _sent(file: IO[bytes], name: str, media: str, *, tag: str) -> StreamingResponse:
    size = file.seek(0, 2)
    file.seek(0)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(size),
        "ETag": tag,
    }
    return StreamingResponse(_parts(file), media_type=media, headers=headers)


def _parts(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while part := file.read(_CHUNK):
            yield part


def _place(policy: Policy) -> str:
    return paging.place_of(policy.created_at, policy.id)
