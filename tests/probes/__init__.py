"""What tests of faults and invariants share: sockets of a peer, the kernel's view, servers in processes, strace."""
