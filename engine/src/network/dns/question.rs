//! A container's question, checked, and the answers that are made here (RFC 1035, 4; RFC 6891).

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use hull_guest::protocol::DnsTransport;

/// What a datagram may bring that says nothing of it (RFC 1035, 4.2.1).
const PLAIN_DATAGRAM: u16 = 512;
/// The longest answer by UDP, whatever a question allows.
pub const MAX_DATAGRAM: u16 = 4096;
/// The longest message by TCP, whose length is a u16.
const MAX_MESSAGE: u16 = u16::MAX;
/// Bytes before a message's first section.
const HEADER: usize = 12;
/// OPT, and room for a signature or a cookie's worth of what else stubs add.
const MAX_ADDITIONAL: u16 = 4;
/// Answers of one's own are true at the moment they are given and not after: containers come and go. A
/// cache between hull and an application must not keep what `network disconnect` has ended.
const TTL: u32 = 0;

/// One name and type, asked for over one transport.
#[derive(Debug, Clone)]
pub struct Question {
    id: u16,
    query: Query,
    recursion_desired: bool,
    checking_disabled: bool,
    authentic_data: bool,
    /// The question has an OPT record, and whether that asks for signatures.
    edns: Option<bool>,
    /// What the asker takes.
    most: u16,
    pub transport: DnsTransport,
}

/// What is not answered from names. None: with nothing at all.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(pub Option<Vec<u8>>);

impl Question {
    pub fn parse(bytes: &[u8], transport: DnsTransport) -> Result<Self, Refused> {
        let mut decoder = BinDecoder::new(bytes);
        let header = Header::read(&mut decoder).map_err(|_| Refused(None))?;
        // Two servers that answer answers never stop.
        if header.metadata.message_type == MessageType::Response {
            return Err(Refused(None));
        }
        let refused = |code| Refused(bare(&header, code));
        if header.metadata.op_code != OpCode::Query {
            return Err(refused(ResponseCode::NotImp));
        }
        let counts = header.counts;
        if (counts.queries, counts.answers, counts.authorities) != (1, 0, 0)
            || counts.additionals > MAX_ADDITIONAL
        {
            return Err(refused(ResponseCode::FormErr));
        }
        let message = Message::from_vec(bytes).map_err(|_| refused(ResponseCode::FormErr))?;
        Self::of(message, transport)
    }

    fn of(mut message: Message, transport: DnsTransport) -> Result<Self, Refused> {
        let query = message.queries.pop().ok_or(Refused(None))?;
        let meta = message.metadata;
        let most = match (transport, &message.edns) {
            (DnsTransport::Tcp, _) => MAX_MESSAGE,
            (DnsTransport::Udp, None) => PLAIN_DATAGRAM,
            (DnsTransport::Udp, Some(edns)) => edns.max_payload().clamp(PLAIN_DATAGRAM, MAX_DATAGRAM),
        };
        let question = Self {
            id: meta.id,
            recursion_desired: meta.recursion_desired,
            checking_disabled: meta.checking_disabled,
            authentic_data: meta.authentic_data,
            edns: message.edns.as_ref().map(|edns| edns.flags().dnssec_ok),
            query,
            most,
            transport,
        };
        if message.edns.is_some_and(|edns| edns.version() > 0) {
            return Err(Refused(Some(question.failure(ResponseCode::BADVERS))));
        }
        let code = match (question.query.query_class(), question.kind()) {
            (_, RecordType::OPT) => ResponseCode::FormErr,
            // Zones are not for containers to copy, theirs or the host's servers'.
            (DNSClass::IN, RecordType::AXFR | RecordType::IXFR) => ResponseCode::Refused,
            (DNSClass::IN, _) => return Ok(question),
            _ => ResponseCode::Refused,
        };
        Err(Refused(Some(question.failure(code))))
    }

    pub fn name(&self) -> &Name {
        self.query.name()
    }

    pub fn kind(&self) -> RecordType {
        self.query.query_type()
    }

