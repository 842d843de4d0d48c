"""The tables of access: accounts, consents, and the chained record of who read what."""

from typing import Final

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

from cloud_bridge.store.schema import COUNT, UtcTime, metadata

ACCOUNT_NAME: Final = 64

account = Table(  # named by the staff number that the hospital's system knows
    "account",
    metadata,
    Column("name", String(ACCOUNT_NAME), primary_key=True),
    Column("role", String(32), nullable=False),
    Column("organization", Text, nullable=False),
    Column("patients", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("last_step", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("locked_until", UtcTime),
    Column("created_at", UtcTime, nullable=False),
)

account_subject = Table(  # whom a provider vouches for; a subject is never bound anew without a command
    "account_subject",
    metadata,
    Column("issuer", String(512), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("account", ForeignKey("account.name"), nullable=False),
    Column("bound_by", Text, nullable=False),
    Column("bound_at", UtcTime, nullable=False),
    UniqueConstraint("issuer", "account", name="account_subject_once"),
)

organization = Table(  # who may be sealed to, where a patient consents to "organization:" and the name
    "organization",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("kem", String(32), nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("added_at", UtcTime, nullable=False),
)

consent = Table(  # given and withdrawn by one act each; nothing is overwritten but the withdrawal
    "consent",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("patient", ForeignKey("patient.id"), nullable=False),
    Column("to", Text, nullable=False),
    Column("data", String(32), nullable=False),
    Column("text_version", Text, nullable=False),
    Column("valid_from", UtcTime, nullable=False),
    Column("valid_until", UtcTime),
    Column("given_by", Text, nullable=False),
    Column("given_at", UtcTime, nullable=False),
    Column("withdrawn_by", Text),
    Column("withdrawn_at", UtcTime),
    Column("texts", Text),  # JSON: language, media type and hash of each; null: the text was not kept
    Index("consent_patient", "patient"),
)

consent_text = Table(  # what patients agreed to, by SHA-256; rows are only ever added
    "consent_text",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("kept_at", UtcTime, nullable=False),
)

consent_version = Table(  # what the site's own versions said when a consent first named them
    "consent_version",
    metadata,
    Column("version", String(200), primary_key=True),
    Column("language", String(35), primary_key=True),
    Column("digest", ForeignKey("consent_text.digest"), nullable=False),
    Column("named_at", UtcTime, nullable=False),
)

api_token = Table(  # what programs ask with; the token itself is nowhere, only its SHA-256
    "api_token",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("account", ForeignKey("account.name"), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("stamp", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
    Column("used_at", UtcTime),
)

audit = Table(
    "audit",
    metadata,
    Column("number", COUNT, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("account", String(ACCOUNT_NAME), nullable=False),
    Column("role", String(32), nullable=False),
    Column("action", String(32), nullable=False),
    Column("patient", String(64)),
    Column("data", String(32)),
    Column("allowed", Boolean, nullable=False),
    Column("policies", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("before", LargeBinary(32), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Index("audit_patient", "patient", "at"),
)
