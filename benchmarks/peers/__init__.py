"""The services that are measured against each other, each in a process of its own."""
