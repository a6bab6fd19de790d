"""Where commands find the error that the command line prints as one line."""

from infrastructure.user_error import UserError

__all__ = ["UserError"]
