"""One file per protocol. A driver is stateless; a visit's state lives in the call."""
