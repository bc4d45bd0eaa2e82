"""The queue and the lab as the store has them at one moment."""
