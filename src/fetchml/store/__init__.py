"""The run store: the ledger every other part believes."""
