"""What meters say over a serial cable: value objects of each protocol, from bytes and back."""
