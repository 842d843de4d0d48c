"""How to talk to a device. No radio library, no clock: a link is passed in."""
