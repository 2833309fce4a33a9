//! One session with the aggregator: hello, then frames both ways until either side ends it.
//!
//! The engine runs on its own thread, because training must not hold up the connection; what it
//! wants persisted is durable before what follows it is sent.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tributary_transport::federation_client;
use tributary_wire::session::{FromNode, Secagg, ToNode};
use tributary_wire::v1::NodeFrame;

use crate::clock::Clock;
use crate::engine::{Engine, Now, Output};
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::stop::{Stop, Stopping, asked, at_once};
use crate::storage::{Durable, Storage, StorageError};

/// How often decisions of people and the hour are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// After this time decisions are read again, whether the database says that it has changed or not.
const READ_AGAIN: Duration = Duration::from_secs(10);

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The connection is gone; try again.
    Lost(String),
    /// The aggregator refuses this node; trying again at once is of no use.
    Refused(String),
    /// This node was told to stop.
    Stopped,
    /// There is a fresh certificate to connect with.
    Renewed,
}

/// What people decided, as the engine knows it, and the time.
#[derive(Debug)]
pub struct Outside {
    clock: Clock,
    /// The database's state when decisions were read last, and when that was.
    seen: Option<(i64, Instant)>,
}

impl Outside {
    /// From what is stored.
    ///
    /// # Errors
    /// From the database.
    pub async fn open(storage: &Storage) -> Result<Self, StorageError> {
        Ok(Self { clock: Clock::new(storage.highest_time().await?.as_deref()), seen: None })
    }

    /// The clock.
    pub fn clock(&mut self) -> &mut Clock {
        &mut self.clock
    }

    /// Reads decisions again if anybody has changed the database since, and notes the time.
    ///
    /// # Errors
    /// From the database: then nobody knows what was decided, and the node must stop.
    pub async fn refresh(
        &mut self,
        engine: &mut Engine,
        storage: &Storage,
    ) -> Result<Now, StorageError> {
        let version = storage.data_version().await?;
        let known =
            self.seen.is_some_and(|(seen, at)| seen == version && at.elapsed() < READ_AGAIN);
        if !known {
            engine.set_consent(storage.consent().await?);
            self.seen = Some((version, Instant::now()));
        }
        let now = self.clock.now();
        if let Some(time) = self.clock.to_store() {
            storage.saw_time(&time).await?;
        }
        Ok(now)
    }
}

/// What outlives a session.
pub struct Lasting<'a> {
    /// Decides.
    pub engine: &'a mut Engine,
    /// Makes durable.
    pub storage: &'a Storage,
    /// What people decided, and the time.
    pub outside: &'a mut Outside,
    /// The last check before an upload; an upload may go on in the next session.
    pub gate: &'a mut Gate,
    /// Tells those who watch.
    pub metrics: &'a Metrics,
}

