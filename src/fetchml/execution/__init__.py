"""One attempt of a run, from preflight to the seal, without Prefect."""
