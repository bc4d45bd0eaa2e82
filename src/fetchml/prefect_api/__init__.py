"""What fetchml keeps in Prefect, through a client that imports none of it."""
