import * as TcpTransport from "../../src/transport/TcpTransport.ts"
import * as TcpTransportServer from "../../src/transport/TcpTransportServer.ts"
import { suite } from "./TransportTest.ts"

suite("TCP", {
  scheme: "wr+tcp",
  listen: TcpTransportServer.listen,
  make: TcpTransport.make,
  carriesLines: false,
  endsRequests: false,
  hasSockets: true
})
