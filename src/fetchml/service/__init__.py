"""One verb a file: what the command line, and later other faces, can ask for."""
