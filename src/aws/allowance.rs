//! How much of all answers together is held while they are read. Each has a longest of its own, and calls are bounded in number; but that many
//! of the longest would still be too much, and whoever answers can hold them all back at once.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Buf;
use hyper::body::{Body, Frame, SizeHint};

/// What any answer may come to without asking, in bytes: nearly all are shorter, so that they are read however much others have taken.
const FREE: usize = 64 * 1024;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// An answer was cut off for the sake of others. To be asked again: it is not this one that was too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {most} bytes of long answers were being read at once")]
pub(crate) struct TooMuchAtOnce {
    most: usize,
}

/// What the answers of one origin may come to together.
#[derive(Debug)]
pub(crate) struct Allowance {
    most: usize,
    taken: AtomicUsize,
}

impl Allowance {
    /// So many bytes at once, beside the first 64 KiB of each answer.
    pub(crate) fn of(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: AtomicUsize::new(0) })
    }

    /// The body, counted from its first byte until it is dropped; it ends with an error where there is no room for its next piece.
    pub(crate) fn counted<B>(self: &Arc<Self>, body: B) -> Counted<B> {
        Counted { body: Box::pin(body), allowance: Arc::clone(self), read: 0, taken: 0 }
    }

    fn take(&self, bytes: usize) -> Result<(), TooMuchAtOnce> {
        let fits = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.most);
        match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(_) => Err(TooMuchAtOnce { most: self.most }),
        }
    }
}

/// A body whose bytes are counted.
#[derive(Debug)]
pub(crate) struct Counted<B> {
    body: Pin<Box<B>>,
    allowance: Arc<Allowance>,
    read: usize,
    taken: usize,
}

impl<B> Body for Counted<B>
where
    B: Body,
    B::Error: Into<Error>,
{
    type Data = B::Data;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, Error>>> {
        let frame = match self.body.as_mut().poll_frame(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(frame)) => frame.map_err(Into::into),
        };
        let frame = frame.and_then(|frame| {
            self.read += frame.data_ref().map_or(0, Buf::remaining);
            let more = self.read.saturating_sub(FREE) - self.taken;
            self.allowance.take(more)?;
            self.taken += more;
            Ok(frame)
        });
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Counted<B> {
    fn drop(&mut self) {
        self.allowance.taken.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::combinators::BoxBody;
    use http_body_util::{BodyExt, Full};

    fn answer(allowance: &Arc<Allowance>, bytes: usize) -> BoxBody<Bytes, Error> {
        allowance.counted(Full::new(Bytes::from(vec![b' '; bytes]))).boxed()
    }

    #[tokio::test]
    async fn long_answers_together_are_bounded_and_short_ones_always_have_room() {
        let allowance = Allowance::of(1_000_000);
        let mut first = answer(&allowance, 600_000 + FREE);
        assert!(first.frame().await.unwrap().is_ok());
        let mut second = answer(&allowance, 600_000 + FREE);
        let error = second.frame().await.unwrap().unwrap_err();
        assert!(error.is::<TooMuchAtOnce>(), "{error}");
        let mut third = answer(&allowance, 400_000 + FREE);
        assert!(third.frame().await.unwrap().is_ok(), "what is left is there for the next, though one was refused");
        for _ in 0..100 {
            assert!(answer(&allowance, FREE).collect().await.is_ok());
        }
        drop(first);
        assert!(answer(&allowance, 600_000 + FREE).collect().await.is_ok(), "what was read makes room");
        drop((second, third));
        assert_eq!(allowance.taken.load(Ordering::Relaxed), 0);
    }
}
