"""The Prefect worker of type fetchml."""