/// Runs one session over a channel.
///
/// # Errors
/// When state cannot be made durable: the node must stop then.
pub async fn run(
    channel: Channel,
    lasting: Lasting<'_>,
    heartbeat: Duration,
    mut fresh: watch::Receiver<bool>,
    stop: &mut Stopping,
) -> anyhow::Result<Ended> {
    let Lasting { engine, storage, outside, gate, metrics } = lasting;
    outside.refresh(engine, storage).await?;
    let mut client = federation_client(channel);
    let (to_server, outgoing) = mpsc::channel::<NodeFrame>(64);
    let hello = engine.hello(env!("CARGO_PKG_VERSION"));
    to_server.send(hello.into()).await.context("sending the hello")?;
    let opened = tokio::select! {
        () = asked(stop) => return Ok(Ended::Stopped),
        opened = client.session(ReceiverStream::new(outgoing)) => opened,
    };
    let mut incoming = match opened {
        Ok(response) => response.into_inner(),
        Err(status) => return Ok(ended(&status)),
    };
    let _open = metrics.session();
    let mut beat = tokio::time::interval(heartbeat);
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // Between two attempts a short absence costs nothing.
        if *fresh.borrow() && engine.is_quiet() {
            return Ok(Ended::Renewed);
        }
        // Asked to stop, it sees a running attempt to its end and begins no other.
        if *stop.borrow() >= Stop::Drain && !engine.in_attempt() {
            return Ok(Ended::Stopped);
        }
        let mut urgent = stop.clone();
        let draining = *stop.borrow() >= Stop::Drain;
        let frame = tokio::select! {
            () = at_once(&mut urgent) => return Ok(Ended::Stopped),
            () = asked(stop), if !draining => continue,
            Ok(()) = fresh.changed() => continue,
            _ = beat.tick() => {
                match send(&to_server, FromNode::Heartbeat, stop).await {
                    None => continue,
                    Some(ended) => return Ok(ended),
                }
            }
            _ = look.tick() => {
                let now = outside.refresh(engine, storage).await?;
                let outputs = tokio::task::block_in_place(|| engine.reconsider(&now));
                let carry = (&mut *gate, &to_server, &mut *stop);
                match carry_out(engine, (outputs, &now), storage, carry).await? {
                    None => continue,
                    Some(ended) => return Ok(ended),
                }
            }
            frame = incoming.message() => frame,
        };
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(Ended::Lost("the aggregator closed the session".into())),
            Err(status) => return Ok(ended(&status)),
        };
        let frame = match ToNode::try_from(frame) {
            Ok(frame) => frame,
            Err(error) => {
                let text = format!("a frame of the aggregator cannot be read: {error}");
                return Ok(Ended::Refused(text));
            }
        };
        let refusal = match &frame {
            ToNode::Refused(refused) => Some(format!("{}: {}", refused.code, refused.text)),
            _ => None,
        };
        metrics.received(&frame);
        if let ToNode::Welcome(welcome) = &frame {
            let own = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            metrics.clock_skew(own, welcome.unix_seconds);
            if let Some(text) = skew(own, welcome.unix_seconds) {
                tracing::warn!("{text}");
            }
        }
        let now = outside.refresh(engine, storage).await?;
        let begun = Instant::now();
        let outputs = tokio::task::block_in_place(|| engine.handle(&now, frame));
        metrics.handled(begun.elapsed(), &outputs);
        let carry = (&mut *gate, &to_server, &mut *stop);
        let carried = carry_out(engine, (outputs, &now), storage, carry).await?;
        metrics.show(engine);
        if let Some(ended) = carried {
            return Ok(ended);
        }
        if let Some(text) = refusal {
            return Ok(Ended::Refused(text));
        }
    }
}

/// Carries outputs out in order; says how the session ended if it did meanwhile. What is to be
/// made durable is so in any case: a charge that nobody gets to see is lost, never a charge short.
pub(crate) async fn carry_out(
    engine: &mut Engine,
    (outputs, now): (Vec<Output>, &Now),
    storage: &impl Durable,
    (gate, to_server, stop): (&mut Gate, &mpsc::Sender<NodeFrame>, &mut Stopping),
) -> anyhow::Result<Option<Ended>> {
    let mut ended = None;
    for output in outputs {
        match output {
            Output::Persist(record) => {
                storage.persist(&record).await?;
                gate.durable(&record);
            }
            Output::Send(frame) if ended.is_none() => ended = send(to_server, frame, stop).await,
            Output::Send(_) => {}
            Output::Upload { job, upload } => {
                gate.check(&upload)?;
                for frame in upload.into_frames() {
                    if ended.is_some() {
                        break;
                    }
                    let frame = Secagg { job, frame };
                    ended = send(to_server, FromNode::Secagg(frame), stop).await;
                }
                if ended.is_none() {
                    note_sent(engine, now, job, storage).await?;
                }
            }
            Output::Audit(event) => storage.note(&now.0, &event).await?,
            Output::Note(text) => tracing::info!("{text}"),
        }
    }
    Ok(ended)
}

