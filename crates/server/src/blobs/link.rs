//! Between a master and a volume in another process: the master comes to the volume's door, both show that they
//! have the same secret, and then the volume asks and the master answers, and has the volume keep and bury what is short.
//!
//! ```text
//! master  MAGIC · challenge (32)
//! volume  challenge (32) · proof (32) · uuid (16) · epoch (8)
//! master  proof (32)
//! ```
//!
//! and frames from there on, as `olivine_blobs::talk` has them: what the volume asks has numbers below 2^63, what the
//! master has it do numbers above, and answers have the number of what they answer.
//!
//! 1. Neither believes anything before the other has shown the secret.
//! 2. Of two links of one volume the younger counts: a master that has started again is not turned away by its past.
//! 3. A question whose link ends is answered: that the master is away.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use olivine_blobs::{
    Head, Identity, Stored,
    grant::is_same,
    talk::{Answer, Asked, Done, MESSAGE_BYTES_MAX, Order, State},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::spawn_local,
    time::timeout,
};

use super::{
    carrier::of_volume,
    master::{Master, Member, Told, Way},
    volume::{AWAY, Host},
};
use crate::secret;

/// What a master begins with; no HTTP request does.
pub(crate) const MAGIC: &[u8; 16] = b"\0olivine blobs 2";
const CHALLENGE_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;
/// How long each step of becoming acquainted may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after a link ended the next is tried.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a volume says how it is.
const BEAT: Duration = Duration::from_secs(1);
/// How long nothing may come of a volume that is there.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long an answer is waited for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes that are written together, about.
const TOGETHER_BYTES: usize = 64 << 10;

/// Numbers from here on are of questions that a master asks; those below are a volume's.
const OF_MASTER: u64 = 1 << 63;

/// A way to who is at the other end of a link, while there is one.
#[derive(Default)]
pub(crate) struct Link {
    open: Mutex<Option<Open>>,
}

struct Open {
    frames: mpsc::UnboundedSender<Frame>,
    waiting: Arc<Mutex<Waiting>>,
}

/// A number and a message.
type Frame = (u64, Vec<u8>);

/// Those who have asked.
#[derive(Default)]
struct Waiting {
    next: u64,
    answers: BTreeMap<u64, oneshot::Sender<Vec<u8>>>,
    has_ended: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// Asks the master.
    pub(crate) async fn ask(&self, asked: &Asked) -> Answer {
        let answer = self.exchange(asked.encode()).await;
        let answer = answer.and_then(|answer| Answer::parse(&answer));
        answer.unwrap_or_else(|| Answer::Away(AWAY.to_owned()))
    }

    /// Has the volume do something.
    pub(super) fn order(&self, order: &Order<'_>) -> impl Future<Output = Done> + use<> {
        let asked = self.send(order.encode());
        async {
            let done = answer_of(asked).await.and_then(|done| Done::parse(&done));
            done.unwrap_or_else(|| Done::Away("a volume does not answer; try again".to_owned()))
        }
    }

    async fn exchange(&self, message: Vec<u8>) -> Option<Vec<u8>> {
        answer_of(self.send(message)).await
    }

    /// Asks something. Returns where it is answered; nothing if nobody is there.
    fn send(&self, message: Vec<u8>) -> Option<oneshot::Receiver<Vec<u8>>> {
        let open = lock(&self.open);
        let Open { frames, waiting } = open.as_ref()?;
        let mut waiting = lock(waiting);
        if waiting.has_ended {
            return None;
        }
        let (told, answer) = oneshot::channel();
        let number = waiting.next;
        waiting.next += 1;
        waiting.answers.insert(number, told);
        frames.send((number, message)).ok()?;
        Some(answer)
    }

    /// There is somebody. Questions have numbers from `first` on.
    fn open(&self, first: u64, frames: &mpsc::UnboundedSender<Frame>) -> Opened {
        let waiting = Arc::new(Mutex::new(Waiting { next: first, ..Waiting::default() }));
        let open = Open { frames: frames.clone(), waiting: Arc::clone(&waiting) };
        *lock(&self.open) = Some(open);
        Opened(waiting)
    }

