/**
 * The broker's side of classic TCP, as the original's clients speak it.
 *
 * Clients of the original have a connection for each request, which is closed after its response; our own keep theirs. A
 * connection has five seconds for its first message. A peer that speaks ZeroMQ is served, too.
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
export const listen: Listen = BackendServer.listen("backends over TCP")
