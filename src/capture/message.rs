//! The protobuf messages of a capture file.

/// One datagram or frame. Fields 1 to 6 are the Agent's `UnixDogstatsdMsg`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RecordMessage {
    #[prost(int64, tag = "1")]
    pub timestamp: i64,
    #[prost(int32, tag = "2")]
    pub payload_size: i32,
    #[prost(bytes = "vec", tag = "3")]
    pub payload: Vec<u8>,
    #[prost(int32, tag = "4")]
    pub pid: i32,
    #[prost(int32, tag = "5")]
    pub ancillary_size: i32,
    #[prost(bytes = "vec", tag = "6")]
    pub ancillary: Vec<u8>,
    /// `udp 127.0.0.1:8125`
    #[prost(bytes = "vec", tag = "100")]
    pub listener: Vec<u8>,
    /// Address of an internet peer.
    #[prost(bytes = "vec", tag = "101")]
    pub sender: Vec<u8>,
    /// Bytes that the server could not take.
    #[prost(uint64, tag = "102")]
    pub cut_bytes: u64,
    /// No datagram: a sign of life on a stream.
    #[prost(bool, tag = "103")]
    pub heartbeat: bool,
}

/// The closing message. The Agent's fields 1 and 2 (tags of containers, containers of processes) are
/// not read.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StateMessage {
    #[prost(message, optional, tag = "100")]
    pub summary: Option<Summary>,
}

/// What a capture took and what it missed.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Summary {
    /// Records written.
    #[prost(uint64, tag = "1")]
    pub records: u64,
    /// Bytes of their payloads.
    #[prost(uint64, tag = "2")]
    pub payload_bytes: u64,
    /// Datagrams that were received meanwhile and found no room on their way to the file.
    #[prost(uint64, tag = "3")]
    pub missed_records: u64,
    /// Bytes of their payloads.
    #[prost(uint64, tag = "4")]
    pub missed_bytes: u64,
}

/// The process behind a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

/// Size of the control message that carries credentials, as Linux lays it out on 64 bits.
const ANCILLARY_BYTES: usize = 32;
const SOL_SOCKET: i32 = 1;
const SCM_CREDENTIALS: i32 = 2;

impl Process {
    /// The control message that the Agent keeps: its length (28), level and type, then pid, uid and
    /// gid, filled up to 32 bytes.
    pub fn ancillary(self) -> [u8; ANCILLARY_BYTES] {
        let mut bytes = [0; ANCILLARY_BYTES];
        bytes[..8].copy_from_slice(&28_u64.to_le_bytes());
        bytes[8..12].copy_from_slice(&SOL_SOCKET.to_le_bytes());
        bytes[12..16].copy_from_slice(&SCM_CREDENTIALS.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.pid.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.uid.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.gid.to_le_bytes());
        bytes
    }

    /// Reads such a control message; none when the bytes are something else.
    pub fn of_ancillary(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let kind = (word(8)?.cast_signed(), word(12)?.cast_signed());
        (kind == (SOL_SOCKET, SCM_CREDENTIALS)).then_some(())?;
        Some(Process { pid: word(16)?.cast_signed(), uid: word(20)?, gid: word(24)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_survive_the_control_message() {
        let process = Process { pid: 1234, uid: 1000, gid: u32::MAX };
        assert_eq!(Process::of_ancillary(&process.ancillary()), Some(process));
        assert_eq!(Process::of_ancillary(&process.ancillary()[..27]), None);
        assert_eq!(Process::of_ancillary(&[0; 32]), None);
        assert_eq!(Process::of_ancillary(b""), None);
    }
}
