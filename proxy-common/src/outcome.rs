//! What became of a packet: one word each, the same in the kernel map, the command line, metrics and logs.

/// Whether a packet goes on to the network stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The packet goes on to the network stack.
    Pass,
    /// The packet ends here.
    Drop,
}

macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident = $index:literal, $word:literal, $verdict:ident;)*) => {
        /// Why a packet passed or was dropped. The discriminant is the index into [`Totals`](crate::Totals).
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Outcome { $($(#[$doc])* $name = $index,)* }

        impl Outcome {
            /// Every outcome, in index order.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$name,)*];
            /// Number of outcomes.
            pub const COUNT: usize = [$($index,)*].len();

            /// The word users see.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The outcome with this index, if there is one.
            #[inline(always)]
            pub const fn from_index(index: usize) -> Option<Self> {
                match index {
                    $($index => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// What an enforcing shield does with such a packet.
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$name => Verdict::$verdict,)* }
            }
        }
    };
}

outcomes! {
    /// From a source on the allowlist.
    Allowed = 0, "allowed", Pass;
    /// Nothing spoke against it.
    Passed = 1, "passed", Pass;
    /// Neither IPv4 nor IPv6 (ARP, LLDP, …): passed and counted.
    NonIp = 2, "non-ip", Pass;
    /// The source is on the blocklist.
    Blocked = 3, "blocked", Drop;
    /// Cut short, or with header lengths that contradict the frame.
    Malformed = 4, "malformed", Drop;
    /// An IP fragment while the policy drops them.
    Fragment = 5, "fragment", Drop;
    /// TCP flags that no stack sends.
    BadFlags = 6, "bad-flags", Drop;
    /// Own, martian or land source address.
    Spoofed = 7, "spoofed", Drop;
    /// UDP from a reflector's source port.
    Amplification = 8, "amplification", Drop;
    /// An ICMP type nobody needs.
    IcmpType = 9, "icmp-type", Drop;
    /// Over the source's packet rate.
    RatePackets = 10, "rate-packets", Drop;
    /// Over the source's byte rate.
    RateBytes = 11, "rate-bytes", Drop;
    /// Over the source's SYN rate.
    RateSyn = 12, "rate-syn", Drop;
    /// Over the source's UDP rate.
    RateUdp = 13, "rate-udp", Drop;
    /// Over the source's ICMP rate.
    RateIcmp = 14, "rate-icmp", Drop;
    /// Over the source prefix's rate.
    RatePrefix = 15, "rate-prefix", Drop;
    /// A SYN answered with a cookie in the kernel.
    SynCookie = 16, "syn-cookie", Drop;
    /// An ACK whose cookie does not verify.
    BadCookie = 17, "bad-cookie", Drop;
    /// A QUIC Initial that no client sends.
    QuicInvalid = 18, "quic-invalid", Drop;
    /// UDP to a port nobody listens on.
    PortClosed = 19, "port-closed", Drop;
    /// Neither IPv4 nor IPv6 nor ARP, while the policy drops it.
    Ethertype = 20, "ethertype", Drop;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_and_position_agree() {
        for (position, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, position);
        }
    }

    #[test]
    fn no_two_outcomes_share_a_word() {
        for (i, a) in Outcome::ALL.iter().enumerate() {
            assert!(
                Outcome::ALL[i + 1..]
                    .iter()
                    .all(|b| a.as_str() != b.as_str())
            );
        }
    }
}
