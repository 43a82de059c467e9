//! Everything that crosses the link, captured on the guest's side and judged by tshark.
//!
//! Offloads are off on both sides, so that each frame is as it would be on a wire, and what follows TCP and
//! most of UDP is left alone: it is the servers' and clients', and some of it is meant to be malformed.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::e2e::verdict::Words;
use crate::programs;
use crate::space::clean;

/// What keeps the engine from giving the guest frames that no wire carries.
pub(crate) const FLAG: &str = "--no-offload";

/// Where a row's capture stops: beyond, it is more of the same.
const MOST_KIB: u32 = 30_000;

/// How long a capture may take to end once its interface is gone.
const END: Duration = Duration::from_secs(10);

/// How many findings of a row are told.
const MOST_FINDINGS: usize = 5;

/// A frame is found fault with where one of these holds.
///
/// Linux writes a sum of zero as 0xffff, of TCP too, where it is not the hardware's to write
/// (`skb_checksum_help`): the guest may.
const FAULTS: &str = "!(eth.src == 02:6e:65:00:00:02 && tcp.checksum == 0xffff) && (_ws.malformed || _ws.expert.severity >= 8388608 || ip.checksum.status == \"Bad\" || \
    tcp.checksum.status == \"Bad\" || udp.checksum.status == \"Bad\" || icmp.checksum.status == \"Bad\" || \
    icmpv6.checksum.status == \"Bad\")";

/// Runs beside the engine, in the command's namespace. A capture that has not begun after five seconds is none, and
/// nobody waits for it.
const SCRIPT: &str = "for off in tx tso gso gro; do ethtool -K eth0 $off off; done > /dev/null 2>&1
    dumpcap -q -s 0 -B 16 -i eth0 -a filesize:MOST -w HERE.pcapng 2> HERE.dumpcap & \
    for i in $(seq 100); do grep -q ^File: HERE.dumpcap && touch HERE.live && break; sleep 0.05; done
    wait; touch HERE.captured";

/// What was captured of one row.
pub(crate) struct Judged {
    pub(crate) frames: u64,
    /// What tshark finds fault with.
    pub(crate) findings: Vec<String>,
}

/// # Errors
/// Where a program is missing, which one.
pub(crate) fn require() -> Result<()> {
    if let [(program, package), ..] = programs::ensure(programs::CAPTURE)?[..] {
        bail!("nothing is captured without {program} ({package})");
    }
    Ok(())
}

/// The words before everything else of a row that is captured.
pub(crate) fn wrapper(words: &Words<'_>) -> Vec<String> {
    let here = words.fill("{dir}/started/{id}");
    let script = SCRIPT.replace("MOST", &MOST_KIB.to_string()).replace("HERE", &here);
    // A grandchild: what comes after it may wait for whatever child it has.
    let beside = "script=$1; shift; ((umask 000; exec python3 {dir}/beside.py $$ {dir}/started/{id}.capture \"$script\" \
         > {dir}/started/{id}.beside 2>&1) &); exec \"$@\"";
    ["sh", "-c", &words.fill(beside), "sh", &script].map(str::to_owned).into()
}

/// The command of such a row: it waits for the capture, but not for one that does not come.
pub(crate) fn command(words: &Words<'_>, command: &str) -> String {
    let wait = "for i in $(seq 100); do test -e {dir}/started/{id}.live && break; sleep 0.05; done; ";
    words.fill(wait) + command
}

/// Judges what was captured and forgets it, unless there is something to find in it; `None` where nothing was.
pub(crate) fn judge(words: &Words<'_>) -> Result<Option<Judged>> {
    let path = |extension: &str| words.scratch.path(&format!("started/{}.{extension}", words.id));
    if !path("live").exists() {
        return Ok(None);
    }
    let deadline = Instant::now() + END;
    while !path("captured").exists() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    let said = fs::read_to_string(path("dumpcap"))?;
    // Packets received/dropped on interface 'eth0': 12/0 (pcap:0/dumpcap:0/flushed:0/ps_ifdrop:0) (100.0%)
    let count = said.split("interface 'eth0': ").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
    let file = path("pcapng");
    let mut findings = faults(clean("tshark").arg("-r").arg(&file))?;
    if findings.is_empty() {
        fs::remove_file(&file)?;
    } else {
        findings.truncate(MOST_FINDINGS);
        findings.push(format!("in {}, which --keep keeps", file.display()));
    }
    Ok(Some(Judged { frames: count.context("dumpcap does not say how much it captured")?, findings }))
}

/// A line for each frame with a fault.
fn faults(tshark: &mut Command) -> Result<Vec<String>> {
    tshark.arg("-n").args(["-Y", FAULTS]);
    for check in ["ip", "tcp", "udp"] {
        tshark.args(["-o", &format!("{check}.check_checksum:TRUE")]);
    }
    // The lower of two ports says what is inside: names and addresses are ours and are read.
    for data in ["tcp.port==1-52", "tcp.port==54-65535", "udp.port==443", "udp.port==1024-65535"] {
        tshark.args(["-d", &format!("{data},data")]);
    }
    tshark.args(["-T", "fields", "-E", "separator=/s"]);
    for field in
        ["frame.number", "_ws.col.Source", "_ws.col.Destination", "_ws.col.Info", "_ws.expert.message"]
    {
        tshark.args(["-e", field]);
    }
    let output = tshark.output().context("cannot run tshark")?;
    // A capture that was cut off in the middle of a frame is read up to there.
    let is_cut = String::from_utf8_lossy(&output.stderr).contains("cut short");
    if !output.status.success() && !is_cut {
        bail!("tshark: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    Ok(lines.lines().map(|line| format!("tshark: frame {line}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::e2e::scratch::Scratch;

    /// An Ethernet frame with a datagram to port 9, and its capture (draft-ietf-opsawg-pcap).
    fn capture(sum: [u8; 2]) -> Vec<u8> {
        let frame = [
            &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0][..],
            &[0x45, 0, 0, 30, 0, 0, 0, 0, 64, 17, 0xf6, 0xcb, 192, 0, 2, 1, 192, 0, 2, 2],
            &[0x30, 0x39, 0, 9, 0, 10, sum[0], sum[1], b'h', b'i'],
        ]
        .concat();
        let word = |value: u32| value.to_le_bytes();
        let header = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, 1].map(word).concat();
        let length = u32::try_from(frame.len()).expect("a short frame");
        [header, [0, 0, length, length].map(word).concat(), frame].concat()
    }

    #[test]
    fn a_wrong_checksum_is_found_and_a_right_one_is_not() {
        if Command::new("tshark").arg("--version").output().is_err() {
            // `cargo xtask e2e --captures` refuses to run without it.
            return;
        }
        let scratch = Scratch::new(false).expect("a scratch directory");
        for (sum, findings) in [([0xe3, 0x2a], 0), ([0xe3, 0x2b], 1)] {
            scratch.write("one.pcap", &capture(sum)).expect("a file");
            let found = faults(clean("tshark").arg("-r").arg(scratch.path("one.pcap"))).expect("tshark runs");
            assert_eq!(found.len(), findings, "{sum:x?}: {found:?}");
        }
    }
}
