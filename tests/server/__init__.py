"""Servers in processes of their own, at the limits of the system."""
