"""Keys that records are signed with."""
