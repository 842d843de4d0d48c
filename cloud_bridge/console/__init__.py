"""Pages for clinicians: what they show, in their language. No HTTP here."""
