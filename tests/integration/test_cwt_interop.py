"""A second implementation of COSE verifies our signature and opens our message, in its own environment."""

import datetime as dt
import hashlib
import json
import os
import subprocess
from pathlib import Path
from uuid import UUID

import cbor2
import pytest

from wire_format.envelope import FIRST_PREVIOUS, EnvelopeHeader, seal
from wire_format.keys import BridgeKeys, GatewayKeys, Kem

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("KITELINE_CWT_PYTHON", ROOT / ".venv-cwt" / "bin" / "python"))

PROGRAM = """
import json, sys
from cwt import COSE, COSEKey
from cwt.enums import COSEHeaders
given = json.load(sys.stdin)
raw = {name: bytes.fromhex(value) for name, value in given.items()}
def key(crv, alg, x, kid, d=None):
    params = {1: 1, -1: crv, 3: alg, -2: x, 2: kid}
    if d is not None:
        params[-4] = d
    return COSEKey.new(params)
verifier = key(6, -8, raw["sign_x"], raw["sign_kid"])
inner = COSE.new().decode(raw["message"], keys=[verifier])
opener = key(4, 50, raw["kem_x"], raw["kem_kid"], raw["kem_d"])
plain = COSE.new().decode(inner, keys=[opener], extra_info=raw["extra_info"])
print(json.dumps({"payload": plain.hex()}))
"""


@pytest.mark.skipif(
    not PYTHON.exists(), reason="SKIPPED PART: .venv-cwt, the second implementation of COSE, is not set up"
)
def test_cwt_verifies_and_opens() -> None:
    gateway, bridge = GatewayKeys.generate(), BridgeKeys.generate(Kem.X25519)
    header = EnvelopeHeader("gw-1", UUID(int=1), 1, dt.datetime(2026, 11, 24, tzinfo=dt.UTC), FIRST_PREVIOUS)
    payload = b"what the home measured"
    sealed = seal(payload, header, gateway.signing, [bridge.opening.public])
    protected = cbor2.loads(sealed.data).value[0]
    given = {
        "message": sealed.data,
        "sign_x": gateway.signing.public.raw,
        "sign_kid": gateway.signing.public.key_id,
        "kem_x": bridge.opening.public.raw,
        "kem_kid": bridge.opening.public.key_id,
        "kem_d": bridge.opening.seed,
        "extra_info": hashlib.sha256(protected).digest(),
    }

    def ask(**changed: bytes) -> subprocess.CompletedProcess[str]:
        message = json.dumps({name: value.hex() for name, value in (given | changed).items()})
        return subprocess.run(
            [PYTHON, "-c", PROGRAM], input=message, capture_output=True, text=True, timeout=60, check=False
        )

    answer = ask()
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert bytes.fromhex(json.loads(answer.stdout)["payload"]) == payload
    broken = bytearray(sealed.data)
    broken[-1] ^= 1
    assert ask(message=bytes(broken)).returncode != 0
    assert ask(extra_info=bytes(32)).returncode != 0