/// Every message of an upload is with the connection: the book says so, too.
async fn note_sent(
    engine: &mut Engine,
    now: &Now,
    job: [u8; 32],
    storage: &impl Durable,
) -> anyhow::Result<()> {
    for output in engine.uploaded(now, job) {
        match output {
            Output::Audit(event) => storage.note(&now.0, &event).await?,
            Output::Persist(record) => storage.persist(&record).await?,
            Output::Note(text) => tracing::warn!("{text}"),
            Output::Send(_) | Output::Upload { .. } => {}
        }
    }
    Ok(())
}

/// Sends a frame. An aggregator that does not read can hold this up, but not past a stop.
async fn send(
    to_server: &mpsc::Sender<NodeFrame>,
    frame: FromNode,
    stop: &mut Stopping,
) -> Option<Ended> {
    tokio::select! {
        () = at_once(stop) => Some(Ended::Stopped),
        sent = to_server.send(frame.into()) => match sent {
            Ok(()) => None,
            Err(_) => Some(Ended::Lost("the connection was closed".into())),
        }
    }
}

fn ended(status: &tonic::Status) -> Ended {
    use tonic::Code;
    let text = status.message().to_owned();
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied | Code::FailedPrecondition => {
            Ended::Refused(text)
        }
        _ => Ended::Lost(text),
    }
}

/// Seconds by which two clocks may differ before somebody should look.
const SKEW: u64 = 60;

/// What to do about two clocks that differ. Rounds do not depend on clocks; certificates do.
fn skew(own: u64, theirs: u64) -> Option<String> {
    let (apart, how) = match own.checked_sub(theirs) {
        Some(ahead) => (ahead, "ahead of"),
        None => (theirs - own, "behind"),
    };
    (apart > SKEW).then(|| {
        format!(
            "this machine's clock is {apart} s {how} the aggregator's: rounds go on all the same, but \
             certificates are judged by it. Check the time service (NTP) of both"
        )
    })
}

/// RFC 3339 in UTC.
pub fn timestamp() -> String {
    time::OffsetDateTime::now_utc()
        .replace_nanosecond(0)
        .ok()
        .and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Record;
    use crate::fixtures::{Federation, JOB};
    use crate::storage::Storage;

    #[test]
    fn clocks_that_differ_are_named() {
        assert_eq!(skew(1000, 1000), None);
        assert_eq!(skew(1000, 1060), None);
        assert!(skew(1000, 1061).unwrap().contains("61 s behind"));
        assert!(skew(9000, 1000).unwrap().contains("8000 s ahead of"));
    }

    #[tokio::test]
    async fn a_stop_ends_a_send_that_blocks_and_what_follows_is_still_durable() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path()).await.unwrap();
        // One frame fits; nobody reads.
        let (to_server, _unread) = mpsc::channel(1);
        let (tell, mut stop) = watch::channel(Stop::Drain);
        let accepted = Record::Accepted { entry: None, job: "j".into(), manifest: "{}".into() };
        let outputs = vec![
            Output::Send(FromNode::Heartbeat),
            Output::Send(FromNode::Heartbeat),
            Output::Persist(accepted),
            Output::Send(FromNode::Heartbeat),
        ];
        let teller = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            tell.send(Stop::Now).unwrap();
            tell
        });
        let mut federation = Federation::new(JOB);
        let (engine, mut gate) = (&mut federation.engines[0], Gate::default());
        let (now, carry) = (crate::fixtures::now(), (&mut gate, &to_server, &mut stop));
        let carried = carry_out(engine, (outputs, &now), &storage, carry);
        let ended = tokio::time::timeout(Duration::from_secs(5), carried).await.unwrap().unwrap();
        assert_eq!(ended, Some(Ended::Stopped));
        assert!(storage.open_job().await.unwrap().is_some());
        // A stop is not forgotten by having been seen once.
        let _tell = teller.await.unwrap();
        at_once(&mut stop).await;
    }
}
