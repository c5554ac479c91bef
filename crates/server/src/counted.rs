//! A socket as HTTP has it: what was read of it already is read again, its bytes are counted as they come and
//! go, and a peer that does not take them is not waited for without end.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    alarm::Alarm,
    http::{HEAD_TOO_LONG, head_too_long},
    patience::Wait,
    settings::Door,
    worker::Served,
};

pub(crate) struct Counted<S> {
    served: Rc<Served>,
    door: Door,
    /// What was read already and was counted then, and how much of it has been read again.
    first: Vec<u8>,
    read: usize,
    alarm: Alarm,
    /// What is said in place of an answer of hyper's, and how much of it was.
    instead: Option<(Vec<u8>, usize)>,
    stream: S,
}

impl<S> Counted<S> {
    pub(crate) fn new(served: Rc<Served>, door: Door, first: Vec<u8>, stream: S) -> Counted<S> {
        let alarm = Alarm::new(&served.alarms);
        Counted { served, door, first, read: 0, alarm, instead: None, stream }
    }

    /// Counts what was written, or how long nothing is.
    fn wrote<T>(
        &self,
        context: &Context<'_>,
        wrote: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> u64,
    ) -> Poll<io::Result<T>> {
        match &wrote {
            Poll::Pending => {
                if !self.alarm.is_waiting() {
                    let time = self.served.shared.patience.of(Wait::Answer);
                    self.alarm.begin(self.alarm.now(), time);
                }
                if self.alarm.poll_late(context).is_ready() {
                    self.served.shared.late(self.door.name(), Wait::Answer);
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            Poll::Ready(come) => {
                self.alarm.end();
                if let Ok(come) = come {
                    self.served.tally().bytes_out.add(bytes(come));
                }
            }
        }
        wrote
    }
}

impl<S: AsyncWrite + Unpin> Counted<S> {
    /// Says something else if what is to be written, `length` bytes that begin so, is hyper's answer to a head that is
    /// too long.
    fn poll_instead(
        &mut self,
        cx: &mut Context<'_>,
        begins: &[u8],
        length: usize,
    ) -> Option<Poll<io::Result<usize>>> {
        if self.instead.is_none() {
            if !begins.starts_with(HEAD_TOO_LONG) {
                return None;
            }
            self.instead = Some((head_too_long(&self.served.shared), 0));
        }
        let (bytes, written) = self.instead.as_mut()?;
        while *written < bytes.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &bytes[*written..]) {
                Poll::Ready(Ok(0)) => {
                    return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(more)) => *written += more,
                other => return Some(other),
            }
        }
        Some(Poll::Ready(Ok(length)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.first[self.read..];
        if !rest.is_empty() {
            let bytes = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..bytes]);
            self.read += bytes;
            if self.read == self.first.len() {
                (self.first, self.read) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.served.tally().bytes_in.add((buffer.filled().len() - before) as u64);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = match self.poll_instead(cx, bytes, bytes.len()) {
            Some(wrote) => wrote,
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        };
        self.wrote(cx, wrote, |bytes| *bytes as u64)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.wrote(cx, flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.wrote(cx, shut, |()| 0)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let begins = bytes.first().map_or(&[][..], |slice| &**slice);
        let wrote = match self.poll_instead(cx, begins, bytes.iter().map(|slice| slice.len()).sum())
        {
            Some(wrote) => wrote,
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, bytes),
        };
        self.wrote(cx, wrote, |bytes| *bytes as u64)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
