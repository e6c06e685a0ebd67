"""What the tests of faults and invariants share: sockets of a peer, the kernel's view, a server in a process, strace."""