    /// The same question as hull asks it: nothing of the container's message but name, type and flags
    /// leaves, under a number that it cannot guess.
    pub fn to_ask(&self) -> Option<Asked> {
        let mut message = Message::query();
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.authentic_data = self.authentic_data;
        message.add_query(self.query.clone());
        if let Some(dnssec_ok) = self.edns {
            message.set_edns(edns(dnssec_ok));
        }
        let bytes = message.to_vec().ok()?;
        Some(Asked { id: message.metadata.id, bytes })
    }

    /// What was asked here a server answered: its message with the asker's number, cut to what the asker
    /// takes. It stays as it came otherwise, since records of types unknown here are to pass, too.
    pub fn pass_on(&self, mut answer: Vec<u8>) -> Vec<u8> {
        if answer.len() > usize::from(self.most) {
            return self.cut();
        }
        if let Some(id) = answer.first_chunk_mut() {
            *id = self.id.to_be_bytes();
        }
        answer
    }

    /// These records, or none: the name is there and has none of this type.
    pub fn answer(&self, data: impl Iterator<Item = RData>) -> Vec<u8> {
        let mut message = self.response(ResponseCode::NoError);
        message.add_answers(data.map(|data| Record::from_rdata(self.name().clone(), TTL, data)));
        match message.to_vec() {
            Ok(bytes) if bytes.len() <= usize::from(self.most) => bytes,
            _ => self.cut(),
        }
    }

    pub fn failure(&self, code: ResponseCode) -> Vec<u8> {
        self.response(code).to_vec().unwrap_or_default()
    }

    fn cut(&self) -> Vec<u8> {
        let mut message = self.response(ResponseCode::NoError);
        message.metadata.truncation = true;
        message.to_vec().unwrap_or_default()
    }

    fn response(&self, code: ResponseCode) -> Message {
        let mut message = Message::new(self.id, MessageType::Response, OpCode::Query);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.recursion_available = true;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.response_code = code;
        message.add_query(self.query.clone());
        if let Some(dnssec_ok) = self.edns {
            let mut edns = edns(dnssec_ok);
            edns.set_rcode_high(code.high());
            message.set_edns(edns);
        }
        message
    }
}

fn edns(dnssec_ok: bool) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_DATAGRAM).set_version(0).set_dnssec_ok(dnssec_ok);
    edns
}

/// An answer without the question, which could not be read.
fn bare(header: &Header, code: ResponseCode) -> Option<Vec<u8>> {
    let meta = header.metadata;
    let mut message = Message::new(meta.id, MessageType::Response, meta.op_code);
    message.metadata.recursion_desired = meta.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.to_vec().ok()
}

/// A question on its way to a server.
#[derive(Debug)]
pub struct Asked {
    id: u16,
    pub bytes: Vec<u8>,
}

/// What a server's message says to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Answer,
    /// All of it is to be had by TCP.
    Truncated,
    /// It cannot or will not say.
    Failed,
}

impl Asked {
    /// None: no answer to this question, and to be ignored.
    pub fn judge(&self, question: &Question, answer: &[u8]) -> Option<Said> {
        let mut decoder = BinDecoder::new(answer);
        let header = Header::read(&mut decoder).ok()?;
        let meta = header.metadata;
        let is_answer = meta.message_type == MessageType::Response && meta.op_code == OpCode::Query;
        if !is_answer || meta.id != self.id {
            return None;
        }
        let failed = !matches!(meta.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
        if failed && header.counts.queries == 0 && answer.len() == HEADER {
            // What some send that could not read the question. The number is all there is to know it by.
            return Some(Said::Failed);
        }
        let asked = Query::read(&mut decoder).ok()?;
        let is_ours = header.counts.queries == 1
            && asked.name() == question.name()
            && asked.query_type() == question.kind()
            && asked.query_class() == DNSClass::IN;
        is_ours.then_some(match (failed, meta.truncation) {
            (true, _) => Said::Failed,
            (false, true) => Said::Truncated,
            (false, false) => Said::Answer,
        })
    }
}
