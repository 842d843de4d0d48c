"""The interface for programs, /api/v1: thin routes; what may be done is decided where it always was."""
