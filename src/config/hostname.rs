//! The rule for host names.

const NAME_BYTES_MAX: usize = 255;

/// Checks a host name as the Agent does: RFC 1123 labels, not a name of the loopback.
///
/// # Errors
/// What is wrong, to stand after the name.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    const LOCAL: [&str; 4] =
        ["localhost", "localhost.localdomain", "localhost6.localdomain6", "ip6-localhost"];
    let good_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.is_empty() {
        Err("is empty")
    } else if name.len() > NAME_BYTES_MAX {
        Err("is longer than 255 characters")
    } else if LOCAL.iter().any(|local| local.eq_ignore_ascii_case(name)) {
        Err("is a loopback name")
    } else if !name.split('.').all(good_label) {
        Err("is not a valid host name")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_labels() {
        let long = "a.".repeat(127) + "ab";
        for good in ["a", "A-1", "1", "a.b.c", &long[1..], &"x".repeat(255)] {
            assert_eq!(check_name(good.trim_start_matches('.')), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "a..b", "a.", "a b", "a_b", "ä", "LOCALHOST", "ip6-localhost"]
        {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert_eq!(check_name(&"x".repeat(256)), Err("is longer than 255 characters"));
    }
}
