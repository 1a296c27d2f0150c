//! Answers that come in small pieces. Whoever reads a body whole keeps its pieces until the end, and a piece of one byte keeps the buffer of thousands
//! that it was read into: an answer that drips, or whose chunks are short, would take many times its length.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// The least that is handed on at once, but at the end, in bytes: it takes little beside that.
const PIECE: usize = 16 * 1024;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A body that hands on what it gathered of small pieces, and keeps none of them.
#[derive(Debug)]
pub(crate) struct Gathered<B> {
    body: Pin<Box<B>>,
    gathered: Vec<u8>,
    /// What comes after that, and is no data: trailers, or an error.
    then: Option<Result<Frame<Bytes>, Error>>,
}

impl<B> Gathered<B> {
    pub(crate) fn new(body: B) -> Self {
        Self { body: Box::pin(body), gathered: Vec::new(), then: None }
    }

    fn hand_on(&mut self) -> Frame<Bytes> {
        Frame::data(std::mem::take(&mut self.gathered).into())
    }

    /// What is to be handed on where no more data comes before `then`.
    fn after_what_was_gathered(&mut self, then: Result<Frame<Bytes>, Error>) -> Result<Frame<Bytes>, Error> {
        if self.gathered.is_empty() {
            return then;
        }
        self.then = Some(then);
        Ok(self.hand_on())
    }
}

impl<B> Body for Gathered<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(then) = self.then.take() {
            return Poll::Ready(Some(then));
        }
        loop {
            let frame = match self.body.as_mut().poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) if self.gathered.is_empty() => return Poll::Ready(None),
                Poll::Ready(None) => return Poll::Ready(Some(Ok(self.hand_on()))),
                Poll::Ready(Some(frame)) => frame.map_err(Into::into),
            };
            match frame.map(Frame::into_data) {
                // Nearly all answers come whole.
                Ok(Ok(data)) if self.gathered.is_empty() && self.body.is_end_stream() => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Ok(data)) => {
                    self.gathered.extend_from_slice(&data);
                    if self.gathered.len() >= PIECE {
                        return Poll::Ready(Some(Ok(self.hand_on())));
                    }
                }
                Ok(Err(trailers)) => return Poll::Ready(Some(self.after_what_was_gathered(Ok(trailers)))),
                Err(error) => return Poll::Ready(Some(self.after_what_was_gathered(Err(error)))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.gathered.is_empty() && self.then.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, gathered) = (self.body.size_hint(), self.gathered.len() as u64);
        let mut with_gathered = SizeHint::new();
        with_gathered.set_lower(hint.lower() + gathered);
        if let Some(upper) = hint.upper() {
            with_gathered.set_upper(upper + gathered);
        }
        with_gathered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use hyper::header::HeaderMap;
    use std::collections::VecDeque;

    /// Has nothing ready at each none.
    struct Pieces(VecDeque<Option<Result<Frame<Bytes>, Error>>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            match self.0.pop_front() {
                Some(Some(frame)) => Poll::Ready(Some(frame)),
                Some(None) => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                None => Poll::Ready(None),
            }
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }
    }

    fn data(text: &'static [u8]) -> Option<Result<Frame<Bytes>, Error>> {
        Some(Ok(Frame::data(Bytes::from_static(text))))
    }

    #[tokio::test]
    async fn an_answer_in_pieces_of_one_byte_is_handed_on_in_a_few() {
        let pieces = (0..100_000).flat_map(|_| [data(b"x"), None]).collect();
        let mut body = Gathered::new(Pieces(pieces));
        let mut lengths = Vec::new();
        while let Some(frame) = body.frame().await {
            lengths.push(frame.unwrap().into_data().unwrap().len());
        }
        assert_eq!(lengths, [PIECE, PIECE, PIECE, PIECE, PIECE, PIECE, 100_000 - 6 * PIECE]);
    }

    #[tokio::test]
    async fn what_ends_an_answer_comes_after_all_its_bytes() {
        let trailers = || Some(Ok(Frame::trailers(HeaderMap::new())));
        let collected = Gathered::new(Pieces([data(b"a"), None, data(b"b"), trailers()].into())).collect().await.unwrap();
        assert!(collected.trailers().is_some());
        assert_eq!(collected.to_bytes(), "ab");
        let mut body = Gathered::new(Pieces([data(b"a"), data(b"b"), Some(Err("broken".into()))].into()));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        assert!(!body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "broken");
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn an_answer_that_comes_whole_is_handed_on_as_it_is() {
        let whole = Bytes::from(vec![b'x'; 100]);
        let mut body = Gathered::new(Pieces([Some(Ok(Frame::data(whole.clone())))].into()));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().as_ptr(), whole.as_ptr());
    }
}
