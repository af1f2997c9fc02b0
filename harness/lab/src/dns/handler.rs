//! From questions on the wire to answers on the wire.

use std::sync::Arc;

use async_trait::async_trait;
use hickory_server::{
    net::runtime::Time,
    proto::{
        op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode},
        rr::{DNSClass, Record},
    },
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};

use super::zone::{Answer, Zone};

/// What fits into one packet everywhere, whatever the client says it would take.
const PAYLOAD: u16 = 1232;

/// The only version of EDNS.
const EDNS: u8 = 0;

/// Answers from a zone.
pub struct Handler {
    zone: Arc<Zone>,
}

/// The parts of a response.
#[derive(Default)]
struct Response {
    code: ResponseCode,
    authoritative: bool,
    records: Vec<Record>,
    authority: Option<Record>,
    additional: Vec<Record>,
}

impl Response {
    fn only(code: ResponseCode) -> Self {
        Self {
            code,
            ..Self::default()
        }
    }
}

impl Handler {
    pub fn new(zone: Arc<Zone>) -> Self {
        Self { zone }
    }

    fn respond(&self, request: &Request) -> Response {
        let header = &request.metadata;
        if header.message_type != MessageType::Query || header.op_code != OpCode::Query {
            return Response::only(ResponseCode::NotImp);
        }
        if request.edns.as_ref().is_some_and(|e| e.version() > EDNS) {
            return Response::only(ResponseCode::BADVERS);
        }
        let Ok(info) = request.request_info() else {
            return Response::only(ResponseCode::FormErr);
        };
        let question = info.query.original();
        if question.query_class() != DNSClass::IN {
            return Response::only(ResponseCode::Refused);
        }
        let name = question.name();
        let authoritative = self.zone.holds(name);
        // Nothing else is known: a lab has no way to anybody else's names.
        let authority = || authoritative.then(|| self.zone.authority());
        match self.zone.lookup(name, question.query_type()) {
            Answer::Records {
                records,
                additional,
            } => Response {
                authoritative,
                records,
                additional,
                ..Response::default()
            },
            Answer::NoRecord => Response {
                authoritative,
                authority: authority(),
                ..Response::default()
            },
            Answer::NoSuchName => Response {
                code: ResponseCode::NXDomain,
                authoritative,
                authority: authority(),
                ..Response::default()
            },
        }
    }
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut handle: R,
    ) -> ResponseInfo {
        let response = self.respond(request);
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = response.code;
        metadata.authoritative = response.authoritative;
        // Of the cluster's names nobody else could say more; for others it would have asked, had there been anybody.
        metadata.recursion_available = !response.authoritative;
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_version(EDNS);
            edns.set_max_payload(asked.max_payload().clamp(512, PAYLOAD));
            edns
        });
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let message = builder.build(
            metadata,
            &response.records,
            None,
            &response.authority,
            &response.additional,
        );
        match handle.send_response(message).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "answer of cluster DNS not sent");
                let mut failed = Metadata::response_from_request(&request.metadata);
                failed.response_code = ResponseCode::ServFail;
                Header {
                    metadata: failed,
                    counts: HeaderCounts::default(),
                }
                .into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Over sockets, as clients ask.

    use std::{net::SocketAddr, time::Duration};

    use hickory_server::{
        Server,
        proto::{
            op::{Message, Query},
            rr::{Name, RecordType},
        },
    };
    use rstest::rstest;
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream, UdpSocket},
    };

    use super::*;
    use crate::dns::cluster::fixture::{cluster, namespace, service, slice};

    /// A Service with more endpoints than fit into a small packet.
    fn zone() -> Zone {
        let endpoints: Vec<_> = (1..=60)
            .map(|n| json!({"addresses": [format!("10.244.1.{n}")]}))
            .collect();
        Zone::new(cluster(vec![
            namespace("blue"),
            service("all", json!({"clusterIP": "None", "clusterIPs": ["None"]})),
            slice("all", json!([]), endpoints.into()),
        ]))
    }

    async fn serve() -> (Server<Handler>, SocketAddr) {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let mut server = Server::new(Handler::new(Arc::new(zone())));
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 8);
        (server, address)
    }

    fn question(name: &str, payload: Option<u16>) -> Message {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        message.edns = payload.map(|payload| {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            edns
        });
        message
    }

    async fn over_udp(message: &Message) -> Message {
        let (_server, address) = serve().await;
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket
            .send_to(&message.to_vec().unwrap(), address)
            .await
            .unwrap();
        let mut answer = [0; 4096];
        let length = socket.recv(&mut answer).await.unwrap();
        Message::from_vec(&answer[..length]).unwrap()
    }

    #[rstest]
    #[case::without_edns(None, 512)]
    #[case::with_little_room(Some(512), 512)]
    #[tokio::test]
    async fn what_does_not_fit_is_said_to_be_cut(#[case] room: Option<u16>, #[case] most: usize) {
        let answer = over_udp(&question("all.blue.svc.cluster.local.", room)).await;
        assert!(answer.metadata.truncation);
        assert!(answer.to_vec().unwrap().len() <= most);
    }

    #[tokio::test]
    async fn a_larger_packet_holds_all_when_the_client_takes_it() {
        let answer = over_udp(&question("all.blue.svc.cluster.local.", Some(4096))).await;
        assert!(!answer.metadata.truncation);
        assert_eq!(answer.answers.len(), 60);
    }

    #[tokio::test]
    async fn a_connection_holds_all_and_takes_a_second_question() {
        let (_server, address) = serve().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            let bytes = question("all.blue.svc.cluster.local.", None)
                .to_vec()
                .unwrap();
            let length = u16::try_from(bytes.len()).unwrap();
            stream.write_u16(length).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut answer).await.unwrap();
            let answer = Message::from_vec(&answer).unwrap();
            assert_eq!(answer.answers.len(), 60);
        }
    }

    #[tokio::test]
    async fn a_no_says_for_how_long_and_by_whom() {
        let answer = over_udp(&question("no.blue.svc.cluster.local.", None)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        assert!(answer.metadata.authoritative);
        assert_eq!(answer.authorities.len(), 1);
        assert_eq!(answer.authorities[0].record_type(), RecordType::SOA);

        let answer = over_udp(&question("blue.svc.cluster.local.", None)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert_eq!(answer.authorities.len(), 1);

        let answer = over_udp(&question("example.com.", None)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        assert!(!answer.metadata.authoritative);
        assert!(answer.authorities.is_empty());
    }

    #[tokio::test]
    async fn other_requests_are_refused() {
        let mut update = question("blue.svc.cluster.local.", None);
        update.metadata.op_code = OpCode::Status;
        let answer = over_udp(&update).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NotImp);

        let mut chaos = question("version.bind.", None);
        chaos.queries[0].set_query_class(DNSClass::CH);
        let answer = over_udp(&chaos).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    }
}
