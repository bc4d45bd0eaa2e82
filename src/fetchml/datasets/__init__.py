"""Datasets: data outside the code, named and checked by a checksum."""
