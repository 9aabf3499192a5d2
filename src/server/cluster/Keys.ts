/**
 * The names of what a cluster has in Redis. All begin with `kosmonaut:`; those of a vhost have its path and the number
 * of its creation in braces, so that they could stay together if vhosts were ever kept apart.
 */

/** The version of what is in Redis under these names. Nodes that write another one do not share it. */
export const layoutVersion = 5

/** What begins the names of all of them. */
export const prefix = "kosmonaut:"

/** A string: the version of the layout. */
export const layout = `${prefix}layout`

/** A sorted set: the living nodes, by when their leases end, in milliseconds of Redis' time. */
export const leases = `${prefix}leases`

/** A hash: what each living node says of itself, as JSON. */
export const nodes = `${prefix}nodes`

/** A string: until when no lease is ended, since Redis was away for all nodes, in milliseconds of Redis' time. */
export const calm = `${prefix}calm`

/** A string: when a node has last renewed its lease, in milliseconds of Redis' time. */
export const renewed = `${prefix}renewed`

/**
 * A hash: the vhosts by their paths, each with the numbers of its last change and of its creation and its settings as JSON; and as
 * `version` the number of the last change of all.
 */
export const vhosts = `${prefix}vhosts`

/** A set: the vhosts that have a log. */
export const logs = `${prefix}logs`

/** A stream of one entry, by which a node sees that what it writes can be read. */
export const probe = (node: string): string => `${prefix}probe:${node}`

/** The name of something of a vhost. */
export const ofVhost = (vhost: string, name: string): string => `${prefix}{${vhost}}:${name}`

/** A hash: the number of the last batch that each node has appended to the logs. */
export const batches = `${prefix}batches`

/** The stream of a vhost's log. */
export const log = (vhost: string): string => ofVhost(vhost, "log")

/** A hash: the epoch of a vhost's log, the offset and the time of its last entry, and its last snapshot. */
export const head = (vhost: string): string => ofVhost(vhost, "head")

/** A set: nodes whose leases have ended and whose claims are not returned to the vhost's queue yet. */
export const ended = (vhost: string): string => ofVhost(vhost, "ended")

/** What begins the names of the snapshots of a vhost's log; the offset follows. Each is a list of its parts. */
export const snapshot = (vhost: string): string => ofVhost(vhost, "snapshot:")

/** A channel: the queues that a node is to look into, and empty messages by which it sees that it hears. */
export const wake = (node: string): string => `${prefix}wake:${node}`
