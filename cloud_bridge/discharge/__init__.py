"""Discharge plans: what a hospital agreed with a patient who goes home, as it comes in by FHIR or HL7 v2."""
