//! Questions whose hooks return a decision, such as "shall this metric be accepted?".

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A question and the type of its answer.
pub trait Question: 'static {
    /// What a hook returns.
    type Answer: 'static;
}

type Ask<Q> = Arc<dyn Fn(&Q) -> <Q as Question>::Answer + Send + Sync>;

#[derive(Clone, Default)]
pub(super) struct Hooks(HashMap<TypeId, Vec<Hook>>);

#[derive(Clone)]
struct Hook {
    id: u64,
    name: &'static str,
    /// An [`Ask`] of the question under whose type it stands.
    ask: Arc<dyn Any + Send + Sync>,
}

impl Hooks {
    /// Adds a hook or replaces its namesake in place; returns what removes it again.
    pub(super) fn add<Q: Question>(&mut self, name: &'static str, ask: Ask<Q>) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let list = self.0.entry(TypeId::of::<Q>()).or_default();
        let hook = Hook { id, name, ask: Arc::new(ask) };
        match list.iter().position(|other| other.name == name) {
            Some(place) => list[place] = hook,
            None => list.push(hook),
        }
        id
    }

    pub(super) fn remove(&mut self, id: u64) {
        for list in self.0.values_mut() {
            list.retain(|hook| hook.id != id);
        }
        self.0.retain(|_, list| !list.is_empty());
    }

    pub(super) fn ask<Q: Question>(&self, question: &Q, propagate: bool) -> Results<Q::Answer> {
        let hooks = self.0.get(&TypeId::of::<Q>()).map(Vec::as_slice).unwrap_or_default();
        let answers = hooks.iter().filter_map(|hook| {
            let ask = hook.ask.downcast_ref::<Ask<Q>>()?;
            let answer = if propagate {
                Ok(ask(question))
            } else {
                catch_unwind(AssertUnwindSafe(|| ask(question))).map_err(|_| HookError)
            };
            Some((hook.name, answer))
        });
        Results(answers.collect())
    }
}

/// A hook panicked instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hook panicked")]
pub struct HookError;

/// The answers of all hooks, by name.
#[derive(Debug)]
pub struct Results<T>(Vec<(&'static str, Result<T, HookError>)>);

/// What became of one hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a, T> {
    /// It answered.
    Ok(&'a T),
    /// It panicked.
    Err(HookError),
    /// There is none of that name.
    Missing,
}

impl<T> Results<T> {
    /// The outcome of the hook named `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Outcome<'_, T> {
        match self.0.iter().find(|(other, _)| *other == name) {
            Some((_, Ok(answer))) => Outcome::Ok(answer),
            Some((_, Err(error))) => Outcome::Err(*error),
            None => Outcome::Missing,
        }
    }

    /// Every outcome in the order the hooks came.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Result<T, HookError>)> {
        self.0.iter().map(|(name, answer)| (*name, answer))
    }
}

impl<T> Outcome<'_, T> {
    /// True only for an answer.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self, Outcome::Ok(_))
    }
}
