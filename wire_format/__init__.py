"""What travels between home and hospital. A leaf: pure, imports nothing of ours, does no I/O."""
