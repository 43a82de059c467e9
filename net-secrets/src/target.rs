use crate::compiled::Compiled;
use crate::escape::Escape;
use crate::place::Place;
use crate::unit::UnitRewriter;
use crate::wiped::{Wiped, concat};
use crate::{Destination, Violation};

/// Replaces the placeholders of a path and its query; see
/// [`SecretSet::substitute_target`](crate::SecretSet::substitute_target).
pub(crate) fn rewrite(
    compiled: &Compiled,
    to: &Destination<'_>,
    target: &[u8],
) -> Result<Option<Wiped>, Violation> {
    let mark = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(mark);
    let mut unit = UnitRewriter::new(compiled, to);
    let new_path = unit.rewrite(Place::Path, Escape::Path, path);
    let new_query = unit.rewrite(Place::Query, Escape::Percent, query);
    unit.finish()?;
    if new_path.is_none() && new_query.is_none() {
        return Ok(None);
    }
    let path = new_path.as_deref().map_or(path, Vec::as_slice);
    let query = new_query.as_deref().map_or(query, Vec::as_slice);
    Ok(Some(concat(&[path, query])))
}
