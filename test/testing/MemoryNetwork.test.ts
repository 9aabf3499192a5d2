import * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import { suite } from "../transport/TransportTest.ts"

for (const scheme of ["wr", "wr+tcp"] as const) {
  const network = MemoryNetwork.make()
  suite(`memory (${scheme})`, {
    scheme,
    listen: network.listen,
    make: network.transport,
    carriesLines: scheme === "wr",
    endsRequests: true,
    hasSockets: false
  })
}
