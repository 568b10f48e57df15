//! Project Wycheproof: signatures that careless verifiers accept, and some that verifiers should accept.
//!
//! Every signature that the vectors call valid is accepted, and nothing else. The vectors call one kind merely
//! acceptable: an RSA signature without a NULL. It is refused like the invalid ones.

use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use super::*;
use modelseal_format::sign::PublicKey;

#[derive(Default)]
struct Score {
    accepted: usize,
    refused: usize,
}

impl Score {
    fn count(&mut self, expected: TestResult, accepted: bool, what: &str) {
        match expected {
            TestResult::Valid => assert!(accepted, "refused: {what}"),
            TestResult::Invalid => assert!(!accepted, "accepted: {what}"),
            TestResult::Acceptable => assert!(!accepted && what.contains("Missing NULL"), "accepted: {what}"),
        }
        if accepted { self.accepted += 1 } else { self.refused += 1 }
    }

    fn has_seen_enough(&self) {
        assert!(self.accepted > 5 && self.refused > 20, "{} and {}", self.accepted, self.refused);
    }
}

#[test]
fn ecdsa_verification_agrees_with_the_test_vectors() {
    use ecdsa::TestName::*;
    for (name, curve, hash) in [
        (EcdsaSecp256r1Sha256, Curve::P256, Hash::Sha256),
        (EcdsaSecp256r1Sha512, Curve::P256, Hash::Sha512),
        (EcdsaSecp384r1Sha256, Curve::P384, Hash::Sha256),
        (EcdsaSecp384r1Sha384, Curve::P384, Hash::Sha384),
        (EcdsaSecp384r1Sha512, Curve::P384, Hash::Sha512),
        (EcdsaSecp521r1Sha512, Curve::P521, Hash::Sha512),
    ] {
        let mut score = Score::default();
        for group in ecdsa::TestSet::load(name).expect("loads").test_groups {
            let der: &[u8] = group.der.as_ref();
            let own = PublicKey::from_der(der, "a vector").expect("is a key");
            for test in group.tests {
                let accepted =
                    verify(Scheme::Ecdsa(curve, hash), &group.key.key, &test.msg, test.sig.as_ref());
                score.count(test.result, accepted, &format!("{name:?} {}: {}", test.tc_id, test.comment));
                // Seals and certificates have different verifiers, which must agree.
                if hash == Hash::Sha256 {
                    let by_own = own.verify_sha256(&test.msg, test.sig.as_ref()).is_ok();
                    assert_eq!(by_own, accepted, "{name:?} {}: {}", test.tc_id, test.comment);
                }
            }
        }
        score.has_seen_enough();
    }
}

#[test]
fn ed25519_verification_agrees_with_the_test_vectors() {
    let mut score = Score::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("loads").test_groups {
        for test in group.tests {
            let accepted = verify(Scheme::Ed25519, group.key.pk.as_ref(), &test.msg, test.sig.as_ref());
            score.count(test.result, accepted, &format!("{}: {}", test.tc_id, test.comment));
        }
    }
    score.has_seen_enough();
}

#[test]
fn rsa_verification_agrees_with_the_test_vectors() {
    use rsa_pkcs1_verify::TestName::*;
    for (name, hash) in [
        (Rsa2048Sha256, Hash::Sha256),
        (Rsa2048Sha384, Hash::Sha384),
        (Rsa2048Sha512, Hash::Sha512),
        (Rsa3072Sha256, Hash::Sha256),
        (Rsa4096Sha512, Hash::Sha512),
        (Rsa8192Sha256, Hash::Sha256),
    ] {
        let mut score = Score::default();
        for group in rsa_pkcs1_verify::TestSet::load(name).expect("loads").test_groups {
            for test in group.tests {
                let key = group.asn_key.as_ref();
                let accepted = verify(Scheme::RsaPkcs1(hash), key, &test.msg, test.sig.as_ref());
                score.count(test.result, accepted, &format!("{name:?} {}: {}", test.tc_id, test.comment));
            }
        }
        score.has_seen_enough();
    }
    use rsa_pss_verify::TestName as Pss;
    for (name, hash) in [
        (Pss::RsaPss2048Sha256Mgf1SaltLen32, Hash::Sha256),
        (Pss::RsaPss2048Sha384Mgf1SaltLen48, Hash::Sha384),
    ] {
        let mut score = Score::default();
        for group in rsa_pss_verify::TestSet::load(name).expect("loads").test_groups {
            for test in group.tests {
                let key = group.asn_key.as_ref();
                let accepted = verify(Scheme::RsaPss(hash), key, &test.msg, test.sig.as_ref());
                score.count(test.result, accepted, &format!("{name:?} {}: {}", test.tc_id, test.comment));
            }
        }
        assert!(score.accepted > 0 && score.refused > 0);
    }
}
