"""Tracking tools that are provisioned next to a run; none is built in yet."""
