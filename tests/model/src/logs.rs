//! Rule K3: data keys of log archives, which no entry names. Two archivers push the same file, and two prunes retire keys and
//! delete their wraps, in every order.
//!
//! It is a model by itself: what counts of a log archive hangs on no entry, and snapshots hang on no log archive. A file has
//! few attempts and each archiver few keys; whoever has none left stands still. What the journal says is which keys are
//! retired; that entries are decided one after the other changes nothing here, because a prune that has looked at old
//! listings is just what this is about.

use stateright::{Checker, HasDiscoveries, Model, Property};

const ARCHIVERS: usize = 2;
const PRUNES: usize = 2;
const ATTEMPTS: usize = 3;
/// Of each archiver.
const KEYS: u8 = 2;

const READABLE: &str = "every file that is said to be stored can be read";

/// The parts of rule K3, each a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// No key is retired under which a listing has shown an object.
    KeysInUseStay,
    /// Whoever has stored an object reads the journal on, and stores it anew if its key is retired.
    WritersReadOn,
    /// Before wraps are deleted, objects are listed once more.
    ListedOnceMore,
}

/// A set of keys.
type Keys = u8;

/// Somebody who pushes the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Archiver {
    /// Will try that attempt, under the key of that number of his own.
    Tries { attempt: u8, key: u8 },
    /// That attempt is stored, by him or another.
    Stored { attempt: u8, key: u8 },
    /// Has said that the file is stored.
    Done,
}

/// Somebody who prunes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Prune {
    Begins,
    /// Has listed: these keys have wraps, and these objects.
    Listed {
        wraps: Keys,
        used: Keys,
    },
    /// Has said what is retired.
    Retired,
    /// Has listed objects, since these keys were known to be retired.
    ListedAgain {
        retired: Keys,
        used: Keys,
    },
}

/// All that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// Keys whose wraps are in the store.
    wraps: Keys,
    /// Keys that entries have retired.
    retired: Keys,
    /// The key that each attempt is sealed under.
    objects: [Option<u8>; ATTEMPTS],
    archivers: [Archiver; ARCHIVERS],
    prunes: [Prune; PRUNES],
}

impl State {
    fn used(&self) -> Keys {
        self.objects.iter().flatten().fold(0, |keys, key| keys | 1 << key)
    }

    fn is_readable(&self) -> bool {
        self.objects.iter().flatten().any(|key| self.wraps & 1 << key != 0)
    }
}

/// Somebody's next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An archiver's.
    Archives(usize),
    /// A prune's.
    Prunes(usize),
}

/// The model, without one part of the rule or with all of it.
#[derive(Debug, Clone, Copy)]
pub struct Logs {
    /// What is left out.
    pub without: Option<Part>,
}

impl Logs {
    fn keep(self, part: Part) -> bool {
        self.without != Some(part)
    }

    /// Plays it: how many states there are, and how it breaks if it does.
    #[must_use]
    pub fn check(self) -> (usize, Option<Vec<String>>) {
        let checker = self.checker().finish_when(HasDiscoveries::Any).spawn_bfs().join();
        let broken = checker
            .discovery(READABLE)
            .map(|path| path.into_vec().into_iter().map(|(state, step)| told(&state, step)).collect());
        (checker.unique_state_count(), broken)
    }

    fn archive(self, state: &mut State, who: usize) -> bool {
        let own = |number: u8| u8::try_from(who).unwrap_or_default() * KEYS + number;
        let next = match state.archivers[who] {
            Archiver::Done => return false,
            Archiver::Tries { attempt, key } => {
                if usize::from(attempt) == ATTEMPTS || key == KEYS {
                    return false;
                }
                let object = &mut state.objects[usize::from(attempt)];
                if object.is_none() {
                    // A key is made, and its wraps stored, before anything is sealed under it: a step of its own.
                    if (state.wraps | state.retired) & 1 << own(key) == 0 {
                        state.wraps |= 1 << own(key);
                        return true;
                    }
                    *object = Some(own(key));
                }
                Archiver::Stored { attempt, key }
            }
            Archiver::Stored { attempt, key } => {
                let sealed = state.objects[usize::from(attempt)].unwrap_or_default();
                let is_retired = state.retired & 1 << sealed != 0;
                if is_retired && self.keep(Part::WritersReadOn) {
                    let key = if state.retired & 1 << own(key) == 0 { key } else { key + 1 };
                    Archiver::Tries { attempt: attempt + 1, key }
                } else {
                    Archiver::Done
                }
            }
        };
        state.archivers[who] = next;
        true
    }

    fn prune(self, state: &mut State, who: usize) {
        state.prunes[who] = match state.prunes[who] {
            Prune::Begins => Prune::Listed { wraps: state.wraps, used: state.used() },
            Prune::Listed { wraps, used } => {
                state.retired |= if self.keep(Part::KeysInUseStay) { wraps & !used } else { wraps };
                if self.keep(Part::ListedOnceMore) {
                    Prune::Retired
                } else {
                    Prune::ListedAgain { retired: state.retired, used }
                }
            }
            Prune::Retired => Prune::ListedAgain { retired: state.retired, used: state.used() },
            Prune::ListedAgain { retired, used } => {
                state.wraps &= !(retired & !used);
                Prune::Begins
            }
        };
    }
}

impl Model for Logs {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            wraps: 0,
            retired: 0,
            objects: [None; ATTEMPTS],
            archivers: [Archiver::Tries { attempt: 0, key: 0 }; ARCHIVERS],
            prunes: [Prune::Begins; PRUNES],
        }]
    }

    fn actions(&self, _: &State, steps: &mut Vec<Step>) {
        steps.extend((0..ARCHIVERS).map(Step::Archives));
        steps.extend((0..PRUNES).map(Step::Prunes));
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = *state;
        match step {
            Step::Archives(who) => {
                if !self.archive(&mut next, who) {
                    return None;
                }
            }
            Step::Prunes(who) => self.prune(&mut next, who),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(READABLE, |_: &Self, state: &State| {
            !state.archivers.contains(&Archiver::Done) || state.is_readable()
        })]
    }
}

fn told(state: &State, step: Option<Step>) -> String {
    match step {
        None => String::from("lost"),
        Some(Step::Archives(who)) => match state.archivers[who] {
            Archiver::Tries { attempt, key } => {
                format!("archiver {who} makes key {key} or stores attempt {attempt}")
            }
            Archiver::Stored { .. } => format!("archiver {who} reads on"),
            Archiver::Done => format!("archiver {who} is done"),
        },
        Some(Step::Prunes(who)) => {
            let does = match state.prunes[who] {
                Prune::Begins => "lists",
                Prune::Listed { .. } => "retires",
                Prune::Retired => "lists again",
                Prune::ListedAgain { .. } => "deletes wraps",
            };
            format!("prune {who} {does}")
        }
    }
}
