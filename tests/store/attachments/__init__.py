"""Files beside documents, as properties of models."""
