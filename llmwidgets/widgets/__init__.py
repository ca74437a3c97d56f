"""One widget a file; each draws one kind of record and knows nothing of models."""
