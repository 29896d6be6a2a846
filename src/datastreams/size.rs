//! How large a message counts: as the integrations of the Python client add it up. Text has its length in UTF-8,
//! bytes theirs, a map its keys and values; numbers and lists count nothing.

use serde_json::Value;

/// Bytes of a JSON value.
pub(super) fn of_json(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Object(map) => {
            map.iter().map(|(key, value)| key.len() as u64 + of_json(value)).sum()
        }
        _ => 0,
    }
}

/// Bytes of several texts.
pub(super) fn of_all(parts: &[&[u8]]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_texts_count_and_numbers_do_not() {
        let value = serde_json::json!({"ab": "ä", "c": {"d": "ef", "n": 7}, "l": ["x"]});
        assert_eq!(of_json(&value), (2 + 2) + 1 + (1 + 2) + 1 + 1);
        assert_eq!(of_all(&[b"ab", b"", b"c"]), 3);
    }
}
