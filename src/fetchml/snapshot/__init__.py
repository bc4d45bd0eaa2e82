"""A project's code at one moment: captured, named, laid out again."""
