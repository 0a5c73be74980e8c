"""What a profile is summed up to."""

from __future__ import annotations

from benchmarks.profiling import package, part, report

LOOP = "run_forever (asyncio/base_events.py:607)"
SERVER = "HTTP1ServerConnection._server_request_loop (tornado/http1connection.py:850)"
EXECUTE = "RequestHandler._execute (tornado/web.py:1790)"
ANSWER = "Answers.document (tornado_couch/web/answers.py:80)"
FINISH = "RequestHandler.finish (tornado/web.py:1200)"
SELECT = "EpollSelector.select (selectors.py:468)"


def test_each_stack_counts_for_the_innermost_part_that_it_is_in() -> None:
    """Writing is no part of making an answer, though that calls it."""
    assert part([LOOP, SERVER]) == "read the request"
    assert part([LOOP, EXECUTE, ANSWER]) == "make the answer"
    assert part([LOOP, EXECUTE, ANSWER, FINISH]) == "write the answer"
    assert part([LOOP, SELECT]) == "event loop, and the client's side of CouchDB"


def test_code_is_counted_by_package_and_ours_by_module() -> None:
    """With what comes with Python under one name."""
    assert [package(each) for each in (LOOP, FINISH, ANSWER, SELECT, "dumps (json/__init__.py:1)")] == [
        "asyncio",
        "tornado",
        "tornado_couch: web/answers.py",
        "standard library: selectors",
        "standard library",
    ]


def test_the_thread_that_only_waits_is_left_out() -> None:
    """Shares are of the time in which something was done."""
    waiting = "Thread.run;_WorkItem.run (concurrent/futures/thread.py:58)"
    raw = f"{LOOP};{SERVER} 3\n{LOOP};{EXECUTE};{ANSWER} 1\n{waiting} 99\n"
    text = report(raw)
    assert "| read the request | 75.0 % |" in text
    assert "| tornado_couch | 25.0 % |" in text
    assert "| tornado_couch: web/answers.py | 25.0 % |" in text
