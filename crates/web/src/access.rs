//! Who may look: whoever knows the token, has a session that began with it, or a certificate that the given authority signed.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq as _;

use crate::limit::Limit;

/// Less would be guessed.
const SHORTEST_TOKEN: usize = 16;
/// How long somebody who logged in is not asked again.
pub(crate) const SESSION: Duration = Duration::from_secs(12 * 60 * 60);
/// Sessions at once.
const SESSIONS: usize = 1024;

/// Why nobody is let in, and nothing is served.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AccessError {
    /// Everybody could look.
    #[error(
        "{listen} can be reached from other hosts, and nothing says who may look: give a token (--token-file, STRONGROOM_SERVE_TOKEN) or --client-ca, or listen on 127.0.0.1"
    )]
    Open {
        /// Where it was to listen.
        listen: SocketAddr,
    },
    /// It would be guessed.
    #[error(
        "the token has {length} letters: at least {SHORTEST_TOKEN} are needed (`openssl rand -hex 32` makes one)"
    )]
    ShortToken {
        /// Its length.
        length: usize,
    },
}

/// What whoever looks must know. Kept as a hash, so that comparing takes as long for any guess.
#[derive(Clone, Copy)]
pub struct Token(blake3::Hash);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(...)")
    }
}

impl Token {
    /// # Errors
    /// `ShortToken`.
    pub fn new(text: &str) -> Result<Self, AccessError> {
        match text.len() {
            length @ 0..SHORTEST_TOKEN => Err(AccessError::ShortToken { length }),
            _ => Ok(Self(blake3::hash(text.as_bytes()))),
        }
    }

    fn is(&self, guess: &str) -> bool {
        blake3::hash(guess.as_bytes()).as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

/// Whom to let in.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    /// Who knows it.
    pub token: Option<Token>,
    /// Who has a certificate.
    pub certificates: bool,
    /// Whether `/metrics` asks too.
    pub metrics: bool,
}

impl Access {
    /// # Errors
    /// `Open`, where everybody on a network could look.
    pub fn check(&self, listen: SocketAddr) -> Result<(), AccessError> {
        match self.is_open() && !listen.ip().to_canonical().is_loopback() {
            true => Err(AccessError::Open { listen }),
            false => Ok(()),
        }
    }

    /// Whether nobody is asked.
    pub(crate) fn is_open(&self) -> bool {
        self.token.is_none() && !self.certificates
    }
}

/// What a guess came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guess {
    Right,
    Wrong,
    /// Nobody looked whether it is right.
    TooMany(Duration),
}

/// Who is let in, and who guessed wrong.
pub(crate) struct Gate {
    access: Access,
    limit: Limit,
    /// By the hash of their secrets, until when.
    sessions: HashMap<blake3::Hash, Instant>,
}

impl Gate {
    pub(crate) fn new(access: Access) -> Self {
        Self { access, limit: Limit::default(), sessions: HashMap::new() }
    }

    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// From now on; who logged in with another token is out.
    pub(crate) fn change(&mut self, access: Access) {
        let of = |access: &Access| access.token.map(|token| token.0);
        if of(&self.access) != of(&access) {
            self.sessions.clear();
        }
        self.access = access;
    }

    pub(crate) fn guess(&mut self, text: &str, address: IpAddr, now: Instant) -> Guess {
        if let Some(wait) = self.limit.wait(address, now) {
            return Guess::TooMany(wait);
        }
        if self.access.token.is_some_and(|token| token.is(text)) {
            return Guess::Right;
        }
        self.limit.wrong(address, now);
        Guess::Wrong
    }

    /// Begins a session with this secret.
    pub(crate) fn begin(&mut self, secret: &str, now: Instant) {
        self.sessions.retain(|_, until| *until > now);
        if self.sessions.len() >= SESSIONS
            && let Some(oldest) = self.sessions.iter().min_by_key(|(_, until)| **until).map(|(hash, _)| *hash)
        {
            self.sessions.remove(&oldest);
        }
        self.sessions.insert(blake3::hash(secret.as_bytes()), now + SESSION);
    }

    /// Whether it is that of a session. It has as many bits as a token that nobody guesses, and is looked up by its hash.
    pub(crate) fn is_session(&self, secret: &str, now: Instant) -> bool {
        self.sessions.get(&blake3::hash(secret.as_bytes())).is_some_and(|until| *until > now)
    }

    pub(crate) fn end(&mut self, secret: &str) {
        self.sessions.remove(&blake3::hash(secret.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn access(token: &str) -> Access {
        Access { token: Some(Token::new(token).unwrap()), certificates: false, metrics: false }
    }

    #[test]
    fn nothing_is_open_to_a_network() {
        let open = Access { token: None, certificates: false, metrics: false };
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for listen in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(open.check(at(listen)), Ok(()));
        }
        for listen in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
            assert_eq!(open.check(at(listen)), Err(AccessError::Open { listen: at(listen) }));
            assert_eq!(access(TOKEN).check(at(listen)), Ok(()));
        }
        assert_eq!(Token::new("short").unwrap_err(), AccessError::ShortToken { length: 5 });
    }

    #[test]
    fn a_token_is_right_or_wrong_and_guessing_ends() {
        let mut gate = Gate::new(access(TOKEN));
        let (me, now) = ("192.0.2.1".parse().unwrap(), Instant::now());
        assert_eq!(gate.guess(TOKEN, me, now), Guess::Right);
        for _ in 0..5 {
            assert_eq!(gate.guess("0123456789abcdeX", me, now), Guess::Wrong);
        }
        // Nor does the right one tell anything now.
        assert_eq!(gate.guess(TOKEN, me, now), Guess::TooMany(Duration::from_secs(60)));
        assert_eq!(gate.guess(TOKEN, "192.0.2.2".parse().unwrap(), now), Guess::Right);
    }

    #[test]
    fn a_session_ends_by_itself_by_hand_and_with_its_token() {
        let mut gate = Gate::new(access(TOKEN));
        let now = Instant::now();
        gate.begin("a", now);
        gate.begin("b", now);
        assert!(gate.is_session("a", now) && !gate.is_session("c", now));
        assert!(!gate.is_session("a", now + SESSION));
        gate.end("a");
        assert!(!gate.is_session("a", now) && gate.is_session("b", now));
        gate.change(access(TOKEN));
        assert!(gate.is_session("b", now));
        gate.change(access("another-token-0123"));
        assert!(!gate.is_session("b", now));
        for number in 0..=SESSIONS {
            gate.begin(&number.to_string(), now + Duration::from_millis(number as u64));
        }
        assert!(gate.sessions.len() <= SESSIONS && !gate.is_session("0", now));
    }
}
