"""The tests of fastnet."""
