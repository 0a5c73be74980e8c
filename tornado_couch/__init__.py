"""REST over CouchDB for Tornado."""
