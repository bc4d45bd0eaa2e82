"""Settings: what there is, where values come from, how they are read."""
