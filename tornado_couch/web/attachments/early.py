"""`EarlyAnswers`: answers that are sent before the body of their request is at its end."""

from __future__ import annotations

from typing import Any

from tornado.web import Finish

from ..action_table import Action
from ..handler import ResourceHandler
from ..problems import Problem, problem_of
from ..resources import M

__all__ = ["EarlyAnswers"]


class EarlyAnswers(ResourceHandler[M]):
    """A handler that answers a refused upload at once.

    The rest of the body is dropped meanwhile, since many a client reads no answer before it has sent everything; the
    answer is finished, and the connection free for another request, when the body is at its end.
    """

    _early = _answered = False

    async def admit(self, action: Action | str) -> None:
        """Let the request through, unless it is answered already."""
        if self._answered:
            raise Finish
        await super().admit(action)

    def answer_early(self, error: Exception) -> None:
        """Answer a request whose body is refused, while the rest of it is being dropped."""
        if self._answered or self.request.connection.stream.closed():  # type: ignore[union-attr]
            return
        problem = problem_of(500, error)
        if not isinstance(error, Problem):
            self.log_exception(type(error), error, error.__traceback__)
        self._early = True
        try:
            self.send_error(problem.status_code, exc_info=(type(error), error, error.__traceback__))
        finally:
            self._early = False

    def finish(self, chunk: Any = None) -> Any:
        """Finish the answer; one that comes before the end of the body is sent, and finished at that end."""
        if not self._early:
            return super().finish(chunk)
        if chunk is not None and not self._answered:
            self._answered = True
            self.set_header("Content-Length", str(len(chunk)))
            self.write(chunk)
            return self.flush()
        return None
