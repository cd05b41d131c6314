"""Loop programs to compiled C: a typed loop tree, its C, and the library that runs it."""
