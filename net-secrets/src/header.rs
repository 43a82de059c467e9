use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::compiled::Compiled;
use crate::escape::Escape;
use crate::place::Place;
use crate::unit::UnitRewriter;
use crate::wiped::{Wiped, concat};
use crate::{Destination, Violation};

/// Servers take credentials with and without padding, so both are decoded.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Replaces the placeholders of a field value; see
/// [`SecretSet::substitute_header`](crate::SecretSet::substitute_header).
pub(crate) fn rewrite(
    compiled: &Compiled,
    to: &Destination<'_>,
    place: Place<'_>,
    name: &str,
    value: &[u8],
) -> Result<Option<Wiped>, Violation> {
    let mut unit = UnitRewriter::new(compiled, to);
    let rewritten = match basic(name, value) {
        Some((scheme, decoded)) => rewrite_basic(&mut unit, scheme, &decoded),
        None => unit.rewrite(place, Escape::Header, value),
    };
    unit.finish()?;
    Ok(rewritten)
}

/// `Basic ` in any case, and the credentials behind it decoded (RFC 7617).
pub(crate) fn basic<'v>(name: &str, value: &'v [u8]) -> Option<(&'v [u8], Wiped)> {
    const SCHEME: &[u8] = b"basic ";
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME)
        || !["authorization", "proxy-authorization"].iter().any(|own| name.eq_ignore_ascii_case(own))
    {
        return None;
    }
    Some((scheme, Zeroizing::new(BASE64.decode(rest.trim_ascii()).ok()?)))
}

fn rewrite_basic(unit: &mut UnitRewriter<'_>, scheme: &[u8], decoded: &[u8]) -> Option<Wiped> {
    let colon = decoded.iter().position(|byte| *byte == b':').unwrap_or(decoded.len());
    let (user, password) = decoded.split_at(colon);
    let new_user = unit.rewrite(Place::BasicAuth, Escape::BasicUser, user);
    let new_password = unit.rewrite(Place::BasicAuth, Escape::BasicPassword, password);
    if new_user.is_none() && new_password.is_none() {
        return None;
    }
    let user = new_user.as_deref().map_or(user, Vec::as_slice);
    let password = new_password.as_deref().map_or(password, Vec::as_slice);
    let encoded = Zeroizing::new(BASE64.encode(&*concat(&[user, password])));
    Some(concat(&[scheme, encoded.as_bytes()]))
}
