/** HTTP servers of tests. */
import { Effect } from "effect"
import type * as Http from "node:http"
import type { AddressInfo } from "node:net"

/** Has a server listen on a free port of loopback until the scope ends, and returns its URL. */
export const listening = (server: Http.Server) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    ),
    () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  )
