use crate::BodyTypes;

/// Where in a request a secret may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Header values, Basic credentials apart.
    pub headers: HeaderNames,
    /// Inside `Basic` credentials of Authorization and Proxy-Authorization.
    pub basic_auth: bool,
    /// The query of the target.
    pub query: bool,
    /// The path of the target.
    pub path: bool,
    /// The content.
    pub body: BodyTypes,
    /// Messages of a WebSocket.
    pub websocket: bool,
    /// Trailer fields, those of `headers`.
    pub trailers: bool,
}

/// Some names of fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderNames {
    /// None.
    None,
    /// Every one.
    All,
    /// These, in any case.
    Named(Vec<String>),
}

/// One place of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'p> {
    Header(&'p str),
    BasicAuth,
    Query,
    Path,
    /// The content, of this media type without its parameters.
    Body(&'p str),
    WebSocket,
    Trailer(&'p str),
}

impl Default for Places {
    /// Headers and Basic credentials.
    fn default() -> Self {
        Self {
            headers: HeaderNames::All,
            basic_auth: true,
            query: false,
            path: false,
            body: BodyTypes::None,
            websocket: false,
            trailers: false,
        }
    }
}

impl Places {
    pub(crate) fn permit(&self, place: Place<'_>) -> bool {
        match place {
            Place::Header(name) => self.headers.contain(name),
            Place::BasicAuth => self.basic_auth,
            Place::Query => self.query,
            Place::Path => self.path,
            Place::Body(media_type) => self.body.contain(media_type),
            Place::WebSocket => self.websocket,
            Place::Trailer(name) => self.trailers && self.headers.contain(name),
        }
    }
}

impl HeaderNames {
    fn contain(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Named(names) => names.iter().any(|own| own.eq_ignore_ascii_case(name)),
        }
    }
}
