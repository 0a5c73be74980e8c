"""The services that are compared, each in its own process."""
