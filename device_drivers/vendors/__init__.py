"""What makers say on the wire where no adopted specification does: frames, records and memory maps."""
