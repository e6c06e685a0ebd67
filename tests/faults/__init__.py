"""Scripted failures of system calls: these need a build with FASTNET_BUILD=faults."""
