"""An example service that shows tornado_couch: fruits, languages, a health check."""
