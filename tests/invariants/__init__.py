"""One file for each invariant of docs/architecture.md that can be seen from outside."""
