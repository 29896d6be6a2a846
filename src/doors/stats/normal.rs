//! Names and resources in the alphabet of metrics and tags.

/// Characters of a resource at most, as the Agent keeps of a tag's value.
const RESOURCE_CHARS_MAX: usize = 200;

/// Appends the name of a span as part of a metric's name: ASCII letters, digits, `_` and `.` stay,
/// every other character becomes `_`.
pub(super) fn push_name(name: &[u8], into: &mut Vec<u8>) {
    for chunk in name.utf8_chunks() {
        into.extend(chunk.valid().chars().map(|char| match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' => char as u8,
            _ => b'_',
        }));
        if !chunk.invalid().is_empty() {
            into.push(b'_');
        }
    }
}

/// Writes a resource over `into` as the Agent normalises values of tags: lower case; letters, digits and
/// `_:./-` stay, every run of others, and of `_`, is one `_`, and none stands at the end.
pub(super) fn write_resource(resource: &[u8], into: &mut Vec<u8>) {
    into.clear();
    let mut chars = 0;
    'whole: for chunk in resource.utf8_chunks() {
        let invalid = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        for char in chunk.valid().chars().chain(invalid) {
            let char = match char {
                'a'..='z' | '0'..='9' | ':' | '.' | '/' | '-' => char,
                'A'..='Z' => char.to_ascii_lowercase(),
                _ if !char.is_ascii() && char.is_alphanumeric() => {
                    // One character stays one.
                    char.to_lowercase().next().unwrap_or(char)
                }
                _ if into.last() == Some(&b'_') => continue,
                _ => '_',
            };
            if chars == RESOURCE_CHARS_MAX {
                break 'whole;
            }
            chars += 1;
            into.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    if into.last() == Some(&b'_') {
        into.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn name(sent: &[u8], expect: &str) {
        let mut got = Vec::new();
        push_name(sent, &mut got);
        assert_eq!(String::from_utf8_lossy(&got), expect);
    }

    #[track_caller]
    fn resource(sent: &[u8], expect: &str) {
        let mut got = b"before".to_vec();
        write_resource(sent, &mut got);
        assert_eq!(String::from_utf8_lossy(&got), expect);
    }

    #[test]
    fn a_name_keeps_letters_digits_underscores_and_dots() {
        name(b"web.request", "web.request");
        name(b"HTTP-Client 2/x", "HTTP_Client_2_x");
        name(b"a__b..c", "a__b..c");
        name("größe".as_bytes(), "gr__e");
        name(b"a\xffb", "a_b");
    }

    #[test]
    fn a_resource_is_normalised_as_the_value_of_a_tag() {
        resource(b"GET /a", "get_/a");
        resource(b"GET /users/?id", "get_/users/_id");
        resource(b"a  __ ,b", "a_b");
        resource(b"__a", "_a");
        resource(b"trailing,;  ", "trailing");
        resource(b"_", "");
        resource(b"k:v.w-x/y_z9", "k:v.w-x/y_z9");
        resource("STRASSE Über ß".as_bytes(), "strasse_über_ß");
        resource(b"a\xff\xfeb", "a_b");
        resource(b"", "");
    }

    #[test]
    fn a_resource_has_200_characters_at_most() {
        resource(&[b'A'; 250], &"a".repeat(200));
        resource("é".repeat(250).as_bytes(), &"é".repeat(200));
        // The cut leaves no underscore at the end.
        let cut = [&[b'a'; 199][..], b" b"].concat();
        resource(&cut, &"a".repeat(199));
        let exact = [&[b'a'; 200][..], b"  "].concat();
        resource(&exact, &"a".repeat(200));
    }
}
