//! How streams of HTTP/2 end that do not end well: each side hears what it can make use of.

use std::future::poll_fn;
use std::rc::Rc;

use h2::Reason;
use hyper::body::Bytes;
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::http2_ends::{data, http2_guest, http2_server, setup};
use crate::server::{Identity, http_recorder, one_connection};
use crate::world::{HOST_A, PATIENCE, Setup, World, run};

/// Upstream's reason, and the guest's before a response (an answer of ours where none) and within one.
const REASONS: &[(Reason, Option<Reason>, Reason)] = &[
    (Reason::CANCEL, Some(Reason::CANCEL), Reason::CANCEL),
    (Reason::REFUSED_STREAM, Some(Reason::REFUSED_STREAM), Reason::REFUSED_STREAM),
    (Reason::ENHANCE_YOUR_CALM, Some(Reason::ENHANCE_YOUR_CALM), Reason::ENHANCE_YOUR_CALM),
    (Reason::HTTP_1_1_REQUIRED, Some(Reason::HTTP_1_1_REQUIRED), Reason::HTTP_1_1_REQUIRED),
    (Reason::INTERNAL_ERROR, None, Reason::INTERNAL_ERROR),
    (Reason::COMPRESSION_ERROR, None, Reason::INTERNAL_ERROR),
    // Half a response is not a whole one.
    (Reason::NO_ERROR, None, Reason::INTERNAL_ERROR),
];

#[test]
fn a_reset_of_upstream_s_is_the_guest_s() {
    for (reason, before, within) in REASONS {
        for has_begun in [false, true] {
            run(async {
                let identity = Identity::new();
                let has_arrived = Rc::new(Notify::new());
                let half_arrived = Rc::clone(&has_arrived);
                let server = http2_server(&identity, move |_, mut respond| {
                    let half_arrived = Rc::clone(&half_arrived);
                    async move {
                        if has_begun {
                            let mut body = respond.send_response(Response::new(()), false).unwrap();
                            body.send_data(Bytes::from_static(b"half"), false).unwrap();
                            // A reset goes before data that waits.
                            half_arrived.notified().await;
                            body.send_reset(*reason);
                        } else {
                            respond.send_reset(*reason);
                        }
                    }
                })
                .await;
                let world = World::new(setup(&identity, server, false)).await;
                let mut requests = http2_guest(&world).await;
                let request = Request::get("https://a.example/").body(()).unwrap();
                let (response, _) = requests.send_request(request, true).unwrap();
                let response = timeout(PATIENCE, response).await.expect("an answer");
                match (has_begun, before) {
                    (false, Some(expected)) => {
                        let told = response.expect_err("a reset");
                        assert_eq!((told.reason(), told.is_reset()), (Some(*expected), true), "{reason:?}");
                    }
                    (false, None) => {
                        assert_eq!(response.unwrap().status(), StatusCode::BAD_GATEWAY, "{reason:?}");
                    }
                    (true, _) => {
                        let mut body = response.unwrap().into_body();
                        assert_eq!(data(&mut body).await.unwrap(), "half");
                        has_arrived.notify_one();
                        let ended = timeout(PATIENCE, body.data()).await.expect("an end");
                        let told = ended.expect("no end as if it were whole").unwrap_err();
                        assert_eq!(told.reason(), Some(*within), "{reason:?}");
                    }
                }
            });
        }
    }
}

#[test]
fn what_upstream_has_not_looked_at_may_be_asked_again() {
    run(async {
        let identity = Identity::new();
        let (address, accepted) = one_connection().await;
        let acceptor = identity.acceptor("a.example", "h2");
        tokio::task::spawn_local(async move {
            let mut stream = acceptor.accept(accepted.await).await.unwrap();
            // SETTINGS, and once there is a request, GOAWAY: none was processed, no error.
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            let mut heard = Vec::new();
            while !heard.windows(4).any(|window| window == [1, 5, 0, 0] || window[..3] == [1, 5, 0]) {
                assert!(stream.read_buf(&mut heard).await.unwrap() > 0);
            }
            stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
            let _ = stream.read_to_end(&mut heard).await;
        });
        let world = World::new(setup(&identity, address, false)).await;
        let mut requests = http2_guest(&world).await;
        let request = Request::get("https://a.example/").body(()).unwrap();
        let (response, _) = requests.send_request(request, true).unwrap();
        let told = timeout(PATIENCE, response).await.expect("an answer").expect_err("a reset");
        assert_eq!(told.reason(), Some(Reason::REFUSED_STREAM), "{told}");
    });
}

