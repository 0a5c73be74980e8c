"""`python -m tornado_couch` is `tornado-couch`."""

from .cli.main import main

main()
