"""What devices a host has."""
