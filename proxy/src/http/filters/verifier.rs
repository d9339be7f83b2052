//! Verifies passwords away from the workers: on a few threads of its own, behind a bounded queue, once for each credentials
//! that are right. Those that were are remembered by a keyed hash, at most 1,024 of them.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::passwords::{Hash, User};

/// The threads, the queue to them and what they found right.
pub(super) struct Verifier {
    jobs: SyncSender<Job>,
    /// Random: tags tell nothing of credentials.
    key: hmac::Key,
    verified: Box<[Mutex<[Tag; SLOTS]>]>,
}

/// HMAC of credentials and the hash that they were verified by; zero = none.
type Tag = [u8; 32];

struct Job {
    hash: Hash,
    password: Vec<u8>,
    answer: oneshot::Sender<bool>,
}

/// More credentials are waiting than will be verified in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Busy;

impl Verifier {
    pub(super) fn start() -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let queue = Arc::new(std::sync::Mutex::new(queue));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for number in 0..(cores / 2).clamp(1, THREADS_MAX) {
            let queue = Arc::clone(&queue);
            // Ends when the last sender is gone.
            std::thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || verify_all(&queue))?;
        }
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(std::io::Error::other)?;
        Ok(Self {
            jobs,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            verified: (0..SETS).map(|_| Mutex::new([[0; 32]; SLOTS])).collect(),
        })
    }

    /// Whether `password` is that of `user`, whose hash is `hash`.
    pub(super) async fn verify(
        &self,
        user: &str,
        password: &str,
        (hash, who): (&Hash, User),
    ) -> Result<bool, Busy> {
        let tag = self.tag(user, password, hash);
        if who == User::Known && self.remembers(&tag) {
            return Ok(true);
        }
        let (answer, answered) = oneshot::channel();
        let job = Job {
            hash: hash.clone(),
            password: password.as_bytes().to_vec(),
            answer,
        };
        self.jobs.try_send(job).map_err(|_full| Busy)?;
        let right = answered.await.map_err(|_lost| Busy)? && who == User::Known;
        if right {
            self.remember(&tag);
        }
        Ok(right)
    }

    fn tag(&self, user: &str, password: &str, hash: &Hash) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        // The user's name has no colon and the hash no line feed, so no two are written alike.
        for part in [hash.as_str(), "\n", user, ":", password] {
            context.update(part.as_bytes());
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn set(&self, tag: &Tag) -> &Mutex<[Tag; SLOTS]> {
        &self.verified[usize::from(tag[0]) % SETS]
    }

    fn remembers(&self, tag: &Tag) -> bool {
        let set = self.set(tag).lock();
        set.iter()
            .any(|known| verify_slices_are_equal(known, tag).is_ok())
    }

    fn remember(&self, tag: &Tag) {
        self.set(tag).lock()[usize::from(tag[1]) % SLOTS] = *tag;
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

fn verify_all(queue: &std::sync::Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else {
            return;
        };
        // Whose client has gone need not be answered.
        if !job.answer.is_closed() {
            let _gone = job.answer.send(job.hash.verify(&job.password));
        }
    }
}

/// Credentials that wait, at most; with more the answer is 503.
const QUEUE: usize = 64;
/// Half of the cores, but no more than this.
const THREADS_MAX: usize = 4;
/// With [`SLOTS`] 1,024 tags, 32 KiB.
const SETS: usize = 64;
const SLOTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(password: &str) -> Hash {
        let parts = bcrypt::hash_with_salt(password, 4, [7; 16]).expect("hashes");
        Hash::Bcrypt(parts.to_string())
    }

    #[test]
    fn right_credentials_are_remembered_and_no_others() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("runtime");
        let verifier = Verifier::start().expect("starts");
        let hash = hash("secret");
        let verify = |user: &str, password: &str, who| {
            runtime.block_on(verifier.verify(user, password, (&hash, who)))
        };
        let remembers =
            |user: &str, password: &str| verifier.remembers(&verifier.tag(user, password, &hash));
        assert_eq!(verify("a", "wrong", User::Known), Ok(false));
        assert_eq!(verify("b", "secret", User::Unknown), Ok(false));
        assert!(!remembers("a", "wrong") && !remembers("b", "secret"));
        assert_eq!(verify("a", "secret", User::Known), Ok(true));
        assert!(remembers("a", "secret"));
        // Who becomes unknown is not let in by what is remembered.
        assert_eq!(verify("a", "secret", User::Unknown), Ok(false));
        assert!(!verifier.remembers(&verifier.tag("a", "secret", &self::hash("other"))));
    }
}
