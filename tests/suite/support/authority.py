"""Writes certificates of all kinds, good and bad, to a directory: NAME.key and NAME.pem.

The `cryptography` package makes them. It shares no code with modelseal.
"""
import datetime
import os
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DIRECTORY = sys.argv[1]
NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
CURVES = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
HASHES = {"p256": hashes.SHA256(), "p384": hashes.SHA384(), "p521": hashes.SHA512(), "rsa": hashes.SHA256()}
made = {}


def new_key(kind):
    return rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(CURVES[kind])


def write(name, key, certificate):
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(f"{DIRECTORY}/{name}.key", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(pem)
    with open(f"{DIRECTORY}/{name}.pem", "wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    with open(f"{DIRECTORY}/{name}.pub", "wb") as file:
        file.write(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )


def issue(name, issuer=None, kind="p256", days=(-1, 365), ca=False, usage=("digital_signature",),
          purposes=(ExtendedKeyUsageOID.CODE_SIGNING,), key=None, length=None, more=(), names=(), emails=None, common=None, nameless=False):
    key = key or new_key(kind)
    subject = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Acme, Inc."),
        x509.NameAttribute(NameOID.COMMON_NAME, common or name),
        *names,
    ]) if not nameless else x509.Name([])
    issuer_name, issuer_key, issuer_kind = made[issuer] if issuer else (subject, key, kind)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + days[0] * DAY)
        .not_valid_after(NOW + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=length), critical=True)
    )
    if usage is not None:
        names = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                 "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
        flags = {flag: flag in usage for flag in names}
        builder = builder.add_extension(x509.KeyUsage(**flags), critical=True)
    if purposes is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(purposes)), critical=False)
    for extension in more:
        builder = builder.add_extension(extension, critical=True)
    if not ca and not nameless:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([
                x509.RFC822Name(emails or f"{name}@acme.test"), x509.UniformResourceIdentifier(f"spiffe://acme.test/{name}")
            ]), critical=False)
    certificate = builder.sign(issuer_key, HASHES[issuer_kind])
    made[name] = (subject, key, kind)
    write(name, key, certificate)


AUTHORITY = dict(ca=True, usage=("key_cert_sign", "crl_sign"), purposes=None)
issue("root", **AUTHORITY, days=(-1000, 3650))
issue("intermediate", "root", kind="p384", **AUTHORITY, days=(-1000, 3650))
issue("stranger", **AUTHORITY)
issue("rsa-root", kind="rsa", **AUTHORITY)
issue("ended-root", **AUTHORITY, days=(-100, -1))
issue("ended-intermediate", "root", **AUTHORITY, days=(-100, -1))
for curve in CURVES:
    issue(f"leaf-{curve}", "intermediate", kind=curve)
issue("direct", "root")
issue("by-rsa", "rsa-root")
issue("by-stranger", "stranger")
issue("by-ended-root", "ended-root")
issue("by-ended-intermediate", "ended-intermediate")
issue("by-no-authority", "leaf-p256")
issue("ended", "intermediate", days=(-100, -1))
issue("not-yet", "intermediate", days=(1, 100))
issue("web-server", "intermediate", purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))
issue("no-purpose", "intermediate", purposes=None)
issue("not-for-signing", "intermediate", usage=("key_encipherment",))
issue("an-authority", "intermediate", ca=True, usage=("digital_signature", "key_cert_sign"))
issue("rsa-leaf", "intermediate", kind="rsa")
issue("second-name", "intermediate", key=made["leaf-p256"][1])
issue("same-mail", "intermediate", emails="leaf-p256@acme.test")
issue("second-key", "intermediate", common="leaf-p256")

# Certificates that only a careful verifier refuses.
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
issue("no-cert-sign", "root", ca=True, usage=("digital_signature",), purposes=None)
issue("by-no-cert-sign", "no-cert-sign")
issue("short-root", **AUTHORITY, length=0)
issue("below-short-root", "short-root", **AUTHORITY)
issue("too-deep", "below-short-root")
issue("just-deep-enough", "short-root")
issue("nobody", "intermediate", nameless=True)
issue("other-name", "intermediate", nameless=True, more=(
    x509.SubjectAlternativeName([x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7"), b"\x0c\x01x")]),))
issue("odd-root", **AUTHORITY, more=(UNKNOWN,))
issue("odd", "intermediate", more=(UNKNOWN,))
issue("bad-usage", "intermediate", usage=None, more=(
    x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.15"), b"\x04\x02\x07\x80"),))
issue("limited", "root", **AUTHORITY, more=(x509.NameConstraints([x509.DNSName("acme.test")], None),))
issue("mail-in-name", "limited", names=(x509.NameAttribute(NameOID.EMAIL_ADDRESS, "eve@evil.test"),))
made["impostor"] = (made["root"][0], new_key("p256"), "p256")
issue("not-self-signed", "impostor", **AUTHORITY)
issue("by-impostor", "impostor")
