//! The system's limit of open files: every connection is one, and most shells allow 1024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside connections: segments being written, FFmpeg's pipes, listeners, stores.
const OTHERS: u64 = 1024;

/// Raises the limit as far as is needed for that many connections, and allowed. What is missing is told.
pub fn raise(connections: usize) -> Option<String> {
    let wanted = connections as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    // No number means no limit.
    let (current, most) = (limit.current?, limit.maximum.unwrap_or(u64::MAX));
    let reached = wanted.min(most).max(current);
    let raised = Rlimit { current: Some(reached), maximum: limit.maximum };
    let reached = if setrlimit(Resource::Nofile, raised).is_ok() { reached } else { current };
    (reached < wanted).then(|| {
        format!(
            "the system lets this process open {reached} files, which are about {} connections: raise it (ulimit -n, \
             LimitNOFILE=), or lower limits.max_connections",
            reached.saturating_sub(OTHERS)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be_and_what_is_missing_is_told() {
        let most = getrlimit(Resource::Nofile).maximum;
        let told = raise(usize::MAX >> 1);
        assert_eq!(getrlimit(Resource::Nofile).current, most);
        assert_eq!(told.is_some(), most.is_some(), "{told:?}");
        assert_eq!(raise(0), None);
    }
}
