//! Positional and named arguments of one step, read by type.

use serde_json::{Map, Value};
use whippet::threadstats::{Member, Number};

/// The arguments of a call, by name.
pub struct Arguments<'a>(Vec<(&'static str, &'a Value)>);

impl<'a> Arguments<'a> {
    /// Binds `args` and `kwargs` of a step to `names`.
    pub fn bind(names: &[&'static str], step: &'a Map<String, Value>) -> Result<Self, String> {
        let args: &[Value] = match step.get("args") {
            None => &[],
            Some(Value::Array(args)) => args,
            Some(other) => return Err(format!("args: {other} is not a list")),
        };
        if args.len() > names.len() {
            return Err(format!("args: {} given, at most {} are known", args.len(), names.len()));
        }
        let mut bound = Arguments(names.iter().copied().zip(args).collect());
        bound.name(names, step)?;
        Ok(bound)
    }

    /// Binds only `kwargs`.
    pub fn named(names: &[&'static str], step: &'a Map<String, Value>) -> Result<Self, String> {
        let mut bound = Arguments(Vec::new());
        bound.name(names, step)?;
        Ok(bound)
    }

    /// Binds an object by itself.
    pub fn of(names: &[&'static str], given: &'a Map<String, Value>) -> Result<Self, String> {
        let mut bound = Arguments(Vec::new());
        bound.take(names, given)?;
        Ok(bound)
    }

    fn name(&mut self, names: &[&'static str], step: &'a Map<String, Value>) -> Result<(), String> {
        match step.get("kwargs") {
            None => Ok(()),
            Some(Value::Object(given)) => self.take(names, given),
            Some(other) => Err(format!("kwargs: {other} is not an object")),
        }
    }

    fn take(
        &mut self,
        names: &[&'static str],
        given: &'a Map<String, Value>,
    ) -> Result<(), String> {
        for (key, value) in given {
            let Some(name) = names.iter().find(|name| *name == key) else {
                return Err(format!("{key}: unknown argument; known are {}", names.join(", ")));
            };
            if self.0.iter().any(|(bound, _)| bound == name) {
                return Err(format!("{key}: given twice"));
            }
            self.0.push((name, value));
        }
        Ok(())
    }

    /// The argument; null counts as absent.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        let found = self.0.iter().find(|(bound, _)| *bound == name);
        found.map(|(_, value)| *value).filter(|value| !value.is_null())
    }

    pub fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        self.get(name)
            .map(|value| value.as_str().ok_or_else(|| format!("{name}: {value} is not a text")))
            .transpose()
    }

    pub fn required_text(&self, name: &str) -> Result<&'a str, String> {
        self.text(name)?.ok_or_else(|| format!("{name}: missing"))
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        self.get(name)
            .map(|value| {
                value.as_bool().ok_or_else(|| format!("{name}: {value} is neither true nor false"))
            })
            .transpose()
    }

    pub fn number(&self, name: &str) -> Result<Option<Number>, String> {
        self.get(name)
            .map(|value| number(value).ok_or_else(|| format!("{name}: {value} is not a number")))
            .transpose()
    }

    pub fn required_number(&self, name: &str) -> Result<Number, String> {
        self.number(name)?.ok_or_else(|| format!("{name}: missing"))
    }

    pub fn texts(&self, name: &str) -> Result<Option<Vec<&'a str>>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let texts = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
        texts.map(Some).ok_or_else(|| format!("{name}: {value} is not a list of texts"))
    }

    pub fn member(&self, name: &str) -> Result<Member<'a>, String> {
        match self.get(name) {
            None => Err(format!("{name}: missing")),
            Some(Value::String(text)) => Ok(Member::Str(text)),
            Some(Value::Bool(flag)) => Ok(Member::Bool(*flag)),
            Some(value) => number(value)
                .map(Member::Number)
                .ok_or_else(|| format!("{name}: {value} is not a number, text or boolean")),
        }
    }
}

/// Integers stay integers; truth values are 1 and 0.
pub fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Bool(flag) => Some(Number::Int(i64::from(*flag))),
        Value::Number(number) => number
            .as_i64()
            .map(Number::Int)
            .or_else(|| number.as_u64().map(Number::from))
            .or_else(|| number.as_f64().map(Number::Float)),
        _ => None,
    }
}
