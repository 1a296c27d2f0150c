//! How much of all answers together is held, while they are read and after. Each has a longest of its own, and calls are bounded in number; but
//! that many of the longest would still be too much, and whoever answers can hold them all back at once.

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
#[error("more than {most} bytes of long answers were in hand at once")]
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
        Counted { body: Box::pin(body), share: self.share(), read: 0 }
    }

    /// Holds what was made of an answer, about so many bytes, until the share is dropped.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Result<Share, TooMuchAtOnce> {
        let mut share = self.share();
        share.grow_to(bytes)?;
        Ok(share)
    }

    fn share(self: &Arc<Self>) -> Share {
        Share { allowance: Some(Arc::clone(self)), taken: 0 }
    }

    fn take(&self, bytes: usize) -> Result<(), TooMuchAtOnce> {
        let fits = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.most);
        match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(_) => Err(TooMuchAtOnce { most: self.most }),
        }
    }
}

/// What one answer has of the allowance; by default nothing, and of none.
#[derive(Debug, Default)]
pub(crate) struct Share {
    allowance: Option<Arc<Allowance>>,
    taken: usize,
}

impl Share {
    /// Takes what an answer of so many bytes needs beyond what this share has.
    fn grow_to(&mut self, bytes: usize) -> Result<(), TooMuchAtOnce> {
        let Some(allowance) = &self.allowance else { return Ok(()) };
        let more = bytes.saturating_sub(FREE).saturating_sub(self.taken);
        allowance.take(more)?;
        self.taken += more;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(allowance) = &self.allowance {
            allowance.taken.fetch_sub(self.taken, Ordering::Relaxed);
        }
    }
}

/// A body whose bytes are counted.
#[derive(Debug)]
pub(crate) struct Counted<B> {
    body: Pin<Box<B>>,
    share: Share,
    read: usize,
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
            let read = self.read;
            self.share.grow_to(read)?;
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

    #[test]
    fn what_was_made_of_answers_is_held_until_it_is_dropped() {
        let allowance = Allowance::of(1_000_000);
        let first = allowance.hold(600_000).unwrap();
        assert_eq!(allowance.hold(600_000).unwrap_err(), TooMuchAtOnce { most: 1_000_000 });
        let short: Vec<Share> = (0..100).map(|_| allowance.hold(FREE).unwrap()).collect();
        drop(first);
        assert!(allowance.hold(600_000).is_ok());
        drop(short);
        assert_eq!(allowance.taken.load(Ordering::Relaxed), 0);
    }
}
