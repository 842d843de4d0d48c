"""The hospital side: intake, store, rules, alerts, delivery, and the inbox page."""
