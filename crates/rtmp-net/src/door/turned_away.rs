//! Why connections are closed before their handshake is done.

/// Why a connection is closed before its handshake is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// Too many of its address are in the handshake.
    TooMany,
    /// Its place was needed for others.
    CrowdedOut,
    /// A trusted proxy does not say for whom it comes.
    NotIntroduced,
    /// As many are served as may be.
    Full,
    /// It speaks no language of the port.
    Foreign,
    /// It has not said a byte in time.
    Silent,
    /// TLS could not be set up, or not in time.
    Tls,
    /// It has not asked for anything in time.
    Unasked,
}

impl TurnedAway {
    /// Each of them, in the order of their numbers.
    pub(super) const ALL: [Self; 8] = [
        Self::TooMany,
        Self::CrowdedOut,
        Self::NotIntroduced,
        Self::Full,
        Self::Foreign,
        Self::Silent,
        Self::Tls,
        Self::Unasked,
    ];

    /// One word, for counting.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooMany => "too_many",
            Self::CrowdedOut => "crowded_out",
            Self::NotIntroduced => "not_introduced",
            Self::Full => "full",
            Self::Foreign => "foreign",
            Self::Silent => "silent",
            Self::Tls => "tls",
            Self::Unasked => "unasked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_there_in_the_order_of_their_numbers() {
        for (number, why) in TurnedAway::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, number, "{why:?}");
        }
    }
}
