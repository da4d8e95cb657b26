"""One tree of errors. Each class has the HTTP status it becomes; the message is for a person:
what happened and what to do next. Engines raise them too: they need no web framework.
"""

from __future__ import annotations


class RacerError(Exception):
    """Base of every error that we raise on purpose."""

    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFoundError(RacerError):
    """The thing named does not exist."""

    status = 404


class AlreadyExistsError(RacerError):
    """A unique name is taken. 400, not 409: the seed's clients expect it."""

    status = 400


class ConflictError(RacerError):
    """The thing exists but is in a state that does not allow this."""

    status = 409


class PreconditionFailedError(RacerError):
    """The thing is not any more as the client last saw it."""

    status = 412


class InvalidInputError(RacerError):
    """The input is well-formed but means nothing we can do."""

    status = 422


class UnauthorizedError(RacerError):
    """Who you are is missing, wrong or expired."""

    status = 401


class TooManyRequestsError(RacerError):
    """It was tried too often; `retry_after_s` says when to try again."""

    status = 429

    def __init__(self, message: str, *, retry_after_s: int = 60) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnavailableError(RacerError):
    """A part we depend on (vehicle, ROS 2, database) does not answer now."""

    status = 503


class NotInstalledError(RacerError):
    """It needs an optional package that this installation lacks."""

    status = 501


class ConfigurationError(RacerError):
    """The environment is set in a way we cannot start with."""