#[test]
fn an_answer_before_the_end_of_its_request_is_whole() {
    run(async {
        let identity = Identity::new();
        let server = http2_server(&identity, |request, mut respond| async move {
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"enough"), true).unwrap();
            // What is left of the request is not wanted: h2 says so, without an error.
            drop(request);
        })
        .await;
        let world = World::new(setup(&identity, server, false)).await;
        let mut requests = http2_guest(&world).await;
        let request = Request::post("https://a.example/").body(()).unwrap();
        let (response, mut upload) = requests.send_request(request, false).unwrap();
        upload.send_data(Bytes::from_static(b"first"), false).unwrap();
        let response = timeout(PATIENCE, response).await.expect("an answer").unwrap();
        let mut body = response.into_body();
        assert_eq!(data(&mut body).await.unwrap(), "enough");
        assert_eq!(data(&mut body).await, None);
        let told = timeout(PATIENCE, poll_fn(|task| upload.poll_reset(task))).await.expect("a word");
        assert_eq!(told.unwrap(), Reason::NO_ERROR);
    });
}

#[test]
fn a_request_that_goes_on_after_its_answer_arrives_whole() {
    run(async {
        let identity = Identity::new();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let tell = std::cell::RefCell::new(Some(tell));
        let server = http2_server(&identity, move |request, mut respond| {
            let tell = tell.borrow_mut().take().expect("one request");
            async move {
                respond.send_response(Response::new(()), true).unwrap();
                let mut body = request.into_body();
                while let Some(data) = data(&mut body).await {
                    tell.send(data).unwrap();
                }
            }
        })
        .await;
        let world = World::new(setup(&identity, server, false)).await;
        let mut requests = http2_guest(&world).await;
        let request = Request::post("https://a.example/").body(()).unwrap();
        let (response, mut upload) = requests.send_request(request, false).unwrap();
        assert_eq!(timeout(PATIENCE, response).await.expect("an answer").unwrap().status(), 200);
        for piece in ["one", "two"] {
            upload.send_data(piece.into(), false).unwrap();
            assert_eq!(timeout(PATIENCE, told.recv()).await.expect("a piece").unwrap(), piece);
        }
        upload.send_data(Bytes::new(), true).unwrap();
        while let Some(rest) = timeout(PATIENCE, told.recv()).await.expect("an end") {
            assert_eq!(rest, "");
        }
    });
}

#[test]
fn a_body_that_breaks_off_takes_its_request_back() {
    run(async {
        let identity = Identity::new();
        let (tell, told) = tokio::sync::oneshot::channel();
        let tell = std::cell::RefCell::new(Some(tell));
        let has_begun = Rc::new(Notify::new());
        let begins = Rc::clone(&has_begun);
        let server = http2_server(&identity, move |request, _respond| {
            let begins = Rc::clone(&begins);
            let tell = tell.borrow_mut().take().expect("one request");
            async move {
                let mut body = request.into_body();
                while let Some(data) = timeout(PATIENCE, body.data()).await.expect("an end") {
                    if let Err(error) = data {
                        return tell.send(error.reason()).unwrap();
                    }
                    begins.notify_one();
                }
            }
        })
        .await;
        let world = World::new(setup(&identity, server, false)).await;
        let mut requests = http2_guest(&world).await;
        let request = Request::post("https://a.example/").body(()).unwrap();
        let (_response, mut upload) = requests.send_request(request, false).unwrap();
        upload.send_data(Bytes::from_static(b"first"), false).unwrap();
        timeout(PATIENCE, has_begun.notified()).await.expect("the first of it");
        upload.send_reset(Reason::INTERNAL_ERROR);
        assert_eq!(timeout(PATIENCE, told).await.expect("a reset").unwrap(), Some(Reason::CANCEL));
    });
}

/// `GET /` for `a.example` on a stream, and its reset.
fn asked_and_reset(id: u32) -> Vec<u8> {
    let block = [&[0x82, 0x84, 0x86, 0x01, 9][..], b"a.example"].concat();
    let id = id.to_be_bytes();
    // HEADERS with END_STREAM and END_HEADERS; RST_STREAM for CANCEL.
    [&[0, 0, 14, 1, 5][..], &id, &block, &[0, 0, 4, 3, 0], &id, &8_u32.to_be_bytes()].concat()
}

#[test]
fn a_guest_that_asks_and_resets_without_end_is_told_to_calm_down() {
    run(async {
        let (server, _) = http_recorder().await;
        let redirects = vec![((HOST_A.1, 80), server)];
        let world = World::new(Setup { allow: &["a.example:80"], redirects, ..Setup::default() }).await;
        let mut stream = world.connect(HOST_A, 80).await;
        let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        for count in 0..2_000 {
            sent.extend(asked_and_reset(2 * count + 1));
        }
        let mut heard = Vec::new();
        let (mut reader, mut writer) = tokio::io::split(&mut stream);
        let talk = async {
            // It may end before all of it is taken.
            let _ = tokio::join!(writer.write_all(&sent), reader.read_to_end(&mut heard));
        };
        timeout(PATIENCE, talk).await.expect("an end");
        let goaway = heard.windows(17).find(|frame| frame[..5] == [0, 0, 8, 7, 0] || frame[3..5] == [7, 0]);
        let goaway = goaway.unwrap_or_else(|| panic!("no GOAWAY in {heard:?}"));
        assert_eq!(goaway[13..17], u32::from(Reason::ENHANCE_YOUR_CALM).to_be_bytes());
    });
}
