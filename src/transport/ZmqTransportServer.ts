/**
 * The broker's side of ZeroMQ, as a `ROUTER` for `DEALER` and `REQ` sockets.
 *
 * It speaks ZMTP itself, over the same server as `TcpTransportServer`: so every connection is seen, bounded in bytes, and
 * authorized by the identity in its handshake. If a new connection has the same identity, the older one is closed.
 * Older ZeroMQ than version 4.0 is refused, and CURVE if the broker has no key. A peer that speaks classic TCP is served, too.
 *
 * @since 0.1.0
 */

import * as BackendServer from "./internal/backendServer.ts"
import type { Listen } from "./TransportServer.ts"

/**
 * Binds it.
 *
 * @since 0.1.0
 */
export const listen: Listen = BackendServer.listen("backends over ZeroMQ")
