//! WebSockets beside secrets: messages of the guest's are rewritten or found out, those of upstream's scrubbed.

use std::num::NonZeroU32;
use std::time::Duration;

use net_core::Limits;
use net_engine::{Event, LeakPlace, Termination, TerminationHook};
use net_secrets::{Binding, Places, SecretSet, SecretValue};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream as ServerStream;

use crate::guest::Stream;
use crate::server::{Identity, asked};
use crate::wire::{read_responses, read_to_end, statuses};
use crate::world::{HOST_A, PATIENCE, Setup, VALUE, World, placeholder, run};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const LAST: u8 = 0x80;
const MASK: [u8; 4] = [0x1f, 0, 0xa5, 0x77];

/// A frame; those of guests are masked.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let masked = u8::from(mask.is_some()) << 7;
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(masked | u8::try_from(short).unwrap()),
        long => {
            frame.push(masked | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn from_guest(first: u8, payload: &str) -> Vec<u8> {
    frame(first, Some(MASK), payload.as_bytes())
}

/// The next frame's first byte and payload; whether it was masked must be as said.
async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S, is_masked: bool) -> (u8, Vec<u8>) {
    let reading = async {
        let mut head = [0; 2];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head[1] & 0x80 != 0, is_masked);
        let length = match head[1] & 0x7f {
            126 => u64::from(stream.read_u16().await.unwrap()),
            127 => stream.read_u64().await.unwrap(),
            short => u64::from(short),
        };
        let mut mask = [0; 4];
        if is_masked {
            stream.read_exact(&mut mask).await.unwrap();
        }
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        (head[0], payload)
    };
    timeout(PATIENCE, reading).await.expect("a frame")
}

/// Reads the head of a response, and nothing behind it.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.expect("a head").unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Reads a message to its end, over as many frames as it has.
async fn read_message<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut message = Vec::new();
    loop {
        let (first, payload) = read_frame(stream, false).await;
        message.extend(payload);
        if first & LAST != 0 {
            return String::from_utf8(message).unwrap();
        }
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}

/// The one secret, bound to `a.example`, in messages too if so.
fn secret(in_messages: bool, value: &str) -> SecretSet {
    let hosts = vec!["a.example".parse().unwrap()];
    let mut binding = Binding::new("TOKEN", placeholder(), SecretValue::new(value.into()), hosts);
    binding.places = Places { websocket: in_messages, ..Places::default() };
    SecretSet::compile(vec![binding], *b"test key").unwrap()
}

type Ends = (World, tokio_rustls::client::TlsStream<Stream>, ServerStream<TcpStream>, String);

/// A world, both ends of a WebSocket in it, and what was asked for; `switch` is upstream's answer.
async fn opened(setup: Setup, switch: &[u8]) -> Ends {
    let identity = Identity::new();
    let (address, accepted) = identity.one_connection("a.example").await;
    let redirects = vec![((HOST_A.1, 443), address)];
    let trusts = Some(identity.pem());
    let world = World::new(Setup { allow: &["a.example:443"], redirects, trusts, ..setup }).await;
    let accepted = tokio::task::spawn_local(accepted);
    let mut guest = world.tls(HOST_A, "a.example", "http/1.1").await.unwrap();
    send(&mut guest, format!("{ASK}X-Key: {}\r\n\r\n", placeholder()).as_bytes()).await;
    let (mut server, request) = asked(async { accepted.await.unwrap() }).await;
    send(&mut server, switch).await;
    (world, guest, server, request)
}

/// The same once the guest has its answer.
async fn switched(setup: Setup) -> Ends {
    let (world, mut guest, server, request) = opened(setup, format!("{SWITCH}\r\n").as_bytes()).await;
    read_head(&mut guest).await;
    (world, guest, server, request)
}

