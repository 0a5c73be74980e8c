"""The sample service of tor-async-couchdb, as its owner would port it: imports and Python 2 syntax changed."""
