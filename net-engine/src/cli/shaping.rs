//! What the command may send and receive: flags, and the same keys of the file.

use std::str::FromStr;

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use net_core::{RateError, Shape, Shaping};
use serde::Deserialize;
use toml::Spanned;

use super::config::Written;

/// Bounds on the whole of what the command sends and receives.
#[derive(Clone, ClapArgs, Default)]
pub(super) struct ShapingArgs {
    /// Let the command send no more than this, as in "10 MB/s", "80 Mbit/s" or "10 MB/s burst 2 MB"
    #[arg(long, value_name = "RATE")]
    max_upload: Option<String>,
    /// Let it receive no more than this
    #[arg(long, value_name = "RATE")]
    max_download: Option<String>,
    /// Let it send no more packets than this, as in "5000/s"
    #[arg(long, value_name = "RATE")]
    max_upload_packets: Option<String>,
    /// Let it receive no more packets than this
    #[arg(long, value_name = "RATE")]
    max_download_packets: Option<String>,
}

/// The table `shaping` of a file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) struct ShapingKeys {
    upload: Option<Spanned<String>>,
    download: Option<Spanned<String>>,
    upload_packets: Option<Spanned<String>>,
    download_packets: Option<Spanned<String>>,
}

/// The same, each with its place.
#[derive(Clone, Debug, Default)]
pub(super) struct ShapingConfig {
    upload: Option<Written>,
    download: Option<Written>,
    upload_packets: Option<Written>,
    download_packets: Option<Written>,
}

impl ShapingKeys {
    pub(super) fn written(self, written: impl Fn(&str, Spanned<String>) -> Written) -> ShapingConfig {
        ShapingConfig {
            upload: self.upload.map(|text| written("shaping.upload", text)),
            download: self.download.map(|text| written("shaping.download", text)),
            upload_packets: self.upload_packets.map(|text| written("shaping.upload_packets", text)),
            download_packets: self.download_packets.map(|text| written("shaping.download_packets", text)),
        }
    }
}

/// The bounds of flags and file: a flag replaces what the file says.
///
/// # Errors
/// One line that names the setting and what is wrong with it.
pub(super) fn shaping(flags: &ShapingArgs, config: &ShapingConfig) -> Result<Shaping> {
    let upload = Shape {
        bandwidth: rate("--max-upload", flags.max_upload.as_deref(), config.upload.as_ref())?,
        packets: rate(
            "--max-upload-packets",
            flags.max_upload_packets.as_deref(),
            config.upload_packets.as_ref(),
        )?,
    };
    let download = Shape {
        bandwidth: rate("--max-download", flags.max_download.as_deref(), config.download.as_ref())?,
        packets: rate(
            "--max-download-packets",
            flags.max_download_packets.as_deref(),
            config.download_packets.as_ref(),
        )?,
    };
    Ok(Shaping { upload, download })
}

fn rate<R: FromStr<Err = RateError>>(
    flag: &'static str,
    on_command_line: Option<&str>,
    in_file: Option<&Written>,
) -> Result<Option<R>> {
    let flag = on_command_line.map(|text| Written { place: flag.to_owned(), text: text.to_owned() });
    let written = flag.as_ref().or(in_file);
    written.map(|written| written.text.parse().with_context(|| written.named())).transpose()
}

#[cfg(test)]
mod tests {
    use super::super::config::Config;
    use super::*;

    #[test]
    fn a_flag_replaces_the_file_s_and_each_is_named() {
        let text = "allow = []\n[shaping]\nupload = \"8 Mbit/s\"\ndownload = \"2 MB/s\"\n";
        let config = Config::parse("f.toml", text).expect(text).shaping;
        let flags = ShapingArgs { max_download: Some("1 MB/s".to_owned()), ..ShapingArgs::default() };
        let both = shaping(&flags, &config).expect("both");
        assert_eq!(both.to_string(), "up 1 MB/s, down 1 MB/s");
        assert_eq!(
            shaping(&ShapingArgs::default(), &config).expect("the file's").to_string(),
            "up 1 MB/s, down 2 MB/s"
        );
        const CASES: &[(&str, &str)] = &[
            (
                "[shaping]\n\nupload = \"10\"\n",
                "f.toml line 3: shaping.upload \"10\": not a bandwidth: write it as in `10 MB/s`, `80 Mbit/s`",
            ),
            (
                "[shaping]\ndownload = \"10 Mb/s\"\n",
                "f.toml line 2: shaping.download \"10 Mb/s\": `b` is taken",
            ),
            (
                "[shaping]\nupload_packets = \"0/s\"\n",
                "f.toml line 2: shaping.upload_packets \"0/s\": with 0 nothing would ever pass",
            ),
        ];
        for (text, expected) in CASES {
            let config = Config::parse("f.toml", text).expect(text).shaping;
            let error = format!("{:#}", shaping(&ShapingArgs::default(), &config).expect_err(text));
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        let flags = ShapingArgs { max_upload: Some("fast".to_owned()), ..ShapingArgs::default() };
        let error = format!("{:#}", shaping(&flags, &config).expect_err("no rate"));
        assert!(error.starts_with("--max-upload \"fast\": not a bandwidth"), "{error}");
        assert!(Config::parse("f.toml", "[shaping]\nburst = \"1 MB\"\n").is_err());
    }
}
