//! Sealing a key to an X25519 public key: HPKE, base mode (RFC 9180).

use hpke::aead::ChaCha20Poly1305 as HpkeAead;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use strongroom_format::PublicKey;
use strongroom_format::key_object::Wrap;
use zeroize::Zeroizing;

use super::to_secret;
use crate::derive::derive;
use crate::random::{self, Random};
use crate::{KeysError, Secret};

/// The public half of an X25519 private key (RFC 7748).
///
/// # Errors
/// `PublicKey` never: every 32 bytes are a private key.
pub fn x25519_public(private: &Secret) -> Result<PublicKey, KeysError> {
    let private = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(private.expose())
        .map_err(|_| KeysError::PublicKey)?;
    let public = <X25519HkdfSha256 as Kem>::sk_to_pk(&private).to_bytes();
    let mut out = [0; 32];
    out.copy_from_slice(&public);
    Ok(PublicKey(out))
}

pub(super) fn hpke_seal(
    public: &PublicKey,
    info: &[u8],
    secret: &Secret,
    random: &dyn Random,
) -> Result<Wrap, KeysError> {
    let public =
        <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&public.0).map_err(|_| KeysError::PublicKey)?;
    let mut rng = HpkeRandom { bytes: random::array(random)?, used: 0 };
    let (encapsulated, sealed) = hpke::single_shot_seal_with_rng::<HpkeAead, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &public,
        info,
        secret.expose(),
        &[],
        &mut rng,
    )
    .map_err(|_| KeysError::PublicKey)?;
    let encapsulated: [u8; 32] =
        encapsulated.to_bytes().as_slice().try_into().map_err(|_| KeysError::PublicKey)?;
    Ok(Wrap::X25519 { encapsulated, sealed: sealed.try_into().map_err(|_| KeysError::PublicKey)? })
}

pub(super) fn hpke_open(
    private: &Secret,
    info: &[u8],
    encapsulated: &[u8; 32],
    sealed: &[u8; 48],
) -> Result<Secret, KeysError> {
    let private = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(private.expose())
        .map_err(|_| KeysError::PublicKey)?;
    let encapsulated =
        <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| KeysError::PublicKey)?;
    let opened = hpke::single_shot_open::<HpkeAead, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &private,
        &encapsulated,
        info,
        sealed,
        &[],
    )
    .map_err(|error| {
        if matches!(error, hpke::HpkeError::OpenError) { KeysError::Tampered } else { KeysError::PublicKey }
    })?;
    to_secret(&Zeroizing::new(opened))
}

/// Gives HPKE its ephemeral key's randomness out of the injected source.
struct HpkeRandom {
    bytes: [u8; 64],
    used: usize,
}

impl rand_core::TryRng for HpkeRandom {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut out = [0; 4];
        self.try_fill_bytes(&mut out)?;
        Ok(u32::from_le_bytes(out))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut out = [0; 8];
        self.try_fill_bytes(&mut out)?;
        Ok(u64::from_le_bytes(out))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        // More than was drawn is never asked for; if it ever were, a stream keyed by the drawn bytes goes on.
        for chunk in out.chunks_mut(32) {
            let counter = self.used as u64;
            let seed: [u8; 32] = derive(
                "strongroom 2026 v1 hpke randomness",
                &[&self.bytes[..], &counter.to_le_bytes()].concat(),
            );
            chunk.copy_from_slice(&seed[..chunk.len()]);
            self.used += 1;
        }
        Ok(())
    }
}

impl rand_core::TryCryptoRng for HpkeRandom {}

impl Drop for HpkeRandom {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9180 appendix A.2.1 (DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base): sequence 0.
    #[test]
    fn rfc_9180_vector() {
        let private =
            hex::decode("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb").unwrap();
        let encapsulated =
            hex::decode("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a").unwrap();
        let info = hex::decode("4f6465206f6e2061204772656369616e2055726e").unwrap();
        let aad = hex::decode("436f756e742d30").unwrap();
        let sealed = hex::decode(
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
        )
        .unwrap();
        let private = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&private).unwrap();
        let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&encapsulated).unwrap();
        let plain = hpke::single_shot_open::<HpkeAead, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &private,
            &encapsulated,
            &info,
            &sealed,
            &aad,
        )
        .unwrap();
        assert_eq!(hex::encode(plain), "4265617574792069732074727574682c20747275746820626561757479");
    }
}
