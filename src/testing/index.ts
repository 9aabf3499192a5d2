/**
 * For tests of applications: a broker, its network and its browsers in memory, without sockets and without real time.
 *
 * @since 0.1.0
 */

/** A network in memory, for tests of transports' users and of faults. */
export * as MemoryNetwork from "./MemoryNetwork.ts"
/** A broker with one vhost; `TestBroker.layerBackend` is the usual layer. */
export * as TestBroker from "./TestBroker.ts"
/** A browser. */
export * as TestBrowser from "./TestBrowser.ts"
