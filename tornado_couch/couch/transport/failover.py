"""Uses several nodes of one cluster as one server: the next node when one fails, and the first again once it is back.

The nodes must belong to one cluster, where each of them coordinates reads and writes for all. Between clusters that
replicate, a read could miss a write that came before it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus

from cachetools import TTLCache

from ...errors import InvalidReply, PoolTimeout, Unavailable
from .base import Reply, Request, Stream, Transport

__all__ = ["FailoverTransport"]

logger = logging.getLogger("tornado_couch.couch")

# What a load balancer, or a node that shuts down, answers; 500 can be caused by the request itself.
_AWAY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0

_CONTESTED = 10_000  # documents at most of which it is known that several writers change them
_CONTESTED_SECONDS = 600.0  # after the last conflict


class _Node:
    """One node: its connections, and how long it is not used after a failure."""

    def __init__(self, number: int, transport: Transport, name: str) -> None:
        self.number = number
        self.key = hashlib.blake2b(name.encode(), digest_size=16).digest()
        self.transport = transport
        self.failures = 0
        self.aside_until = 0.0

    def closeness(self, document_id: str) -> bytes:
        """How much this node is preferred for a document: in any process the node with the greatest value comes first.

        This is rendezvous hashing: where a node fails, only its own documents go to others.
        """
        return hashlib.blake2b(document_id.encode(errors="surrogatepass"), digest_size=8, key=self.key).digest()

    def failed(self, now: float) -> None:
        pause = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(self.failures, 10), _LONGEST_PAUSE_SECONDS)
        if self.failures == 0:
            logger.warning("CouchDB node %d does not respond; its requests go to the other nodes", self.number)
        self.failures += 1
        self.aside_until = now + pause

    def succeeded(self) -> None:
        if self.failures:
            logger.warning("CouchDB node %d responds again", self.number)
        self.failures = 0
        self.aside_until = 0.0


class FailoverTransport:
    """Sends each request to the first node that works, in the given order.

    When a node fails, a request that did not reach it, or that changes nothing, goes on to the next node. A write
    whose answer was lost is never sent to another node automatically: it may have been carried out. A node that
    failed is not used for a second, then two, up to half a minute; after that one reading request at a time finds
    out whether it is back. If no node is usable, they are tried all the same.

    The writes of a document that several writers change collide less often on one node than on several. So the writes
    of such documents prefer a node that depends on the document, and is the same in every process.

    Args:
        transports: one for each node, the preferred one first.
        clock: a monotonic clock in seconds.
        names: names of the nodes that are the same in every process, such as their URLs.
        spread: whether the writes of all documents prefer a node of the document's own.

    Raises:
        ValueError: no transports are given.
    """

    def __init__(
        self,
        transports: Sequence[Transport],
        clock: Callable[[], float] = time.monotonic,
        *,
        names: Sequence[str] | None = None,
        spread: bool = False,
    ) -> None:
        if not transports:
            raise ValueError("a cluster must have at least one node")
        self._spread = spread
        labels = names or [str(number) for number in range(1, len(transports) + 1)]
        self._nodes = [
            _Node(number, each, name) for number, (each, name) in enumerate(zip(transports, labels, strict=True), 1)
        ]
        self._clock = clock
        self._contested: TTLCache[str, None] = TTLCache(_CONTESTED, _CONTESTED_SECONDS, clock)

    def contest(self, document_id: str) -> None:
        """Let the writes of a document prefer the node of its own, for some minutes: several writers change it."""
        self._contested[document_id] = None

    def preferred(self, document_id: str) -> int:
        """The number of the node that a document's writes prefer; 0 where they prefer the one of all requests."""
        if not self._has_own_node(document_id):
            return 0
        return next(self._candidates(near=document_id, safe=False)).number

    def _has_own_node(self, document_id: str) -> bool:
        return self._spread or document_id in self._contested

    async def send(self, request: Request) -> Reply:
        """Send a request and return the complete answer; see `Transport.send`.

        Raises:
            Unavailable: no node could be reached, or the answer was lost.
            InvalidReply: the answer is not HTTP.
        """
        outcome: Reply | Unavailable | InvalidReply | None = None
        for node in self._candidates(request.near, request.safe):
            try:
                reply = await node.transport.send(request)
            except (Unavailable, InvalidReply) as error:
                outcome = error
                if not self._goes_on(node, request, error):
                    raise
            else:
                if reply.status not in _AWAY:
                    node.succeeded()
                    return reply
                node.failed(self._clock())
                outcome = reply
                if not request.safe:
                    return reply
        if isinstance(outcome, Reply):
            return outcome
        raise outcome or Unavailable("no CouchDB node can be used", sent=False)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Stream]:
        """Send a request and read the answer as it arrives, all of it from the same node.

        Raises:
            Unavailable: no node could be reached, or the answer was lost.
        """
        async with AsyncExitStack() as stack:
            yield await self._opened(request, stack)

    async def close(self) -> None:
        """Close every connection to every node."""
        await asyncio.gather(*(node.transport.close() for node in self._nodes))

    async def _opened(self, request: Request, stack: AsyncExitStack) -> Stream:
        failure: Unavailable | InvalidReply | None = None
        for node in self._candidates(request.near, request.safe):
            try:
                stream = await stack.enter_async_context(node.transport.stream(request))
            except (Unavailable, InvalidReply) as error:
                failure = error
                if not self._goes_on(node, request, error):
                    raise
            else:
                node.succeeded()
                return stream
        raise failure or Unavailable("no CouchDB node can be used", sent=False)

    def _goes_on(self, node: _Node, request: Request, error: Unavailable | InvalidReply) -> bool:
        """Record a failure, and decide whether the request may go to another node."""
        if isinstance(error, PoolTimeout):
            return False  # the node is busy with our own requests, and the next would be as well
        node.failed(self._clock())
        return request.safe or (isinstance(error, Unavailable) and not error.sent)

    def _candidates(self, near: str | None, safe: bool) -> Iterator[_Node]:
        now, nodes = self._clock(), self._nodes
        if near is not None and self._has_own_node(near):
            nodes = sorted(nodes, key=lambda node: node.closeness(near), reverse=True)
        due = [node for node in nodes if node.aside_until <= now]
        working = [node for node in due if not node.failures]
        # A failed node is tried with one request at a time, which must be harmless in case the node fails again.
        trying = [node for node in due if node.failures][:1] if safe else []
        for node in trying:
            node.aside_until = now + _LONGEST_PAUSE_SECONDS
        # No read prefers the node of some documents' writes, so it has to be tried first.
        several = self._spread or len(self._contested) > 0
        chosen = [*trying, *working] if several else [node for node in nodes if node in working or node in trying]
        yield from chosen
        rest = (node for node in nodes if node not in chosen)
        yield from sorted(rest, key=lambda node: node.aside_until)
