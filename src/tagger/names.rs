//! What names say: the deployment of a replica set, the cron job of a job, the parts of an image.

/// Characters of the random suffixes that Kubernetes makes: no vowels, no digits that look like some.
const RANDOM: &str = "bcdfghjklmnpqrstvwxz2456789";
/// A replica set's suffix is a 32-bit hash.
const HASH_CHARS_MAX: usize = 10;
/// A job's suffix is a time in minutes (8 digits) or, before Kubernetes 1.21, in seconds (10).
const TIME_DIGITS_MIN: usize = 3;

/// `web-6d4cf56db6` belongs to the deployment `web`.
pub(super) fn deployment_of_replica_set(name: &str) -> Option<&str> {
    let (deployment, hash) = name.rsplit_once('-')?;
    let random = !hash.is_empty() && hash.chars().all(|char| RANDOM.contains(char));
    // Before Kubernetes 1.8 the hash was a plain number.
    let number = !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_digit());
    let fits = (random || number) && hash.len() <= HASH_CHARS_MAX;
    Some(deployment).filter(|deployment| fits && !deployment.is_empty())
}

/// `backup-28391040` belongs to the cron job `backup`.
pub(super) fn cron_job_of_job(name: &str) -> Option<&str> {
    let (cron_job, time) = name.rsplit_once('-')?;
    let fits = time.len() >= TIME_DIGITS_MIN && time.bytes().all(|byte| byte.is_ascii_digit());
    Some(cron_job).filter(|cron_job| fits && !cron_job.is_empty())
}

/// The parts of `registry:5000/team/web:1.2@sha256:…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Image<'a> {
    /// `registry:5000/team/web`
    pub name: &'a str,
    /// `web`
    pub short: &'a str,
    /// `1.2`; `latest` when neither tag nor digest is given, as the runtime takes it.
    /// Differs: the Agent says `latest` of an image that is pinned by its digest alone, too.
    pub tag: &'a str,
}

/// Reads an image's name; `None` for a bare digest, which names nothing.
pub(super) fn image(text: &str) -> Option<Image<'_>> {
    if text.is_empty() || text.starts_with("sha256:") {
        return None;
    }
    let (tagged, digest) = text.split_once('@').map_or((text, ""), |(name, digest)| (name, digest));
    let folder = tagged.rfind('/').map_or(0, |at| at + 1);
    // A colon before the last slash belongs to the port of the registry.
    let colon = tagged[folder..].find(':').map(|at| folder + at);
    let name = colon.map_or(tagged, |at| &tagged[..at]);
    let tag = match colon {
        Some(at) => &tagged[at + 1..],
        None if digest.is_empty() => "latest",
        None => "",
    };
    Some(Image { name, short: &name[folder..], tag })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_set_of_a_deployment_ends_in_a_hash() {
        for (name, expect) in [
            ("web-6d4cf56db6", Some("web")),
            ("front-end-768dd754b7", Some("front-end")),
            ("old-2891696001", Some("old")),
            ("web-6d4cf56dbabc", None),
            ("web-stable", None),
            ("web-28916960012", None),
            ("web-", None),
            ("-6d4cf56db6", None),
            ("web", None),
        ] {
            assert_eq!(deployment_of_replica_set(name), expect, "{name}");
        }
    }

    #[test]
    fn a_job_of_a_cron_job_ends_in_a_time() {
        for (name, expect) in [
            ("backup-28391040", Some("backup")),
            ("night-run-1562319360", Some("night-run")),
            ("backup-12", None),
            ("backup-2839104x", None),
            ("backup", None),
            ("-28391040", None),
        ] {
            assert_eq!(cron_job_of_job(name), expect, "{name}");
        }
    }

    #[test]
    fn an_image_has_a_name_a_short_name_and_a_tag() {
        let row = |name, short, tag| Some(Image { name, short, tag });
        for (text, expect) in [
            ("redis:7.2", row("redis", "redis", "7.2")),
            ("redis", row("redis", "redis", "latest")),
            ("ghcr.io/team/web:1.2", row("ghcr.io/team/web", "web", "1.2")),
            ("host:5000/team/web", row("host:5000/team/web", "web", "latest")),
            ("host:5000/web:2@sha256:ab", row("host:5000/web", "web", "2")),
            ("web@sha256:ab", row("web", "web", "")),
            ("sha256:abcdef", None),
            ("", None),
        ] {
            assert_eq!(image(text), expect, "{text}");
        }
    }
}
