"""`python -m tornado_couch` is `tornado-couch`."""

from .cli import main

main()
