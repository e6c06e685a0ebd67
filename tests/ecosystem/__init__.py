"""Other projects' servers and clients on the fastnet loop."""
