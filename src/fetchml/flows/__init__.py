"""The flow that carries out one attempt of a run, as Prefect sees it."""
