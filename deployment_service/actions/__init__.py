"""One module per use case: its transaction, readable from top to bottom."""