    /// Serves a master that has come, behind what it begins with, until one of both ends.
    pub(crate) async fn serve(
        &self,
        host: &Arc<Host>,
        mut stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    ) -> io::Result<()> {
        timeout(PATIENCE, acquaint_volume(host, &mut stream)).await??;
        let (reader, writer) = tokio::io::split(stream);
        let (sender, frames) = mpsc::unbounded_channel();
        let opened = self.open(1, &sender);
        let beating = sender.clone();
        let state = || (0, Asked::Is(host.state()).encode());
        sender.send(state()).ok();
        let reading = async {
            let mut reader = BufReader::with_capacity(TOGETHER_BYTES, reader);
            while let Some((number, message)) = read(&mut reader).await? {
                if number < OF_MASTER {
                    opened.answered(number, message);
                    continue;
                }
                let (host, sender) = (Arc::clone(host), sender.clone());
                spawn_local(async move {
                    let done = obey(&host, &message).await;
                    // Who has gone is not answered.
                    sender.send((number, done.encode())).ok();
                });
            }
            Ok(())
        };
        tokio::select! {
            ended = write(writer, frames) => ended,
            ended = reading => ended,
            () = async {
                while beating.send(state()).is_ok() {
                    tokio::time::sleep(BEAT).await;
                }
            } => Ok(()),
        }
    }
}

async fn answer_of(asked: Option<oneshot::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    timeout(ANSWER_TIME_MAX, asked?).await.ok()?.ok()
}

/// A link that is there. Who waits for answers when it ends is told so.
struct Opened(Arc<Mutex<Waiting>>);

