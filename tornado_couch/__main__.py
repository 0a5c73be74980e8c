"""`tornado-couch`, and `python -m tornado_couch`."""

from __future__ import annotations

import signal


def run() -> None:
    """Run the command line; Ctrl-C while it is imported ends it without a traceback."""
    # Whoever starts it in the background may have it ignore the signal.
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli.main import main

    if heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main()


if __name__ == "__main__":
    run()
