"""The gateway of a lab: the run store, the objects, the hosts and Prefect, behind keys and TLS."""
