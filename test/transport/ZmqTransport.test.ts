import * as ZmqTransport from "../../src/transport/ZmqTransport.ts"
import * as ZmqTransportServer from "../../src/transport/ZmqTransportServer.ts"
import { suite } from "./TransportTest.ts"

suite("ZeroMQ", { scheme: "wr", listen: ZmqTransportServer.listen, make: ZmqTransport.make, carriesLines: true })