#[test]
fn messages_get_values_where_they_are_bound_and_their_echoes_none() {
    run(async {
        let token = placeholder().to_string();
        // The first message comes with the answer.
        let head = format!("{SWITCH}X-Echo: {VALUE}\r\n\r\n");
        let answer = [head.into_bytes(), frame(LAST | TEXT, None, VALUE.as_bytes())].concat();
        let setup = Setup { secrets: secret(true, VALUE), ..Setup::default() };
        let (_world, mut guest, mut server, request) = opened(setup, &answer).await;
        assert!(!request.to_ascii_lowercase().contains("sec-websocket-extensions"), "{request}");
        assert!(request.contains(&format!("X-Key: {VALUE}\r\n")), "{request}");
        let head = read_head(&mut guest).await;
        assert_eq!(statuses(&head), ["101"], "{head}");
        assert!(head.contains(&token) && !head.contains(VALUE), "{head}");
        assert_eq!(read_message(&mut guest).await, token);
        let (one, other) = token.split_at(token.len() / 2);
        let sent = [
            from_guest(TEXT, &format!("{{\"key\": \"{one}")),
            from_guest(LAST | PING, "are you there"),
            from_guest(LAST | CONTINUATION, &format!("{other}\"}}")),
            from_guest(LAST | BINARY, &token),
        ];
        for frame in sent {
            send(&mut guest, &frame).await;
        }
        assert_eq!(read_frame(&mut server, true).await, (LAST | PING, b"are you there".to_vec()));
        let text = format!("{{\"key\": \"{VALUE}\"}}");
        assert_eq!(read_frame(&mut server, true).await, (LAST | TEXT, text.into_bytes()));
        assert_eq!(read_frame(&mut server, true).await, (LAST | BINARY, VALUE.as_bytes().to_vec()));
        let (one, other) = VALUE.split_at(5);
        send(&mut server, &frame(TEXT, None, format!("you said {one}").as_bytes())).await;
        send(&mut server, &frame(LAST | CONTINUATION, None, other.as_bytes())).await;
        assert_eq!(read_message(&mut guest).await, format!("you said {token}"));
        // Whoever ends it is heard.
        send(&mut guest, &frame(LAST | CLOSE, Some(MASK), b"\x03\xe8")).await;
        assert_eq!(read_frame(&mut server, true).await, (LAST | CLOSE, b"\x03\xe8".to_vec()));
        send(&mut server, &frame(LAST | CLOSE, None, b"\x03\xe8")).await;
        server.shutdown().await.unwrap();
        assert_eq!(read_frame(&mut guest, false).await, (LAST | CLOSE, b"\x03\xe8".to_vec()));
        assert_eq!(read_to_end(&mut guest).await, "");
    });
}

#[test]
fn nothing_of_a_message_that_must_not_leave_does() {
    run(async {
        let setup = Setup { secrets: secret(false, VALUE), ..Setup::default() };
        let (world, mut guest, mut server, _) = switched(setup).await;
        let token = placeholder().to_string();
        send(&mut guest, &from_guest(LAST | TEXT, "hello")).await;
        assert_eq!(read_frame(&mut server, true).await, (LAST | TEXT, b"hello".to_vec()));
        send(&mut guest, &from_guest(TEXT, &format!("a beginning {}", &token[..9]))).await;
        send(&mut guest, &from_guest(LAST | CONTINUATION, &token[9..])).await;
        let (first, payload) = read_frame(&mut guest, false).await;
        assert_eq!((first, &payload[..2]), (LAST | CLOSE, &1008u16.to_be_bytes()[..]));
        let why = String::from_utf8_lossy(&payload[2..]);
        assert!(why.starts_with("secret TOKEN stood in a place"), "{why}");
        let event = world.event().await;
        assert!(matches!(event, Event::Violation { .. }), "{event}");
        // Upstream hears that it is over, and not why.
        assert_eq!(read_frame(&mut server, true).await, (LAST | CLOSE, 1008u16.to_be_bytes().to_vec()));
        assert_eq!(read_to_end(&mut server).await, "");
        assert_eq!(read_to_end(&mut guest).await, "");
    });
}

#[test]
fn a_message_that_must_not_leave_may_end_the_guest() {
    run(async {
        let (sender, told) = oneshot::channel();
        let hook = TerminationHook::new(move |why| sender.send(why).expect("a test that waits"));
        let setup = Setup {
            secrets: secret(false, VALUE),
            terminate_after: NonZeroU32::new(1),
            on_termination: Some(hook),
            ..Setup::default()
        };
        let (_world, mut guest, _server, _) = switched(setup).await;
        send(&mut guest, &from_guest(LAST | BINARY, placeholder().as_str())).await;
        let why = timeout(PATIENCE, told).await.expect("the hook is called").unwrap();
        let Termination::Violation(report) = why else { panic!("{why:?}") };
        assert_eq!(report.place, LeakPlace::WebSocket);
    });
}

