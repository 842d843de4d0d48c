"""Who may do what: accounts, policies, consent and the record of every read."""
