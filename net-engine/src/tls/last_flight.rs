use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a client's last flight waits for what goes with it, from when somebody first waits for the server on.
const PATIENCE: Duration = Duration::from_millis(1);

/// Flights that are larger, by a client's chain of certificates, go at once.
const MAX_HELD_BYTES: usize = 4 << 10;

/// A stream below TLS, which sends the last flight of its handshake with what comes behind it.
///
/// By itself that flight mostly wakes the other side for nothing: a request follows a client's Finished at once,
/// and nobody waits for a server's ticket. No other flight waits: the first has nothing read before it, and
/// those in the middle go when their answer is read. A flush does not send what waits.
pub(crate) struct LastFlight<S> {
    stream: S,
    held: BytesMut,
    phase: Phase,
}

enum Phase {
    /// Nothing was read yet.
    Opening,
    /// What is written may be the last flight.
    Handshaking,
    /// What is held was the last flight.
    Over(Wait),
}

/// How long the last flight waits.
enum Wait {
    /// For [`PATIENCE`]: a server may speak first, and then not before it has it. The timer is made when somebody
    /// waits for that.
    Moment(Option<Pin<Box<Sleep>>>),
    /// Until there is more, or the end.
    Patient,
    /// Not at all.
    Nothing,
}

impl<S> LastFlight<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, held: BytesMut::new(), phase: Phase::Opening }
    }

    /// Notes that a client's handshake is over: what it has written last waits for a moment.
    pub(super) fn client_is_done(&mut self) {
        self.phase = Phase::Over(Wait::Moment(None));
    }

    /// Notes that a server's handshake is over: what it has written last waits where it is a ticket only, as in
    /// TLS 1.3. In TLS 1.2 the client waits for it, and the next flush sends it.
    pub(super) fn server_is_done(&mut self, version: Option<ProtocolVersion>) {
        let is_ticket = version == Some(ProtocolVersion::TLSv1_3);
        self.phase = Phase::Over(if is_ticket { Wait::Patient } else { Wait::Nothing });
    }

    pub(super) fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncWrite + Unpin> LastFlight<S> {
    /// Sends what is held.
    fn poll_release(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, &self.held))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(count);
        }
        self.held = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Sends what is held once it has waited long enough; the task is woken where that is a matter of time.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.phase {
            Phase::Over(Wait::Moment(timer)) => {
                let timer = timer.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
                ready!(timer.as_mut().poll(context));
            }
            Phase::Over(Wait::Patient) => return Poll::Pending,
            Phase::Over(Wait::Nothing) | Phase::Opening | Phase::Handshaking => {}
        }
        self.poll_release(context)
    }

    /// Whether `len` more bytes wait for what comes after them.
    fn holds(&self, len: usize) -> bool {
        matches!(self.phase, Phase::Handshaking) && self.held.len() + len <= MAX_HELD_BYTES
    }

    /// Sends what is held, and with it as much of `bytes` as goes; how much of them went.
    fn poll_write_behind(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while !self.held.is_empty() {
            let both = [IoSlice::new(&self.held), IoSlice::new(bytes)];
            let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, &both))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_held = count.min(self.held.len());
            self.held.advance(of_held);
            if count > of_held {
                self.held = BytesMut::new();
                return Poll::Ready(Ok(count - of_held));
            }
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for LastFlight<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.held.is_empty() && !matches!(this.phase, Phase::Over(_)) {
            // It was not the last: an answer is waited for.
            ready!(this.poll_release(context))?;
        }
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if read.is_pending() && !this.held.is_empty() {
            // An error shows in the next write too, and a read may still find what came before it.
            let _ = this.poll_patience(context);
        }
        if read.is_ready() && matches!(this.phase, Phase::Opening) {
            this.phase = Phase::Handshaking;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LastFlight<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.holds(bytes.len()) {
            self.held.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        self.poll_write_behind(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        if self.holds(len) {
            pieces.iter().for_each(|piece| self.held.extend_from_slice(piece));
            return Poll::Ready(Ok(len));
        }
        if self.held.is_empty() {
            return Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        }
        // What comes behind them comes again.
        let first = pieces.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| piece);
        self.poll_write_behind(context, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.phase, Phase::Over(_))
            && !self.held.is_empty()
            && let Poll::Ready(released) = self.poll_patience(context)
        {
            released?;
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// A stream that keeps what is written at once apart.
    struct Apart {
        stream: DuplexStream,
        written: Vec<Vec<u8>>,
        most: usize,
    }

    impl AsyncRead for Apart {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(context, buffer)
        }
    }

    impl AsyncWrite for Apart {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.most);
            self.written.push(bytes[..count].to_vec());
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            self.poll_write(context, &all)
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.written.push(b"end".to_vec());
            Poll::Ready(Ok(()))
        }
    }

    /// A client that has read the server's flight and written its own; and the server's end.
    async fn handshaken(most: usize) -> (LastFlight<Apart>, DuplexStream) {
        let (mut far, stream) = duplex(64);
        let mut near = LastFlight::new(Apart { stream, written: Vec::new(), most });
        near.write_all(b"hello").await.expect("room");
        near.flush().await.expect("room");
        far.write_all(b"flight").await.expect("room");
        near.read_exact(&mut [0; 6]).await.expect("the flight");
        near.write_all(b"finished").await.expect("room");
        near.flush().await.expect("room");
        (near, far)
    }

    fn written(near: &LastFlight<Apart>) -> Vec<&str> {
        near.stream.written.iter().map(|piece| std::str::from_utf8(piece).expect("text")).collect()
    }

    #[tokio::test]
    async fn the_last_flight_goes_with_what_comes_behind_it() {
        let (mut near, _far) = handshaken(usize::MAX).await;
        near.client_is_done();
        near.flush().await.expect("nothing waits for it");
        assert_eq!(written(&near), ["hello"]);
        near.write_all(b" request").await.expect("room");
        near.write_all(b"more").await.expect("room");
        near.shutdown().await.expect("an end");
        assert_eq!(written(&near), ["hello", "finished request", "more", "end"]);
    }

    #[tokio::test]
    async fn pieces_go_whole_and_in_order_however_little_goes_at_once() {
        for most in 1..=20 {
            let (mut near, _far) = handshaken(most).await;
            near.client_is_done();
            let pieces = [IoSlice::new(b""), IoSlice::new(b" request"), IoSlice::new(b" of two")];
            let count = poll_fn(|task| Pin::new(&mut near).poll_write_vectored(task, &pieces)).await;
            let all = b" request of two";
            near.write_all(&all[count.expect("room")..]).await.expect("room");
            assert_eq!(written(&near).concat(), "hellofinished request of two", "{most} at once");
        }
    }

    #[tokio::test]
    async fn a_flight_that_is_answered_goes_before_the_answer_is_waited_for() {
        let (mut near, mut far) = handshaken(usize::MAX).await;
        // As after a retried hello, or in TLS 1.2.
        far.write_all(b"answer").await.expect("room");
        near.read_exact(&mut [0; 6]).await.expect("the answer");
        assert_eq!(written(&near), ["hello", "finished"]);
    }

    #[tokio::test]
    async fn where_nothing_comes_behind_it_it_goes_by_itself() {
        let (mut near, mut far) = handshaken(usize::MAX).await;
        near.client_is_done();
        let server = async {
            sleep(20 * PATIENCE).await;
            far.write_all(b"greeting").await.expect("room");
        };
        let client = async {
            // Woken by its own timer alone.
            let mut greeting = [0; 8];
            poll_fn(|task| {
                let mut room = ReadBuf::new(&mut greeting);
                let read = Pin::new(&mut near).poll_read(task, &mut room);
                assert!(read.is_pending(), "the server has spoken before it was told");
                if near.held.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            near.read_exact(&mut greeting).await.expect("a greeting");
        };
        timeout(LONG, async { tokio::join!(server, client) }).await.expect("the flight goes");
        assert_eq!(written(&near), ["hello", "finished"]);
    }

    #[tokio::test]
    async fn a_ticket_waits_for_a_response_and_nothing_that_is_waited_for_does() {
        let (mut near, _far) = handshaken(usize::MAX).await;
        near.server_is_done(Some(ProtocolVersion::TLSv1_3));
        let waits = timeout(20 * PATIENCE, near.read(&mut [0])).await;
        assert!(waits.is_err());
        near.flush().await.expect("nothing waits for it");
        assert_eq!(written(&near), ["hello"]);
        near.write_all(b" response").await.expect("room");
        assert_eq!(written(&near), ["hello", "finished response"]);

        let (mut near, _far) = handshaken(usize::MAX).await;
        near.server_is_done(Some(ProtocolVersion::TLSv1_2));
        near.flush().await.expect("room");
        assert_eq!(written(&near), ["hello", "finished"]);
    }

    #[tokio::test]
    async fn an_end_sends_it_and_a_large_one_does_not_wait() {
        let (mut near, _far) = handshaken(usize::MAX).await;
        near.client_is_done();
        near.shutdown().await.expect("an end");
        assert_eq!(written(&near), ["hello", "finished", "end"]);

        let (mut near, _far) = handshaken(usize::MAX).await;
        near.write_all(&[b'x'; MAX_HELD_BYTES]).await.expect("room");
        assert!(near.held.is_empty());
        assert_eq!(near.stream.written.concat().len(), 13 + MAX_HELD_BYTES);
    }
}