impl Opened {
    fn answered(&self, number: u64, message: Vec<u8>) {
        if let Some(told) = lock(&self.0).answers.remove(&number) {
            // Who does not wait any more need not be told.
            told.send(message).ok();
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut waiting = lock(&self.0);
        waiting.has_ended = true;
        waiting.answers.clear();
    }
}

/// Does what a master orders.
async fn obey(host: &Host, message: &[u8]) -> Done {
    let stored = match Order::parse(message) {
        Some(Order::Keep { key, generation, expiry, wants_digest, value }) => {
            let bytes = Some(value.len() as u64);
            host.keep(&Head { key, generation, expiry, wants_md5: wants_digest, bytes }, value)
                .await
        }
        Some(Order::Bury { key, generation, place }) => host.bury(key, generation, &place).await,
        None => return Done::Failed("the volume does not understand the master".to_owned()),
    };
    match stored.map_err(of_volume) {
        Ok(Stored { digest, place }) => Done::Kept { digest, place },
        Err(Told::Away(why)) => Done::Away(why),
        Err(Told::Failed(why)) => Done::Failed(why),
        Err(_) => Done::Failed("the volume did not do it".to_owned()),
    }
}

async fn acquaint_volume(
    host: &Host,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut theirs = [0; CHALLENGE_BYTES];
    stream.read_exact(&mut theirs).await?;
    let ours = challenge()?;
    let Identity { uuid, epoch } = host.volume.identity();
    let proof =
        host.secret.proof(b"volume", &theirs, &[&ours[..], &uuid, &epoch.to_le_bytes()].concat());
    stream.write_all(&[&ours[..], &proof, &uuid, &epoch.to_le_bytes()].concat()).await?;
    stream.flush().await?;
    let mut shown = [0; PROOF_BYTES];
    stream.read_exact(&mut shown).await?;
    let wanted = host.secret.proof(b"master", &ours, &theirs);
    if !is_same(&wanted, &shown) {
        tracing::warn!(event = "master_refused", why = "it has another key file");
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(())
}

/// What a volume is, when it has shown the secret.
async fn acquaint_master(
    master: &Master,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<Identity> {
    let ours = challenge()?;
    stream.write_all(&[&MAGIC[..], &ours].concat()).await?;
    stream.flush().await?;
    let mut answer = [0; CHALLENGE_BYTES + PROOF_BYTES + 16 + 8];
    stream.read_exact(&mut answer).await?;
    let (theirs, rest) = answer.split_at(CHALLENGE_BYTES);
    let (proof, identity) = rest.split_at(PROOF_BYTES);
    let wanted = master.secret().proof(b"volume", &ours, &[theirs, identity].concat());
    if !is_same(&wanted, proof) {
        let why = "it is no volume, or has another key file; see --key-file";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    stream.write_all(&master.secret().proof(b"master", theirs, &ours)).await?;
    stream.flush().await?;
    let mut uuid = [0; 16];
    let (start, epoch) = identity.split_at(16);
    uuid.copy_from_slice(start);
    let epoch = epoch.iter().rev().fold(0, |epoch, byte| epoch << 8 | u64::from(*byte));
    Ok(Identity { uuid, epoch })
}

fn challenge() -> io::Result<[u8; CHALLENGE_BYTES]> {
    let mut challenge = [0; CHALLENGE_BYTES];
    let failed = |_| io::Error::other("the system has no randomness to give");
    secret::random(&mut challenge).map_err(failed)?;
    Ok(challenge)
}

/// Keeps a link to each volume in another process, for ever.
pub(super) fn keep(master: &Arc<Master>) {
    for member in master.members() {
        if let Way::There(address) = &member.way {
            let (master, member) = (Arc::downgrade(master), Arc::clone(member));
            let address = address.clone();
            spawn_local(async move {
                let mut told = None;
                while let Some(master) = master.upgrade() {
                    let ended = linked(master, &member, &address).await;
                    member.set(None);
                    let why =
                        ended.map_or_else(|error| error.to_string(), |()| "it ended".to_owned());
                    // Whoever reads the log is told once what does not change.
                    if told.as_ref() != Some(&why) {
                        tracing::warn!(event = "volume_away", volume = &*address, why = &*why);
                        told = Some(why);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
    }
}

async fn linked(master: Arc<Master>, member: &Arc<Member>, address: &str) -> io::Result<()> {
    let mut stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    let identity = timeout(PATIENCE, acquaint_master(&master, &mut stream)).await??;
    let (reader, writer) = stream.into_split();
    let (sender, frames) = mpsc::unbounded_channel();
    let opened = member.link.open(OF_MASTER, &sender);
    let weak = Arc::downgrade(&master);
    drop(master);
    let reading = async {
        let mut reader = BufReader::with_capacity(TOGETHER_BYTES, reader);
        let mut is_told = false;
        loop {
            let Some((number, message)) = timeout(SILENCE_MAX, read(&mut reader)).await?? else {
                return Ok(());
            };
            if OF_MASTER <= number {
                opened.answered(number, message);
                continue;
            }
            let Some(master) = weak.upgrade() else { return Ok(()) };
            let asked = Asked::parse(&message).ok_or(io::ErrorKind::InvalidData)?;
            if let Asked::Is(state) = asked {
                learned(&master, member, identity, state)?;
                if !is_told {
                    tracing::info!(event = "volume_there", volume = address);
                    is_told = true;
                }
                continue;
            }
            let sender = sender.clone();
            spawn_local(async move {
                let answer = master.answer(&asked).await;
                // Who has gone is not answered.
                sender.send((number, answer.encode())).ok();
            });
        }
    };
    tokio::select! {
        ended = reading => ended,
        ended = write(writer, frames) => ended,
    }
}

fn learned(master: &Master, member: &Member, identity: Identity, state: State) -> io::Result<()> {
    master.learn(member, identity, state).map_err(io::Error::other)
}

/// The next frame; nothing at the end.
async fn read(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut length = [0; 4];
    match reader.read_exact(&mut length).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let length = u32::from_le_bytes(length) as usize;
    if !(8..=8 + MESSAGE_BYTES_MAX).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let number = reader.read_u64_le().await?;
    let mut message = Vec::new();
    reader.take(length as u64 - 8).read_to_end(&mut message).await?;
    if message.len() != length - 8 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((number, message)))
}

/// Writes frames, those that are there together.
async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut frames: mpsc::UnboundedReceiver<Frame>,
) -> io::Result<()> {
    let mut out = Vec::new();
    while let Some(frame) = frames.recv().await {
        push(&frame, &mut out);
        while out.len() < TOGETHER_BYTES
            && let Ok(frame) = frames.try_recv()
        {
            push(&frame, &mut out);
        }
        writer.write_all(&out).await?;
        writer.flush().await?;
        out.clear();
    }
    Ok(())
}

fn push((number, message): &Frame, out: &mut Vec<u8>) {
    out.extend((8 + message.len() as u32).to_le_bytes());
    out.extend(number.to_le_bytes());
    out.extend_from_slice(message);
}
