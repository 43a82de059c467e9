use std::fmt;

use thiserror::Error;

use super::{Method, MethodError, PathPattern, PathPatternError, RequestLine};

/// What a rule asks of a request besides the name it is for: see [`Rule::http`](crate::Rule::http).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpCondition {
    /// Empty: every method.
    methods: Vec<Method>,
    /// Empty: every path.
    paths: Vec<PathPattern>,
}

/// Why a rule cannot have an [`HttpCondition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HttpConditionError {
    /// The rule is for addresses.
    #[error("`methods` and `paths` are for a rule whose destination is a name")]
    NotAName,
    /// It asks for nothing.
    #[error("a condition on requests names a method or a path")]
    Empty,
    /// More than 64 methods or 64 paths.
    #[error("a rule has at most {MAX_ALTERNATIVES} methods and {MAX_ALTERNATIVES} paths")]
    TooMany,
    /// See [`MethodError`].
    #[error(transparent)]
    Method(#[from] MethodError),
    /// See [`PathPatternError`].
    #[error(transparent)]
    Path(#[from] PathPatternError),
}

const MAX_ALTERNATIVES: usize = 64;

impl HttpCondition {
    /// A condition on methods and paths; where there are none of one kind, every one matches.
    ///
    /// # Errors
    /// For the first that cannot be read, where there are too many, and where there are none at all.
    pub fn parse(methods: &[&str], paths: &[&str]) -> Result<Self, HttpConditionError> {
        let methods = methods.iter().map(|text| text.parse()).collect::<Result<_, MethodError>>()?;
        let paths = paths.iter().map(|text| text.parse()).collect::<Result<_, PathPatternError>>()?;
        Self::new(methods, paths)
    }

    /// The same, of what was read before.
    ///
    /// # Errors
    /// [`HttpConditionError::Empty`] and [`HttpConditionError::TooMany`].
    pub fn new(methods: Vec<Method>, paths: Vec<PathPattern>) -> Result<Self, HttpConditionError> {
        if methods.is_empty() && paths.is_empty() {
            return Err(HttpConditionError::Empty);
        }
        if methods.len().max(paths.len()) > MAX_ALTERNATIVES {
            return Err(HttpConditionError::TooMany);
        }
        Ok(Self { methods, paths })
    }

    /// The methods it names; none where every one matches.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The paths it names; none where every one matches.
    pub fn paths(&self) -> &[PathPattern] {
        &self.paths
    }

    /// Whether a request meets it: allocates nothing, and takes O(pattern × path) for each path.
    pub(crate) fn matches(&self, request: &RequestLine) -> bool {
        let Some(path) = request.normal_path() else { return false };
        (self.methods.is_empty() || self.methods.iter().any(|method| method.as_str() == &*request.method))
            && (self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.matches(path)))
    }

    /// Whether it plainly matches whatever `other` matches.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        fn contain<T: PartialEq>(these: &[T], those: &[T]) -> bool {
            these.is_empty() || (!those.is_empty() && those.iter().all(|it| these.contains(it)))
        }
        contain(&self.methods, &other.methods) && contain(&self.paths, &other.paths)
    }
}

impl fmt::Display for HttpCondition {
    /// Methods, then paths, each with commas between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for (index, method) in self.methods.iter().enumerate() {
            write!(f, "{}{method}", if index == 0 { "" } else { "," })?;
            space = " ";
        }
        for (index, path) in self.paths.iter().enumerate() {
            write!(f, "{}{path}", if index == 0 { space } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        type Case = (&'static [&'static str], &'static [&'static str], &'static str, &'static str, bool);
        const CASES: &[Case] = &[
            (&["GET", "HEAD"], &[], "HEAD", "/x", true),
            (&["GET", "HEAD"], &[], "POST", "/x", false),
            (&[], &["/v1/*", "/health"], "POST", "/health", true),
            (&[], &["/v1/*", "/health"], "POST", "/v1/../health", true),
            (&[], &["/v1/*", "/health"], "POST", "/v1/../v2", false),
            (&["GET"], &["/v1/**"], "GET", "/v1/a/b", true),
            (&["GET"], &["/v1/**"], "POST", "/v1/a/b", false),
            (&["GET"], &["/v1/**"], "GET", "/v2", false),
            // Malformed: nothing matches.
            (&["GET"], &[], "GET", "/v1//x", false),
            (&[], &["/**"], "GET", "/%00", false),
            (&[], &["/**"], "OPTIONS", "*", false),
            (&["OPTIONS"], &[], "OPTIONS", "*", true),
        ];
        for (methods, paths, method, path, expected) in CASES {
            let condition = HttpCondition::parse(methods, paths).expect("a condition");
            let matches = condition.matches(&RequestLine::new(method, path));
            assert_eq!(matches, *expected, "{condition}: {method} {path}");
        }
        assert_eq!(HttpCondition::parse(&[], &[]), Err(HttpConditionError::Empty));
        assert_eq!(HttpCondition::parse(&["GET"; 65], &[]), Err(HttpConditionError::TooMany));
        assert_eq!(
            HttpCondition::parse(&["get"], &[]),
            Err(HttpConditionError::Method(MethodError::Case("GET")))
        );
    }

    #[test]
    fn one_condition_contains_another() {
        let condition = |methods: &[&str], paths: &[&str]| HttpCondition::parse(methods, paths).expect("one");
        let both = condition(&["GET", "HEAD"], &["/a", "/b"]);
        assert!(both.contains(&condition(&["GET"], &["/b"])));
        assert!(both.contains(&both));
        assert!(!both.contains(&condition(&["GET"], &[])));
        assert!(!both.contains(&condition(&[], &["/a"])));
        assert!(!condition(&["GET"], &[]).contains(&condition(&["POST"], &[])));
        assert!(condition(&["GET"], &[]).contains(&condition(&["GET"], &["/a"])));
    }
}
