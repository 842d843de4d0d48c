"""Where the hospital side keeps what it was told. SQL is the system of record."""
