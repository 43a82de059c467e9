//! Rates: never above what was said.

use crate::e2e::row::Expect::{Exit, Rejected};
use crate::e2e::row::{Row, rejected, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "download_at_a_rate",
        &["--allow", "web.test", "--max-download", "25 MB/s"],
        "curl -sS -4 -o /dev/null -w '%{speed_download}' http://web.test/blob | \
         awk '{ print; exit !($1 < 26.5e6) }'",
        &[Exit(0)],
    )
    .judged(),
    row(
        "upload_at_a_rate",
        &["--allow", "peer.test", "--max-upload", "200 Mbit/s"],
        "curl -sS -4 -T {dir}/www/blob -o /dev/null -w '%{speed_upload}' http://peer.test/{id} | \
         awk '{ print; exit !($1 < 26.5e6) }'",
        &[Exit(0)],
    )
    .judged(),
    rejected(
        "a_rate_that_is_none",
        &["--allow", "web.test", "--max-download", "10 Mb/s"],
        &[Rejected(&["--max-download \"10 Mb/s\"", "`b` is taken for bits and for bytes"])],
    ),
];
