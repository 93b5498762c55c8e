"""Tables of examples: the user's files, read and checked, and the project's own toy data."""
