"""Virtual devices: real GATT servers that measure when they are told to, and keep a ledger of the truth."""
