"""Errors on their way from a keeper to its client: the one that was raised there is raised here again."""

from __future__ import annotations

from pytest_sonemu import errors
from pytest_sonemu.emulation.protocol import Failure


class StalePlanError(errors.EmulationError):
    """The plan was made before something else was given out; a new one is asked for."""


def failure(error: Exception) -> Failure:
    """An error as it travels to the client."""
    if isinstance(error, StalePlanError):
        return Failure("EmulationError", str(error), reason="stale")
    name = type(error).__name__
    if not isinstance(error, errors.SonemuError):
        return Failure("EmulationError", f"{name}: {error}", reason="unexpected")
    return Failure(name, str(error))


def raised(told: Failure) -> errors.SonemuError:
    """The exception that a failure stands for."""
    if told.reason == "stale":
        return StalePlanError(told.message)
    kind = getattr(errors, told.error, errors.EmulationError)
    error: errors.SonemuError = kind.__new__(kind)
    # Some of them are made from more than a message, which has been put together already.
    Exception.__init__(error, told.message)
    if isinstance(error, errors.DescriptorError):
        error.findings = ()
    return error