#[test]
fn an_extension_that_was_not_offered_is_none() {
    run(async {
        let switch = format!("{SWITCH}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
        let setup = Setup { secrets: secret(true, VALUE), ..Setup::default() };
        let (_world, mut guest, _server, _) = opened(setup, switch.as_bytes()).await;
        let response = read_responses(&mut guest, 1).await;
        assert_eq!(statuses(&response), ["502"], "{response}");
    });
    // A frame that is as if one were chosen.
    for from_guest in [true, false] {
        run(async {
            let setup = Setup { secrets: secret(true, VALUE), ..Setup::default() };
            let (_world, mut guest, mut server, _) = switched(setup).await;
            let first = LAST | 0x40 | TEXT;
            match from_guest {
                true => send(&mut guest, &frame(first, Some(MASK), b"deflated")).await,
                false => send(&mut server, &frame(first, None, b"deflated")).await,
            }
            let (first, payload) = read_frame(&mut guest, false).await;
            assert_eq!((first, &payload[..2]), (LAST | CLOSE, &1002u16.to_be_bytes()[..]));
            assert_eq!(read_frame(&mut server, true).await, (LAST | CLOSE, 1002u16.to_be_bytes().to_vec()));
            assert_eq!(read_to_end(&mut server).await, "");
        });
    }
}

#[test]
fn a_message_is_held_only_as_long_as_time_and_room_permit() {
    let cases = [
        ("no room", Limits { max_held_bytes: 99, ..Limits::default() }),
        ("no time", Limits { held_body_timeout: Duration::from_millis(200), ..Limits::default() }),
        ("too long by itself", Limits { max_held_body_bytes: 99, ..Limits::default() }),
    ];
    for (case, limits) in cases {
        run(async {
            let setup = Setup { secrets: secret(true, VALUE), limits, ..Setup::default() };
            let (_world, mut guest, mut server, _) = switched(setup).await;
            let token = placeholder().to_string();
            let beginning = "x".repeat(100);
            send(&mut guest, &from_guest(TEXT, &format!("{beginning}{}", &token[..20]))).await;
            assert_eq!(read_frame(&mut server, true).await, (TEXT, beginning.into_bytes()), "{case}");
            send(&mut guest, &from_guest(LAST | CONTINUATION, &token[20..])).await;
            let (first, payload) = read_frame(&mut server, true).await;
            assert_eq!((first, &*payload), (LAST | CONTINUATION, VALUE.as_bytes()), "{case}");
        });
    }
    run(async {
        let setup = Setup { secrets: secret(true, VALUE), ..Setup::default() };
        let (_world, mut guest, mut server, _) = switched(setup).await;
        send(&mut guest, &from_guest(TEXT, "held")).await;
        // What comes behind it, and before it.
        send(&mut guest, &from_guest(LAST | PING, "")).await;
        assert_eq!(read_frame(&mut server, true).await, (LAST | PING, Vec::new()));
        send(&mut guest, &from_guest(LAST | CONTINUATION, "")).await;
        assert_eq!(read_frame(&mut server, true).await, (LAST | TEXT, b"held".to_vec()));
    });
}

#[test]
fn new_secrets_are_used_in_a_websocket_that_runs_on() {
    run(async {
        const NEXT: &str = "the-next-value";
        let setup = Setup { secrets: secret(true, VALUE), ..Setup::default() };
        let (world, mut guest, mut server, _) = switched(setup).await;
        let token = placeholder().to_string();
        for (secrets, sees) in [
            (None, Some(VALUE)),
            (Some(secret(true, NEXT)), Some(NEXT)),
            (Some(SecretSet::default()), Some(&*token)),
            (Some(secret(true, NEXT)), Some(NEXT)),
            (Some(secret(false, NEXT)), None),
        ] {
            if let Some(secrets) = secrets {
                world.handle.swap_secrets(secrets).await;
            }
            send(&mut guest, &from_guest(LAST | TEXT, &token)).await;
            let (first, payload) = read_frame(&mut server, true).await;
            let Some(sees) = sees else {
                assert_eq!(first, LAST | CLOSE);
                break;
            };
            assert_eq!(String::from_utf8_lossy(&payload), sees);
            // What was replaced lately does not come back either.
            send(&mut server, &frame(LAST | TEXT, None, format!("{VALUE} {sees}").as_bytes())).await;
            assert_eq!(read_message(&mut guest).await, format!("{token} {token}"));
        }
    });
}

#[test]
fn a_slow_server_is_not_run_over_and_gets_every_message() {
    const COUNT: usize = 40;
    const BYTES: usize = 512 << 10;
    run(async {
        let setup = Setup { secrets: secret(true, VALUE), ..Setup::default() };
        let (_world, guest, mut server, _) = switched(setup).await;
        let (mut reading, mut writing) = tokio::io::split(guest);
        let message = frame(LAST | BINARY, Some(MASK), &vec![b'x'; BYTES]);
        let sending = tokio::task::spawn_local(async move {
            for _ in 0..COUNT {
                send(&mut writing, &message).await;
            }
            writing
        });
        // 20 MiB do not fit into what the engine and the kernels hold.
        let blocked = timeout(Duration::from_secs(1), async {
            while !sending.is_finished() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(blocked.await.is_err(), "all of it was taken from the guest");
        for _ in 0..COUNT {
            let (first, payload) = read_frame(&mut server, true).await;
            assert_eq!((first, payload.len()), (LAST | BINARY, BYTES));
        }
        let mut writing = timeout(PATIENCE, sending).await.expect("all of it is sent").unwrap();
        writing.shutdown().await.unwrap();
        assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
        send(&mut server, &frame(LAST | TEXT, None, b"last words")).await;
        assert_eq!(read_message(&mut reading).await, "last words");
    });
}
