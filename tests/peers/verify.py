"""Checks a bundle with the reference implementations of DSSE and in-toto: verify.py BUNDLE KEY.pub

Exits with 0 only if `securesystemslib` accepts the signature and `in-toto-attestation` the statement.
"""
import base64
import json
import sys

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

bundle = json.load(open(sys.argv[1]))
keyid = bundle["dsseEnvelope"]["signatures"][0]["keyid"]
payload = base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True)
# `Envelope.from_dict` removes entries from the dictionary.
envelope = Envelope.from_dict(bundle["dsseEnvelope"])
key = SSlibKey.from_crypto(load_pem_public_key(open(sys.argv[2], "rb").read()), keyid=keyid)
accepted = envelope.verify([key], 1)
assert list(accepted) == [keyid], accepted

statement = json_format.Parse(payload, statement_pb2.Statement())
Statement.copy_from_pb(statement).validate()
