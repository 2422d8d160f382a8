//! Streams of server-sent events: so many at once, each with one event on its way at most, and a look a second.
//!
//! A stream has a source of its own, which is asked only when its client has taken what came before. A client that reads slowly
//! gets fewer events, and none of them wait in a queue; one that reads nothing is let go.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::Frame;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

/// Time between two looks at a source.
const PERIOD: Duration = Duration::from_secs(1);
/// A client that takes nothing for this long is gone.
const TAKEN: Duration = Duration::from_secs(60);
/// Where nothing is said for this long, a comment shows that the stream is alive.
const QUIET: Duration = Duration::from_secs(15);

/// An event: its name, and its data as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name.
    pub name: &'static str,
    /// Its data. JSON has no line ends of its own.
    pub data: String,
}

/// What a source has to say.
#[derive(Debug, Default)]
pub struct Batch {
    /// Events, in order.
    pub events: Vec<Event>,
    /// Whether there is more at once, as while a long list is said for the first time.
    pub more: bool,
}

/// Says what has changed since it was last asked.
pub trait Source: Send + 'static {
    /// What there is to say now.
    fn look(&mut self) -> impl Future<Output = Batch> + Send;
}

/// All streams of a listener.
#[derive(Debug, Clone)]
pub struct Feeds(Arc<Semaphore>);

impl Feeds {
    /// So many at once, at most.
    pub fn new(most: usize) -> Self {
        Feeds(Arc::new(Semaphore::new(most)))
    }

    /// Opens one; nothing if there are too many.
    pub fn open(&self, mut source: impl Source) -> Option<Response> {
        let room = self.0.clone().try_acquire_owned().ok()?;
        let (events, taken) = mpsc::channel::<Bytes>(1);
        tokio::spawn(async move {
            let _room = room;
            let mut said = Instant::now();
            loop {
                let due = Instant::now() + PERIOD;
                let batch = tokio::select! {
                    batch = source.look() => batch,
                    () = events.closed() => return,
                };
                let mut lines: Vec<Bytes> = batch.events.iter().map(line).collect();
                if lines.is_empty() && said.elapsed() >= QUIET {
                    lines.push(Bytes::from_static(b":\n\n"));
                }
                for line in lines {
                    match timeout(TAKEN, events.send(line)).await {
                        Ok(Ok(())) => said = Instant::now(),
                        _ => return,
                    }
                }
                if !batch.more {
                    tokio::select! {
                        () = sleep_until(due) => {}
                        () = events.closed() => return,
                    }
                }
            }
        });
        let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
        Some((headers, [("x-accel-buffering", "no")], Body::new(EventBody(taken))).into_response())
    }
}

fn line(event: &Event) -> Bytes {
    // A line end would begin another field.
    let data = event.data.replace(['\r', '\n'], " ");
    Bytes::from(format!("event: {}\ndata: {data}\n\n", event.name))
}

/// The body of a stream: it has no end of its own.
struct EventBody(mpsc::Receiver<Bytes>);

impl http_body::Body for EventBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Counting(Arc<AtomicUsize>);

    impl Source for Counting {
        async fn look(&mut self) -> Batch {
            let count = self.0.fetch_add(1, Ordering::SeqCst);
            Batch { events: vec![Event { name: "count", data: format!("{count}") }], more: false }
        }
    }

    async fn read(body: &mut Body) -> Option<String> {
        let frame = poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut *body), context)).await?;
        Some(String::from_utf8(frame.ok()?.into_data().ok()?.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_is_asked_once_a_second_and_not_while_its_client_does_not_read() {
        let (feeds, looks) = (Feeds::new(1), Arc::new(AtomicUsize::new(0)));
        let began = Instant::now();
        let mut body = feeds.open(Counting(looks.clone())).unwrap().into_body();
        for count in 0..3 {
            assert_eq!(read(&mut body).await.unwrap(), format!("event: count\ndata: {count}\n\n"));
        }
        assert!(began.elapsed() >= PERIOD * 2, "once a second at most");
        tokio::time::sleep(TAKEN / 2).await;
        assert!(looks.load(Ordering::SeqCst) <= 6, "one event waits, and one is in hand");
        tokio::time::sleep(TAKEN * 3).await;
        while read(&mut body).await.is_some() {}
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_streams_are_open_and_one_that_is_left_makes_room() {
        let feeds = Feeds::new(2);
        let open = || feeds.open(Counting(Arc::default()));
        let (one, _other) = (open().unwrap(), open().unwrap());
        assert!(open().is_none());
        drop(one);
        // Its task sees that it is left.
        tokio::time::sleep(PERIOD).await;
        assert!(open().is_some());
    }

    #[test]
    fn an_event_is_two_lines_whatever_is_in_it() {
        let event = Event { name: "x", data: "a\nb\r\ndata: c".to_owned() };
        assert_eq!(line(&event), "event: x\ndata: a b  data: c\n\n");
    }
}
