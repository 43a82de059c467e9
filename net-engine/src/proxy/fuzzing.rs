use super::credentials::ProxyCredentials;
use super::dialogue::{Dialogue, Step};
use super::{ProxyError, ProxyScheme, ProxyTarget};
use net_secrets::SecretValue;

/// More than any dialogue takes.
const MAX_STEPS: usize = 8;

/// Whatever a proxy says, it leads to the same in one piece and byte by byte, within bounds; whether to a connection.
///
/// The first byte says which kind of proxy it is and whether it knows us.
pub(crate) fn replies_are_read_in_any_pieces(input: &[u8]) -> bool {
    let Some((kind, answers)) = input.split_first() else { return false };
    let scheme = if kind & 1 == 0 { ProxyScheme::Socks5h } else { ProxyScheme::Http };
    let value = |text: &str| SecretValue::new(text.into());
    let known = ProxyCredentials::new(value("user"), value("password")).ok().filter(|_| kind & 2 != 0);
    let target = ProxyTarget::Address(([192, 0, 2, 1], 443).into());
    let new = || Dialogue::new(scheme, target, known.as_ref());
    let whole = read(new(), answers, answers.len().max(1));
    let pieces = read(new(), answers, 1);
    // Of an answer that is too long the end may come before or behind the bound.
    let is_too_long = [&whole, &pieces].into_iter().any(|end| *end == Err(ProxyError::TooLong));
    assert!(is_too_long || whole == pieces, "{whole:?} {pieces:?}");
    whole.is_ok()
}

/// Where a dialogue leads: what is left for upstream's, and how much was said.
fn read(mut dialogue: Dialogue, answers: &[u8], piece: usize) -> Result<(usize, usize), ProxyError> {
    let (mut at, mut end) = (0, 0);
    let mut said = dialogue.opening().len();
    let mut steps = 0;
    loop {
        match dialogue.handle(&answers[at..end])? {
            Step::Partial if end == answers.len() => return Err(ProxyError::Closed),
            Step::Partial => end = answers.len().min(end + piece),
            Step::Say { consumed, bytes } => {
                assert!(consumed > 0 && consumed <= end - at);
                at += consumed;
                said += bytes.len();
                steps += 1;
                assert!(steps <= MAX_STEPS);
            }
            Step::Connected { consumed } => {
                assert!(consumed > 0 && consumed <= end - at);
                return Ok((answers.len() - at - consumed, said));
            }
        }
    }
}
