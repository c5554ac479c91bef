//! Certificates: when one is valid, and one that is made here.
//!
//! 1. Bytes that are no certificate are nothing, never a panic.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// From when to when a certificate is valid, since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

/// What a DER value begins with.
mod tag {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    pub(super) const VERSION: u8 = 0xa0;
}

/// When a certificate is valid, as X.509 has it: certificate, what is signed, then version, serial
/// number, algorithm, issuer, validity.
pub(crate) fn validity(der: &[u8]) -> Option<Validity> {
    let (certificate, _) = value(der, tag::SEQUENCE)?;
    let (signed, _) = value(certificate, tag::SEQUENCE)?;
    let rest = value(signed, tag::VERSION).map_or(signed, |(_, rest)| rest);
    let (_, rest) = value(rest, tag::INTEGER)?;
    let (_, rest) = value(rest, tag::SEQUENCE)?;
    let (_, rest) = value(rest, tag::SEQUENCE)?;
    let (times, _) = value(rest, tag::SEQUENCE)?;
    let (from, rest) = time(times)?;
    let (until, _) = time(rest)?;
    Some(Validity { from, until })
}

/// The contents of the first value, which must have this tag, and what is behind it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    if *found != tag {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..0x80 => (usize::from(short), rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            if bytes.is_empty() || 4 < bytes.len() {
                return None;
            }
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    rest.split_at_checked(length)
}

/// The first value, which must be a time, and what is behind it.
fn time(der: &[u8]) -> Option<(Duration, &[u8])> {
    let (text, rest, four_digits) = match value(der, tag::UTC_TIME) {
        Some((text, rest)) => (text, rest, false),
        None => value(der, tag::GENERALIZED_TIME).map(|(text, rest)| (text, rest, true))?,
    };
    let text = text.strip_suffix(b"Z")?;
    if !text.iter().all(u8::is_ascii_digit) || text.len() != if four_digits { 14 } else { 12 } {
        return None;
    }
    let number = |digits: &[u8]| digits.iter().fold(0, |n, digit| 10 * n + u64::from(digit - b'0'));
    let (year, text) = text.split_at(if four_digits { 4 } else { 2 });
    let year = match (four_digits, number(year)) {
        (true, year) => year,
        // RFC 5280, 4.1.2.5.1.
        (false, year @ 0..50) => 2000 + year,
        (false, year) => 1900 + year,
    };
    let part = |place: usize| number(&text[2 * place..2 * place + 2]);
    let days = days(year, part(0), part(1))?;
    let seconds = part(2) * 3_600 + part(3) * 60 + part(4);
    Some((Duration::from_secs(days * 86_400 + seconds), rest))
}

/// Days from 1970 to a day; times before that are as good as 1970.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    const BEFORE_MONTH: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let is_leap = leaps(year) != leaps(year.checked_sub(1)?);
    let before = *BEFORE_MONTH.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    let of_year = before + u64::from(is_leap && 2 < month) + day.checked_sub(1)?;
    let Some(years) = year.checked_sub(1970) else { return Some(0) };
    Some(years * 365 + leaps(year - 1) - leaps(1969) + of_year)
}

/// A certificate that nobody vouches for, for this machine and these names, and its key; both as PEM.
pub(crate) fn made(
    names: &[String],
    now: Duration,
    for_days: i64,
) -> Result<(String, String), rcgen::Error> {
    let mut subjects = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    subjects.extend(names.iter().cloned());
    let params = params(subjects, "olivine", now, for_days)?;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn params(
    subjects: Vec<String>,
    name: &str,
    now: Duration,
    for_days: i64,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(subjects)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let from = time_of(now);
    // A day back: clocks of others may be behind.
    params.not_before = from - time::Duration::days(1);
    params.not_after = from + time::Duration::days(for_days);
    Ok(params)
}

/// An authority: certificate and key, as PEM.
#[derive(Clone, Debug)]
pub struct Authority {
    /// For all who take part.
    pub certificate: String,
    /// For who lets others take part; kept away from all of them.
    pub key: String,
}

/// Makes an authority that can vouch for others. `now` is the time since 1970.
pub fn authority(now: Duration, for_days: i64) -> Result<Authority, String> {
    let make = || -> Result<Authority, rcgen::Error> {
        let key = KeyPair::generate()?;
        let certificate = of_authority(now, for_days)?.self_signed(&key)?;
        Ok(Authority { certificate: certificate.pem(), key: key.serialize_pem() })
    };
    make().map_err(|error| error.to_string())
}

/// What every authority that is made here is called, and may do: so its key is all that vouching takes.
fn of_authority(now: Duration, for_days: i64) -> Result<CertificateParams, rcgen::Error> {
    let mut params = params(Vec::new(), "olivine authority", now, for_days)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// Makes a certificate that an authority vouches for, of a name or an address, and its key; both as PEM.
pub fn vouched(
    authority_key: &str,
    name: &str,
    now: Duration,
    for_days: i64,
) -> Result<(String, String), String> {
    let make = || -> Result<(String, String), rcgen::Error> {
        let issuer_key = KeyPair::from_pem(authority_key)?;
        let issuer = Issuer::new(of_authority(now, for_days)?, issuer_key);
        let mut params = params(vec![name.to_owned()], name, now, for_days)?;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    };
    make().map_err(|error| error.to_string())
}

fn time_of(since_1970: Duration) -> time::OffsetDateTime {
    time::OffsetDateTime::UNIX_EPOCH + since_1970
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    #[test]
    fn a_certificate_that_was_made_is_valid_when_it_should_be() {
        // From before 2050, where times have two digits, to after it, where they have four.
        for (now, days) in [(1_700_000_000, 30), (1_709_164_800, 825), (2_500_000_000, 3_650)] {
            let now = Duration::from_secs(now);
            let (pem, _) = made(&["db.example".to_owned()], now, days).unwrap();
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            let validity = validity(&der).unwrap();
            let day = Duration::from_hours(24);
            assert_eq!(validity.from + day, now);
            assert_eq!(validity.until, now + day * u32::try_from(days).unwrap());
            for end in 0..der.len().min(300) {
                super::validity(&der[..end]);
            }
        }
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        for (date, counted) in [
            ((1970, 1, 1), 0),
            ((1972, 3, 1), 790),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2024, 12, 31), 20_088),
            ((2100, 3, 1), 47_541),
        ] {
            let (year, month, day) = date;
            assert_eq!(days(year, month, day), Some(counted), "{date:?}");
        }
        assert_eq!((days(2024, 13, 1), days(2024, 0, 1)), (None, None));
    }
}
